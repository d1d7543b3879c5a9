"""What supervision and accountability must know of other services' things: units, people, lists, ledger entries."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dutyloop.audit.v1 import audit_pb2
from dutyloop.directory.v1 import directory_pb2
from dutyloop.duty.v1 import duty_pb2
from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.inspection.v1 import inspection_pb2
from dutyloop.plan.v1 import plan_pb2
from services.accountability.rules import (
    COMPLETIONS,
    Completion,
    Evidence,
    ListVersion,
    check_hazard_settled,
    check_task_settled,
    governed,
)
from services.kit.call import Call
from services.kit.clients import Clients
from services.kit.dates import beijing_date, optional_day, optional_time, start_of, time_of
from services.kit.directory import Directory, TermEnd, UnitPlace
from services.kit.errors import NotFound, invalid
from services.kit.names import code_of
from services.kit.offices import Offices
from services.kit.paging import MAX_SIZE, pages
from workflows.payloads import Term

LATELY = timedelta(days=366)
"""How long after leaving office a person may still be named: twelve months, a leap year's included."""


@dataclass(frozen=True, slots=True)
class Head:
    """Who heads a unit, and in which post."""

    person: str
    post: str


class References:
    """Looks up, before a command begins, what it names in other services."""

    def __init__(self, clients: Clients, directory: Directory) -> None:
        self._clients = clients
        self._offices = Offices(clients.call, clients.directory)
        self._directory = directory

    async def place(self, unit: str, field: str) -> UnitPlace:
        """Return a unit's region and path. Raises InvalidFields on an unknown one."""
        try:
            return await self._directory.place(unit)
        except NotFound:
            raise invalid(field, "unknown_reference") from None

    async def place_in_scope(self, call: Call, unit: str) -> UnitPlace:
        """Return the unit that decides a command's scope. Raises NotFound, also for one out of the caller's reach."""
        place = await self._directory.place(unit)
        call.scope.require(unit, place.region_code, place.path)
        return place

    async def require_region(self, region: str, field: str) -> None:
        """Raise InvalidFields on an unknown region."""
        await self._existing(self._clients.directory.GetRegion, directory_pb2.GetRegionRequest(name=region), field)

    async def require_person(self, call: Call, person: str, field: str) -> None:
        """Raise InvalidFields unless the person holds, or held of late, a post within the caller's reach.

        An unknown person is answered the same as a foreign one.
        """
        held = await self._offices.held_by(person, beijing_date(call.now), beijing_date(call.now - LATELY))
        for unit in {each.unit: None for each in held}:
            place = await self.place(unit, field)
            if call.scope.covers(place.region_code, place.path):
                return
        raise invalid(field, "unknown_reference")

    async def is_known(self, person: str) -> bool:
        """Tell whether directory knows a person."""
        try:
            await self._clients.call(self._clients.directory.GetPerson, directory_pb2.GetPersonRequest(name=person))
        except NotFound:
            return False
        return True

    async def head_of(self, unit: str, now: datetime) -> Head | None:
        """Return who heads a unit today: the first holder of a post that answers for it."""
        async for post, person in self._offices.heads(unit, beijing_date(now)):
            return Head(person, post)
        return None

    async def require_post_of(self, unit: str, post: str, field: str) -> None:
        """Raise InvalidFields unless the post is one of the unit's."""
        if not await self._offices.has_post(unit, post):
            raise invalid(field, "unknown_reference")

    async def holder_of(self, post: str, now: datetime) -> str:
        """Return who holds a post today, '' while it is vacant."""
        return await self._offices.holder_of(post, beijing_date(now))

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

    async def require_settled(self, source: str, matter: str, hazard: str, task: str) -> None:
        """Raise RuleNotMet while the overdue hazard or task of a case is still unsettled."""
        if source == "OVERDUE_HAZARD" and hazard:
            found = await self._clients.call(self._clients.hazard.GetHazard, hazard_pb2.GetHazardRequest(name=hazard))
            check_hazard_settled(found, matter)
        if source == "OVERDUE_TASK" and task:
            check_task_settled(await self._clients.call(self._clients.plan.GetTask, plan_pb2.GetTaskRequest(name=task)))

    async def term_end(self, start: datetime, term: Term) -> TermEnd:
        """Return the end of a term by the working-day calendar in force."""
        return await self._directory.term_end(start, term)

    async def unit_paths(self, units: Sequence[str]) -> list[str]:
        """Return the paths of units that exist."""
        return [(await self.place(unit, "unit")).path for unit in units]

    async def duty_items_of(self, subject: str, unit: str, post: str, at: datetime) -> dict[str, bool]:
        """Return every item of the duty lists by which a person answered in a unit at a time, and if it recurs.

        These are the lists of the case's post, else of every post that the person held when the case was
        opened, whichever unit it is in: a leader answers for a matter of a unit below by the leader's own
        list. Where those posts had none, the list of the unit counts.
        """
        held = [post] if post else [each.post for each in await self._offices.held_by(subject, beijing_date(at))]
        names = [each.name for one in held for each in await self._lists_in_force(at, post=one)]
        if not names:
            names = [each.name for each in await self._lists_in_force(at, unit=unit) if not each.post]
        items: dict[str, bool] = {}
        for name in names:
            request = duty_pb2.ListDutyItemsRequest(page_size=MAX_SIZE, responsibility_list=name)
            async for each in pages(self._clients.call, self._clients.duty.ListDutyItems, request, "duty_items"):
                items[each.name] = bool(each.recurrence)
        return items

    async def evidence(self, entries: Sequence[str]) -> dict[str, Evidence]:
        """Return what the ledger says of the named entries, those that do not exist left out."""
        found: dict[str, Evidence] = {}
        for name in entries:
            request = audit_pb2.GetLedgerEntryRequest(name=name)
            try:
                entry = await self._clients.call(self._clients.audit.GetLedgerEntry, request)
            except NotFound:
                continue
            time = time_of(entry.business_time)
            objects = tuple(entry.objects)
            completion = await self._completion(objects[0]) if entry.type in COMPLETIONS and objects else None
            found[name] = Evidence(entry.type, entry.actor, entry.on_behalf_of, time, objects, completion)
        return found

    async def _completion(self, task: str) -> Completion | None:
        request = plan_pb2.GetTaskRequest(name=task)
        try:
            found = await self._clients.call(self._clients.plan.GetTask, request)
        except NotFound:
            return None
        if found.state != plan_pb2.TASK_STATE_DONE:
            return None
        return Completion(found.submitter, time_of(found.submit_time))

    async def _lists_in_force(
        self, at: datetime, *, unit: str = "", post: str = ""
    ) -> list[duty_pb2.ResponsibilityList]:
        """Return the duty lists that were in force at a time; what was published or superseded later is ignored."""
        request = duty_pb2.ListResponsibilityListsRequest(
            page_size=MAX_SIZE, unit=unit, post=post, kind=duty_pb2.LIST_KIND_DUTY
        )
        method = self._clients.duty.ListResponsibilityLists
        lists = [each async for each in pages(self._clients.call, method, request, "responsibility_lists")]
        by_name = {each.name: each for each in lists}
        return [each for each in lists if governed(version_of(each, by_name.get(each.predecessor)), at)]

    async def _existing(self, method: Any, request: Any, field: str) -> Any:
        try:
            return await self._clients.call(method, request)
        except NotFound:
            raise invalid(field, "unknown_reference") from None

    async def _require_reach(self, call: Call, found: Any, field: str) -> None:
        """Answer the same for what lies out of reach as for what does not exist."""
        region_code = code_of(found.region)
        if call.scope.covers(region_code):
            return
        path = (await self.place(found.unit, field)).path if getattr(found, "unit", "") else ""
        if not call.scope.covers(region_code, path):
            raise invalid(field, "unknown_reference")


def version_of(of: duty_pb2.ResponsibilityList, predecessor: duty_pb2.ResponsibilityList | None = None) -> ListVersion:
    """Return when a list was in force: from its publication, or from when its predecessor gave way to it.

    Never before its effective date.
    """
    since = optional_time(of, "publish_time") if predecessor is None else optional_time(predecessor, "supersede_time")
    effective = optional_day(of, "effective_date")
    if since is not None and effective is not None:
        since = max(since, start_of(effective))
    return ListVersion(since, optional_time(of, "supersede_time"))
