"""When a term ends, and a deadline that can be moved while it is awaited."""

import functools
from collections.abc import Callable
from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows.activities.directory import DirectoryActivities, DueTime
    from workflows.payloads import Term

from workflows.case import FOREVER, SERVICE_CALL, SERVICE_CALL_TIMEOUT, CaseClock


async def due_time(start: datetime, term: Term) -> datetime:
    """Return the end of a term that starts at a time, by the working-day calendar in force."""
    return await workflow.execute_local_activity_method(
        DirectoryActivities.explain_due_time,
        DueTime(start, term),
        start_to_close_timeout=SERVICE_CALL_TIMEOUT,
        retry_policy=SERVICE_CALL,
    )


class Deadline:
    """Waits for an event or for its due time, whichever comes first; moving it re-arms the timer.

    One long timer at a time: it costs the history two events per move, however far away it is.
    """

    def __init__(self, clock: CaseClock, due: datetime | None) -> None:
        self._clock = clock
        self._due = due
        self._moves = 0

    @property
    def due(self) -> datetime | None:
        """First instant after the term; None while no term runs."""
        return self._due

    def is_past(self) -> bool:
        """Tell whether a term runs, and has run out."""
        return self._due is not None and self._due <= self._clock.now()

    def move(self, due: datetime | None) -> None:
        """Set another due time; a past one ends the wait at once."""
        self._due = due
        self._moves += 1

    async def reached_before(self, happened: Callable[[], bool]) -> bool:
        """Return True when the due time passes first, False once ``happened()`` is true."""
        while not happened():
            seen = self._moves
            left = FOREVER if self._due is None else self._due - self._clock.now()
            if left.total_seconds() <= 0:
                return True
            try:
                await workflow.wait_condition(functools.partial(self._disturbed, happened, seen), timeout=left)
            except TimeoutError:
                if self._due is not None and self._moves == seen and not happened():
                    return True
        return False

    def _disturbed(self, happened: Callable[[], bool], seen_moves: int) -> bool:
        return happened() or self._moves != seen_moves
