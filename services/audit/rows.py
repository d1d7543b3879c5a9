"""Checks ledger rows as COPY (FORMAT binary) delivers them: every column against its envelope, every hash.

This is where verification spends its time. A row whose envelope is, byte for byte, what its columns make
it is passed at once; any other is taken apart to name what is wrong with it.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256

import orjson

COPY_SEQUENCED = """
SELECT position, leaf_hash, business_time, recorded_time, coalesce(octet_length(salt), -1),
    envelope, salt || payload,
    actor || E'\\x1f' || id || E'\\x1f' || region_code || E'\\x1f' || request_id || E'\\x1f' || type || E'\\x1f'
        || unit_path || E'\\x1f' || workflow_id || E'\\x1f' || on_behalf_of || E'\\x1f' || method
        || E'\\x1f' || policy_version,
    array_to_json(objects)::text
FROM ledger.entry
WHERE position >= $1 AND position < $2
ORDER BY position
"""
COPY_UNSEQUENCED = """
SELECT -1::bigint, leaf_hash, business_time, recorded_time, coalesce(octet_length(salt), -1),
    envelope, salt || payload,
    actor || E'\\x1f' || id || E'\\x1f' || region_code || E'\\x1f' || request_id || E'\\x1f' || type || E'\\x1f'
        || unit_path || E'\\x1f' || workflow_id || E'\\x1f' || on_behalf_of || E'\\x1f' || method
        || E'\\x1f' || policy_version,
    array_to_json(objects)::text
FROM ledger.entry
WHERE position IS NULL OR position < 0
"""

SIGNATURE = b"PGCOPY\n\xff\r\n\x00"
HEADER_BYTES = len(SIGNATURE) + 8
FIELDS = 9
FIXED = struct.Struct(">hiqi32siqiqiii")
"""Field count, then length and value of the five fields of fixed size, then the envelope's length."""
FIXED_LENGTHS = (FIELDS, 8, 32, 8, 8, 4)
LENGTH = struct.Struct(">i")
SEPARATOR = b"\x1f"
SALT_BYTES = 16
POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
TEXT_COLUMNS = (
    "actor",
    "id",
    "region_code",
    "request_id",
    "type",
    "unit_path",
    "workflow_id",
    "on_behalf_of",
    "method",
    "policy_version",
)
MAX_PROBLEMS = 1_000
"""Kept of one verification; a ledger in ruins need not fill the memory to be known as such."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong and where: the position (None when it has none), a kind, and a sentence."""

    kind: str
    position: int | None
    detail: str


class RowChecker:
    """Takes COPY data in pieces; yields nothing but what is wrong, and the leaf hashes it computed."""

    def __init__(self, expected: int) -> None:
        """Begin at the position ``expected``; negative for rows without positions."""
        self.expected = expected
        self.rows = 0
        self.hashed_bytes = 0
        self.shredded = 0
        self.problems: list[Problem] = []
        self.leaves: list[bytes] = []
        self._rest = b""
        self._begun = False

    def feed(self, data: bytes) -> None:
        """Check the rows that are complete; keep the rest for the next piece."""
        buffer = self._rest + data if self._rest else data
        offset = 0
        if not self._begun:
            if len(buffer) < HEADER_BYTES:
                self._rest = buffer
                return
            offset, self._begun = HEADER_BYTES, True
        self._rest = buffer[self._check(buffer, offset) :]

    def _check(self, buffer: bytes, offset: int) -> int:
        """Check whole rows from ``offset`` on; return where the first incomplete one starts."""
        unpack, unpack_length, fixed_bytes = FIXED.unpack_from, LENGTH.unpack_from, FIXED.size
        append, end = self.leaves.append, len(buffer)
        sequenced = self.expected >= 0
        while offset + fixed_bytes <= end:
            count, l1, position, l2, leaf, l3, business, l4, recorded, l5, salted, length = unpack(buffer, offset)
            if (count, l1, l2, l3, l4, l5) != FIXED_LENGTHS or length < 0:
                following = self._skip_malformed(buffer, offset)
                if following is None:
                    return offset
                offset = following
                continue
            start = offset + fixed_bytes
            stop = start + length
            if stop + 4 > end:
                return offset
            envelope = buffer[start:stop]
            (length,) = unpack_length(buffer, stop)
            start = stop + 4
            stop = start + length if length >= 0 else start
            sealed = buffer[start:stop] if length >= 0 else None
            if stop + 4 > end:
                return offset
            (length,) = unpack_length(buffer, stop)
            start = stop + 4
            stop = start + length if length >= 0 else start
            texts = buffer[start:stop]
            if stop + 4 > end:
                return offset
            (length,) = unpack_length(buffer, stop)
            start = stop + 4
            stop = start + length if length >= 0 else start
            if stop > end:
                return offset
            objects = buffer[start:stop]
            offset = stop

            computed = sha256(b"\x00" + envelope).digest()
            append(computed)
            if sequenced and position != self.expected:
                self._jump(position)
            if (
                computed != leaf
                or (salted != SALT_BYTES if sealed is not None else salted != -1)
                or not is_regular(envelope, sealed, texts, objects, business, recorded)
            ):
                for kind, detail in faults(envelope, sealed, salted, texts, objects, business, recorded, leaf):
                    if sequenced:
                        self._note(kind, position, detail)
                    else:
                        self._note(kind, None, f"unsequenced entry {shown(texts)}: {detail}")
            self.rows += 1
            self.expected += sequenced
            self.hashed_bytes += len(envelope)
            if sealed is None:
                self.shredded += 1
            else:
                self.hashed_bytes += len(sealed)
        return offset

    def _jump(self, position: int) -> None:
        if position > self.expected:
            missing = position - self.expected
            what = "the entry is" if missing == 1 else f"{missing} entries from here on are"
            self._note("missing_entry", self.expected, f"{what} missing")
        else:
            self._note("repeated_position", position, "the position is taken twice")
        self.expected = position

    def _skip_malformed(self, buffer: bytes, offset: int) -> int | None:
        """Walk over a row that is not as the table defines it, field by field."""
        start = offset
        if offset + 2 > len(buffer):
            return None
        count = int.from_bytes(buffer[offset : offset + 2], signed=True)
        if count == -1:
            return len(buffer)
        offset += 2
        position = None
        for number in range(count):
            if offset + 4 > len(buffer):
                return None
            (length,) = LENGTH.unpack_from(buffer, offset)
            offset += 4
            if number == 0 and length == 8 and offset + 8 <= len(buffer):
                position = int.from_bytes(buffer[offset : offset + 8], signed=True)
            offset += max(length, 0)
        if offset > len(buffer) or offset == start:
            return None
        self._note("edited_column", position, "a column is empty or has another size than the ledger writes")
        if position is not None and self.expected >= 0:
            self.expected = position + 1
        self.leaves.append(b"\x00" * 32)
        self.rows += 1
        return offset

    def _note(self, kind: str, position: int | None, detail: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(kind, position, detail))


