"""Leased connections: never one in an unknown state, never more than the budget, none lost with its user."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import asyncpg
import pytest
import pytest_asyncio

from dutyloop.duty.v1 import duty_pb2
from infra.embedded.postgres import EmbeddedPostgres
from services.kit import db
from services.kit.db import Database
from services.kit.errors import DomainError, Internal, NotFound, Overloaded, ServiceUnavailable
from services.kit.gather import ASKED
from services.kit.leases import ACQUIRE_SECONDS, Connection, is_sound
from services.kit.policy import method_rules
from services.kit.server import as_refusal
from services.kit.settings import Settings
from tests.integration.conftest import NewDatabase

PLACES = 2
INSERT = """
INSERT INTO command (principal, method, request_id, body_hash, answer, receipts)
VALUES ($1, '', '', sha256(''), '', '{}')
"""
OPEN_TRANSACTIONS = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'plan' AND state LIKE 'idle in transaction%'"
SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(30)' AND state = 'active'"
ACTIVE = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'plan' AND state = 'active'"
SLEEPS = "SELECT pg_sleep(30), place FROM " + ASKED
ECHO = "SELECT id, place FROM " + ASKED
END_ALL = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE usename = 'plan'"


@dataclass
class Room:
    """A service's database of two connections, and a superuser who watches and hurts it."""

    database: Database
    superuser: "asyncpg.Connection[asyncpg.Record]"

    async def check_whole(self) -> None:
        """Every place can be borrowed at once, each sound, and no transaction is left open behind them."""
        async with AsyncExitStack() as stack:
            for _ in range(PLACES):
                connection = await stack.enter_async_context(self.database.connection())
                assert is_sound(connection)
                assert await connection.fetchval("SELECT 1") == 1
            assert await self.superuser.fetchval(OPEN_TRANSACTIONS) == 0
        assert await self.superuser.fetchval("SELECT count(*) FROM pg_stat_activity WHERE usename = 'plan'") <= PLACES


@pytest_asyncio.fixture
async def room(postgres: EmbeddedPostgres, new_database: NewDatabase) -> AsyncIterator[Room]:
    """A fresh database for each test."""
    url = await new_database()
    settings = Settings(database_url=url, database_secrets=postgres.secrets_dir, pool_size=PLACES)
    superuser = await asyncpg.connect(url, user=postgres.superuser, password=postgres.superuser_password)
    database = await db.connect(settings, "plan")
    try:
        yield Room(database, superuser)
    finally:
        await database.close()
        await superuser.close()


