"""All the cryptography there is: SHA-256 digests, Ed25519 signatures, AES-256-GCM for what is sealed.

What is sealed names its algorithm (CIPHER), so that a national one can be switched on beside it; a change of
digest or signature would change what the ledger and its checkpoints are.
"""

import hashlib
import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from services.kit.secret_files import read_secret
from services.kit.settings import SettingsError

CIPHER = "AES-256-GCM"
NONCE_BYTES = 12


def digest(data: bytes) -> bytes:
    """Return the 32-byte digest."""
    return hashlib.sha256(data).digest()


def encrypt(key: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """Return nonce and ciphertext; ``associated`` is authenticated with them."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, associated)


def decrypt(key: bytes, sealed: bytes, associated: bytes) -> bytes:
    """Return the plaintext. Raises cryptography.exceptions.InvalidTag when anything was changed."""
    return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated)


def load_signing_key(path: Path) -> Ed25519PrivateKey:
    """Read an Ed25519 private key (PEM, PKCS#8).

    Raises SettingsError where the file cannot be read, can be by everybody, or holds something else.
    """
    try:
        key = load_pem_private_key(read_secret(path), password=None)
    except (ValueError, TypeError):
        raise SettingsError("not_a_private_key", path=path) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError("not_ed25519", path=path)
    return key


def public_bytes(key: Ed25519PublicKey) -> bytes:
    """Return the 32 raw bytes of a public key."""
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)