@lru_cache(maxsize=65_536)
def _minute(minutes: int) -> bytes:
    return (POSTGRES_EPOCH + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:").encode()


def iso_time(microseconds: int) -> bytes:
    """Write a PostgreSQL timestamp as envelopes do."""
    minutes, rest = divmod(microseconds, 60_000_000)
    seconds, fraction = divmod(rest, 1_000_000)
    if fraction:
        return b"%b%02d.%06dZ" % (_minute(minutes), seconds, fraction)
    return b"%b%02dZ" % (_minute(minutes), seconds)


def is_regular(
    envelope: bytes, sealed: bytes | None, texts: bytes, objects: bytes, business: int, recorded: int
) -> bool:
    """Tell whether the envelope is exactly what the columns and the payload make it.

    False means only that it must be looked at closely: text that JSON escapes, a shredded payload, a fault.
    """
    parts = texts.split(SEPARATOR)
    if sealed is None or len(parts) != len(TEXT_COLUMNS) or b'"' in texts or b"\\" in texts:
        return False
    actor, identifier, region, request, kind, unit, case, behalf, method, policy = parts
    try:
        times = iso_time(business), iso_time(recorded)
    except (OverflowError, ValueError):
        return False
    return envelope == (
        b'{"actor":"%b","business_time":"%b","id":"%b","method":"%b","objects":%b,"on_behalf_of":"%b",'
        b'"payload_commitment":"%b","policy_version":"%b","recorded_time":"%b","region_code":"%b","request_id":"%b",'
        b'"type":"%b","unit_path":"%b","v":1,"workflow_id":"%b"}'
    ) % (
        *(actor, times[0], identifier, method, objects, behalf, sha256(sealed).hexdigest().encode(), policy),
        *(times[1], region, request, kind, unit, case),
    )


def faults(
    envelope: bytes,
    sealed: bytes | None,
    salted: int,
    texts: bytes,
    objects: bytes,
    business: int,
    recorded: int,
    leaf: bytes,
) -> Iterator[tuple[str, str]]:
    """Name what is wrong with a row: kind and sentence."""
    if sha256(b"\x00" + envelope).digest() != leaf:
        yield "edited_envelope", "the envelope does not have the leaf hash stored beside it"
    try:
        said = orjson.loads(envelope)
        if not isinstance(said, dict):
            raise ValueError(envelope)
    except ValueError:
        yield "edited_envelope", "the envelope is not JSON"
        return
    if salted not in (-1, SALT_BYTES) or (salted == -1) != (sealed is None):
        yield "edited_payload", "the payload's salt is missing or has another size"
    elif sealed is not None and sha256(sealed).hexdigest() != said.get("payload_commitment"):
        yield "edited_payload", "the payload is not the one that the envelope commits to"
    parts = texts.split(SEPARATOR)
    if len(parts) == len(TEXT_COLUMNS):
        columns = dict(zip(TEXT_COLUMNS, (part.decode(errors="replace") for part in parts), strict=True))
        for column, value in columns.items():
            if said.get(column) != value:
                yield "edited_column", f"the column {column} differs from the envelope"
    else:
        yield "edited_column", "a text column holds a separator"
    if not objects or orjson.loads(objects) != said.get("objects"):
        yield "edited_column", "the column objects differs from the envelope"
    for column, microseconds in (("business_time", business), ("recorded_time", recorded)):
        if not _same_time(microseconds, said.get(column)):
            yield "edited_column", f"the column {column} differs from the envelope"


def shown(texts: bytes) -> str:
    """Name an entry that has no position: its id and request."""
    parts = texts.decode(errors="replace").split(SEPARATOR.decode())
    return f"{parts[1]} of request {parts[3]}" if len(parts) == len(TEXT_COLUMNS) else "with a separator in its text"


def _same_time(microseconds: int, said: object) -> bool:
    try:
        told = datetime.fromisoformat(str(said)) - POSTGRES_EPOCH
    except (ValueError, TypeError):
        return False
    return told // timedelta(microseconds=1) == microseconds
