"""A real Temporal server that skips time, for the tests of one session."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from temporalio.client import Client

from infra.embedded.process import free_port
from infra.embedded.temporal import EmbeddedTemporal
from services.kit.codec import data_converter


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def temporal_client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """A client of the server, with the house's data converter."""
    server = EmbeddedTemporal(tmp_path_factory.mktemp("temporal"), free_port(), None, virtual_time=True)
    await server.start()
    try:
        yield await Client.connect(server.address, namespace=server.namespace, data_converter=data_converter(None))
    finally:
        await server.stop()
