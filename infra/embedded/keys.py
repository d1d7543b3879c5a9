"""The keys of the embedded stack: made once, each in a file of its own, the public ones gathered in a JWKS."""

import base64
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from infra.embedded.process import StackError, write_private
from services.audit.checkpoints import verifier_key
from services.kit.crypto import load_signing_key, public_bytes
from services.kit.tokens import WORKER, key_id

WORKER_KEY = "worker.key"


def make_keys(data_dir: Path) -> dict[str, str]:
    """Make whatever key file is missing; return the settings that point to them."""
    service = _make_once(data_dir / "service.key", _new_private_key)
    issuer = _make_once(data_dir / "issuer.key", _new_private_key)
    checkpoint = _make_once(data_dir / "checkpoint.key", _new_private_key)
    verifiers = data_dir / "checkpoint.vkey"
    _publish(verifiers, checkpoint)
    codec = _make_once(data_dir / "codec_keys.json", _new_codec_keys)
    trusted = data_dir / "trusted_keys.json"
    # The worker's own, which cannot sign for any other part of the house.
    worker = _make_once(data_dir / WORKER_KEY, _new_private_key)
    workers_jwk = _public_jwk(worker, "service") | {"dutyloop_subject": WORKER}
    _trust(trusted, [_public_jwk(service, "service"), workers_jwk, _public_jwk(issuer, "person")])
    return {
        "DUTYLOOP_SERVICE_KEY_FILE": str(service),
        "DUTYLOOP_ISSUER_KEY_FILE": str(issuer),
        "DUTYLOOP_CHECKPOINT_KEY_FILE": str(checkpoint),
        "DUTYLOOP_CHECKPOINT_VKEY_FILE": str(verifiers),
        "DUTYLOOP_CHECKPOINT_FILE": str(data_dir / "checkpoints.txt"),
        "DUTYLOOP_CODEC_KEYS_FILE": str(codec),
        "DUTYLOOP_TRUSTED_KEYS_FILE": str(trusted),
    }


def _make_once(path: Path, make: Callable[[], bytes]) -> Path:
    if not path.exists():
        write_private(path, make())
    return path


def _new_private_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _new_codec_keys() -> bytes:
    key_id = secrets.token_hex(4)
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    return orjson.dumps({"current": key_id, "keys": {key_id: key}}, option=orjson.OPT_INDENT_2)


def _publish(verifiers: Path, checkpoint: Path) -> None:
    """Write the public half of the checkpoint key down; those of earlier keys stay, for what they have signed."""
    published = verifiers.read_text().splitlines() if verifiers.exists() else []
    own = verifier_key(load_signing_key(checkpoint).public_key())
    if own not in published:
        write_private(verifiers, "".join(f"{line}\n" for line in (*published, own)).encode())


def _public_jwk(private_key_file: Path, use: str) -> dict[str, str]:
    key = load_signing_key(private_key_file)
    members = {"crv": "Ed25519", "kty": "OKP", "x": _base64url(public_bytes(key.public_key()))}
    return members | {"kid": key_id(key), "use": "sig", "alg": "EdDSA", "dutyloop_use": use}


def _trust(path: Path, keys: list[dict[str, str]]) -> None:
    """Add our keys to the JWKS and keep what an operator has added, another issuer's for instance."""
    try:
        kept: list[dict[str, Any]] = orjson.loads(path.read_bytes())["keys"] if path.exists() else []
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise StackError("not_a_key_set", path=path) from None
    missing = [key for key in keys if key not in kept]
    if missing:
        write_private(path, orjson.dumps({"keys": [*kept, *missing]}, option=orjson.OPT_INDENT_2))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
