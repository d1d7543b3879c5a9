"""The express lane of verification: whole batches of rows at once, column by column.

PostgreSQL hands each column of a batch over as one value, so that splitting, comparing and formatting cost
a fraction of what they would row by row; what remains is hashing. A batch in which anything at all is
irregular (an edit, a gap, a shredded payload, text that JSON escapes) is left to ``rows``, which names it.
"""

import struct
from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256

from services.audit.rows import HEADER_BYTES, LENGTH, POSTGRES_EPOCH, SALT_BYTES

BATCH = 512
FIELDS = 19
SEPARATOR = "\x1e"
MAX_SECONDS = 100_000
COPY_BATCHES = """
SELECT batch.first, columns.*
FROM generate_series($1::bigint, $2::bigint - 1, $3::bigint) AS batch(first),
LATERAL (
    SELECT string_agg(int8send(position), ''::bytea),
        string_agg(leaf_hash, ''::bytea),
        string_agg(envelope, '\\x1e'::bytea),
        string_agg(salt, ''::bytea),
        string_agg(payload, '\\x1e'::bytea),
        string_agg(timestamptz_send(business_time), ''::bytea),
        string_agg(timestamptz_send(recorded_time), ''::bytea),
        string_agg(actor, E'\\x1e'),
        string_agg(id, E'\\x1e'),
        string_agg(region_code, E'\\x1e'),
        string_agg(request_id, E'\\x1e'),
        string_agg(type, E'\\x1e'),
        string_agg(unit_path, E'\\x1e'),
        string_agg(workflow_id, E'\\x1e'),
        string_agg(on_behalf_of, E'\\x1e'),
        string_agg(method, E'\\x1e'),
        string_agg(policy_version, E'\\x1e'),
        string_agg(array_to_json(objects)::text, E'\\x1e')
    FROM (
        SELECT position, leaf_hash, envelope, salt, payload, business_time, recorded_time, actor, id, region_code,
            request_id, type, unit_path, workflow_id, on_behalf_of, method, policy_version, objects
        FROM ledger.entry
        WHERE position >= batch.first AND position < least(batch.first + $3::bigint, $2::bigint)
        ORDER BY position
    ) AS entry
) AS columns
"""


class Express:
    """Takes COPY data of COPY_BATCHES; collects leaf hashes per batch, and which batches are irregular."""

    def __init__(self, start: int, end: int) -> None:
        self._end = end
        self._rest = b""
        self._begun = False
        self.leaves: dict[int, bytes] = {}
        self.irregular = list(range(start, end, BATCH))
        """Starts of the batches not passed (yet)."""
        self.rows = 0
        self.hashed_bytes = 0

    def feed(self, data: bytes) -> None:
        """Check the batches that are complete; keep the rest for the next piece."""
        buffer = self._rest + data if self._rest else data
        offset = 0
        if not self._begun:
            if len(buffer) < HEADER_BYTES:
                self._rest = buffer
                return
            offset, self._begun = HEADER_BYTES, True
        while (parsed := _fields(buffer, offset)) is not None:
            fields, offset = parsed
            first = int.from_bytes(fields[0] or b"")
            leaves = self._checked(first, fields[1:])
            if leaves is not None:
                self.leaves[first] = leaves
                self.irregular.remove(first)
        self._rest = buffer[offset:]

    def _checked(self, first: int, fields: Sequence[bytes | None]) -> bytes | None:
        """Return the batch's leaf hashes, one after the other; None when it is irregular."""
        count = min(BATCH, self._end - first)
        full = [field for field in fields if field is not None]
        if len(full) != FIELDS - 1 or full[0] != struct.pack(f">{count}q", *range(first, first + count)):
            return None
        _, stored, envelope_bytes, salt_bytes, payload_bytes, business, recorded, *text_bytes = full
        split = SEPARATOR.encode()
        envelopes, payloads = envelope_bytes.split(split), payload_bytes.split(split)
        salts = [salt_bytes[start : start + SALT_BYTES] for start in range(0, len(salt_bytes), SALT_BYTES)]
        if not len(envelopes) == len(payloads) == len(salts) == count or len(salt_bytes) != count * SALT_BYTES:
            return None
        leaves = b"".join([sha256(b"\x00" + envelope).digest() for envelope in envelopes])
        if leaves != stored:
            return None
        promised = [sha256(salt + payload).hexdigest() for salt, payload in zip(salts, payloads, strict=True)]
        try:
            texts = [text.decode() for text in text_bytes]
            times = [_times(business, count), _times(recorded, count)]
            if envelope_bytes.decode() != _expected(promised, times, texts, count):
                return None
        except (UnicodeDecodeError, OverflowError, struct.error):
            return None
        self.rows += count
        self.hashed_bytes += len(envelope_bytes) + len(salt_bytes) + len(payload_bytes) - 2 * (count - 1)
        return leaves


