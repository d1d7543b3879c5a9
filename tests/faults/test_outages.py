"""A server goes down under load and comes back: what was acknowledged stands, what was not is told plainly."""

import asyncio
import uuid
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message
from google.type.date_pb2 import Date

from dutyloop.directory.v1 import directory_pb2
from dutyloop.duty.v1 import duty_pb2
from dutyloop.duty.v1.duty_pb2_grpc import DutyServiceStub
from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.policy.v1 import policy_pb2
from tests.faults.parts import Parts
from tests.faults.record import check_assigned_once, check_once, check_words, eventually, keep_trying
from tests.integration.house import Caller, Refusal, RunningHouse
from tests.integration.people import City, new_hazard

LOAD_SECONDS = 2.0
"""Load before and after the outage."""


@dataclass
class Load:
    """Commands and case actions of several people, each sent until it is answered."""

    city: City
    acknowledged: list[tuple[str, Any, Message, list[bytes]]] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    over: bool = False
    visit: str = ""

    async def run(self) -> None:
        """Send until ``over``; whatever is on its way then is still answered."""
        self.visit = await self.city.visits(self.city.inspector)
        await asyncio.gather(
            *(self._report() for _ in range(3)), *(self._assign() for _ in range(2)), self._draft(), self._register()
        )

    async def _send(self, schema: str, caller: Caller, method: Any, request: Any) -> Any:
        request.request_id = uuid.uuid4().hex
        answer, receipts, refusals = await keep_trying(caller, method, request)
        self.acknowledged.append((schema, request, answer, receipts))
        self.refusals += refusals
        return answer

    async def _report(self) -> None:
        hazard = new_hazard(self.city.home.site, hazard_pb2.DISPOSITION_ON_THE_SPOT)
        hazard.visit = self.visit
        while not self.over:
            request = hazard_pb2.ReportHazardRequest(hazard=hazard)
            await self._send("hazard", self.city.inspector, self.city.house.hazard.ReportHazard, request)

    async def _assign(self) -> None:
        house, city = self.city.house, self.city
        while not self.over:
            report = hazard_pb2.ReportHazardRequest(hazard=new_hazard(city.home.site))
            hazard = await self._send("hazard", city.inspector, house.hazard.ReportHazard, report)
            assign = hazard_pb2.AssignHazardRequest(name=hazard.name, unit=city.home.enterprise)
            await self._send("hazard", city.supervisor, house.hazard.AssignHazard, assign)

    async def _draft(self) -> None:
        while not self.over:
            await self._send("duty", *drafting(self.city))

    async def _register(self) -> None:
        while not self.over:
            site = directory_pb2.Site(display_name="厂", region=self.city.home.region, unit=self.city.home.enterprise)
            request = directory_pb2.CreateSiteRequest(site=site)
            await self._send("directory", self.city.house.operator, self.city.house.directory.CreateSite, request)


def drafting(city: City) -> tuple[Caller, Any, duty_pb2.CreateResponsibilityListRequest]:
    """Return who drafts a list, the method and the request."""
    draft = duty_pb2.ResponsibilityList(
        kind=duty_pb2.LIST_KIND_DUTY,
        display_name="清单",
        unit=city.home.office,
        effective_date=Date(year=2026, month=1, day=1),
    )
    request = duty_pb2.CreateResponsibilityListRequest(responsibility_list=draft)
    editor = city.home.people[policy_pb2.ROLE_LIST_EDITOR]
    return editor, DutyServiceStub(city.house.channel).CreateResponsibilityList, request


async def check_nothing_lost(house: RunningHouse, load: Load) -> None:
    """Check every acknowledged request, and that there is nothing that nobody was told of."""
    for schema, request, answer, receipts in load.acknowledged:
        await check_once(house, schema, request, answer, receipts)
    reported = [each.request_id for _, each, _, _ in load.acknowledged if "ReportHazard" in type(each).__name__]
    names = {each.name for _, request, each, _ in load.acknowledged if request.request_id in set(reported)}  # type: ignore[attr-defined]
    assert len(names) == len(reported)
    doubled = await house.fetch(
        "SELECT request_id FROM ledger.entry WHERE request_id = ANY($1) GROUP BY request_id HAVING count(*) <> 1",
        [each.request_id for _, each, _, _ in load.acknowledged],
    )
    assert doubled == []


