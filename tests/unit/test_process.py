"""What a process waits for when it starts."""

import asyncio

import pytest

from services.kit.process import PATIENCE_SECONDS, once_up


class Server:
    """A server that refuses some connections before it is up."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.asked = 0

    async def connect(self) -> str:
        self.asked += 1
        if self.asked <= self.refusals:
            raise ConnectionRefusedError
        return "connected"


@pytest.fixture(autouse=True)
def no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let half a minute pass at once."""

    async def at_once(seconds: float) -> None:
        assert seconds == 1

    monkeypatch.setattr(asyncio, "sleep", at_once)


@pytest.mark.parametrize("refusals", [0, 1, PATIENCE_SECONDS - 1])
async def test_a_server_that_is_still_starting_is_waited_for(refusals: int) -> None:
    """After a power cut the services would end because the database takes a few seconds longer."""
    assert await once_up(Server(refusals).connect, OSError) == "connected"


async def test_a_server_that_stays_away_is_given_up() -> None:
    """An operator would wait for ever for a process that was given a wrong address."""
    with pytest.raises(ConnectionRefusedError):
        await once_up(Server(PATIENCE_SECONDS).connect, OSError)


async def test_what_waiting_cannot_mend_is_told_at_once() -> None:
    """An operator who gave a wrong password would learn of it half a minute later."""
    server = Server(1)
    with pytest.raises(ConnectionRefusedError):
        await once_up(server.connect, TimeoutError)
    assert server.asked == 1
