"""What supervision and accountability must know of other services' things: units, people, lists, ledger entries."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

from dutyloop.audit.v1 import audit_pb2
from dutyloop.directory.v1 import directory_pb2
from dutyloop.duty.v1 import duty_pb2
from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.inspection.v1 import inspection_pb2
from dutyloop.kit.v1 import kit_pb2
from dutyloop.plan.v1 import plan_pb2
from services.accountability.rules import Evidence
from services.accountability.store import Place
from services.kit.call import Call
from services.kit.clients import Clients
from services.kit.errors import NotFound, invalid
from workflows.payloads import Term

BEIJING = timezone(timedelta(hours=8))
PAGE = 1_000


class References:
    """Looks up, before a command begins, what it names in other services."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def place(self, unit: str, field: str) -> Place:
        """Return a unit's region and path. Raises InvalidFields on an unknown one."""
        found = await self._existing(self._clients.directory.GetUnit, directory_pb2.GetUnitRequest(name=unit), field)
        return Place(unit, found.region.removeprefix("regions/"), found.path)

    async def place_in_scope(self, call: Call, unit: str) -> Place:
        """Return the unit that decides a command's scope. Raises NotFound, also for one out of the caller's reach."""
        found = await self._clients.call(self._clients.directory.GetUnit, directory_pb2.GetUnitRequest(name=unit))
        place = Place(unit, found.region.removeprefix("regions/"), found.path)
        call.scope.require(unit, place.region_code, place.unit_path)
        return place

    async def require_region(self, region: str, field: str) -> None:
        """Raise InvalidFields on an unknown region."""
        await self._existing(self._clients.directory.GetRegion, directory_pb2.GetRegionRequest(name=region), field)

    async def require_person(self, person: str, field: str) -> None:
        """Raise InvalidFields on an unknown person."""
        await self._existing(self._clients.directory.GetPerson, directory_pb2.GetPersonRequest(name=person), field)

    async def require_post_of(self, unit: str, post: str, field: str) -> None:
        """Raise InvalidFields unless the post is one of the unit's."""
        request = directory_pb2.ListPostsRequest(page_size=PAGE, unit=unit)
        async for each in self._pages(self._clients.directory.ListPosts, request, "posts"):
            if each.name == post:
                return
        raise invalid(field, "unknown_reference")

    async def holder_of(self, post: str, now: datetime) -> str:
        """Return who holds a post today, '' while it is vacant."""
        today = now.astimezone(BEIJING).date()
        async for appointment in self._appointments(directory_pb2.ListAppointmentsRequest(page_size=PAGE, post=post)):
            over = appointment.HasField("end_date") and _day(appointment.end_date) <= today
            if _day(appointment.start_date) <= today and not over:
                return str(appointment.person)
        return ""

    async def require_hazard(self, call: Call, hazard: str, field: str) -> None:
        """Raise InvalidFields on a hazard that is unknown or out of the caller's reach."""
        request = hazard_pb2.GetHazardRequest(name=hazard)
        await self._require_reach(call, await self._existing(self._clients.hazard.GetHazard, request, field), field)

    async def require_task(self, call: Call, task: str, field: str) -> None:
        """Raise InvalidFields on a task that is unknown or out of the caller's reach."""
        request = plan_pb2.GetTaskRequest(name=task)
        await self._require_reach(call, await self._existing(self._clients.plan.GetTask, request, field), field)

    async def require_tour(self, call: Call, tour: str, field: str) -> None:
        """Raise InvalidFields on a tour that is unknown or out of the caller's reach."""
        request = inspection_pb2.GetTourRequest(name=tour)
        await self._require_reach(call, await self._existing(self._clients.inspection.GetTour, request, field), field)

    async def due(self, start: datetime, term: Term) -> datetime:
        """Return the first instant after a term, by the working-day calendar in force."""
        request = directory_pb2.ExplainDeadlineRequest(
            term=kit_pb2.Term(amount=term.amount, unit=kit_pb2.TermUnit.Value(f"TERM_UNIT_{term.unit}"))
        )
        request.start_time.FromDatetime(start)
        answer = await self._clients.call(self._clients.directory.ExplainDeadline, request)
        due: datetime = answer.due_time.ToDatetime(tzinfo=UTC)
        return due

    async def unit_paths(self, units: Sequence[str]) -> list[str]:
        """Return the paths of units that exist."""
        return [(await self.place(unit, "unit")).unit_path for unit in units]

    async def duty_items_of(self, subject: str, unit: str, post: str, at: datetime) -> frozenset[str]:
        """Return every item of the published duty lists under which a person answers in a unit.

        These are the lists of the case's post, else of every post that the person held when the case was
        opened, whichever unit it is in: a leader answers for a matter of a unit below by the leader's own
        list. Where those posts have none, the list of the unit counts.
        """
        held = [post] if post else await self._posts_held(subject, at)
        names = [each.name for one in held for each in await self._published_lists(post=one)]
        if not names:
            names = [each.name for each in await self._published_lists(unit=unit) if not each.post]
        items: list[str] = []
        for name in names:
            request = duty_pb2.ListDutyItemsRequest(page_size=PAGE, responsibility_list=name)
            items += [each.name async for each in self._pages(self._clients.duty.ListDutyItems, request, "duty_items")]
        return frozenset(items)

    async def evidence(self, entries: Sequence[str]) -> dict[str, Evidence]:
        """Return what the ledger says of the named entries, those that do not exist left out."""
        found: dict[str, Evidence] = {}
        for name in entries:
            request = audit_pb2.GetLedgerEntryRequest(name=name)
            try:
                entry = await self._clients.call(self._clients.audit.GetLedgerEntry, request)
            except NotFound:
                continue
            time = entry.business_time.ToDatetime(tzinfo=UTC)
            found[name] = Evidence(entry.type, entry.actor, entry.on_behalf_of, time, tuple(entry.objects))
        return found

    async def _posts_held(self, person: str, at: datetime) -> list[str]:
        day = at.astimezone(BEIJING).date()
        request = directory_pb2.ListAppointmentsRequest(page_size=PAGE, person=person)
        return [
            each.post
            async for each in self._appointments(request)
            if _day(each.start_date) <= day and not (each.HasField("end_date") and _day(each.end_date) <= day)
        ]

    async def _published_lists(self, *, unit: str = "", post: str = "") -> list[duty_pb2.ResponsibilityList]:
        request = duty_pb2.ListResponsibilityListsRequest(
            page_size=PAGE, unit=unit, post=post, kind=duty_pb2.LIST_KIND_DUTY, state=duty_pb2.LIST_STATE_PUBLISHED
        )
        method = self._clients.duty.ListResponsibilityLists
        return [each async for each in self._pages(method, request, "responsibility_lists")]

    def _appointments(self, request: directory_pb2.ListAppointmentsRequest) -> AsyncIterator[Any]:
        return self._pages(self._clients.directory.ListAppointments, request, "appointments")

    async def _pages(self, method: Any, request: Any, field: str) -> AsyncIterator[Any]:
        while True:
            answer = await self._clients.call(method, request)
            for each in getattr(answer, field):
                yield each
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    async def _existing(self, method: Any, request: Any, field: str) -> Any:
        try:
            return await self._clients.call(method, request)
        except NotFound:
            raise invalid(field, "unknown_reference") from None

    async def _require_reach(self, call: Call, found: Any, field: str) -> None:
        """Answer the same for what lies out of reach as for what does not exist."""
        region_code = found.region.removeprefix("regions/")
        if call.scope.covers(region_code):
            return
        path = (await self.place(found.unit, field)).unit_path if getattr(found, "unit", "") else ""
        if not call.scope.covers(region_code, path):
            raise invalid(field, "unknown_reference")


def _day(day: Any) -> date:
    return date(day.year, day.month, day.day)