def _fields(buffer: bytes, offset: int) -> tuple[list[bytes | None], int] | None:
    """Return the row at ``offset`` and where the next starts; None at the end or when it is incomplete."""
    if offset + 2 > len(buffer) or buffer[offset : offset + 2] == b"\xff\xff":
        return None
    offset += 2
    fields: list[bytes | None] = []
    for _ in range(FIELDS):
        if offset + LENGTH.size > len(buffer):
            return None
        (length,) = LENGTH.unpack_from(buffer, offset)
        offset += LENGTH.size
        if offset + length > len(buffer):
            return None
        fields.append(None if length < 0 else buffer[offset : offset + length])
        offset += max(length, 0)
    return fields, offset


class _Seconds(dict[int, str]):
    """The text of every second met, but for its zone."""

    def __missing__(self, seconds: int) -> str:
        if len(self) > MAX_SECONDS:
            self.clear()
        text = (POSTGRES_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
        self[seconds] = text
        return text


_seconds = _Seconds()


def _times(column: bytes, count: int) -> list[str]:
    """Write a column of PostgreSQL timestamps as envelopes do."""
    seconds = _seconds
    return [
        f"{seconds[moment // 1_000_000]}.{fraction:06}Z"
        if (fraction := moment % 1_000_000)
        else f"{seconds[moment // 1_000_000]}Z"
        for moment in struct.unpack(f">{count}q", column)
    ]


def _expected(promised: Sequence[str], times: Sequence[Sequence[str]], texts: Sequence[str], count: int) -> str | None:
    """Write all envelopes as the columns have them; None when a column cannot be written without escaping.

    Keys, values and separators are laid out in one list by slice assignment and joined once: no step of
    this is taken row by row in Python.
    """
    if any('"' in text or "\\" in text for text in texts[:-1]):
        return None
    columns = [text.split(SEPARATOR) for text in texts]
    if any(len(column) != count for column in columns):
        return None
    actors, ids, regions, requests, types, units, cases, behalves, methods, policies, objects = columns
    parts: tuple[tuple[str, Sequence[str]], ...] = (
        ('{"actor":"', actors),
        ('","business_time":"', times[0]),
        ('","id":"', ids),
        ('","method":"', methods),
        ('","objects":', objects),
        (',"on_behalf_of":"', behalves),
        ('","payload_commitment":"', promised),
        ('","policy_version":"', policies),
        ('","recorded_time":"', times[1]),
        ('","region_code":"', regions),
        ('","request_id":"', requests),
        ('","type":"', types),
        ('","unit_path":"', units),
        ('","v":1,"workflow_id":"', cases),
    )
    width = 2 * len(parts) + 1
    laid_out = [f'"}}{SEPARATOR}'] * (width * count)
    for number, (key, values) in enumerate(parts):
        laid_out[2 * number :: width] = [key] * count
        laid_out[2 * number + 1 :: width] = values
    laid_out[-1] = '"}'
    return "".join(laid_out)
