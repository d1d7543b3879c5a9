"""Access tokens and the attacks on them: whoever gets through here is somebody else."""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from infra.embedded.process import write_private
from services.kit import tokens
from services.kit.crypto import public_bytes
from services.kit.errors import Unauthenticated
from services.kit.tokens import (
    MAX_TOKEN_CHARACTERS,
    PERSON_ISSUER,
    SERVICE_ISSUER,
    VERIFIED_SECONDS,
    Subject,
    TokenSigner,
    TokenVerifier,
    key_id,
    load_trusted_keys,
)

AUDIENCE = "dutyloop"
PERSON_KEY = Ed25519PrivateKey.generate()
SERVICE_KEY = Ed25519PrivateKey.generate()
STRANGER_KEY = Ed25519PrivateKey.generate()
Sign = Callable[..., str]


def jwk(key: Ed25519PrivateKey, use: str) -> dict[str, str]:
    """Return the public key as the key file holds it."""
    x = base64.urlsafe_b64encode(public_bytes(key.public_key())).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": x, "kid": key_id(key), "dutyloop_use": use}


def claims(**changed: Any) -> dict[str, Any]:
    """Return good claims of a person, changed; None leaves one out."""
    now = int(time.time())
    good = {"iss": PERSON_ISSUER, "sub": "people/1", "aud": AUDIENCE, "iat": now, "exp": now + 60}
    return {name: value for name, value in (good | changed).items() if value is not None}


def signed(
    content: dict[str, Any], key: Ed25519PrivateKey = PERSON_KEY, *, kid: str | None = None, **header: Any
) -> str:
    """Return a token signed with ``key``."""
    headers = {"typ": "at+jwt", "kid": key_id(key) if kid is None else kid, **header}
    return jwt.encode(content, key, algorithm="EdDSA", headers=headers)


def raw(header: object, payload: object, signature: bytes = b"") -> str:
    """Return a token of any content, unsigned unless a signature is given."""
    parts = [orjson.dumps(part) if not isinstance(part, bytes) else part for part in (header, payload)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in [*parts, signature])


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """The trusted keys: one for people, one for services."""
    file = tmp_path / "trusted_keys.json"
    file.write_bytes(orjson.dumps({"keys": [jwk(PERSON_KEY, "person"), jwk(SERVICE_KEY, "service")]}))
    return file


@pytest.fixture
def verifier(key_file: Path) -> TokenVerifier:
    """A verifier of those keys."""
    return TokenVerifier(load_trusted_keys(key_file), AUDIENCE)


def refused(verifier: TokenVerifier, token: str) -> None:
    """Expect the one refusal that says nothing about its cause."""
    with pytest.raises(Unauthenticated) as refusal:
        verifier.verify(token)
    assert dict(refusal.value.metadata) == {}
    assert refusal.value.__cause__ is None


def test_a_person_and_a_service_are_known_by_their_keys(verifier: TokenVerifier) -> None:
    """Nobody could call anything."""
    assert Subject("people/1", "person") == verifier.verify(signed(claims()))
    service = claims(iss=SERVICE_ISSUER, sub="services/worker")
    assert Subject("services/worker", "service") == verifier.verify(signed(service, SERVICE_KEY))


def test_the_signer_s_tokens_are_accepted(tmp_path: Path, verifier: TokenVerifier) -> None:
    """``dutyloop token`` would hand out tokens that open nothing."""
    file = tmp_path / "issuer.key"
    write_private(
        file,
        PERSON_KEY.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    signer = TokenSigner(file, PERSON_ISSUER, AUDIENCE)
    assert Subject("people/1", "person") == verifier.verify(signer.sign("people/1", 60))
    refused(verifier, signer.sign("people/1", -60))
    refused(TokenVerifier({}, AUDIENCE), signer.sign("people/1", 60))


PUBLIC_FORMS = [
    PERSON_KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
    PERSON_KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
    public_bytes(PERSON_KEY.public_key()),
    b"",
]


@pytest.mark.parametrize("secret", PUBLIC_FORMS, ids=["pem", "der", "raw", "empty"])
@pytest.mark.parametrize("algorithm", ["HS256", "HS512"])
def test_the_public_key_is_no_shared_secret(verifier: TokenVerifier, algorithm: str, secret: bytes) -> None:
    """Anyone who reads the published key could be anyone."""
    body = raw({"alg": algorithm, "typ": "at+jwt", "kid": key_id(PERSON_KEY)}, claims()).rpartition(".")[0]
    signature = hmac.new(secret, body.encode(), hashlib.new(f"sha{algorithm[2:]}").name).digest()
    refused(verifier, f"{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}")


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", "nOnE", None, 0, ["EdDSA"]])
@pytest.mark.parametrize("signature", [b"", b"x" * 64])
def test_an_unsigned_token_is_refused(verifier: TokenVerifier, algorithm: object, signature: bytes) -> None:
    """Anyone could write himself a token."""
    refused(verifier, raw({"alg": algorithm, "typ": "at+jwt", "kid": key_id(PERSON_KEY)}, claims(), signature))


def test_another_asymmetric_algorithm_than_the_key_s_is_refused(verifier: TokenVerifier) -> None:
    """A token could choose the algorithm by which it is checked."""
    headers = {"typ": "at+jwt", "kid": key_id(PERSON_KEY)}
    refused(verifier, jwt.encode(claims(), rsa.generate_private_key(65537, 2048), algorithm="RS256", headers=headers))
    refused(verifier, jwt.encode(claims(), ec.generate_private_key(ec.SECP256R1()), algorithm="ES256", headers=headers))


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "another"},
        {"aud": ["another", "third"]},
        {"aud": None},
        {"aud": ""},
        {"iss": "another"},
        {"iss": None},
        {"iss": SERVICE_ISSUER},
        {"exp": -60},
        {"exp": None},
        {"exp": "soon"},
        {"nbf": 600},
        {"iat": 600},
        {"iat": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "1"},
        {"sub": "services/worker"},
        {"sub": "PEOPLE/1"},
    ],
    ids=str,
)
def test_wrong_claims_are_refused(verifier: TokenVerifier, changed: dict[str, Any]) -> None:
    """A token for another system, of another time or of nobody would open this one."""
    now = int(time.time())  # here, for the cases are collected long before the last of them runs
    moved = {claim: now + value if isinstance(value, int) else value for claim, value in changed.items()}
    refused(verifier, signed(claims(**moved)))


