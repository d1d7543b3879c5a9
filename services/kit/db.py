"""One pool per service, logged in as the service's own role, and the idempotent command transaction.

Every connection's search path is the service's schema: a store names its tables plainly and cannot
reach another service's by accident (nor, for lack of grants, on purpose).
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar

import asyncpg
import orjson
from google.protobuf.message import Message

from dutyloop.kit.v1 import kit_pb2
from services.kit import leases, ledger
from services.kit.call import Call
from services.kit.errors import DomainError, RequestIdReused, is_recorded, require_etag
from services.kit.gather import Gatherer
from services.kit.leases import Borrowed, Leases
from services.kit.names import derived_id
from services.kit.secret_files import read_secret
from services.kit.settings import Settings, SettingsError, required

Connection: TypeAlias = leases.Connection
Row: TypeAlias = asyncpg.Record
"""A row, for code that shapes answers but runs no SQL."""
CommandKey: TypeAlias = tuple[str, str, str]
"""Principal, method and request id of a command."""
M = TypeVar("M", bound=Message)

CONNECT_SECONDS = 5.0
COMMAND_SECONDS = 15.0
SESSION_SETTINGS = {
    "statement_timeout": "15s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "20s",
    "timezone": "UTC",
    "jit": "off",
}


@dataclass(frozen=True, slots=True)
class Outer:
    """A person's command on a case, whose answer the worker's recording stores.

    ``update`` of the case ``workflow_id`` and its ``argument`` (JSON) are how it was put to the case; ``etag`` is
    the revision that the person saw, if he said so.
    """

    principal: str
    on_behalf_of: str
    method: str
    request_id: str
    body_hash: bytes
    workflow_id: str = ""
    update: str = ""
    argument: bytes = b""
    etag: str = ""

    @property
    def key(self) -> CommandKey:
        """Return the key under which the command's answer is stored."""
        return self.principal, self.method, self.request_id


def outer_of(request: Any) -> Outer | None:
    """Return the person's command that a recording answers, None for what no person asked for."""
    if not request.HasField("outer"):
        return None
    given: kit_pb2.OuterCommand = request.outer
    return Outer(
        given.principal,
        given.on_behalf_of,
        given.method,
        given.request_id,
        given.body_hash,
        given.workflow_id,
        given.update,
        given.argument,
        given.etag,
    )


def require_seen(outer: Outer | None, name: str, revision: int) -> None:
    """Raise StaleEtag when the person saw another revision than the one that the recording changes.

    The service looked before it asked the case; between the two somebody else may have been faster.
    """
    require_etag(name, outer.etag if outer else "", revision)


@dataclass(frozen=True, slots=True)
class CaseMessage:
    """What a case must be told once the transaction that says so has committed.

    A start; an update; or an act, which is a person's update that the transaction records: the case is at it
    already, and is told again only if it has forgotten it. ``name`` is the workflow's name for a start, the
    update's otherwise; ``at`` is business time; ``message_id`` is the update's id, by which the case knows it.
    """

    kind: Literal["start", "update", "act"]
    workflow_id: str
    name: str
    at: datetime
    argument: bytes
    message_id: str = "start"


@dataclass(frozen=True, slots=True)
class Stored:
    """An answer on record."""

    body_hash: bytes
    answer: bytes
    receipts: list[bytes]


class Repeated(Exception):
    """The command's request id is already stored; the transaction is rolled back."""


def returned(row: asyncpg.Record | None) -> asyncpg.Record:
    """Return the row of a statement that always gives one."""
    if row is None:
        raise AssertionError("a statement that always gives a row gave none")
    return row


