"""All SQL of the audit service: reading the ledger, its nodes and its checkpoints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from services.audit.merkle import Coordinates
from services.kit.access import Scope
from services.kit.db import Connection, Database
from services.kit.errors import NotFound
from services.kit.names import id_of

MAX_STORY_ENTRIES = 20_000
"""Of one case; a story longer than that is told in part rather than filling the memory."""


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """What a list or a follower keeps; empty strings and None keep everything."""

    object: str = ""
    type_prefix: str = ""
    actor: str = ""
    workflow_id: str = ""
    start_time: datetime | None = None
    end_time: datetime | None = None


class AuditStore:
    """Reads the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # What a message would hold is weighed before it is read: an entry that tells of an import has a thousand rows in
    # it, and the length of what lies outside the row costs nothing. What an envelope says is sent beside it as well.
    LIST_ENTRIES = """
    SELECT id, position, business_time, recorded_time, envelope, salt, payload, leaf_hash, found
    FROM (
        SELECT id, position, business_time, recorded_time, envelope, salt, payload, leaf_hash,
            count(*) OVER () AS found,
            sum(2 * octet_length(envelope) + coalesce(octet_length(payload), 0)) OVER before_it AS bytes_before
        FROM (
            SELECT id, position, business_time, recorded_time, envelope, salt, payload, leaf_hash
            FROM ledger.entry
            WHERE position > $1
                AND (region_code ^@ ANY($2::text[]) OR unit_path ^@ ANY($3::text[]))
                AND ($4 = '' OR objects @> ARRAY[$4])
                AND ($5 = '' OR type ^@ $5)
                AND ($6 = '' OR actor = $6)
                AND ($7 = '' OR workflow_id = $7)
                AND ($8::timestamptz IS NULL OR business_time >= $8)
                AND ($9::timestamptz IS NULL OR business_time < $9)
            ORDER BY position
            LIMIT $10
        ) AS page
        WINDOW before_it AS (ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ) AS weighed
    WHERE coalesce(bytes_before, 0) < $11
    ORDER BY position
    """

    async def list_entries(
        self, scope: Scope, after: int, kept: EntryFilter, limit: int, room: int
    ) -> list[asyncpg.Record]:
        """List sequenced entries within reach, by position: up to ``limit``, no more once ``room`` bytes are full.

        ``found`` counts those that the limit alone would let through.
        """
        return await self._database.fetch(
            self.LIST_ENTRIES,
            after,
            *scope.prefixes,
            kept.object,
            kept.type_prefix,
            kept.actor,
            kept.workflow_id,
            kept.start_time,
            kept.end_time,
            limit,
            room,
        )

    FOLLOW_ENTRIES = """
    SELECT id, position, business_time, recorded_time, CASE WHEN kept THEN envelope END AS envelope,
        CASE WHEN kept THEN salt END AS salt, CASE WHEN kept THEN payload END AS payload, leaf_hash, kept, found
    FROM (
        SELECT id, position, business_time, recorded_time, envelope, salt, payload, leaf_hash, kept,
            count(*) OVER () AS found,
            sum(2 * octet_length(envelope) + coalesce(octet_length(payload), 0)) FILTER (WHERE kept)
                OVER before_it AS bytes_before
        FROM (
            SELECT id, position, business_time, recorded_time, envelope, salt, payload, leaf_hash,
                (region_code ^@ ANY($3::text[]) OR unit_path ^@ ANY($4::text[])) AND type ^@ $5
                    AND (NOT type ^@ 'access.' OR region_code ^@ ANY($6::text[]) OR unit_path ^@ ANY($7::text[]))
                    AS kept
            FROM ledger.entry
            WHERE position > $1
            ORDER BY position
            LIMIT $2
        ) AS batch
        WINDOW before_it AS (ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ) AS weighed
    WHERE coalesce(bytes_before, 0) < $8
    ORDER BY position
    """

    async def follow_entries(
        self, scope: Scope, audited: Scope, after: int, type_prefix: str, limit: int, room: int
    ) -> list[asyncpg.Record]:
        """Read the next entries by position, those out of reach too; ``kept`` tells which may be shown and are whole.

        Refusals are shown within the reach ``audited`` only. As in a list, ``limit`` and ``room`` bound what is read.
        """
        return await self._database.fetch(
            self.FOLLOW_ENTRIES,
            after,
            limit,
            *scope.prefixes,
            type_prefix,
            *audited.prefixes,
            room,
        )

    SELECT_ENTRY = """
    SELECT id, position, business_time, recorded_time, region_code, unit_path, envelope, salt, payload, leaf_hash
    FROM ledger.entry
    WHERE id = $1
    """

    async def entry(self, name: str, scope: Scope) -> asyncpg.Record:
        """Return an entry's row. Raises NotFound, also for one outside the scope."""
        return scope.row(name, await self._database.fetchrow(self.SELECT_ENTRY, id_of(name, "ledgerEntries")))

    SELECT_STORY = """
    SELECT id, position, type, actor, business_time, recorded_time, objects, region_code, unit_path, request_id,
        workflow_id, payload
    FROM ledger.entry
    WHERE ($1 <> '' AND objects @> ARRAY[$1]) OR ($2 <> '' AND workflow_id = $2)
    ORDER BY business_time, recorded_time, id
    LIMIT $3
    """

    async def story(self, case_name: str, workflow_id: str) -> list[asyncpg.Record]:
        """Read the entries that are about a resource or were decided by a workflow, sequenced or not."""
        return await self._database.fetch(self.SELECT_STORY, case_name, workflow_id, MAX_STORY_ENTRIES)

    SELECT_CHECKPOINT = """
    SELECT tree_size, root_hash, note, sign_time
    FROM ledger.checkpoint
    WHERE $1::bigint IS NULL OR tree_size = $1
    ORDER BY tree_size DESC
    LIMIT 1
    """

    async def checkpoint(self, tree_size: int | None) -> asyncpg.Record:
        """Read the checkpoint of a size, or the latest. Raises NotFound."""
        row = await self._database.fetchrow(self.SELECT_CHECKPOINT, tree_size)
        if row is None:
            raise NotFound(f"checkpoints/{'-' if tree_size is None else tree_size}")
        return row

    async def size(self) -> int:
        """Count the sequenced entries."""
        return await count_sequenced(self._database)

    async def nodes(self, wanted: Sequence[Coordinates]) -> Mapping[Coordinates, bytes]:
        """Read the roots of complete subtrees."""
        return await read_nodes(self._database, wanted)


SELECT_SIZE = "SELECT coalesce(max(position) + 1, 0) FROM ledger.entry"


async def count_sequenced(source: "Connection | Database") -> int:
    """Count the sequenced entries."""
    size: int = await source.fetchval(SELECT_SIZE)
    return size


SELECT_NODES = """
SELECT level, index, hash
FROM ledger.node
WHERE (level, index) IN (SELECT * FROM unnest($1::smallint[], $2::bigint[]))
UNION ALL
SELECT 0, position, leaf_hash
FROM ledger.entry
WHERE position = ANY($3::bigint[])
"""


async def read_nodes(source: "Connection | Database", wanted: Sequence[Coordinates]) -> Mapping[Coordinates, bytes]:
    """Read the roots of complete subtrees, those that are missing left out."""
    rows = await source.fetch(
        SELECT_NODES,
        [level for level, _ in wanted if level],
        [index for level, index in wanted if level],
        [index for level, index in wanted if not level],
    )
    return {(row["level"], row["index"]): row["hash"] for row in rows}
