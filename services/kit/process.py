"""The body of a process: settings, log, event loop, and the signals that end it."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from services.kit import logs
from services.kit.settings import Settings
from services.kit.settings import settings as read_settings


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
