"""The offline verifier: recomputes the whole ledger from stored bytes and says where it was tampered with.

It needs a reader's login, the checkpoint file and the public key; no service, no sequencer, no stored node
is trusted. Rows are checked in ranges, by several processes when there are many; memory stays bounded.
"""

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import groupby
from time import perf_counter

import asyncpg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from services.audit import checkpoints, merkle
from services.audit.checkpoints import CheckpointFile, NoteError, SignedHead
from services.audit.ranges import CheckedRange, Checker, Connection, Helper, Here, Login, session
from services.audit.rows import COPY_UNSEQUENCED, MAX_PROBLEMS, Problem, RowChecker
from services.kit.contexts import AUDITOR, CONTEXTS
from services.kit.db import role_password
from services.kit.failures import Failure
from services.kit.settings import Settings, required

RANGE = 32_768
AT_ONCE = 512
"""Leaves put into the tree before anything else gets its turn."""
PARALLEL_FROM = 150_000
"""Entries from which starting processes pays."""
MAX_PROCESSES = 8
"""By default one for every two cores: PostgreSQL needs the other for what it hands over."""

Progress = Callable[[int, int], None]
"""Called with the entries verified so far and their total."""


class OtherSchema(Failure):
    """The database does not have the tables of this version; the words say what is amiss."""


