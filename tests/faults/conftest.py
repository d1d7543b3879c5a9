"""Servers to look at, users to run them as, and a house in parts to hurt; its time is real time."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from infra.embedded.postgres import EmbeddedPostgres
from tests.faults.parts import Parts
from tests.faults.system import Account, accounts
from tests.integration.house import RunningHouse
from tests.integration.people import City, settle

ROOTS_OWN = "test_embedded_as_root.py"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what an ordinary user has nothing of; also where its file is asked for by name."""
    if os.geteuid() != 0:
        roots = [item for item in items if item.path.name == ROOTS_OWN]
        items[:] = [item for item in items if item.path.name != ROOTS_OWN]
        config.hook.pytest_deselected(items=roots)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedPostgres]:
    """One running PostgreSQL for the tests that only look."""
    running = EmbeddedPostgres(tmp_path_factory.mktemp("server"))
    try:
        await running.start()
        yield running
    finally:
        await running.destroy()


@pytest.fixture(params=accounts(), ids=lambda account: account.name)
def account(request: pytest.FixtureRequest) -> Account:
    """Each user to run the stack as."""
    found: Account = request.param
    return found


@pytest_asyncio.fixture(loop_scope="session")
async def home(account: Account) -> AsyncIterator[Path]:
    """A folder of that user's; a cluster that a failed test has left to ``data`` in it goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="dutyloop-home-"))
    os.chown(folder, account.uid, -1)
    yield folder
    await EmbeddedPostgres(folder / "data").destroy()
    shutil.rmtree(folder)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def parts(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Parts]:
    """The parts, each a process."""
    running = Parts(tmp_path_factory.mktemp("parts"), virtual_time=False)
    try:
        await running.start()
        yield running
    finally:
        await running.destroy()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def house(parts: Parts) -> AsyncIterator[RunningHouse]:
    """The house as its callers know it."""
    async with parts.house() as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def city(house: RunningHouse) -> City:
    """Two small cities in that house, with somebody in every role."""
    return await settle(house)
