"""Imports: a client stream of rows, checked one by one and in bulk, merged and reported in one transaction.

Rows are spooled as they arrive and only then copied, in one COPY, into the temporary table ``import_row``.
So a caller who sends for an hour holds none of the service's five connections and no snapshot meanwhile,
a repeated import is answered before any work is done, and a merge that met a concurrent writer is done again.
"""

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import asyncpg
import orjson
from google.protobuf.message import Message

from dutyloop.kit.v1 import kit_pb2
from services.kit import db, ledger
from services.kit.call import Call
from services.kit.catalogue import describe_problem
from services.kit.crypto import digest
from services.kit.db import Connection, Database, Repeated, Row
from services.kit.errors import ImportRunning, InvalidFields, ServiceUnavailable, invalid
from services.kit.ledger import Event
from services.kit.names import name_of
from services.kit.policy import violations_of

MAX_ROWS_PER_MESSAGE = 1_000
MAX_ROWS = 1_000_000
"""Of one stream: half as many again as the country has regions. More go in several imports."""
MAX_REPORTED_ERRORS = 10_000
SPOOL_MEMORY_BYTES = 32 * 1024 * 1024
"""Beyond this the spool moves to an unnamed temporary file."""
LENGTH_BYTES = 4
IMPORT_SECONDS = 600.0
"""Bounds each statement of an import, in place of the fifteen seconds of a command's."""
MERGE_ATTEMPTS = 5
BATCH_RESOURCES = 1_000
"""Resources that one ledger entry tells of, at the most."""
BATCHES_AT_ONCE = 16
"""Batches in memory, with the entries that tell of them."""
R = TypeVar("R", bound=Message)