class Transaction:
    """The open transaction of one command: business SQL, its ledger events and the stored answer."""

    def __init__(self, connection: Connection, call: Call, outer: Outer | None) -> None:
        self.connection = connection
        self._call = call
        self._outer = outer
        self._events: list[ledger.Event] = []
        self._answer: bytes | None = None
        self._outer_answer = b""
        self.messages: list[CaseMessage] = []

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """Run a statement and return its rows."""
        rows: list[asyncpg.Record] = await self.connection.fetch(sql, *arguments)
        return rows

    async def fetchrow(self, sql: str, *arguments: object) -> asyncpg.Record | None:
        """Run a statement and return its first row."""
        row: asyncpg.Record | None = await self.connection.fetchrow(sql, *arguments)
        return row

    async def fetchone(self, sql: str, *arguments: object) -> asyncpg.Record:
        """Run a statement that always gives a row, and return it: INSERT … RETURNING, or of a row that is locked."""
        return returned(await self.fetchrow(sql, *arguments))

    async def execute(self, sql: str, *arguments: object) -> str:
        """Run a statement; return its command tag."""
        tag: str = await self.connection.execute(sql, *arguments)
        return tag

    def record(self, event: ledger.Event) -> None:
        """Have the event appended to the ledger when the transaction commits."""
        self._events.append(event)

    def start_case(self, workflow: str, workflow_id: str, opened: datetime, argument: object) -> None:
        """Have a workflow started after the commit, for certain: a cut start is made up for by the relay."""
        self.messages.append(CaseMessage("start", workflow_id, workflow, opened, orjson.dumps(argument)))

    def tell_case(self, workflow_id: str, update: str, argument: object) -> None:
        """Have a running case updated after the commit, for certain; its refusal ends the telling."""
        told = orjson.dumps(argument)
        identifier = derived_id(workflow_id, update, told.hex())
        self.messages.append(CaseMessage("update", workflow_id, update, self._call.now, told, identifier))

    def answer(self, message: M, outer: Message | None = None) -> M:
        """Keep ``message`` as the answer to this request id, and return it.

        ``outer`` is the answer to the outer command where that is a message of another type.
        """
        self._answer = message.SerializeToString()
        self._outer_answer = self._answer if outer is None else outer.SerializeToString()
        return message

    def recorded_outer(self, receipts: list[bytes]) -> Stored:
        """Return the outer command's answer as it is stored."""
        assert self._outer is not None  # noqa: S101 (asked for recordings of a person's command only)
        return Stored(self._outer.body_hash, self._outer_answer, receipts)

    async def finish(self) -> list[bytes]:
        """Write entries, answers and case messages; return the receipts. Raises Repeated or RequestIdReused."""
        if self._answer is None:
            raise AssertionError(f"{self._call.rule.path} stored no answer")
        call, outer = self._call, self._outer
        actor = outer.principal if outer else call.principal
        entries = [
            ledger.entry_of(
                call,
                event,
                actor=actor,
                on_behalf_of=outer.on_behalf_of if outer else call.on_behalf_of,
                method=outer.method if outer else call.rule.path,
                request_id=outer.request_id if outer else call.request_id,
            )
            for event in self._events
        ]
        receipts = [entry.leaf_hash for entry in entries]
        own = (call.principal, call.rule.path, call.request_id, call.body_hash, self._answer, receipts)
        first, rest = (entries[0], entries[1:]) if entries else (None, [])
        if outer is not None:
            if first is None:
                raise AssertionError(f"{call.rule.path} recorded a person's command without an entry")
            await self._finish_outer(outer, own, first.columns, receipts)
        elif first is not None:
            if not await self.connection.fetchval(FINISH_WITH_ENTRY, *own, *first.columns):
                raise Repeated
        elif not await self.connection.fetchval(INSERT_COMMAND, *own):
            raise Repeated
        if rest:
            await ledger.append(self.connection, rest)
        if self.messages:
            await self.connection.executemany(
                INSERT_CASE_MESSAGE,
                [
                    (each.workflow_id, each.message_id, each.kind, each.name, each.at, each.argument)
                    for each in self.messages
                ],
            )
        return receipts

    async def _finish_outer(
        self, outer: Outer, own: tuple[object, ...], entry: tuple[object, ...], receipts: list[bytes]
    ) -> None:
        """Write the first entry, both answers and the act that the case is to be told again should it forget it."""
        answered = (*outer.key, outer.body_hash, self._outer_answer)
        act = (outer.workflow_id, update_id(*outer.key, outer.body_hash), outer.update, self._call.now, outer.argument)
        written = await self.fetchone(FINISH_OUTER, *own, *entry, *answered, *act)
        if not written["own"]:
            raise Repeated
        if not written["theirs"]:
            raise RequestIdReused(request_id=outer.request_id)


