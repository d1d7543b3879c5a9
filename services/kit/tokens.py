"""Access tokens (RFC 9068 JWTs): verification with asymmetric keys only, and the signer of service tokens.

Tokens prove who calls; what the caller may do comes from directory posts.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.kit.crypto import digest, load_signing_key, public_bytes
from services.kit.errors import Unauthenticated
from services.kit.settings import SettingsError

ALGORITHMS = ("EdDSA", "ES256", "RS256", "PS256")
TYPE = "at+jwt"
PERSON_ISSUER = "dutyloop-people"
SERVICE_ISSUER = "dutyloop-services"
WORKER = "services/worker"
"""The process that runs the workflows: the only one that records what cases decide, and says when."""
VERIFIED_SECONDS = 5.0
"""How long a verified token is trusted unread; the same bound as for roles."""
CACHE_ENTRIES = 10_000
MAX_TOKEN_CHARACTERS = 8_192
SERVICE_TOKEN_SECONDS = 600
LEEWAY_SECONDS = 5

Use = Literal["person", "service"]


@dataclass(frozen=True, slots=True)
class Subject:
    """Who a token proves its bearer to be: ``people/…`` or ``services/…``."""

    name: str
    use: Use


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key and the kind of subject that it may vouch for."""

    key: jwt.PyJWK
    use: Use
    issuer: str
    subject: str = ""
    """The only one it may vouch for, and no other key may; empty when it may for any of its kind without one."""


def load_trusted_keys(path: Path) -> dict[str, TrustedKey]:
    """Read a JWKS whose keys carry ``dutyloop_use`` (person or service).

    Optional: ``dutyloop_issuer``, and ``dutyloop_subject`` for a key that is one service's alone. Raises SettingsError.
    """
    keys: dict[str, TrustedKey] = {}
    try:
        for raw in orjson.loads(path.read_bytes())["keys"]:
            use: Use = "service" if raw.get("dutyloop_use") == "service" else "person"
            issuer = raw.get("dutyloop_issuer") or (SERVICE_ISSUER if use == "service" else PERSON_ISSUER)
            keys[raw["kid"]] = TrustedKey(jwt.PyJWK(raw), use, issuer, raw.get("dutyloop_subject", ""))
    except OSError as error:
        raise SettingsError("unreadable", path=path, reason=error) from None
    except (ValueError, KeyError, TypeError, AttributeError, jwt.PyJWTError):
        raise SettingsError("not_a_key_set", path=path) from None
    return keys


class TokenVerifier:
    """Verifies bearer tokens; answers for a token already verified come from a short-lived cache."""

    def __init__(self, keys: dict[str, TrustedKey], audience: str) -> None:
        self._keys = keys
        self._owned = frozenset(key.subject for key in keys.values())
        self._audience = audience
        self._verified: dict[str, tuple[float, Subject]] = {}

    def verify(self, token: str) -> Subject:
        """Return the token's subject. Raises Unauthenticated, without saying why."""
        now = time.time()
        cached = self._verified.get(token)
        if cached is not None and now < cached[0]:
            return cached[1]
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise Unauthenticated
        try:
            subject, expires = self._decode(token)
        except (jwt.PyJWTError, KeyError, TypeError, ValueError):
            raise Unauthenticated from None
        if len(self._verified) >= CACHE_ENTRIES:
            self._verified.clear()
        self._verified[token] = (min(expires, now + VERIFIED_SECONDS), subject)
        return subject

    def _decode(self, token: str) -> tuple[Subject, float]:
        header = jwt.get_unverified_header(token)
        if str(header.get("typ")).lower() != TYPE:
            raise Unauthenticated
        trusted = self._keys[header["kid"]]
        claims = jwt.decode(
            token,
            trusted.key.key,
            algorithms=[algorithm for algorithm in ALGORITHMS if algorithm == trusted.key.algorithm_name],
            audience=self._audience,
            issuer=trusted.issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "iat", "sub", "aud", "iss"]},
        )
        name = str(claims["sub"])
        prefix = "services/" if trusted.use == "service" else "people/"
        if not name.startswith(prefix) or (name != trusted.subject if trusted.subject else name in self._owned):
            raise Unauthenticated
        return Subject(name, trusted.use), float(claims["exp"])


def key_id(key: Ed25519PrivateKey) -> str:
    """Return the RFC 7638 thumbprint of the public key: of its required members, ordered, without spaces."""
    x = jwt.utils.base64url_encode(public_bytes(key.public_key())).decode()
    canonical = orjson.dumps({"crv": "Ed25519", "kty": "OKP", "x": x})
    return jwt.utils.base64url_encode(digest(canonical)).decode()


class TokenSigner:
    """Signs tokens with one Ed25519 key: the development issuer's, or a service's own."""

    def __init__(self, key_file: Path, issuer: str, audience: str) -> None:
        self._key = load_signing_key(key_file)
        self._key_id = key_id(self._key)
        self._issuer = issuer
        self._audience = audience

    def sign(self, subject: str, lifetime_seconds: int) -> str:
        """Return an access token for ``subject`` that expires after ``lifetime_seconds``."""
        now = int(time.time())
        claims = {
            "iss": self._issuer,
            "sub": subject,
            "aud": self._audience,
            "iat": now,
            "exp": now + lifetime_seconds,
        }
        return jwt.encode(claims, self._key, algorithm="EdDSA", headers={"typ": TYPE, "kid": self._key_id})
