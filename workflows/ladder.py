"""The ladder of measures inside the case that owns it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows.payloads import RunningTerm, Term
    from workflows.payloads.supervision import Rung

from workflows.case import CaseClock
from workflows.deadline import Deadline

DueTime = Callable[[datetime, Term], Awaitable[datetime]]
"""Returns the end of a term that starts at a time, by the working-day calendar."""
Fire = Callable[[int, Rung], Awaitable[None]]
"""Takes the measure of the rung with this number, from 1. Called under the case's lock."""


class Ladder:
    """Climbs the rungs of a pinned policy in order, each exactly once, until it is cancelled.

    ``one_action`` is the lock under which the case changes: a closure that holds it is never overtaken
    by a rung, and a rung that holds it is finished before a closure counts.
    """

    def __init__(self, clock: CaseClock, rungs: tuple[Rung, ...], due_time: DueTime, one_action: asyncio.Lock) -> None:
        self._clock = clock
        self._rungs = rungs
        self._due_time = due_time
        self._one_action = one_action
        self._deadline = Deadline(clock, None)
        self._cancelled = False
        self._since: datetime | None = None
        self.fired_count = 0
        """Rungs that fired, the one being fired included."""

    @property
    def next_time(self) -> datetime | None:
        """When the next rung fires; None before the start, after the last rung and once cancelled."""
        return self._deadline.due

    @property
    def waiting(self) -> RunningTerm | None:
        """The wait for the next rung; None where none is awaited, or it fires at once."""
        if self.next_time is None or self._since is None:
            return None
        wait = self._rungs[self.fired_count].wait
        return None if wait is None else RunningTerm(self._since, wait)

    async def start(self, since: datetime) -> None:
        """Set the first rung's time; ``since`` is an instant of the day from which its wait counts."""
        await self._schedule(since)

    async def climb(self, fire: Fire) -> None:
        """Fire rung after rung as each falls due; return when none is left or the ladder is cancelled."""
        while self.next_time is not None and await self._deadline.reached_before(lambda: self._cancelled):
            async with self._one_action:
                # A closure, or a move, may have held the lock while the timer fired.
                if self._cancelled:
                    return
                if not self._deadline.is_past():
                    continue
                rung = self._rungs[self.fired_count]
                self.fired_count += 1
                await self._schedule(self._clock.now())
                await fire(self.fired_count, rung)

    def move(self, due: datetime) -> None:
        """Have the next rung fire at another time; a past one lets it fire at once."""
        if self.next_time is not None:
            self._deadline.move(due)

    def cancel(self) -> None:
        """Let no further rung fire. To be called under the case's lock."""
        self._cancelled = True
        self._deadline.move(None)

    async def _schedule(self, since: datetime) -> None:
        if self.fired_count == len(self._rungs):
            self._deadline.move(None)
            return
        self._since, wait = since, self._rungs[self.fired_count].wait
        self._deadline.move(self._clock.now() if wait is None else await self._due_time(since, wait))