@dataclass(slots=True)
class Verification:
    """The outcome. ``problems`` are in the order of positions, those without one at the end."""

    entries: int = 0
    unsequenced: int = 0
    shredded: int = 0
    checkpoints: int = 0
    receipts: int = 0
    hashed_bytes: int = 0
    root_hash: bytes = b""
    seconds: float = 0.0
    problems: list[Problem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.problems


class _Heads:
    """The checkpoints of file and table by size, each signature checked once."""

    def __init__(
        self, file: CheckpointFile | None, end: int, keys: Sequence[Ed25519PublicKey], found: Verification
    ) -> None:
        """Take the notes that begin before byte ``end`` of the file."""
        self.file_is_there = file is None or end > 0
        self._notes = self._of_file(file, end) if file else iter(())
        self._keys = keys
        self._found = found
        self._next = next(self._notes, None)

    def _of_file(self, file: CheckpointFile, end: int) -> Iterator[SignedHead]:
        last = 0
        for note in file.notes(end):
            head = self._verified(note, "the checkpoint file")
            if head is None:
                continue
            if head.tree_size <= last:
                self.note("bad_checkpoint", head.tree_size, "the checkpoint file does not grow from note to note")
            last = max(last, head.tree_size)
            yield head

    def _verified(self, note: str, where: str) -> SignedHead | None:
        self._found.checkpoints += 1
        try:
            return checkpoints.verify(note, self._keys)
        except NoteError as error:
            self.note("bad_checkpoint", None, f"{where}: {error}")
            return None

    def up_to(self, end: int, stored: Sequence[asyncpg.Record]) -> list[SignedHead]:
        """Return the file's heads of at most ``end`` entries and those stored in the table, by size."""
        heads = []
        kept = set()
        while self._next is not None and self._next.tree_size <= end:
            heads.append(self._next)
            kept.add(self._next.note)
            self._next = next(self._notes, None)
        for row in stored:
            if row["note"] not in kept:
                head = self._verified(row["note"], f"the stored checkpoint of {row['tree_size']} entries")
                if head is not None:
                    heads.append(head)
            if not self._agrees(row):
                self.note("bad_checkpoint", row["tree_size"] - 1, "a stored checkpoint differs from its signed note")
        return sorted(heads, key=lambda head: head.tree_size)

    def beyond(self) -> SignedHead | None:
        """Return the file's largest head beyond all that was asked for."""
        largest = self._next
        for head in self._notes:
            largest = head
        return largest

    def note(self, kind: str, position: int | None, detail: str) -> None:
        """Keep a problem."""
        self._found.problems.append(Problem(kind, position, detail))

    @staticmethod
    def _agrees(row: asyncpg.Record) -> bool:
        try:
            head = checkpoints.parse(row["note"])
        except NoteError:
            return False
        return (head.tree_size, head.root_hash) == (row["tree_size"], row["root_hash"])


SELECT_SIZE = """
SELECT coalesce(max(position) + 1, 0) AS size, (SELECT max(tree_size) FROM ledger.checkpoint) AS signed
FROM ledger.entry
WHERE position >= 0
"""
SELECT_FOLLOWING = "SELECT min(position) FROM ledger.entry WHERE position >= $1"
SELECT_CHECKPOINTS = """
SELECT tree_size, root_hash, note
FROM ledger.checkpoint
WHERE tree_size > $1 AND tree_size <= $2
ORDER BY tree_size
"""
SELECT_PAIRS = """
SELECT index, hash
FROM ledger.node
WHERE level = 1 AND index >= $1 AND index < $2
ORDER BY index
"""
SELECT_FRONTIER = """
SELECT level, index, hash
FROM ledger.node
WHERE (level, index) IN (SELECT * FROM unnest($1::smallint[], $2::bigint[]))
"""
SCHEMAS_WITH_COMMANDS = """
SELECT schemaname
FROM pg_catalog.pg_tables
WHERE tablename = 'command' AND schemaname = ANY($1::text[])
ORDER BY schemaname
"""
COUNT_RECEIPTS = "SELECT coalesce(sum(cardinality(receipts)), 0)::bigint FROM command"
SELECT_BROKEN_RECEIPTS = """
SELECT receipt, min(method) AS method, min(request_id) AS request_id, min(created_time) AS answered,
    (SELECT min(entry.position) FROM ledger.entry WHERE entry.request_id = min(command.request_id)) AS position
FROM command, unnest(command.receipts) AS receipt
WHERE NOT EXISTS (SELECT FROM ledger.entry WHERE entry.leaf_hash = receipt)
GROUP BY receipt
ORDER BY answered
LIMIT $1
"""


class _Run:
    """One verification of one snapshot."""

    def __init__(
        self, connection: Connection, login: Login, heads: _Heads, found: Verification, progress: Progress | None
    ) -> None:
        self._connection = connection
        self._login = login
        self._heads = heads
        self._found = found
        self._progress = progress
        self._tree = merkle.Frontier()
        self._good = 0
        """Size of the largest checkpoint whose root is that of the rows."""
        self._broken = False

    async def entries(self, processes: int) -> None:
        """Check rows, positions and roots from the first entry to the last."""
        total, signed = await self._connection.fetchrow(SELECT_SIZE) or (0, None)
        helpers = min(processes, MAX_PROCESSES) - 1 if total >= PARALLEL_FROM else 0
        pending: dict[int, asyncio.Task[CheckedRange]] = {}
        async with AsyncExitStack() as resources:
            checkers: list[Checker] = [Here(await resources.enter_async_context(session(self._login)))]
            for _ in range(helpers):
                helper = await Helper.start(self._login)
                resources.push_async_callback(helper.stop)
                checkers.append(helper)
            try:
                await self._ranges(total, checkers, pending)
            finally:
                for task in pending.values():
                    task.cancel()
                await asyncio.gather(*pending.values(), return_exceptions=True)
        self._found.entries = self._tree.size
        self._found.root_hash = self._tree.root()
        if signed and not self._heads.file_is_there:
            self._heads.note("missing_checkpoint_file", None, "checkpoints were signed, but their file is empty")
        await self._compare_frontier()
        await self._require_all_signed(total, signed or 0)

    async def _ranges(
        self, total: int, checkers: Sequence[Checker], pending: dict[int, asyncio.Task[CheckedRange]]
    ) -> None:
        """Walk the ranges in order; two for each checker are under way ahead."""
        start = 0
        while start < total:
            end = min(start + RANGE, total)
            for first in range(start, min(start + 2 * len(checkers) * RANGE, total), RANGE):
                if first not in pending:
                    checker = checkers[first // RANGE % len(checkers)]
                    pending[first] = asyncio.create_task(checker.check(first, min(first + RANGE, total)))
            checked = await pending.pop(start)
            if checked.rows == 0:
                end = (await self._connection.fetchval(SELECT_FOLLOWING, end) or total) // RANGE * RANGE
                end = max(end, start + RANGE)
                gap = Problem("missing_entry", start, f"{min(end, total) - start} entries from here on are missing")
                self._found.problems.append(gap)
            await self._take(start, min(end, total), checked)
            start = end
            if self._progress:
                self._progress(min(end, total), total)

    async def _take(self, start: int, end: int, checked: CheckedRange) -> None:
        """Put a checked range into the tree, stopping at each checkpoint to compare the root."""
        found = self._found
        found.shredded += checked.shredded
        found.hashed_bytes += checked.hashed_bytes
        found.problems.extend(checked.problems[: max(0, MAX_PROBLEMS - len(found.problems))])
        leaves = checked.leaves
        stored = await self._connection.fetch(SELECT_CHECKPOINTS, start, end)
        done = 0
        for size, heads in groupby(self._heads.up_to(end, stored), key=lambda head: head.tree_size):
            upto = size - start
            if upto > done:
                await self._extend(leaves[done:upto])
                done = upto
            roots = {head.root_hash for head in heads}
            if len(roots) > 1:
                other = f"{len(roots)} different roots were signed for {size} entries: more than one log was shown"
                self._heads.note("two_views", self._good, f"{other}, from position {self._good} on at the earliest")
            if self._broken:
                continue
            if self._tree.size == size and self._tree.root() in roots:
                self._good = size
            else:
                self._broken = True
                await self._locate(size, start, leaves)
        await self._extend(leaves[done:])

    async def _extend(self, leaves: Sequence[bytes]) -> None:
        """Append leaves, letting what PostgreSQL sends of the next range be taken in meanwhile."""
        for start in range(0, len(leaves), AT_ONCE):
            self._tree.extend(leaves[start : start + AT_ONCE])
            await asyncio.sleep(0)

    async def _locate(self, size: int, start: int, leaves: Sequence[bytes]) -> None:
        """Say where the rows left the log that was signed: at the first stored pair that differs, if any does."""
        first, last = self._good, size - 1
        where = f"the entries from position {first} to {last} are not those that were signed"
        positions = [each.position for each in self._found.problems if each.position is not None]
        known = [position for position in positions if first <= position <= last]
        if known:
            self._heads.note("rewritten_log", min(known), where)
            return
        begin = max(first, start) & ~1
        for row in await self._connection.fetch(SELECT_PAIRS, begin >> 1, size >> 1):
            left = (row["index"] << 1) - start
            if left < 0 or left + 1 >= len(leaves) or merkle.node_hash(leaves[left], leaves[left + 1]) != row["hash"]:
                first = max(first, row["index"] << 1)
                where = f"{where}; the first to differ is at position {first} or {first + 1}"
                break
        self._heads.note("rewritten_log", first, where)

    async def _compare_frontier(self) -> None:
        """Check the stored nodes that the sequencer will build on, when the rows themselves are right."""
        if self._broken or self._found.problems:
            return
        wanted = [each for each in merkle.frontier_of(self._tree.size) if each[0]]
        rows = await self._connection.fetch(
            SELECT_FRONTIER, [level for level, _ in wanted], [index for _, index in wanted]
        )
        stored = {(row["level"], row["index"]): row["hash"] for row in rows}
        computed = dict(zip(merkle.frontier_of(self._tree.size), self._tree.hashes(), strict=True))
        for level, index in wanted:
            if stored.get((level, index)) != computed[level, index]:
                self._heads.note("wrong_node", index << level, f"the stored node ({level}, {index}) is wrong")

    async def _require_all_signed(self, total: int, signed: int) -> None:
        """Find signed heads beyond the last row: a cut tail, or a database older than the file."""
        stored = await self._connection.fetch(SELECT_CHECKPOINTS, total, max(signed, total))
        for row in stored[-1:]:
            cut = f"{row['tree_size']} entries were signed, the last {row['tree_size'] - total} of them are missing"
            self._heads.note("truncated_tail", total, cut)
        beyond = self._heads.beyond()
        if beyond is not None and beyond.tree_size > max(signed, total):
            older = f"the checkpoint file knows {beyond.tree_size} entries, the database {total}: an older state"
            self._heads.note("older_restore", total, older)

    async def unsequenced(self) -> None:
        """Check the rows that have no position yet."""
        checker = RowChecker(-1)

        async def feed(data: bytes) -> None:
            checker.feed(data)
            checker.leaves.clear()

        await self._connection.copy_from_query(COPY_UNSEQUENCED, output=feed, format="binary")
        self._found.unsequenced = checker.rows
        self._found.problems.extend(checker.problems)


async def check_receipts(login: Login, found: Verification) -> None:
    """Look every receipt up that a service stored with an answer: what was acknowledged must be here."""
    async with session(login) as connection:
        schemas = [row["schemaname"] for row in await connection.fetch(SCHEMAS_WITH_COMMANDS, list(CONTEXTS))]
        for schema in schemas:
            await connection.execute("SELECT set_config('search_path', $1, true)", schema)
            found.receipts += await connection.fetchval(COUNT_RECEIPTS)
            for row in await connection.fetch(SELECT_BROKEN_RECEIPTS, MAX_PROBLEMS):
                place = "" if row["position"] is None else " (an entry of that request is here, with other content)"
                detail = (
                    f"{schema} acknowledged request {row['request_id']} of {row['method']} at "
                    f"{row['answered'].isoformat()}, whose entry {row['receipt'].hex()} is missing{place}"
                )
                found.problems.append(Problem("missing_receipt", row["position"], detail))


async def verify(
    settings: Settings,
    *,
    keys: Sequence[Ed25519PublicKey] = (),
    progress: Progress | None = None,
    processes: int | None = None,
) -> Verification:
    """Verify the ledger of a database against its envelopes, checkpoints and receipts.

    The public keys are those of the settings' file of verifier keys unless some are given. Services may go
    on writing meanwhile: one snapshot is verified. Raises OtherSchema when the tables are those of another
    version, NoteError when the file cannot be read.
    """
    try:
        return await _verify(settings, keys, progress, processes)
    except (asyncpg.SyntaxOrAccessError, asyncpg.InvalidSchemaNameError) as error:
        raise OtherSchema("other_schema", error=error) from error


async def _verify(
    settings: Settings, keys: Sequence[Ed25519PublicKey], progress: Progress | None, processes: int | None
) -> Verification:
    started = perf_counter()
    found = Verification()
    keys = keys or checkpoints.load_verifier_keys(required(settings.checkpoint_vkey_file, "checkpoint_vkey_file"))
    file = CheckpointFile(settings.checkpoint_file) if settings.checkpoint_file else None
    # What the file holds before the snapshot is taken must be in the snapshot; what comes later need not.
    end = file.length() if file else 0
    url = required(settings.database_url, "database_url").get_secret_value()
    login = Login(url, role_password(settings, AUDITOR))
    async with session(login) as connection:
        snapshot = await connection.fetchval("SELECT pg_export_snapshot()")
        login = Login(login.url, login.password, snapshot)
        heads = _Heads(file, end, keys, found)
        run = _Run(connection, login, heads, found, progress)
        await asyncio.gather(
            run.entries(processes or ((os.cpu_count() or 1) + 1) // 2),
            check_receipts(login, found),
        )
        await run.unsequenced()
    found.problems.sort(key=lambda each: (each.position is None, each.position or 0))
    found.seconds = perf_counter() - started
    return found