INSERT_COMMAND = """
INSERT INTO command (principal, method, request_id, body_hash, answer, receipts)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING
RETURNING true
"""

FINISH_WITH_ENTRY = f"""
WITH entry AS (
    INSERT INTO ledger.entry ({ledger.ENTRY_COLUMNS})
    VALUES ($7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)
)
INSERT INTO command (principal, method, request_id, body_hash, answer, receipts)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING
RETURNING true
"""  # noqa: S608 (constants of the kit)

FINISH_OUTER = f"""
WITH entry AS (
    INSERT INTO ledger.entry ({ledger.ENTRY_COLUMNS})
    VALUES ($7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)
), own AS (
    INSERT INTO command (principal, method, request_id, body_hash, answer, receipts)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT DO NOTHING
    RETURNING true
), theirs AS (
    INSERT INTO command (principal, method, request_id, body_hash, answer, receipts)
    VALUES ($24, $25, $26, $27, $28, $6)
    ON CONFLICT DO NOTHING
    RETURNING true
), act AS (
    INSERT INTO case_message (workflow_id, message_id, kind, name, at, argument)
    SELECT $29, $30, 'act', $31, $32, $33 WHERE $31 <> ''
    ON CONFLICT DO NOTHING
)
SELECT EXISTS (SELECT FROM own) AS own, EXISTS (SELECT FROM theirs) AS theirs
"""  # noqa: S608 (constants of the kit)

ENTRY_CASTS = (
    "text",
    "text",
    "text",
    "timestamptz",
    "timestamptz",
    "text[]",
    "text",
    "text",
    "text",
    "text",
    "text",
    "text",
    "text",
    "bytea",
    "bytea",
    "bytea",
    "bytea",
)
COMMAND_CASTS = ("text", "text", "text", "bytea", "bytea", "bytea[]")


def at_once(change: str, parameters: int) -> str:
    """Compose the one statement by which a decided change, its ledger entry and its answer commit together.

    ``change`` is an ``UPDATE … RETURNING`` with that many parameters, guarded by the revision that was read:
    where it changes nothing, nothing is written at all.
    """
    command = ", ".join(f"${parameters + 1 + index}::{cast}" for index, cast in enumerate(COMMAND_CASTS))
    first = parameters + 1 + len(COMMAND_CASTS)
    entry = ", ".join(f"${first + index}::{cast}" for index, cast in enumerate(ENTRY_CASTS))
    return "\n".join(
        (
            f"WITH changed AS ({change}), entry AS (",
            f"    INSERT INTO ledger.entry ({ledger.ENTRY_COLUMNS}) SELECT {entry} FROM changed",  # noqa: S608 (numbers and constants)
            ")",
            "INSERT INTO command (principal, method, request_id, body_hash, answer, receipts)",
            f"SELECT {command} FROM changed",  # noqa: S608 (numbers and constants)
            "RETURNING true",
        )
    )


INSERT_CASE_MESSAGE = """
INSERT INTO case_message (workflow_id, message_id, kind, name, at, argument)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING
"""

SELECT_COMMAND = """
SELECT body_hash, answer, receipts
FROM command
WHERE principal = $1 AND method = $2 AND request_id = $3
"""

