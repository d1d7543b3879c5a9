"""What a process knows of directory without asking each time: the calendar, and where units are.

The calendar is at most ``CALENDAR_SECONDS`` old. A unit's region and place in the tree never change, so they
are asked for once.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from dutyloop.directory.v1 import directory_pb2
from services.kit.calendar import Term, Unit, explain
from services.kit.clients import Clients
from services.kit.dates import day_of
from services.kit.errors import invalid
from services.kit.holidays import WorkCalendar, calendar_in_force, entered_notice
from services.kit.names import code_of
from services.kit.terms import Length

CALENDAR_SECONDS = 2.0
"""Within this time a notice just published counts for the terms that begin."""
PLACES = 10_000


@dataclass(frozen=True, slots=True)
class UnitPlace:
    """Where a unit acts and stands in the tree."""

    unit: str
    region_code: str
    path: str


@dataclass(frozen=True, slots=True)
class TermEnd:
    """The first instant (UTC) after a term, and the year of the holiday notice that it awaits, 0 for none."""

    time: datetime
    awaited_notice: int = 0


class Directory:
    """Directory's calendar and units, as one process knows them."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._calendar: WorkCalendar | None = None
        self._notices = b""
        self._expires = 0.0
        self._one_look = asyncio.Lock()
        self._places: dict[str, UnitPlace] = {}

    async def due_time(self, start: datetime, length: Length) -> datetime:
        """Return the first instant (UTC) after a term. Raises InvalidFields on a term out of range."""
        return (await self.term_end(start, length)).time

    async def term_end(self, start: datetime, length: Length, notice: int = 0) -> TermEnd:
        """Return the end of a term by the working-day calendar in force, and whether it is provisional.

        The same code computes what ExplainDeadline explains. ``notice`` is the year of a notice known to be
        published: a calendar without it is too old. Raises InvalidFields on a term out of range.
        """
        try:
            term = Term(length.amount, Unit[length.unit])
        except (KeyError, ValueError):
            raise invalid("term.amount", "out_of_range") from None
        calendar = await self._current()
        if notice and notice not in calendar.years:
            self._expires = 0.0
            calendar = await self._current()
        try:
            found = explain(calendar, start, term)
        except ValueError:
            raise invalid("start_time", "out_of_range") from None
        return TermEnd(found.due.astimezone(UTC), found.awaited_notice)

    async def published_years(self) -> list[int]:
        """Return the years whose holiday notice is in force."""
        return list((await self._current()).years)

    async def place(self, unit: str) -> UnitPlace:
        """Return where a unit is. Raises NotFound."""
        known = self._places.get(unit)
        if known is None:
            request = directory_pb2.GetUnitRequest(name=unit)
            found = await self._clients.call(self._clients.directory.GetUnit, request)
            if len(self._places) >= PLACES:
                self._places.clear()
            known = self._places[unit] = UnitPlace(unit, code_of(found.region), found.path)
        return known

    async def _current(self) -> WorkCalendar:
        if self._calendar is not None and time.monotonic() < self._expires:
            return self._calendar
        async with self._one_look:
            if self._calendar is None or time.monotonic() >= self._expires:
                self._calendar = await self._look()
            return self._calendar

    async def _look(self) -> WorkCalendar:
        asked = time.monotonic()
        request = directory_pb2.ResolveCalendarRequest()
        answer = await self._clients.call(self._clients.directory.ResolveCalendar, request)
        notices = answer.SerializeToString(deterministic=True)
        calendar = self._calendar
        if calendar is None or notices != self._notices:
            entered = [
                entered_notice(
                    int(each.name.rpartition("/")[2]), map(day_of, each.off_dates), map(day_of, each.work_dates)
                )
                for each in answer.notices
            ]
            calendar = calendar_in_force(entered)
        self._notices, self._expires = notices, asked + CALENDAR_SECONDS
        return calendar
