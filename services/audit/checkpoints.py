"""Signed checkpoints in the C2SP formats (tlog-checkpoint in a signed-note), and the file that keeps them.

The file lies outside the database: it is what betrays an older restore and a rewritten log.
"""

import base64
import binascii
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from services.kit.crypto import digest, public_bytes
from services.kit.failures import Failure

ORIGIN = "dutyloop.ledger"
"""Identifies the log and names its key, as C2SP tlog-checkpoint recommends."""
ED25519 = b"\x01"
KEY_ID_BYTES = 4
BLANK_LINE = "\n\n"
TAIL_BYTES = 8_192
"""More than the longest note, witnesses' signatures included."""


class NoteError(Failure):
    """A note is malformed, or not signed by the key; the words say which."""


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A checkpoint: so many entries have this root. ``note`` is the signed text."""

    tree_size: int
    root_hash: bytes
    note: str


def key_id(key: Ed25519PublicKey, name: str = ORIGIN) -> bytes:
    """Return the four bytes by which a signature line refers to its key."""
    return digest(name.encode() + b"\n" + ED25519 + public_bytes(key))[:KEY_ID_BYTES]


def verifier_key(key: Ed25519PublicKey, name: str = ORIGIN) -> str:
    """Return the public key in the form that witnesses are configured with (a signed-note vkey)."""
    encoded = base64.b64encode(ED25519 + public_bytes(key)).decode()
    return f"{name}+{key_id(key, name).hex()}+{encoded}"


def parse_verifier_key(text: str, name: str = ORIGIN) -> Ed25519PublicKey:
    """Read a public key in the form that ``verifier_key`` writes. Raises NoteError."""
    named, _, rest = text.strip().partition("+")
    identifier, _, encoded = rest.partition("+")
    if named != name:
        raise NoteError("not_a_verifier_key", key=repr(text.strip()), log=name)
    try:
        raw = base64.b64decode(encoded, validate=True)
        key = Ed25519PublicKey.from_public_bytes(raw[1:])
    except (binascii.Error, ValueError):
        raise NoteError("malformed_verifier_key") from None
    if raw[:1] != ED25519 or key_id(key, name).hex() != identifier:
        raise NoteError("other_verifier_key")
    return key


def load_verifier_keys(path: Path) -> list[Ed25519PublicKey]:
    """Read a file of verifier keys, one a line: the log's present one and those before it. Raises NoteError."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError as error:
        raise NoteError("verifier_keys_unreadable", error=error) from None
    keys = [parse_verifier_key(line) for line in lines if line.strip()]
    if not keys:
        raise NoteError("no_verifier_key", path=path.name)
    return keys


def sign(key: Ed25519PrivateKey, tree_size: int, root_hash: bytes) -> SignedHead:
    """Sign a head; the same head always gives the same note."""
    text = f"{ORIGIN}\n{tree_size}\n{base64.b64encode(root_hash).decode()}\n"
    signature = base64.b64encode(key_id(key.public_key()) + key.sign(text.encode())).decode()
    return SignedHead(tree_size, root_hash, f"{text}\n— {ORIGIN} {signature}\n")


def parse(note: str) -> SignedHead:
    """Read a note without checking its signatures. Raises NoteError."""
    text, found, _ = note.partition(BLANK_LINE)
    lines = text.split("\n")
    if not found or len(lines) < 3:
        raise NoteError("checkpoint_cut")
    origin, size, root = lines[:3]
    if origin != ORIGIN:
        raise NoteError("checkpoint_of_another_log")
    try:
        root_hash = base64.b64decode(root, validate=True)
    except binascii.Error:
        raise NoteError("malformed_checkpoint_root") from None
    if not (size.isascii() and size.isdigit()) or str(int(size)) != size or len(root_hash) != 32:
        raise NoteError("malformed_checkpoint")
    return SignedHead(int(size), root_hash, note)


def verify(note: str, keys: Sequence[Ed25519PublicKey]) -> SignedHead:
    """Return the head that a note of ours signs with one of the keys. Raises NoteError."""
    head = parse(note)
    text, _, signatures = note.partition(BLANK_LINE)
    known = {key_id(key): key for key in keys}
    for line in signatures.splitlines():
        prefix = f"— {ORIGIN} "
        if not line.startswith(prefix):
            continue
        try:
            raw = base64.b64decode(line.removeprefix(prefix), validate=True)
            key = known[raw[:KEY_ID_BYTES]]
            key.verify(raw[KEY_ID_BYTES:], f"{text}\n".encode())
        except (KeyError, binascii.Error, InvalidSignature):
            continue
        return head
    raise NoteError("checkpoint_unsigned")


class CheckpointFile:
    """Notes one after the other, each followed by an empty line; only ever appended to."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def length(self) -> int:
        """Return the file's length in bytes; 0 when there is no file."""
        return self._path.stat().st_size if self._path.exists() else 0

    def notes(self, end: int | None = None) -> Iterator[str]:
        """Yield the notes up to byte ``end``, oldest first; one that a crash cut short is left out."""
        length = self.length() if end is None else end
        if not length:
            return
        with self._path.open("rb") as file:
            block: list[bytes] = []
            blanks = 0
            while length > 0 and (line := file.readline(TAIL_BYTES)):
                length -= len(line)
                block.append(line)
                blanks += line == b"\n"
                if blanks == 2:
                    yield b"".join(block[:-1]).decode(errors="replace")
                    block, blanks = [], 0

    def last(self) -> SignedHead | None:
        """Return the last whole note's head. Raises NoteError when it is malformed."""
        if not _is_whole(self._tail()):
            last = None
            for note in self.notes():
                last = note
            return parse(last) if last else None
        blocks = self._tail().decode(errors="replace").split(BLANK_LINE)
        return parse(f"{blocks[-3]}{BLANK_LINE}{blocks[-2]}\n") if len(blocks) >= 3 else None

    def _tail(self) -> bytes:
        if not self._path.exists():
            return b""
        with self._path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            return file.read()

    def append(self, note: str) -> None:
        """Append a note and wait until it is on the disk; a note that a crash cut short is dropped first."""
        fresh = not self._path.exists()
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not _is_whole(self._tail()):
                os.ftruncate(descriptor, sum(len(each.encode()) + 1 for each in self.notes()))
            os.lseek(descriptor, 0, os.SEEK_END)
            data = f"{note}\n".encode()
            while data:
                data = data[os.write(descriptor, data) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if fresh:
            directory = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)


def _is_whole(tail: bytes) -> bool:
    """Tell whether the file's last bytes end a note: a signature line and an empty one."""
    return not tail or (tail.endswith(b"\n\n") and tail[:-2].rpartition(b"\n")[2].startswith("— ".encode()))
