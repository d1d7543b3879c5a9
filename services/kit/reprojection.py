"""Has the terms counted anew that await a holiday notice, once it has come."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

from services.kit.clock import ReadClock
from services.kit.directory import Directory
from services.kit.logs import logger

LOOK_SECONDS = 2.0
BATCH = 200
"""Cases told at a time: the relay must keep pace, and others are not to wait behind them."""
Tell = Callable[[list[int], datetime, int], Awaitable[None]]
"""Has the cases told, at most so many, whose present term awaits a notice of one of these years and has not run out."""


async def recount_terms(directory: Directory, read_clock: ReadClock, tell: Tell) -> None:
    """Look, for ever, for terms that await a notice which has come. A row says what its term awaits.

    A case is told once for each revision of its row; what it counts then takes the row out of the next look.
    """
    while True:
        try:
            await tell(await directory.published_years(), await read_clock(), BATCH)
        except Exception as error:  # noqa: BLE001 (the loop must outlive any outage; the cause is logged)
            logger().warning("recounting_failed", error=type(error).__name__)
        await asyncio.sleep(LOOK_SECONDS)
