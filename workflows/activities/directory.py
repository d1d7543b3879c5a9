"""Activities of the directory service: deadlines, and who is addressed."""

import functools
from dataclasses import dataclass
from datetime import datetime

from temporalio import activity

from dutyloop.directory.v1 import directory_pb2
from services.kit.clients import Clients
from services.kit.dates import beijing_date, time_of, timestamp
from services.kit.directory import Directory, TermEnd
from services.kit.offices import Offices
from workflows.activities.calls import call, refusals
from workflows.activities.officeholders import Officeholders
from workflows.payloads import RunningTerm, Term
from workflows.payloads.supervision import Addressee, FindAddressee


@dataclass(frozen=True, slots=True)
class DueTime:
    """Asks for the end of a term that starts now (business time)."""

    start: datetime
    term: Term


@dataclass(frozen=True, slots=True)
class StatutoryClock:
    """Asks for the end of a catalogued clock that starts now (business time)."""

    start: datetime
    clock: str


@dataclass(frozen=True, slots=True)
class ClockWindow:
    """The first instant after a catalogued clock, and the law and article that fix it."""

    due_time: datetime
    source: str


async def end_of(directory: Directory, running: RunningTerm | None) -> TermEnd | None:
    """Return the end of a term that a recording counts, None where it counts none."""
    if running is None:
        return None
    with refusals():
        return await directory.term_end(running.start, running.term, running.notice)


class DirectoryActivities:
    """Calls directory, or answers by what this process knows of it."""

    def __init__(self, clients: Clients, directory: Directory) -> None:
        self._clients = clients
        self._offices = Offices(functools.partial(call, clients), clients.directory)
        self._directory = directory

    @activity.defn(name="explain_due_time")
    async def explain_due_time(self, asked: DueTime) -> datetime:
        """Return the first instant after the term, by the working-day calendar in force."""
        with refusals():
            return await self._directory.due_time(asked.start, asked.term)

    @activity.defn(name="explain_statutory_clock")
    async def explain_statutory_clock(self, asked: StatutoryClock) -> ClockWindow:
        """Return the window of a catalogued clock with its citation."""
        answer = await call(
            self._clients,
            self._clients.directory.ExplainDeadline,
            directory_pb2.ExplainDeadlineRequest(start_time=timestamp(asked.start), clock=asked.clock),
        )
        return ClockWindow(time_of(answer.due_time), answer.source)

    @activity.defn(name="find_addressee")
    async def find_addressee(self, asked: FindAddressee) -> Addressee:
        """Return whom a rung addresses on the day."""
        return await Officeholders(self._offices, beijing_date(asked.business_time)).find(asked)
