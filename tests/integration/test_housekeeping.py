"""Stored answers are forgotten in time, by the database's clock, and not before."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from infra.embedded.keys import make_keys
from infra.embedded.postgres import SERVICE_ROLES, EmbeddedPostgres
from infra.embedded.process import free_port
from services.kit import db, housekeeping
from services.kit.db import Database
from services.kit.housekeeping import forget_old_commands
from services.kit.serve import serve
from services.kit.settings import Settings, settings_of
from tests.integration.conftest import NewDatabase

RETENTION = timedelta(days=90)
INSERT_COMMAND = """
INSERT INTO duty.command (principal, method, request_id, body_hash, answer, receipts, created_time)
SELECT 'people/p1', 'Method', 'r-' || $1::integer || '-' || number, $2, '', '{}', now() - make_interval(days => $1)
FROM generate_series(1, $3) AS number
"""


class Commands:
    """The stored answers of the duty service."""

    def __init__(self, url: str, superuser: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.url = url
        self._superuser = superuser

    async def store(self, days: int, count: int = 1) -> None:
        """Store answers as old as that."""
        await self._superuser.execute(INSERT_COMMAND, days, hashlib.sha256().digest(), count)

    async def ages(self) -> list[int]:
        """Return how old in days each stored answer is."""
        rows = await self._superuser.fetch(
            "SELECT extract(day FROM now() - created_time)::int AS days FROM duty.command ORDER BY 1"
        )
        return [row["days"] for row in rows]


@pytest_asyncio.fixture
async def commands(postgres: EmbeddedPostgres, new_database: NewDatabase) -> AsyncIterator[Commands]:
    """A database of its own."""
    url = await new_database()
    superuser = await asyncpg.connect(url, user=postgres.superuser, password=postgres.superuser_password)
    yield Commands(url, superuser)
    await superuser.close()


@contextlib.asynccontextmanager
async def opened(commands: Commands, postgres: EmbeddedPostgres) -> AsyncIterator[Database]:
    """The duty service's pool, as a process of its own has it."""
    database = await db.connect(Settings(database_url=commands.url, database_secrets=postgres.secrets_dir), "duty")
    try:
        yield database
    finally:
        await database.close()


async def test_only_old_answers_are_forgotten(
    commands: Commands, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table would grow for ever, or a client that repeats a request would have it done twice."""
    monkeypatch.setattr(housekeeping, "BATCH", 10)
    for days in (0, 1, 89):
        await commands.store(days)
    await commands.store(91, 25)
    await commands.store(4000, 10)
    async with opened(commands, postgres) as database:
        assert await forget_old_commands(database, RETENTION) == 35
        assert await commands.ages() == [0, 1, 89]
        assert await forget_old_commands(database, RETENTION) == 0


async def test_several_processes_keep_house_together(
    commands: Commands, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes of a service would deadlock, or wait for each other."""
    monkeypatch.setattr(housekeeping, "BATCH", 10)
    monkeypatch.setattr(housekeeping, "BATCH_PAUSE_SECONDS", 0)
    await commands.store(91, 500)
    async with opened(commands, postgres) as one, opened(commands, postgres) as other:
        forgotten = await asyncio.gather(*(forget_old_commands(each, RETENTION) for each in (one, other, one)))
        # A process stops when all that is left is in the hands of others.
        assert sum(forgotten) + await forget_old_commands(one, RETENTION) == 500
    assert await commands.ages() == []


async def test_nobody_can_have_young_answers_forgotten(commands: Commands, postgres: EmbeddedPostgres) -> None:
    """A service taken over would have its latest requests done again, and leave no trace of the first time."""
    await commands.store(29)
    async with opened(commands, postgres) as database:
        assert await forget_old_commands(database, timedelta(0)) == 0
        assert await forget_old_commands(database, timedelta(days=-1)) == 0
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await database.execute("DELETE FROM command")
        # A table of the caller's that comes first in its search path is not what is emptied.
        async with database.connection() as connection, connection.transaction():
            await connection.execute("CREATE TEMPORARY TABLE command (LIKE duty.command) ON COMMIT DROP")
            await connection.execute(INSERT_COMMAND.replace("duty.", "pg_temp."), 91, hashlib.sha256().digest(), 1)
            assert await connection.fetchval("SELECT forget_commands(interval '90 days', 10)") == 0
    for role in {*SERVICE_ROLES, "auditor"} - {"duty"}:
        stranger = await asyncpg.connect(commands.url, user=role, password=postgres.secrets[role])
        try:
            await stranger.execute("SET default_transaction_read_only = off")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await stranger.execute("SELECT duty.forget_commands(interval '90 days', 10)")
        finally:
            await stranger.close()
    assert await commands.ages() == [29]


async def test_a_service_that_runs_keeps_house(commands: Commands, postgres: EmbeddedPostgres, keys: Path) -> None:
    """The rule would be there, and nobody to carry it out."""
    await commands.store(31)
    await commands.store(29)
    stop = asyncio.Event()
    running = settings_of(
        make_keys(keys)
        | {
            "DUTYLOOP_DATABASE_URL": commands.url,
            "DUTYLOOP_DATABASE_SECRETS": str(postgres.secrets_dir),
            "DUTYLOOP_LISTEN_ADDRESS": f"127.0.0.1:{free_port()}",
            "DUTYLOOP_COMMAND_RETENTION_DAYS": "30",
        }
    )
    serving = asyncio.create_task(serve(running, ("duty",), stop))
    try:
        async with asyncio.timeout(20):
            while await commands.ages() != [29]:
                assert not serving.done()
                await asyncio.sleep(0.02)
    finally:
        stop.set()
        await serving