@pytest.mark.parametrize("kind", ["JWT", "id+jwt", "", None, 7, ["at+jwt"], "dpop+jwt"], ids=str)
def test_an_id_token_is_no_access_token(verifier: TokenVerifier, kind: object) -> None:
    """A web page's proof of who logged in would do for acting in that person's name."""
    header = {"alg": "EdDSA", "kid": key_id(PERSON_KEY), **({} if kind is None else {"typ": kind})}
    body = raw(header, claims()).rpartition(".")[0]
    signature = PERSON_KEY.sign(body.encode())
    refused(verifier, f"{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}")


def test_a_service_key_vouches_for_services_only(verifier: TokenVerifier) -> None:
    """One leaked service key could act as every person, or a person's issuer as a service."""
    for issuer in (PERSON_ISSUER, SERVICE_ISSUER):
        refused(verifier, signed(claims(iss=issuer, sub="people/1"), SERVICE_KEY))
        refused(verifier, signed(claims(iss=issuer, sub="services/worker"), PERSON_KEY))


def test_a_key_of_one_service_vouches_for_no_other(tmp_path: Path) -> None:
    """Whoever takes over the worker's machine could speak as any service of the house."""
    file = tmp_path / "trusted.json"
    file.write_bytes(orjson.dumps({"keys": [jwk(SERVICE_KEY, "service") | {"dutyloop_subject": "services/worker"}]}))
    bound = TokenVerifier(load_trusted_keys(file), AUDIENCE)
    good = claims(iss=SERVICE_ISSUER, sub="services/worker")
    assert bound.verify(signed(good, SERVICE_KEY)) == Subject("services/worker", "service")
    for other in ("services/hazard", "services/workers", "services/", "people/1"):
        refused(bound, signed(good | {"sub": other}, SERVICE_KEY))


def test_what_a_key_is_bound_to_no_other_key_vouches_for(tmp_path: Path) -> None:
    """Whoever takes over any service could pass for the worker, and act in everybody's name."""
    file, others = tmp_path / "trusted.json", Ed25519PrivateKey.generate()
    bound = jwk(SERVICE_KEY, "service") | {"dutyloop_subject": "services/worker"}
    file.write_bytes(orjson.dumps({"keys": [bound, jwk(others, "service")]}))
    verifier = TokenVerifier(load_trusted_keys(file), AUDIENCE)
    hazard = claims(iss=SERVICE_ISSUER, sub="services/hazard")
    assert verifier.verify(signed(hazard, others)) == Subject("services/hazard", "service")
    refused(verifier, signed(hazard | {"sub": "services/worker"}, others))


def test_a_stranger_s_key_under_a_known_id_is_refused(verifier: TokenVerifier) -> None:
    """Anyone could sign under the name of our key."""
    refused(verifier, signed(claims(), STRANGER_KEY, kid=key_id(PERSON_KEY)))
    refused(verifier, signed(claims(), STRANGER_KEY))


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "/dev/null",
        "file:///etc/passwd",
        "http://127.0.0.1:1/keys",
        "x' UNION SELECT 'secret' --",
        "| sleep 5",
        "",
        "0" * 4_000,
    ],
)
def test_a_key_id_is_only_looked_up(verifier: TokenVerifier, kid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token could choose a file, a query or an address as the key that proves it."""
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("something was fetched"))
    monkeypatch.setattr("builtins.open", lambda *_, **__: pytest.fail("something was opened"))
    refused(verifier, signed(claims(), STRANGER_KEY, kid=kid))


def test_a_key_that_comes_with_the_token_is_not_used(verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token could bring the key that proves it."""
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("something was fetched"))
    own = jwk(STRANGER_KEY, "person")
    for header in (
        {"jku": "http://127.0.0.1:1/jwks"},
        {"x5u": "http://127.0.0.1:1/cert"},
        {"jwk": own},
        {"x5c": [own["x"]]},
    ):
        for kid in (key_id(PERSON_KEY), key_id(STRANGER_KEY)):
            refused(verifier, signed(claims(), STRANGER_KEY, kid=kid, **header))


