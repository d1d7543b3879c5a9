"""The express lane of verification: whole batches of rows at once, column by column.

PostgreSQL hands each column of a batch over as one value, so that splitting and comparing cost a fraction of
what they would row by row; what remains is hashing. It also writes each envelope anew from its text columns and
says whether it came out the same: that asks for no more trust than reading those columns would, for what they
hold is what PostgreSQL says. Times and digest, which it would write slowly or not at all, are cut out of the
envelope and compared here. A batch in which anything at all is irregular (an edit, a gap, a shredded payload,
text that JSON escapes, a recorded time without microseconds) is left to ``rows``, which names it.
"""

import os
import struct
from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256

from services.audit.rows import HEADER_BYTES, LENGTH, POSTGRES_EPOCH

BATCH = 512
FIELDS = 11
SEPARATOR = os.urandom(16)
"""Between sealed payloads, whose salts are any bytes: a batch that happens to hold this is irregular."""
MICROSECONDS = 1_000_000
MAX_SECONDS = 100_000
TRUE = b"\x01"
# The envelope is head, business time, middle, digest (64 bytes), late, recorded time (27 bytes), tail. One without
# a backslash has each of the keys in head, middle, late and tail only once, so that it cannot come out the same
# from other columns. The innermost query is ordered and the one around it has an OFFSET so that each part is
# made once. IS TRUE: a column that was emptied makes the comparison neither true nor false.
COPY_BATCHES = """
SELECT batch.first, columns.*
FROM generate_series($1::bigint, $2::bigint - 1, $3::bigint) AS batch(first),
LATERAL (
    SELECT string_agg(int8send(position), ''::bytea),
        string_agg(leaf_hash, ''::bytea),
        string_agg(envelope, '\\x1e00'::bytea),
        string_agg(salt || payload, $4::bytea),
        string_agg(timestamptz_send(business_time), ''::bytea),
        string_agg(timestamptz_send(recorded_time), ''::bytea),
        string_agg(said_business, ''::bytea),
        string_agg(said_recorded, ''::bytea),
        string_agg(said_digest, ''::bytea),
        bool_and((
            octet_length(salt) = 16
            AND envelope = textsend(head) || said_business || textsend(middle) || said_digest || textsend(late)
                || said_recorded || textsend(tail)
        ) IS TRUE)
    FROM (
        SELECT position, leaf_hash, envelope, salt, payload, business_time, recorded_time, head, middle, late, tail,
            substr(envelope, octet_length(head) + 1,
                greatest(0, octet_length(envelope) - octet_length(head || middle || late || tail) - 64 - 27))
                AS said_business,
            substr(envelope, octet_length(envelope) - octet_length(late || tail) - 64 - 27 + 1, 64) AS said_digest,
            substr(envelope, octet_length(envelope) - octet_length(tail) - 27 + 1, 27) AS said_recorded
        FROM (
            SELECT position, leaf_hash, envelope, salt, payload, business_time, recorded_time,
                '{"actor":"' || actor || '","business_time":"' AS head,
                '","id":"' || id || '","method":"' || method || '","objects":' || array_to_json(objects)::text
                    || ',"on_behalf_of":"' || on_behalf_of || '","payload_commitment":"' AS middle,
                '","policy_version":"' || policy_version || '","recorded_time":"' AS late,
                '","region_code":"' || region_code || '","request_id":"' || request_id || '","type":"' || type
                    || '","unit_path":"' || unit_path || '","v":1,"workflow_id":"' || workflow_id || '"}' AS tail
            FROM ledger.entry
            WHERE position >= batch.first AND position < least(batch.first + $3::bigint, $2::bigint)
            ORDER BY position
        ) AS parts
        OFFSET 0
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
        view = memoryview(buffer)
        while (parsed := _fields(view, offset)) is not None:
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
        if len(full) != FIELDS - 1:
            return None
        positions, stored, envelopes, sealed, business, recorded, said_business, said_recorded, said_digests, same = (
            full
        )
        if same != TRUE or b"\\" in envelopes or positions != struct.pack(f">{count}q", *range(first, first + count)):
            return None
        prefixed = envelopes.split(b"\x1e")
        prefixed[0] = b"\x00" + prefixed[0]
        leaves = b"".join([sha256(envelope).digest() for envelope in prefixed])
        digests = b"".join([sha256(payload).digest() for payload in sealed.split(SEPARATOR)])
        if leaves != stored or digests.hex().encode() != said_digests:
            return None
        try:
            if _times(business, count) != said_business or _times(recorded, count) != said_recorded:
                return None
        except (OverflowError, struct.error):
            return None
        self.rows += count
        self.hashed_bytes += len(envelopes) + len(sealed) - (count - 1) * (len(b"\x1e\x00") + len(SEPARATOR))
        return leaves


def _fields(buffer: memoryview, offset: int) -> tuple[list[bytes | None], int] | None:
    """Return the row at ``offset`` and where the next starts; None at the end or when it is incomplete."""
    if offset + 2 > len(buffer) or bytes(buffer[offset : offset + 2]) == b"\xff\xff":
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
        fields.append(None if length < 0 else bytes(buffer[offset : offset + length]))
        offset += max(length, 0)
    return fields, offset


class _Seconds(dict[int, str]):
    """The text of every second met, but for its fraction and zone."""

    def __missing__(self, seconds: int) -> str:
        if len(self) > MAX_SECONDS:
            self.clear()
        text = (POSTGRES_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
        self[seconds] = text
        return text


_seconds = _Seconds()


def _times(column: bytes, count: int) -> bytes:
    """Write a column of PostgreSQL timestamps as envelopes do, one after the other."""
    moments = struct.unpack(f">{count}q", column)
    seconds = _seconds
    fractions = [moment % MICROSECONDS for moment in moments]
    if 0 in fractions:
        pairs = [(seconds[moment // MICROSECONDS], moment % MICROSECONDS) for moment in moments]
        return "".join([f"{text}.{fraction:06}Z" if fraction else f"{text}Z" for text, fraction in pairs]).encode()
    interleaved: list[str | int] = [0] * (2 * count)
    interleaved[::2] = [seconds[moment // MICROSECONDS] for moment in moments]
    interleaved[1::2] = fractions
    return ("%s.%06dZ" * count % tuple(interleaved)).encode()