TellCases = Callable[[Sequence[CaseMessage]], Awaitable[object]]


class Database:
    """A service's door to PostgreSQL."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._leases = Leases(pool)
        self._gatherers: dict[str, Gatherer] = {}
        self.tell_cases: TellCases | None = None
        self._awaited: dict[CommandKey, asyncio.Future[Stored]] = {}

    def connection(self) -> Borrowed:
        """Borrow a connection for at most a command. Raises Overloaded when none is free within a second."""
        return self._leases.borrow()

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """Run a query and return its rows."""
        async with self.connection() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(sql, *arguments)
            return rows

    async def fetchrow(self, sql: str, *arguments: object) -> asyncpg.Record | None:
        """Run a query and return its first row."""
        async with self.connection() as connection:
            row: asyncpg.Record | None = await connection.fetchrow(sql, *arguments)
            return row

    async def fetchone(self, sql: str, *arguments: object) -> asyncpg.Record:
        """Run a query that always gives a row, such as one of counts, and return it."""
        return returned(await self.fetchrow(sql, *arguments))

    def row(self, sql: str, key: str) -> Coroutine[Any, Any, asyncpg.Record | None]:
        """Return the row of a key by a statement over ``ASKED``, shared by all who ask for one of its rows just now."""
        gatherer = self._gatherers.get(sql)
        if gatherer is None:
            gatherer = self._gatherers[sql] = Gatherer(partial(self.fetch, sql))
        return gatherer.row(key)

    async def fetchval(self, sql: str, *arguments: object) -> Any:
        """Run a query and return its first value."""
        async with self.connection() as connection:
            return await connection.fetchval(sql, *arguments)

    async def execute(self, sql: str, *arguments: object) -> str:
        """Run a statement outside any command; for housekeeping, never for business state."""
        async with self.connection() as connection:
            tag: str = await connection.execute(sql, *arguments)
            return tag

    @asynccontextmanager
    async def command(self, call: Call, outer: Outer | None = None) -> AsyncIterator[Transaction]:
        """Run a command: business rows, ledger entries and the stored answer commit together or not at all.

        ``outer`` is the person's command that the worker records. Raises Repeated when the request id has
        its answer already (the server then sends that answer).
        """
        async with self.connection() as connection, connection.transaction():
            transaction = Transaction(connection, call, outer)
            yield transaction
            receipts = await transaction.finish()
        call.receipts.extend(receipts)
        if outer is not None:
            self.hand_over(outer, transaction.recorded_outer(receipts))
        if transaction.messages and self.tell_cases is not None:
            await self.tell_cases(transaction.messages)

    def hand_over(self, outer: Outer, recorded: Stored) -> None:
        """Give a person's command its answer, just committed, where the call of this process awaits it."""
        awaited = self._awaited.get(outer.key)
        if awaited is not None and not awaited.done():
            awaited.set_result(recorded)

    @staticmethod
    async def apply(
        connection: Connection,
        call: Call,
        statement: str,
        arguments: Sequence[object],
        event: ledger.Event,
        answer: Message,
    ) -> bool:
        """Commit a decided change in one round trip; False when what it was decided on has changed meanwhile.

        For hot commands that need no lock: read, decide, then apply a statement made by ``at_once``. A repeated
        request id violates the command's key and undoes the statement whole.
        """
        entry = _own_entry(call, event)
        receipts = [entry.leaf_hash]
        stored = (call.principal, call.rule.path, call.request_id, call.body_hash, answer.SerializeToString(), receipts)
        if not await connection.fetchval(statement, *arguments, *stored, *entry.columns):
            return False
        call.receipts.extend(receipts)
        return True

    async def stored_answer(self, call: Call) -> bytes | None:
        """Return the answer this request got before. Raises RequestIdReused when its body was another."""
        row = await self.fetchrow(SELECT_COMMAND, call.principal, call.rule.path, call.request_id)
        return None if row is None else _answer_to(call, Stored(*row.values()))

    @contextmanager
    def awaited_answer(self, call: Call) -> Iterator[Callable[[], Awaitable[bytes | None]]]:
        """Watch for the recording of the call's own command while a case is at it; yield how to get the answer.

        A recording served by this very process hands its answer over, which saves the look-up.
        """
        key = (call.principal, call.rule.path, call.request_id)
        handed_over: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self._awaited[key] = handed_over

        async def answer() -> bytes | None:
            return _answer_to(call, handed_over.result()) if handed_over.done() else await self.stored_answer(call)

        try:
            yield answer
        finally:
            if self._awaited.get(key) is handed_over:  # the same command may have come twice at a time
                del self._awaited[key]

    async def record_refusal(self, call: Call, error: DomainError) -> None:
        """Write a refusal to the ledger: who tried what, and why it was refused."""
        if not is_recorded(error):
            return
        resource = error.metadata.get("resource", "")
        event = ledger.Event(
            type=ledger.REFUSED,
            objects=[resource] if resource else [],
            payload={"method": call.rule.path, "reason": error.reason, "metadata": dict(error.metadata)},
            region_code=call.home_region_code,
        )
        entry = _own_entry(call, event)
        async with self.connection() as connection:
            await ledger.append(connection, [entry])

    async def close(self) -> None:
        """Close the pool, waiting for borrowed connections."""
        await self._leases.close()


