"""The express lane of verification: whole batches of rows at once, column by column.

PostgreSQL hands each column of a batch over as one value, so that splitting and comparing cost a fraction of
what they would row by row; what remains is hashing. It also writes each envelope anew from its columns and says
whether it came out the same: that asks for no more trust than reading those columns would, for what they hold is
what PostgreSQL says. The digest of the payload is computed here. A batch in which anything at all is irregular (an
edit, a gap, a shredded payload, text that JSON escapes) is left to ``rows``, which names it.
"""

import os
import struct
from collections.abc import Sequence
from hashlib import sha256

from services.audit.rows import HEADER_BYTES, LENGTH

BATCH = 256
FIELDS = 7
SEPARATOR = os.urandom(16)
"""Between sealed payloads, whose salts are any bytes: a batch that happens to hold this is irregular."""
TRUE = b"\x01"
# The envelope is front, digest (64 bytes), back. One without a backslash has each of the keys in front and back only
# once, so that it cannot come out the same from other columns. Times are in UTC, which the session is set to, and have
# six digits of a second or none: casting to text is quickest, but leaves noughts at the end away, which to_char does
# not. (It would not tell a year before Christ from the same year after; the date's text does, and says "infinity".) The
# inner query is ordered and has an OFFSET so that each part is made once. IS TRUE: a column that was emptied makes the
# comparison neither true nor false.
COPY_BATCHES = """
SELECT batch.first, columns.*
FROM generate_series($1::bigint, $2::bigint - 1, $3::bigint) AS batch(first),
LATERAL (
    SELECT string_agg(int8send(position), ''::bytea),
        string_agg(leaf_hash, ''::bytea),
        string_agg(envelope, '\\x1e00'::bytea),
        string_agg(salt || payload, $4::bytea),
        string_agg(substr(envelope, octet_length(front) + 1, 64), ''::bytea),
        bool_and((
            octet_length(salt) = 16
            AND envelope = textsend(front) || substr(envelope, octet_length(front) + 1, 64) || textsend(back)
        ) IS TRUE)
    FROM (
        SELECT position, leaf_hash, envelope, salt, payload,
            '{"actor":"' || actor || '","business_time":"'
                || business_time::date::text || 'T' || CASE
                    WHEN business_time <> business_time::timestamptz(5) OR business_time = business_time::timestamptz(0)
                    THEN business_time::time::text ELSE to_char(business_time, 'HH24:MI:SS.US') END
                || 'Z","id":"' || id || '","method":"' || method || '","objects":' || array_to_json(objects)::text
                || ',"on_behalf_of":"' || on_behalf_of || '","payload_commitment":"' AS front,
            '","policy_version":"' || policy_version || '","recorded_time":"'
                || recorded_time::date::text || 'T' || CASE
                    WHEN recorded_time <> recorded_time::timestamptz(5) OR recorded_time = recorded_time::timestamptz(0)
                    THEN recorded_time::time::text ELSE to_char(recorded_time, 'HH24:MI:SS.US') END
                || 'Z","region_code":"' || region_code || '","request_id":"' || request_id || '","type":"' || type
                || '","unit_path":"' || unit_path || '","v":1,"workflow_id":"' || workflow_id || '"}' AS back
        FROM ledger.entry
        WHERE position >= batch.first AND position < least(batch.first + $3::bigint, $2::bigint)
        ORDER BY position
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
        self.leaves: dict[int, list[bytes]] = {}
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

    def _checked(self, first: int, fields: Sequence[bytes | None]) -> list[bytes] | None:
        """Return the batch's leaf hashes; None when it is irregular."""
        count = min(BATCH, self._end - first)
        full = [field for field in fields if field is not None]
        if len(full) != FIELDS - 1:
            return None
        positions, stored, envelopes, sealed, said_digests, same = full
        if same != TRUE or b"\\" in envelopes or positions != struct.pack(f">{count}q", *range(first, first + count)):
            return None
        prefixed = envelopes.split(b"\x1e")
        prefixed[0] = b"\x00" + prefixed[0]
        leaves = [sha256(envelope).digest() for envelope in prefixed]
        digests = b"".join([sha256(payload).digest() for payload in sealed.split(SEPARATOR)])
        if b"".join(leaves) != stored or digests.hex().encode() != said_digests:
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