async def becomes(state: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something outside this process has come about."""
    for _ in range(1_000):
        if await state():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came about")


async def test_a_connection_that_dies_while_it_is_free_is_replaced(room: Room) -> None:
    """After a restart of PostgreSQL the first calls would fail, one for each connection that was open before."""
    async with room.database.connection() as first, room.database.connection() as second:
        pids = {await each.fetchval("SELECT pg_backend_pid()") for each in (first, second)}
    assert await room.superuser.fetchval(END_ALL) == PLACES

    async def noticed() -> bool:
        return not is_sound(first) and not is_sound(second)

    await becomes(noticed)
    assert await room.database.fetchval("SELECT pg_backend_pid()") not in pids
    await room.check_whole()


async def test_a_connection_that_dies_in_use_is_replaced(room: Room) -> None:
    """A connection cut in the middle of a query would be handed to the next caller, or its place be lost."""
    for _ in range(2 * PLACES):
        cut = asyncio.create_task(room.database.fetch("SELECT pg_sleep(30)"))
        await becomes(lambda: _is_sleeping(room))
        await room.superuser.fetchval(END_ALL)
        with pytest.raises(db.UNREACHABLE):
            await cut
    await room.check_whole()


async def test_a_shared_read_that_is_cut_is_told_to_all_who_share_it(room: Room) -> None:
    """When PostgreSQL restarts, whoever shares a statement would hang until his deadline, and others after him."""
    first = asyncio.create_task(room.database.row(SLEEPS, "first"))
    await asyncio.sleep(0)
    together = [asyncio.create_task(room.database.row(SLEEPS, key)) for key in "abc"]

    async def both_read() -> bool:
        return bool(await room.superuser.fetchval(ACTIVE) == PLACES)

    await becomes(both_read)
    await room.superuser.fetchval(END_ALL)
    for asked in (first, *together):
        with pytest.raises(db.UNREACHABLE):
            await asked
    rows = await asyncio.gather(*(room.database.row(ECHO, key) for key in "abc"))
    assert [row and row["id"] for row in rows] == ["a", "b", "c"]
    await room.check_whole()


async def test_our_own_mistake_is_told_from_an_outage(room: Room) -> None:
    """A bug would be answered "try again later", for ever, and leave no traceback to find it by."""
    rule = next(method_rules(duty_pb2.DESCRIPTOR.services_by_name["DutyService"]))

    async def answer_to(sql: str, *arguments: object) -> type[DomainError]:
        with pytest.raises(Exception) as failed:
            async with room.database.connection() as connection, connection.transaction():
                await connection.execute(sql, *arguments)
                await connection.execute("SELECT 1")
        return type(as_refusal(failed.value, rule))

    for mistaken in (("SELECT $1::text",), ("SELECT $1::int", "one"), ("SELECT $1::text", "one", "two")):
        assert await answer_to(*mistaken) is Internal
    assert await answer_to("SELECT pg_terminate_backend(pg_backend_pid())") is ServiceUnavailable
    await room.check_whole()


async def test_nobody_waits_longer_than_a_second(room: Room) -> None:
    """Callers would pile up behind slow queries until every one of them has missed its deadline."""
    async with room.database.connection(), room.database.connection():
        began = time.monotonic()
        refusals = await asyncio.gather(*(room.database.fetch("SELECT 1") for _ in range(5)), return_exceptions=True)
        waited = time.monotonic() - began
    assert [type(each) for each in refusals] == [Overloaded] * 5
    assert ACQUIRE_SECONDS <= waited < 3 * ACQUIRE_SECONDS
    await room.check_whole()


async def test_more_callers_than_connections_all_get_their_turn(room: Room) -> None:
    """The house would open more connections than PostgreSQL has been sized for, or forget who waits."""
    pids = await asyncio.gather(*(room.database.fetchval("SELECT pg_backend_pid()") for _ in range(100)))
    assert len(pids) == 100
    assert len(set(pids)) <= PLACES
    await room.check_whole()


async def _is_sleeping(room: Room) -> bool:
    return bool(await room.superuser.fetchval(SLEEPING))


async def test_a_caller_cancelled_in_a_query_leaves_nothing_running(room: Room) -> None:
    """Clients that give up would each leave a query running, and its connection to the next caller."""
    for _ in range(2 * PLACES):
        asked = asyncio.create_task(room.database.fetch("SELECT pg_sleep(30)"))
        await becomes(lambda: _is_sleeping(room))
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert not await _is_sleeping(room)
    await room.check_whole()


async def test_a_caller_cancelled_in_a_transaction_leaves_nothing_written(room: Room) -> None:
    """Half a command would be committed by whoever uses the connection next."""
    for number in range(2 * PLACES):
        written = asyncio.Event()

        async def command(written: asyncio.Event = written, number: int = number) -> None:
            async with room.database.connection() as connection, connection.transaction():
                await connection.execute(INSERT, f"people/{number}")
                written.set()
                await connection.execute("SELECT pg_sleep(30)")

        commanding = asyncio.create_task(command())
        async with asyncio.timeout(10):
            await written.wait()
        commanding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await commanding
    await room.check_whole()
    assert await room.superuser.fetchval("SELECT count(*) FROM plan.command") == 0


async def test_a_caller_cancelled_while_it_waits_takes_no_place_with_it(room: Room) -> None:
    """Each client that gives up in a queue would cost the house a connection for good."""
    leases = room.database._leases
    for turn_has_come in (False, True):
        held: list[Connection] = [await leases.take() for _ in range(PLACES)]
        waiting = asyncio.create_task(leases.take())
        await asyncio.sleep(0)
        if turn_has_come:
            await leases.give_back(held.pop())
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        for connection in held:
            await leases.give_back(connection)
        await room.check_whole()


async def test_a_transaction_left_open_ends_with_its_borrower(room: Room) -> None:
    """The next caller's reads would see an old snapshot, and its writes be rolled back with somebody else's."""
    async with room.database.connection() as connection:
        await connection.execute("BEGIN")
        await connection.execute(INSERT, "people/1")
    assert await room.superuser.fetchval(OPEN_TRANSACTIONS) == 0
    await room.check_whole()
    assert await room.superuser.fetchval("SELECT count(*) FROM plan.command") == 0


async def test_a_refusal_costs_no_connection(room: Room) -> None:
    """Somebody who guesses names would have the house log in to PostgreSQL for every guess."""
    pids = set()
    for _ in range(10):
        with pytest.raises(NotFound):
            async with room.database.connection() as connection, connection.transaction():
                pids.add(await connection.fetchval("SELECT pg_backend_pid()"))
                raise NotFound("tasks/none")
    assert len(pids) == 1
    await room.check_whole()


async def test_closing_waits_for_what_is_borrowed(room: Room) -> None:
    """A stopped process would cut off the commands that it had promised to finish."""
    async with room.database.connection() as connection:
        closing = asyncio.create_task(room.database.close())
        await asyncio.sleep(0)
        assert await connection.fetchval("SELECT 1") == 1
        assert not closing.done()
    await closing
    assert await room.superuser.fetchval("SELECT count(*) FROM pg_stat_activity WHERE usename = 'plan'") == 0
