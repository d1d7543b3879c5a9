"""The body of a process: settings, log, event loop, what it waits for, and the signals that end it."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import uvloop

from services.kit import logs
from services.kit.settings import Settings
from services.kit.settings import settings as read_settings

T = TypeVar("T")
PATIENCE_SECONDS = 30


async def once_up(connect: Callable[[], Awaitable[T]], *down: type[Exception]) -> T:
    """Connect, waiting half a minute for a server that is still starting: ``down`` is what it raises until then."""
    for _ in range(PATIENCE_SECONDS - 1):
        try:
            return await connect()
        except down:
            await asyncio.sleep(1)
    return await connect()


def run_until_told(job: Callable[[Settings, asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run a job, whose event is set on SIGTERM or SIGINT."""
    settings = read_settings()
    logs.configure(settings)

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await job(settings, stop)

    uvloop.run(main())
