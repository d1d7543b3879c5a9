"""The sequencer: gives committed entries gapless positions, stores the tree's nodes, signs checkpoints.

Every step is one transaction under one advisory lock and reads all it needs from the database, so any
number of sequencers may run, be killed between any two steps, and be started again.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

import asyncpg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.audit import checkpoints, merkle
from services.audit.checkpoints import CheckpointFile, SignedHead
from services.audit.store import count_sequenced, read_nodes
from services.kit.crypto import load_signing_key
from services.kit.db import Connection, Database
from services.kit.logs import logger
from services.kit.settings import Settings, required

LOCK_KEY = 7_302_117_402
BATCH = 1_000
BATCH_OBJECTS = 50_000
"""An entry of an import names a thousand resources, and each is indexed anew when the entry gets its position."""
PAUSE_SECONDS = 0.25
CHECKPOINT_SECONDS = 2.0
"""A new head is signed this soon after the last, when there is one; the promise is five seconds."""
FAILURE_PAUSE_SECONDS = 1.0


class LogDiverged(Exception):
    """The database does not continue the log that was signed: it was restored or changed. Nothing is signed."""


@dataclass(frozen=True, slots=True)
class Sequenced:
    """What one step did. ``held`` is false when another sequencer was at work."""

    held: bool
    entries: int = 0
    full: bool = False
    """It took as much as a step may; more may be waiting."""


class SequencerStore:
    """What the sequencer reads and writes, all in the schema ``ledger``."""

    TRY_LOCK = "SELECT pg_try_advisory_xact_lock($1)"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def take_turn(self) -> bool:
        """Take the sequencers' lock until the transaction ends; False when another has it."""
        return bool(await self._connection.fetchval(self.TRY_LOCK, LOCK_KEY))

    async def size(self) -> int:
        """Count the sequenced entries."""
        return await count_sequenced(self._connection)

    async def frontier(self, size: int) -> merkle.Frontier:
        """Read the tree of ``size`` leaves to be continued. Raises LogDiverged when nodes are missing."""
        wanted = merkle.frontier_of(size)
        found = await read_nodes(self._connection, wanted)
        if len(found) != len(wanted):
            raise LogDiverged(f"nodes of the tree of {size} entries are missing")
        return merkle.Frontier(size, [found[each] for each in wanted])

    # The order is that of recording; what commits late simply comes later.
    ASSIGN_POSITIONS = """
    WITH batch AS (
        SELECT id, number
        FROM (
            SELECT id, row_number() OVER in_order AS number, sum(cardinality(objects)) OVER in_order AS objects
            FROM (
                SELECT id, recorded_time, objects
                FROM ledger.entry
                WHERE position IS NULL
                ORDER BY recorded_time, id
                LIMIT $2
            ) AS unsequenced
            WINDOW in_order AS (ORDER BY recorded_time, id)
        ) AS weighed
        WHERE number = 1 OR objects <= $3
    )
    UPDATE ledger.entry
    SET position = $1 + batch.number - 1
    FROM batch
    WHERE entry.id = batch.id
    RETURNING entry.position, entry.leaf_hash, cardinality(entry.objects) AS objects
    """

    async def assign_positions(self, first: int, limit: int) -> tuple[list[bytes], int]:
        """Give the oldest unsequenced entries the positions from ``first`` on; return their hashes, count objects."""
        rows = await self._connection.fetch(self.ASSIGN_POSITIONS, first, limit, BATCH_OBJECTS)
        rows.sort(key=lambda row: row["position"])
        return [row["leaf_hash"] for row in rows], sum(row["objects"] for row in rows)

    INSERT_NODES = """
    INSERT INTO ledger.node (level, index, hash)
    SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::bytea[])
    """

    async def store_nodes(self, nodes: Sequence[tuple[int, int, bytes]]) -> None:
        """Store the roots of completed subtrees."""
        if nodes:
            await self._connection.execute(self.INSERT_NODES, *map(list, zip(*nodes, strict=True)))

    SELECT_HEAD = "SELECT tree_size, root_hash, note FROM ledger.checkpoint ORDER BY tree_size DESC LIMIT 1"

    async def head(self) -> SignedHead | None:
        """Return the latest checkpoint."""
        row = await self._connection.fetchrow(self.SELECT_HEAD)
        return SignedHead(*row.values()) if row else None

    INSERT_CHECKPOINT = """
    INSERT INTO ledger.checkpoint (tree_size, root_hash, note, sign_time)
    VALUES ($1, $2, $3, clock_timestamp())
    """

    async def store_checkpoint(self, head: SignedHead) -> None:
        """Store a checkpoint."""
        await self._connection.execute(self.INSERT_CHECKPOINT, head.tree_size, head.root_hash, head.note)