@pytest.mark.parametrize("number", range(3))
def test_a_changed_part_breaks_the_signature(verifier: TokenVerifier, number: int) -> None:
    """One person's token could be made into another's."""
    parts = signed(claims()).split(".")
    other = signed(claims(sub="people/2"), STRANGER_KEY).split(".")
    parts[number] = other[number]
    refused(verifier, ".".join(parts))


DEEP = b"[" * 5_000
NONSENSE = [
    "",
    ".",
    "..",
    "a.b.c",
    "§.§.§",
    "a" * 8_000,
    raw([], {}),
    raw(7, 7),
    raw(b"\xff\xfe", b"\xff"),
    raw(DEEP, {}),
    raw(b'{"typ":' + DEEP, {}),
    raw({"typ": "at+jwt", "alg": "EdDSA"}, {}),
    raw({"typ": "at+jwt", "alg": "EdDSA", "kid": 7}, {}),
    raw({"typ": "at+jwt", "alg": "EdDSA", "kid": ["a"]}, {}),
    raw({"typ": "at+jwt", "alg": "EdDSA", "kid": key_id(PERSON_KEY), "crit": ["exp"]}, {}),
]


@pytest.mark.parametrize("token", NONSENSE, ids=lambda token: token[:24])
def test_nonsense_is_refused_like_anything_else(verifier: TokenVerifier, token: str) -> None:
    """Anyone without a token could fill the log with tracebacks and learn how tokens are read."""
    refused(verifier, token)


@pytest.mark.parametrize(
    "payload", [b"[]", b"7", b"nonsense", DEEP, b'{"exp":1e999}'], ids=lambda text: text[:16].decode()
)
def test_a_signed_payload_that_is_no_claims_set_is_refused(verifier: TokenVerifier, payload: bytes) -> None:
    """An issuer's bug would be answered as ours, with a traceback."""
    body = raw({"alg": "EdDSA", "typ": "at+jwt", "kid": key_id(PERSON_KEY)}, payload).rpartition(".")[0]
    signature = PERSON_KEY.sign(body.encode())
    refused(verifier, f"{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}")


def test_a_huge_token_is_refused_unread(verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """Megabytes of base64 would be decoded for every call."""
    token = signed(claims(padding="x" * MAX_TOKEN_CHARACTERS))
    assert len(token) > MAX_TOKEN_CHARACTERS
    monkeypatch.setattr(jwt, "get_unverified_header", lambda _: pytest.fail("it was read"))
    refused(verifier, token)


class Clock:
    """A wall clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = time.time()

    def time(self) -> float:
        return self.seconds


def test_a_verified_token_is_trusted_for_five_seconds_and_never_past_its_end(
    verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A withdrawn or expired token would go on working, or every call would pay for a signature check."""
    clock = Clock()
    monkeypatch.setattr(tokens, "time", clock)
    reads: list[str] = []
    unverified = jwt.get_unverified_header

    def counted(token: str) -> dict[str, Any]:
        reads.append(token)
        return unverified(token)

    monkeypatch.setattr(jwt, "get_unverified_header", counted)
    long, short = signed(claims()), signed(claims(exp=int(clock.seconds) + 2))
    for token in (long, long, short, short):
        verifier.verify(token)
    assert [long, short] == reads
    clock.seconds += 3
    for token in (long, short):
        verifier.verify(token)
    assert [long, short, short] == reads
    clock.seconds += VERIFIED_SECONDS
    verifier.verify(long)
    assert [long, short, short, long] == reads


def test_the_cache_is_bounded_and_keeps_no_refused_token(
    verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood of tokens would fill the memory of the process."""
    monkeypatch.setattr(tokens, "CACHE_ENTRIES", 10)
    for number in range(35):
        verifier.verify(signed(claims(sub=f"people/{number}")))
        refused(verifier, signed(claims(sub=f"people/{number}"), STRANGER_KEY))
    assert len(verifier._verified) <= 10
    assert all(subject.name.startswith("people/") for _, subject in verifier._verified.values())


def test_a_key_file_says_for_whom_its_keys_vouch(tmp_path: Path) -> None:
    """A key of an identity provider would vouch for services, or under another issuer's name."""
    file = tmp_path / "keys.json"
    given = jwk(PERSON_KEY, "person") | {"dutyloop_issuer": "https://login.example"}
    unnamed = {name: value for name, value in jwk(SERVICE_KEY, "").items() if name != "dutyloop_use"}
    file.write_bytes(orjson.dumps({"keys": [given, unnamed]}))
    keys = load_trusted_keys(file)
    assert [(key.use, key.issuer) for key in keys.values()] == [
        ("person", "https://login.example"),
        ("person", PERSON_ISSUER),
    ]