# A tenth of the usual sample tells the planner of the staged rows what it needs, in a tenth of the time. What is there
# already is looked up by key, however much it is: read through for each import, it would make the later ones slower.
PREPARE = """
SELECT set_config('statement_timeout', $1, true), set_config('work_mem', '64MB', true),
    set_config('default_statistics_target', '10', true), set_config('random_page_cost', '1.1', true)
"""
TRY_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))"
ADD_OWN_COLUMNS = """
ALTER TABLE import_row
    ADD COLUMN position bigint NOT NULL,
    ADD COLUMN source_row bigint NOT NULL,
    ADD COLUMN faulty_column text,
    ADD COLUMN problem text
"""
ANALYZE = "ANALYZE import_row"
SELECT_FAULTS = """
SELECT position, source_row, faulty_column, problem, count(*) OVER () AS total
FROM import_row
WHERE problem IS NOT NULL
ORDER BY position
LIMIT $1
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """Resources written by a merge that lie in one place, at most ``BATCH_RESOURCES``: a ledger entry tells of them.

    Whoever reaches the place may read the entry, so that it must tell of nothing elsewhere. ``columns`` has for
    each resource, in their order, what figures are counted from.
    """

    resources: Sequence[str]
    columns: Mapping[str, Sequence[Any]]
    region_code: str
    unit_path: str


@dataclass(slots=True)
class Merged:
    """What a merge changed; the valid rows beyond these changed nothing."""

    created: int = 0
    updated: int = 0


Tell = Callable[[str, Sequence[Row]], Awaitable[None]]
"""Tells the ledger of what was written: the collection, and rows as ``batches_of`` takes them."""


async def portions(connection: Connection, statement: str, *arguments: object) -> AsyncIterator[Sequence[Row]]:
    """Run a merge that returns a row per batch, and yield the rows some at a time: a million resources are much."""
    cursor = await connection.cursor(statement, *arguments, timeout=IMPORT_SECONDS)
    while rows := await cursor.fetch(BATCHES_AT_ONCE, timeout=IMPORT_SECONDS):
        yield rows


def batches_of(collection: str, rows: Sequence[Row]) -> Sequence[Batch]:
    """Make batches of rows that have ``region_code``, ``unit_path``, ``ids`` and further arrays of the same length."""
    return [
        Batch(
            [name_of(collection, each) for each in row["ids"]],
            {name: values for name, values in row.items() if name not in ("ids", "region_code", "unit_path")},
            row["region_code"],
            row["unit_path"],
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class Importer(Generic[R]):
    """What is particular to one kind of row.

    ``create_staging`` makes ``CREATE TEMPORARY TABLE import_row (…) ON COMMIT DROP`` with ``columns``; it gets
    ``position``, ``source_row``, ``faulty_column`` and ``problem`` besides. ``record_of`` checks one row, whose
    field rules hold already, and returns the values of ``columns`` (text, numbers, booleans, None: they are
    kept as JSON; casts are the merge's) or raises InvalidFields. ``merge`` marks faulty rows by setting
    ``faulty_column`` and ``problem``, writes the others, tells what it wrote, and passes ``timeout=IMPORT_SECONDS``
    to asyncpg. ``batch_type`` is the event type of the entries that tell of what was written, where the merge says it.
    """

    event_type: str
    create_staging: str
    columns: Sequence[str]
    record_of: Callable[[R], Sequence[Any]]
    merge: Callable[[Connection, Tell], Awaitable[Merged]]
    region_code: str
    """With ``unit_path``: who reaches this place may read the summary, which counts all that was sent."""
    unit_path: str = ""
    objects: Sequence[str] = ()
    """Names what the rows go into, where that is one resource; imports into others run beside."""
    register: str | None = None
    """Region code of the register that legacy ids come from; None where rows have none."""
    batch_type: str = ""

    @property
    def lock(self) -> str:
        """Name what one import at a time goes into: regions do not wait for, nor learn of, each other's imports."""
        return " ".join((self.event_type, self.register or "", *self.objects))


@dataclass(frozen=True, slots=True)
class _Fault:
    position: int
    source_row: int
    column: str
    problem: str


@dataclass(slots=True)
class _Received:
    """What came before the database was asked: rows counted, refused ones set aside."""

    rows: int = 0
    rejected: int = 0
    faults: list[_Fault] = field(default_factory=list)
    dry_run: bool = False

    def refuse(self, source_row: int, at: str, problem: str) -> None:
        self.rejected += 1
        if len(self.faults) < MAX_REPORTED_ERRORS:
            column = at.rpartition(".")[2]
            self.faults.append(_Fault(self.rows, source_row, column, problem))


class _Spool:
    """Batches of records, written once and read as often as the merge is tried."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=SPOOL_MEMORY_BYTES)  # noqa: SIM115 (closed by close)

    def write(self, records: Sequence[Sequence[Any]]) -> None:
        data = orjson.dumps(records)
        self._file.write(len(data).to_bytes(LENGTH_BYTES, "big"))
        self._file.write(data)

    def _batches(self) -> Iterator[list[list[Any]]]:
        self._file.seek(0)
        while head := self._file.read(LENGTH_BYTES):
            yield orjson.loads(self._file.read(int.from_bytes(head, "big")))

    async def records(self) -> AsyncIterator[Sequence[Any]]:
        """Yield every record, letting other calls run between batches."""
        for batch in self._batches():
            await asyncio.sleep(0)
            for record in batch:
                yield record

    def close(self) -> None:
        self._file.close()


async def run_import(
    database: Database, call: Call, messages: AsyncIterator[Any], importer: Importer[R]
) -> kit_pb2.ImportReport:
    """Take the stream in and report on it.

    Ledger entries tell of what was written, batch by batch, and one of the whole import: its receipt is answered
    to the caller, and it commits to the others. Refused rows are reported and the others kept. A repeated import
    gets its report again, in the language of whoever repeats it. A dry run does the same work and rolls it back:
    neither rows nor ledger entries nor stored answer remain. Raises ImportRunning when the same kind is running
    into the same objects or from the same register, RoleMissing when the caller's post ended meanwhile.
    """
    spool = _Spool()
    try:
        received = await _receive(messages, spool, importer)
        run = _try_out if received.dry_run else _import_for_good
        attempt = 0
        while True:
            attempt += 1
            try:
                report = await run(database, call, received, spool, importer)
                break
            except Repeated:
                continue  # the same import, sent twice at a time; its answer is there now
            except (*db.TRANSIENT, asyncpg.UniqueViolationError) as error:
                # Somebody wrote the same rows meanwhile; the next attempt finds them and updates them.
                if attempt >= MERGE_ATTEMPTS:
                    raise ServiceUnavailable from error
                await asyncio.sleep(random.uniform(0.5, 1) * 0.05 * 2**attempt)  # noqa: S311 (jitter)
    finally:
        spool.close()
    for refused in report.errors:
        refused.description = describe_problem(refused.reason.lower(), call.locale)
    return report


async def _receive(messages: AsyncIterator[Any], spool: _Spool, importer: Importer[R]) -> _Received:
    received = _Received()
    first = True
    async for message in messages:
        if first:
            if importer.register is None and message.header.source_region:
                raise invalid("header.source_region", "not_applicable")
            received.dry_run = message.header.dry_run
        elif message.HasField("header"):
            raise invalid("header")
        first = False
        if len(message.rows) > MAX_ROWS_PER_MESSAGE or received.rows + len(message.rows) > MAX_ROWS:
            raise invalid("rows", "too_many")
        records: list[Sequence[Any]] = []
        for row in message.rows:
            received.rows += 1
            source_row = row.row or received.rows
            if violations := violations_of(row):
                received.refuse(source_row, violations[0].field, violations[0].problem)
                continue
            try:
                records.append((received.rows, source_row, *importer.record_of(row)))
            except InvalidFields as error:
                received.refuse(source_row, error.violations[0].field, error.violations[0].problem)
        if records:
            spool.write(records)
    return received


async def _keep_to_oneself(collection: str, rows: Sequence[Row]) -> None:
    """Tell the ledger nothing."""


async def _try_out(
    database: Database, call: Call, received: _Received, spool: _Spool, importer: Importer[R]
) -> kit_pb2.ImportReport:
    async with database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            return await _import(connection, received, spool, importer, _keep_to_oneself)
        finally:
            await transaction.rollback()


async def _import_for_good(
    database: Database, call: Call, received: _Received, spool: _Spool, importer: Importer[R]
) -> kit_pb2.ImportReport:
    if (stored := await database.stored_answer(call)) is not None:
        return kit_pb2.ImportReport.FromString(stored)
    async with database.command(call) as tx:
        told: list[bytes] = []

        async def tell(collection: str, rows: Sequence[Row]) -> None:
            entries = _entries_of(call, importer, batches_of(collection, rows))
            await ledger.append_many(tx.connection, entries)
            told.extend(entry.leaf_hash for entry in entries)

        report = await _import(tx.connection, received, spool, importer, tell)
        payload = {
            "rows": report.rows,
            "created": report.created,
            "updated": report.updated,
            "unchanged": report.unchanged,
            "rejected": report.rejected,
            "stream_sha256": call.body_hash.hex(),
            "batches": len(told),
            "batches_sha256": digest(b"".join(told)).hex(),
        }
        if importer.register is not None:
            payload["source_region"] = name_of("regions", importer.register)
        tx.record(Event(importer.event_type, importer.objects, payload, importer.region_code, importer.unit_path))
        await call.recheck()
        return tx.answer(report)


async def _import(
    connection: Connection, received: _Received, spool: _Spool, importer: Importer[R], tell: Tell
) -> kit_pb2.ImportReport:
    """Stage, check and merge in the transaction that is open on ``connection``. The report is not worded yet."""
    await connection.fetchval(PREPARE, f"{int(IMPORT_SECONDS)}s")
    if not await connection.fetchval(TRY_LOCK, importer.lock):
        raise ImportRunning
    await connection.execute(importer.create_staging)
    await connection.execute(ADD_OWN_COLUMNS)
    await connection.copy_records_to_table(
        "import_row",
        records=spool.records(),
        columns=["position", "source_row", *importer.columns],
        timeout=IMPORT_SECONDS,
    )
    await connection.execute(ANALYZE, timeout=IMPORT_SECONDS)
    merged = await importer.merge(connection, tell)
    rows = await connection.fetch(SELECT_FAULTS, MAX_REPORTED_ERRORS, timeout=IMPORT_SECONDS)
    late = [_Fault(*row[:4]) for row in rows]
    rejected = received.rejected + (rows[0]["total"] if rows else 0)
    report = kit_pb2.ImportReport(
        rows=received.rows,
        created=merged.created,
        updated=merged.updated,
        unchanged=received.rows - rejected - merged.created - merged.updated,
        rejected=rejected,
        dry_run=received.dry_run,
    )
    faults = sorted([*received.faults, *late], key=lambda fault: fault.position)
    for fault in faults[:MAX_REPORTED_ERRORS]:
        report.errors.add(row=fault.source_row, column=fault.column, reason=fault.problem.upper())
    return report


def _entries_of(call: Call, importer: Importer[R], batches: Sequence[Batch]) -> Sequence[ledger.Entry]:
    """Compose the entries of what was written. The columns stand in the order of the entry's objects."""
    source_region = name_of("regions", importer.register)
    return [
        ledger.entry_of(
            call,
            Event(
                importer.batch_type,
                batch.resources,
                {"source_region": source_region, "columns": batch.columns},
                batch.region_code,
                batch.unit_path,
            ),
            actor=call.principal,
            on_behalf_of=call.on_behalf_of,
            method=call.rule.path,
            request_id=call.request_id,
        )
        for batch in batches
    ]