class Sequencer:
    """Sequences the ledger of one database."""

    def __init__(self, database: Database, key: Ed25519PrivateKey, file: CheckpointFile) -> None:
        self._database = database
        self._key = key
        self._file = file

    @classmethod
    def of(cls, database: Database, settings: Settings) -> "Sequencer":
        """Return the sequencer with the key and the file that the settings name."""
        key = load_signing_key(required(settings.checkpoint_key_file, "checkpoint_key_file"))
        return cls(database, key, CheckpointFile(required(settings.checkpoint_file, "checkpoint_file")))

    async def sequence(self, limit: int = BATCH) -> Sequenced:
        """Sequence one batch."""
        async with self._database.connection() as connection, connection.transaction():
            store = SequencerStore(connection)
            if not await store.take_turn():
                return Sequenced(held=False)
            size = await store.size()
            leaves, objects = await store.assign_positions(size, limit)
            if leaves:
                frontier = await store.frontier(size)
                await store.store_nodes([node for leaf in leaves for node in frontier.append(leaf)])
            full = len(leaves) == limit or objects > BATCH_OBJECTS // 2
            return Sequenced(held=True, entries=len(leaves), full=full)

    async def checkpoint(self) -> SignedHead | None:
        """Sign the present head; None when it is signed already or another sequencer is at work.

        The file comes first: were the table first, a crash between could leave a published head that no
        witness outside the database has. Raises LogDiverged.
        """
        async with self._database.connection() as connection, connection.transaction():
            store = SequencerStore(connection)
            if not await store.take_turn():
                return None
            size = await store.size()
            head = await store.head()
            kept = await asyncio.to_thread(self._file.last)
            if max(each.tree_size if each else 0 for each in (head, kept)) == size == (head.tree_size if head else 0):
                return None
            await self._require_continuation(store, size, head, kept)
            signed = checkpoints.sign(self._key, size, (await store.frontier(size)).root())
            if kept is None or kept.tree_size < size:
                await asyncio.to_thread(self._file.append, signed.note)
            await store.store_checkpoint(signed)
            return signed

    async def _require_continuation(
        self, store: SequencerStore, size: int, head: SignedHead | None, kept: SignedHead | None
    ) -> None:
        """Refuse to sign a second view: the log must hold what was signed before, here and in the file."""
        for signed in (head, kept):
            if signed is None:
                continue
            if signed.tree_size > size:
                raise LogDiverged(f"{signed.tree_size} entries were signed, {size} are here")
            if (await store.frontier(signed.tree_size)).root() != signed.root_hash:
                raise LogDiverged(f"the first {signed.tree_size} entries are not those that were signed")

    async def run(self) -> None:
        """Sequence and sign, for ever."""
        signed_at = 0.0
        while True:
            try:
                done = await self.sequence()
                if monotonic() - signed_at >= CHECKPOINT_SECONDS:
                    head = await self.checkpoint()
                    if head is not None:
                        signed_at = monotonic()
                        logger().debug("checkpoint_signed", tree_size=head.tree_size)
                if not done.full:
                    await asyncio.sleep(PAUSE_SECONDS)
            except LogDiverged as error:
                logger().error("log_diverged", problem=str(error))
                await asyncio.sleep(FAILURE_PAUSE_SECONDS)
            except (asyncpg.PostgresError, OSError) as error:
                logger().warning("sequencing_failed", error=type(error).__name__)
                await asyncio.sleep(FAILURE_PAUSE_SECONDS)
            except Exception as error:  # noqa: BLE001 (the loop must outlive any outage; the cause is logged)
                logger().error("sequencing_failed", exc_info=error)
                await asyncio.sleep(FAILURE_PAUSE_SECONDS)
