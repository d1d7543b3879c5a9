"""Real servers for the integration tests: one PostgreSQL and one Temporal a session, a house a module.

``postgres`` is migrated; ``new_database`` copies it in a tenth of a second. ``house`` runs every service
that exists, and the worker, in the test's own event loop, in virtual time.
"""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from infra.embedded.postgres import AUDITOR, OWNER, SERVICE_ROLES, EmbeddedPostgres
from infra.embedded.process import free_port
from infra.embedded.temporal import EmbeddedTemporal
from services.kit.migrate import migrate
from services.kit.settings import Settings
from tests.integration.house import RunningHouse, running_house
from tests.integration.people import City, settle

NewDatabase = Callable[[], Awaitable[str]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedPostgres]:
    """A PostgreSQL server whose database ``dutyloop`` is migrated and used as template only."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"))
    try:
        await server.start()
        await migrate(Settings(database_url=server.url, database_secrets=server.secrets_dir))
        yield server
    finally:
        await server.destroy()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def new_database(postgres: EmbeddedPostgres) -> NewDatabase:
    """Makes a fresh copy of the migrated database and returns its URL, without user and password."""
    numbers = itertools.count(1)

    async def make() -> str:
        name = f"copy_{next(numbers)}"
        connection = await asyncpg.connect(
            postgres.url_of("postgres"), user=postgres.superuser, password=postgres.superuser_password
        )
        try:
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE dutyloop OWNER {OWNER}")
            await connection.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
            roles = ", ".join((*SERVICE_ROLES, AUDITOR))
            await connection.execute(f"GRANT CONNECT, TEMPORARY ON DATABASE {name} TO {roles}")
        finally:
            await connection.close()
        return postgres.url_of(name)

    return make


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def temporal(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedTemporal]:
    """A Temporal server that skips time."""
    server = EmbeddedTemporal(tmp_path_factory.mktemp("temporal"), free_port(), None, virtual_time=True)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for generated keys, the same for every house so that each can read Temporal's payloads."""
    return tmp_path_factory.mktemp("keys")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(
    postgres: EmbeddedPostgres, new_database: NewDatabase, temporal: EmbeddedTemporal, keys: Path
) -> AsyncIterator[RunningHouse]:
    """A city's house of its own for each module."""
    async with running_house(await new_database(), postgres.secrets_dir, temporal, keys) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def city(house: RunningHouse) -> City:
    """Two small cities in that house, with somebody in every role."""
    return await settle(house)