async def test_postgres_restarted_under_load(parts: Parts, city: City) -> None:
    """A power cut in the machine room would lose reports that inspectors saw accepted, or enter them twice."""
    house, load = city.house, Load(city)
    loading = asyncio.create_task(load.run())
    await asyncio.sleep(LOAD_SECONDS)
    before = len(load.acknowledged)
    await parts.crash_postgres()
    await asyncio.sleep(1)
    down = len(load.acknowledged)
    await asyncio.sleep(LOAD_SECONDS)
    assert len(load.acknowledged) == down, "something was acknowledged without a database"
    await parts.postgres.start()
    await asyncio.sleep(LOAD_SECONDS)
    load.over = True
    await loading
    assert 0 < before <= down < len(load.acknowledged)
    assert load.refusals
    for refusal in load.refusals:
        check_words(refusal)
    await check_nothing_lost(house, load)


async def test_temporal_killed_and_restarted(parts: Parts, city: City) -> None:
    """With the workflow engine down, nobody could even read or report; or what was reported would never be chased."""
    house = city.house
    earlier = await city.reports()
    await parts.kill_temporal()

    await city.supervisor.calls(house.hazard.GetHazard, hazard_pb2.GetHazardRequest(name=earlier.name))
    editor, create, draft = drafting(city)
    await editor.calls(create, draft)
    meanwhile = await city.reports()
    request = hazard_pb2.AssignHazardRequest(request_id=uuid.uuid4().hex, name=earlier.name, unit=city.home.enterprise)
    refusal = await city.supervisor.refused(house.hazard.AssignHazard, request)
    check_words(refusal)
    assert refusal.reason == "CASE_UNAVAILABLE"
    waiting = await house.fetch("SELECT kind, workflow_id FROM hazard.case_message")
    assert meanwhile.name.removeprefix("hazards/") in {row["workflow_id"].rpartition("/")[2] for row in waiting}

    await parts.temporal.start()
    answer, _, _ = await keep_trying(city.supervisor, house.hazard.AssignHazard, request, each=20)
    await check_assigned_once(city, request, answer)

    async def all_told() -> bool:
        return not await house.fetch("SELECT FROM hazard.case_message WHERE delivered_time IS NULL")

    await eventually(all_told)
    late = hazard_pb2.AssignHazardRequest(request_id=uuid.uuid4().hex, name=meanwhile.name, unit=city.home.enterprise)
    answer, _, _ = await keep_trying(city.supervisor, house.hazard.AssignHazard, late, each=20)
    await check_assigned_once(city, late, answer)


async def test_services_started_while_temporal_is_down(parts: Parts, city: City) -> None:
    """Services that came up first after a power cut would answer reports with INTERNAL until started again."""
    house = city.house
    earlier = await city.reports()
    await parts.kill_temporal()
    await parts.kill(parts.services)
    await parts.start_services()

    meanwhile, _, refusals = await keep_trying(
        city.inspector,
        house.hazard.ReportHazard,
        hazard_pb2.ReportHazardRequest(hazard=new_hazard(city.home.site)),
        each=20,
    )
    for refusal in refusals:
        check_words(refusal)
    request = hazard_pb2.AssignHazardRequest(request_id=uuid.uuid4().hex, name=earlier.name, unit=city.home.enterprise)
    refused = await city.supervisor.refused(house.hazard.AssignHazard, request)
    check_words(refused)
    assert refused.reason == "CASE_UNAVAILABLE"
    await parts.temporal.start()
    for name in (earlier.name, meanwhile.name):
        again = hazard_pb2.AssignHazardRequest(
            request_id=request.request_id if name == earlier.name else uuid.uuid4().hex,
            name=name,
            unit=city.home.enterprise,
        )
        answer, _, _ = await keep_trying(city.supervisor, house.hazard.AssignHazard, again, each=20)
        await check_assigned_once(city, again, answer)
