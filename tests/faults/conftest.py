"""One house in parts for the tests that hurt it and wait until it is well again; its time is real time."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults.parts import Parts
from tests.integration.house import RunningHouse
from tests.integration.people import City, settle


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
