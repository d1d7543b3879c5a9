"""Forgets stored answers that nobody will ask for again, a little at a time.

An answer must outlive everyone who may still repeat its request. People's clients give up within a day. A
case repeats a recorded step only while its activity is retried, or when everything crashed before the step
reached its history and the relay puts the action to the case again; both end within days. That a case then
sleeps for a year does not matter: a step in its history is never done over. A request repeated after that is
taken for a new one; what it would create has the id of what it created then, and is refused.
"""

import asyncio
import random
from datetime import timedelta

from services.kit.db import Database
from services.kit.logs import logger

BATCH = 500
"""Answers forgotten in one statement: some milliseconds."""
BATCH_PAUSE_SECONDS = 0.05
PAUSE_SECONDS = 3_600.0
FORGET_COMMANDS = "SELECT forget_commands($1, $2)"


async def forget_old_commands(database: Database, kept: timedelta) -> int:
    """Forget the answers older than ``kept``, by the database's clock; return how many.

    Several processes may do so at once: they pass over each other's rows.
    """
    forgotten = 0
    while True:
        count: int = await database.fetchval(FORGET_COMMANDS, kept, BATCH)
        forgotten += count
        if count < BATCH:
            return forgotten
        await asyncio.sleep(BATCH_PAUSE_SECONDS)


async def keep_house(database: Database, kept: timedelta) -> None:
    """Forget old answers now and about every hour, for ever."""
    while True:
        try:
            forgotten = await forget_old_commands(database, kept)
            if forgotten:
                logger().info("commands_forgotten", count=forgotten)
        except Exception as error:  # noqa: BLE001 (the loop must outlive any outage; the cause is logged)
            logger().warning("housekeeping_failed", error=type(error).__name__)
        await asyncio.sleep(PAUSE_SECONDS * random.uniform(0.9, 1.1))  # noqa: S311 (jitter)