def _answer_to(call: Call, stored: Stored) -> bytes:
    """Return what is on record to a call. Raises RequestIdReused when the body was another."""
    if stored.body_hash != call.body_hash:
        raise RequestIdReused(request_id=call.request_id)
    call.receipts[:] = stored.receipts
    return stored.answer


def update_id(principal: str, method: str, request_id: str, body_hash: bytes) -> str:
    """Return the id of the update by which a person's command is put to its case."""
    return derived_id(principal, method, request_id, body_hash.hex())


def _own_entry(call: Call, event: ledger.Event) -> ledger.Entry:
    """Compose the entry of what the caller did, or tried, in this very call."""
    return ledger.entry_of(
        call,
        event,
        actor=call.principal,
        on_behalf_of=call.on_behalf_of,
        method=call.rule.path,
        request_id=call.request_id,
    )


async def _prepare(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    await connection.set_type_codec(
        "jsonb", encoder=lambda value: orjson.dumps(value).decode(), decoder=orjson.loads, schema="pg_catalog"
    )


async def _keep_session(connection: object) -> None:
    """Replace asyncpg's reset, a round trip per call: our handlers keep no session state."""


def role_password(settings: Settings, role: str) -> str:
    """Return the database password of a role, from the one file that is named as the role."""
    return read_secret(required(settings.database_secrets, "database_secrets") / role).decode().strip()


async def connect(settings: Settings, schema: str, *, role: str | None = None) -> Database:
    """Open the pool of the service that owns ``schema``, as its role, which has the same name, or as another.

    Raises SettingsError when the database does not let the role in.
    """
    try:
        pool = await asyncpg.create_pool(
            required(settings.database_url, "database_url").get_secret_value(),
            user=role or schema,
            password=role_password(settings, role or schema),
            min_size=1,
            max_size=settings.pool_size,
            timeout=CONNECT_SECONDS,
            command_timeout=COMMAND_SECONDS,
            server_settings={**SESSION_SETTINGS, "search_path": schema, "application_name": f"dutyloop-{schema}"},
            init=_prepare,
            reset=_keep_session,
        )
    except NOT_LET_IN as error:
        raise SettingsError("database_refuses", error=error) from error
    return Database(pool)


TRANSIENT = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
UNREACHABLE = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,
    OSError,
    ssl.SSLError,
)
NOT_LET_IN = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
)
"""Answers to a wrong password, a role or a database that is not there, or one that the role may not enter."""
SLOW = (asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError, TimeoutError)
