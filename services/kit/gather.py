"""Rows that many callers ask for at a time, each its own, read by one statement for all of them.

A read of one row costs the process a quarter of a call, nearly all of it the round trip: writing, waking up, reading.
So whoever asks while nobody else does is answered at once, and those who come together share a round trip.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import asyncpg

ASKED = "unnest((SELECT $1::text[])) WITH ORDINALITY AS asked (id, place)"
"""What a gathered statement joins its table to; it returns ``asked.place``, by which a row finds who asked.

The subquery hides from the planner how many they are: otherwise it plans every execution anew, which takes longer.
"""
MAX_ROWS = 100
"""Of one statement; who comes after them is in the next."""
TURNS = 30
"""Of the event loop, for which others are waited for: 0.1 ms on an idle process; on a busy one, while others work."""

Read = Callable[[list[str]], Awaitable[list[asyncpg.Record]]]
Asked: TypeAlias = "tuple[str, asyncio.Future[asyncpg.Record | None]]"


class Gatherer:
    """One statement, and who asks for rows of it.

    Every statement begins after all who share it have asked, so each sees what was committed by then. One who is
    cancelled leaves the others alone; what goes wrong with a statement, all who share it are told.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._joining: list[Asked] = []
        self._reads: set[asyncio.Task[None]] = set()
        self._alone = 0

    async def row(self, key: str) -> asyncpg.Record | None:
        """Return the row of a key, None where there is none."""
        if self._reads or self._alone:
            return await self._join(key)
        self._alone += 1
        try:
            rows = await self._read([key])
        finally:
            self._alone -= 1
        return rows[0] if rows else None

    def _join(self, key: str) -> "asyncio.Future[asyncpg.Record | None]":
        answer: asyncio.Future[asyncpg.Record | None] = asyncio.get_running_loop().create_future()
        self._joining.append((key, answer))
        if len(self._joining) == 1:
            # A task of its own: whoever is first may be cancelled before the others have their answers.
            read = asyncio.create_task(self._read_together(self._joining))
            self._reads.add(read)
            read.add_done_callback(self._reads.discard)
        if len(self._joining) == MAX_ROWS:
            self._joining = []
        return answer

    async def _read_together(self, joined: list[Asked]) -> None:
        for _ in range(TURNS):
            if joined is not self._joining:  # full
                break
            await asyncio.sleep(0)
        else:
            self._joining = []
        waiting = [asked for asked in joined if not asked[1].done()]
        try:
            rows = await self._read([key for key, _ in waiting]) if waiting else []
        except Exception as error:  # noqa: BLE001 (it is theirs who asked)
            for _, answer in waiting:
                if not answer.done():
                    answer.set_exception(error)
            return
        found = {row["place"]: row for row in rows}
        for place, (_, answer) in enumerate(waiting, start=1):
            if not answer.done():
                answer.set_result(found.get(place))
