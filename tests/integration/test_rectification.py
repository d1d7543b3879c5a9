"""The hazard loop over the wire, on the real engine in virtual time: from report to close, and every way out."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import asyncpg
import grpc
import orjson
import pytest
import pytest_asyncio
from google.type.date_pb2 import Date
from temporalio.service import RPCError, RPCStatusCode

from dutyloop.directory.v1 import directory_pb2
from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.kit.v1 import kit_pb2
from dutyloop.policy.v1 import policy_pb2
from infra.embedded.postgres import EmbeddedPostgres
from infra.embedded.process import free_port
from infra.embedded.temporal import EmbeddedTemporal
from services.kit.contexts import OWNER
from services.kit.db import role_password
from services.kit.settings import required
from tests.integration.conftest import NewDatabase
from tests.integration.house import Caller, Refusal, RunningHouse, running_house
from tests.integration.people import IN_OFFICE_SINCE, City, appoint, create_site, create_unit, hire, new_hazard, settle
from workflows.payloads.rectification import workflow_id

BEIJING = timezone(timedelta(hours=8))
SOON_SECONDS = 15.0
ENTERPRISE = directory_pb2.UNIT_KIND_ENTERPRISE


def day(moment: datetime, days: int = 0) -> Date:
    """Return a Beijing day, some days later."""
    local = moment.astimezone(BEIJING).date() + timedelta(days=days)
    return Date(year=local.year, month=local.month, day=local.day)


def first_instant_after(last_day: Date) -> datetime:
    """Return the end of a term whose last day this is."""
    after = date(last_day.year, last_day.month, last_day.day) + timedelta(days=1)
    return datetime(after.year, after.month, after.day, tzinfo=BEIJING).astimezone(UTC)


def case_of(hazard: hazard_pb2.Hazard) -> str:
    """Return the id of a hazard's workflow."""
    return workflow_id(hazard.name.removeprefix("hazards/"))


class Loop:
    """One hazard on its way; each step is a request by somebody, answered with the hazard as it stands then."""

    def __init__(self, city: City, hazard: hazard_pb2.Hazard) -> None:
        self.city, self.stub, self.name = city, city.house.hazard, hazard.name

    async def assign(self) -> hazard_pb2.Hazard:
        """Assign it to the enterprise at home."""
        request = hazard_pb2.AssignHazardRequest(name=self.name, unit=self.city.home.enterprise)
        return await self.city.supervisor.calls(self.stub.AssignHazard, request)

    async def plan(self, finish: Date | None = None) -> hazard_pb2.Hazard:
        """Hand in the five elements, to be done within ten days unless another day is named."""
        return await self.city.responsible.calls(self.stub.SubmitRectificationPlan, await self.plan_request(finish))

    async def plan_request(self, finish: Date | None = None) -> hazard_pb2.SubmitRectificationPlanRequest:
        """Return the request that hands in the plan."""
        plan = hazard_pb2.RectificationPlan(
            responsible=self.city.responsible.name,
            measures="更换配电箱",
            funds_fen=120_000,
            finish_date=finish or day(await self.city.house.now(), 10),
            contingency="停用该回路",
        )
        return hazard_pb2.SubmitRectificationPlanRequest(name=self.name, plan=plan)

    async def rectify(self, by: Caller | None = None) -> hazard_pb2.Hazard:
        """Report it rectified."""
        return await (by or self.city.responsible).calls(self.stub.SubmitRectification, self.rectified)

    @property
    def rectified(self) -> hazard_pb2.SubmitRectificationRequest:
        """The request that reports it rectified."""
        return hazard_pb2.SubmitRectificationRequest(name=self.name, evidence=["sha256:00"])

    def extension(self, finish: Date) -> hazard_pb2.RequestExtensionRequest:
        """Return the request for more time."""
        extension = hazard_pb2.Extension(finish_date=finish, reason="配件未到")
        return hazard_pb2.RequestExtensionRequest(name=self.name, extension=extension)

    def decision(self, verdict: kit_pb2.Verdict.ValueType) -> hazard_pb2.DecideExtensionRequest:
        """Return the request that decides on more time."""
        return hazard_pb2.DecideExtensionRequest(name=self.name, verdict=verdict)

    def inspection(self, verdict: kit_pb2.Verdict.ValueType) -> hazard_pb2.ReinspectRequest:
        """Return the request that reinspects it."""
        return hazard_pb2.ReinspectRequest(name=self.name, verdict=verdict, remark="现场复查")

    async def reinspect(self, verdict: kit_pb2.Verdict.ValueType = kit_pb2.VERDICT_PASS) -> hazard_pb2.Hazard:
        """Reinspect it by the inspector at home."""
        return await self.city.inspector.calls(self.stub.Reinspect, self.inspection(verdict))

    def visit(self, verdict: kit_pb2.Verdict.ValueType) -> hazard_pb2.LookBackRequest:
        """Return the request that looks back."""
        return hazard_pb2.LookBackRequest(name=self.name, verdict=verdict)

    async def look_back(self, verdict: kit_pb2.Verdict.ValueType = kit_pb2.VERDICT_PASS) -> hazard_pb2.Hazard:
        """Look back by the inspector at home."""
        return await self.city.inspector.calls(self.stub.LookBack, self.visit(verdict))

    async def read(self) -> hazard_pb2.Hazard:
        """Read it as the inspector."""
        return await self.city.inspector.calls(self.stub.GetHazard, hazard_pb2.GetHazardRequest(name=self.name))

    async def until(self, state: hazard_pb2.HazardState.ValueType) -> hazard_pb2.Hazard:
        """Wait for a state that must come soon by itself."""
        deadline = time.monotonic() + SOON_SECONDS
        while (hazard := await self.read()).state != state:
            assert time.monotonic() < deadline, hazard
            await asyncio.sleep(0.05)
        return hazard

    async def events(self) -> list[str]:
        """Return what the ledger tells of it, in order."""
        rows = await self.city.house.fetch(
            "SELECT type FROM ledger.entry WHERE $1 = ANY(objects) ORDER BY business_time, recorded_time", self.name
        )
        return [row["type"].removeprefix("hazard.hazard.") for row in rows]

    async def names_its_order(self, orderer: str, order: str) -> bool:
        """Tell whether the last that the ledger tells of it names an order and who made it."""
        row, *_ = await self.city.house.fetch(
            "SELECT convert_from(payload, 'UTF8')::jsonb AS told, objects FROM ledger.entry"
            " WHERE objects[1] = $1 ORDER BY business_time DESC, recorded_time DESC LIMIT 1",
            self.name,
        )
        told = orjson.loads(row["told"])
        return (told["orderer"], told["site_order"]) == (orderer, order) and order in row["objects"]


@pytest_asyncio.fixture(loop_scope="session")
async def loop(city: City) -> Loop:
    """A hazard just reported."""
    return Loop(city, await city.reports())


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def both(city: City) -> Caller:
    """Somebody who answers for the enterprise, and is an inspector and supervisor of the office too."""
    both = await city.hires(policy_pb2.ROLE_RESPONSIBLE_UNIT, unit=city.home.enterprise)
    await appoint(city.house, both, city.home.office, policy_pb2.ROLE_INSPECTOR, policy_pb2.ROLE_SUPERVISOR)
    return both


async def test_the_whole_loop(city: City, loop: Loop, both: Caller) -> None:
    """A hazard could not be brought from report to close, or its ledger would tell another story."""
    reported = await loop.read()
    assert reported.state == hazard_pb2.HAZARD_STATE_REPORTED
    assert (kit_pb2.LIGHT_YELLOW, city.inspector.name) == (reported.light, reported.reporter)
    assigned = await loop.assign()
    assert (hazard_pb2.HAZARD_STATE_ASSIGNED, city.home.enterprise) == (assigned.state, assigned.unit)
    finish = day(await city.house.now(), 10)
    planned = await loop.plan(finish)
    assert (hazard_pb2.HAZARD_STATE_PLANNED, finish) == (planned.state, planned.plan.finish_date)
    assert first_instant_after(finish) == planned.due_time.ToDatetime(tzinfo=UTC)
    assert planned.light == kit_pb2.LIGHT_GREEN

    later = day(await city.house.now(), 20)
    asked = await both.calls(loop.stub.RequestExtension, loop.extension(later))
    assert both.name == asked.extension.requester
    assert planned.due_time == asked.due_time
    refusal = await both.refused(loop.stub.DecideExtension, loop.decision(kit_pb2.VERDICT_PASS))
    assert refusal.reason == "SEPARATION_OF_DUTIES"
    granted = await city.supervisor.calls(loop.stub.DecideExtension, loop.decision(kit_pb2.VERDICT_PASS))
    assert first_instant_after(later) == granted.due_time.ToDatetime(tzinfo=UTC)

    rectified = await loop.rectify(both)
    assert (hazard_pb2.HAZARD_STATE_RECTIFIED, both.name) == (rectified.state, rectified.rectifier)
    refusal = await both.refused(loop.stub.Reinspect, loop.inspection(kit_pb2.VERDICT_PASS))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "SEPARATION_OF_DUTIES")
    assert {"person": both.name, "first": "rectify", "second": "reinspect"} == refusal.metadata
    failed = await loop.reinspect(kit_pb2.VERDICT_FAIL)
    assert (failed.state, failed.rectifier) == (hazard_pb2.HAZARD_STATE_PLANNED, "")

    await loop.rectify()
    written_off = await loop.reinspect()
    assert written_off.state == hazard_pb2.HAZARD_STATE_WRITTEN_OFF
    assert written_off.write_off_reason == hazard_pb2.WRITE_OFF_REASON_REINSPECTED
    assert city.inspector.name == written_off.reinspector
    assert written_off.light == kit_pb2.LIGHT_UNSPECIFIED

    reopened = await loop.look_back(kit_pb2.VERDICT_FAIL)
    assert reopened.state == hazard_pb2.HAZARD_STATE_ASSIGNED
    assert (reopened.grade, reopened.reopen_count) == (hazard_pb2.HAZARD_GRADE_MAJOR, 1)
    assert not reopened.HasField("write_off_time")
    await loop.plan()
    await loop.rectify()
    await loop.reinspect()
    closed = await loop.look_back()
    assert closed.state == hazard_pb2.HAZARD_STATE_CLOSED
    assert not closed.HasField("due_time")

    result = await asyncio.wait_for(city.house.temporal.get_workflow_handle(case_of(reported)).result(), SOON_SECONDS)
    assert (result["state"], result["reopen_count"]) == ("CLOSED", 1)
    assert await loop.events() == [
        "reported",
        "assigned",
        "planned",
        "extension_requested",
        "extension_granted",
        "rectified",
        "reinspection_failed",
        "rectified",
        "written_off",
        "reopened",
        "planned",
        "rectified",
        "written_off",
        "closed",
    ]
    kept = {(entry["reason"], entry["method"].rpartition("/")[2]) for entry in await city.house.refusals_of(both.name)}
    assert {("SEPARATION_OF_DUTIES", "DecideExtension"), ("SEPARATION_OF_DUTIES", "Reinspect")} == kept


async def test_the_responsible_unit_never_judges_itself(city: City, loop: Loop) -> None:
    """A unit would prolong its own term, pass its own work and look back on itself, one colleague for the other."""
    roles = (policy_pb2.ROLE_INSPECTOR, policy_pb2.ROLE_SUPERVISOR)
    workshop = await create_unit(city.house, city.home.region, ENTERPRISE, parent=city.home.enterprise)
    colleague, below = [await city.hires(*roles, unit=unit) for unit in (city.home.enterprise, workshop)]
    elsewhere_too = await city.hires(*roles, unit=city.home.enterprise)
    await appoint(city.house, elsewhere_too, city.home.office, *roles)

    async def expect_refused(method: Any, request: Any) -> None:
        before = await loop.read()
        for judge in (colleague, below):
            refusal = await judge.refused(method, request)
            assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "RULE_NOT_MET")
            assert refusal.metadata == {"rule": "judged_from_outside_the_responsible_unit"}
        assert await loop.read() == before

    await loop.assign()
    await loop.plan()
    await city.responsible.calls(loop.stub.RequestExtension, loop.extension(day(await city.house.now(), 30)))
    await expect_refused(loop.stub.DecideExtension, loop.decision(kit_pb2.VERDICT_PASS))
    await city.supervisor.calls(loop.stub.DecideExtension, loop.decision(kit_pb2.VERDICT_PASS))
    await loop.rectify()
    await expect_refused(loop.stub.Reinspect, loop.inspection(kit_pb2.VERDICT_PASS))
    await loop.reinspect()
    await expect_refused(loop.stub.LookBack, loop.visit(kit_pb2.VERDICT_PASS))
    closed = await elsewhere_too.calls(loop.stub.LookBack, loop.visit(kit_pb2.VERDICT_PASS))
    assert (closed.state, closed.look_backer) == (hazard_pb2.HAZARD_STATE_CLOSED, elsewhere_too.name)
    kept = [entry["method"].rpartition("/")[2] for entry in await city.house.refusals_of(colleague.name)]
    assert sorted(kept) == ["DecideExtension", "LookBack", "Reinspect"]


async def test_an_extension_under_decision_is_not_exchanged(city: City, loop: Loop) -> None:
    """A supervisor who grants two days would be made to grant a year, asked for while his answer was on its way."""
    await loop.assign()
    await loop.plan()
    now, stub = await city.house.now(), loop.stub
    two_days, a_year = loop.extension(day(now, 12)), loop.extension(day(now, 300))
    two_days.request_id = uuid.uuid4().hex
    asked = await city.responsible.calls(stub.RequestExtension, two_days)
    refusal = await city.responsible.refused(stub.RequestExtension, a_year)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "RULE_NOT_MET")
    assert refusal.metadata == {"rule": "one_extension_is_asked_for_at_a_time"}
    assert asked == await city.responsible.calls(stub.RequestExtension, two_days)
    granted = await city.supervisor.calls(stub.DecideExtension, loop.decision(kit_pb2.VERDICT_PASS))
    assert first_instant_after(two_days.extension.finish_date) == granted.due_time.ToDatetime(tzinfo=UTC)
    a_year.request_id = uuid.uuid4().hex
    again = await city.responsible.calls(stub.RequestExtension, a_year)
    assert again.extension.verdict == kit_pb2.VERDICT_UNSPECIFIED


async def test_who_rectified_never_looks_back(city: City, loop: Loop, both: Caller) -> None:
    """The one who did the work would vouch that it lasted."""
    await loop.assign()
    await loop.plan()
    await loop.rectify(both)
    await loop.reinspect()
    refusal = await both.refused(loop.stub.LookBack, loop.visit(kit_pb2.VERDICT_PASS))
    assert (refusal.reason, refusal.metadata["second"]) == ("SEPARATION_OF_DUTIES", "look_back")
    assert (await loop.read()).state == hazard_pb2.HAZARD_STATE_WRITTEN_OFF


async def test_steps_come_in_their_order(city: City, loop: Loop) -> None:
    """A hazard would be written off that nobody has rectified, or rectified without a plan."""
    inspector, responsible, stub = city.inspector, city.responsible, loop.stub
    later = day(await city.house.now(), 30)

    async def expect_refused(state: str, *actions: str) -> None:
        attempts = {
            "plan": (responsible, stub.SubmitRectificationPlan, await loop.plan_request()),
            "rectify": (responsible, stub.SubmitRectification, loop.rectified),
            "request_extension": (responsible, stub.RequestExtension, loop.extension(later)),
            "decide_extension": (city.supervisor, stub.DecideExtension, loop.decision(kit_pb2.VERDICT_PASS)),
            "reinspect": (inspector, stub.Reinspect, loop.inspection(kit_pb2.VERDICT_PASS)),
            "look_back": (inspector, stub.LookBack, loop.visit(kit_pb2.VERDICT_PASS)),
        }
        for action in actions:
            caller, method, request = attempts[action]
            refusal = await caller.refused(method, request)  # type: ignore[arg-type]
            assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "WRONG_STATE")
            assert (state, action) == (refusal.metadata["state"], refusal.metadata["action"])

    steps = ("rectify", "request_extension", "decide_extension", "reinspect", "look_back")
    await expect_refused("REPORTED", "plan", *steps)
    await loop.assign()
    await expect_refused("ASSIGNED", *steps)
    await loop.plan()
    await expect_refused("PLANNED", "plan", "reinspect", "look_back")
    await expect_refused("NO_EXTENSION_ASKED", "decide_extension")
    await loop.rectify()
    await expect_refused("RECTIFIED", "plan", "rectify", "request_extension", "decide_extension", "look_back")
    await loop.reinspect()
    await expect_refused("WRITTEN_OFF", "plan", "rectify", "request_extension", "decide_extension", "reinspect")
    await loop.look_back()
    refusal = await inspector.refused(stub.LookBack, loop.visit(kit_pb2.VERDICT_PASS), seconds=5)
    assert grpc.StatusCode.FAILED_PRECONDITION is refusal.code, "a closed case is no outage: do not ask to retry"


async def test_days_are_checked_against_business_time(city: City, loop: Loop) -> None:
    """A plan could end before it begins, or an extension shorten the term."""
    await loop.assign()
    now = await city.house.now()
    refusal = await city.responsible.refused(loop.stub.SubmitRectificationPlan, await loop.plan_request(day(now, -1)))
    assert (refusal.code, refusal.fields) == (grpc.StatusCode.INVALID_ARGUMENT, {"plan.finish_date": "in_the_past"})
    request = await loop.plan_request()
    request.plan.funds_fen = -1
    refusal = await city.responsible.refused(loop.stub.SubmitRectificationPlan, request)
    assert refusal.fields == {"plan.funds_fen": "out_of_range"}
    far_off = day(now, 400)
    refusal = await city.responsible.refused(loop.stub.SubmitRectificationPlan, await loop.plan_request(far_off))
    assert refusal.fields == {"plan.finish_date": "over_a_year_ahead"}
    await loop.plan(day(now, 10))
    refusal = await city.responsible.refused(loop.stub.RequestExtension, loop.extension(day(now, 10)))
    assert refusal.fields == {"extension.finish_date": "not_after_start"}
    refusal = await city.responsible.refused(loop.stub.RequestExtension, loop.extension(far_off))
    assert refusal.fields == {"extension.finish_date": "over_a_year_ahead"}


async def test_the_responsible_person_is_somebody_who_answers(city: City, loop: Loop) -> None:
    """The ladder would climb to an inquiry into nobody, or into somebody who has nothing to do with the hazard."""
    await loop.assign()
    workshop = await create_unit(city.house, city.home.region, ENTERPRISE, parent=city.home.enterprise)
    sibling = await create_unit(city.house, city.home.region, ENTERPRISE, parent=city.home.office)
    role = policy_pb2.ROLE_DUTY_HOLDER
    below, above, beside = [await city.hires(role, unit=unit) for unit in (workshop, city.home.office, sibling)]
    gone = await city.hires(role, unit=city.home.enterprise)
    ended = directory_pb2.EndAppointmentRequest(name=gone.appointment, end_date=day(await city.house.now()))
    await city.house.operator.calls(city.house.directory.EndAppointment, ended)
    foreign = city.next_door.people[role]
    for person in ("people/nobody", city.postless.name, gone.name, beside.name, foreign.name):
        request = await loop.plan_request()
        request.plan.responsible = person
        refusal = await city.responsible.refused(loop.stub.SubmitRectificationPlan, request)
        assert (person, refusal.fields) == (person, {"plan.responsible": "unknown_reference"})
    for person in (below.name, above.name):
        each = Loop(city, await city.reports())
        await each.assign()
        request = await each.plan_request()
        request.plan.responsible = person
        planned = await city.responsible.calls(each.stub.SubmitRectificationPlan, request)
        assert planned.plan.responsible == person


async def test_a_unit_answers_for_its_own_hazards(city: City, loop: Loop) -> None:
    """A neighbour could plan for another, set its term, or report its hazard rectified."""
    await loop.assign()
    role = policy_pb2.ROLE_RESPONSIBLE_UNIT
    workshop = await create_unit(city.house, city.home.region, ENTERPRISE, parent=city.home.enterprise)
    strangers = [await city.hires(role, unit=unit) for unit in (city.home.office, workshop)]
    later = day(await city.house.now(), 30)

    async def expect_refused(method: Any, request: Any) -> None:
        for stranger in strangers:
            refusal = await stranger.refused(method, request)
            assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "RULE_NOT_MET")
            assert refusal.metadata == {"rule": "unit_answers_for_its_own_hazards"}

    await expect_refused(loop.stub.SubmitRectificationPlan, await loop.plan_request())
    await loop.plan()
    await expect_refused(loop.stub.RequestExtension, loop.extension(later))
    await expect_refused(loop.stub.SubmitRectification, loop.rectified)
    await loop.rectify()


async def test_a_hazard_is_handed_on_to_another_unit_only(city: City, loop: Loop) -> None:
    """Assigning once more would give the same unit a new term, as often as somebody is willing to."""
    assigned = await loop.assign()
    again = hazard_pb2.AssignHazardRequest(name=loop.name, unit=city.home.enterprise)
    refusal = await city.supervisor.refused(loop.stub.AssignHazard, again)
    assert refusal.metadata == {"rule": "reassigned_to_another_unit_only"}
    await city.house.advance(timedelta(days=1))
    other = hazard_pb2.AssignHazardRequest(name=loop.name, unit=city.home.office)
    handed_on = await city.supervisor.calls(loop.stub.AssignHazard, other)
    assert (handed_on.unit, handed_on.due_time) == (city.home.office, assigned.due_time)
    refusal = await city.responsible.refused(loop.stub.SubmitRectificationPlan, await loop.plan_request())
    assert refusal.metadata == {"rule": "unit_answers_for_its_own_hazards"}


async def test_the_supervision_follows_the_hazard_to_another_unit(city: City, loop: Loop) -> None:
    """The unit that was rid of the hazard would be pressed and addressed, and could alone report on it."""
    await loop.assign()
    await city.house.advance(timedelta(days=10))
    of_hazard = "SELECT id, unit, region_code FROM accountability.supervision_case WHERE hazard = $1"
    (supervision,) = await city.house.fetch(of_hazard, loop.name)
    assert supervision["unit"] == city.home.enterprise
    other = hazard_pb2.AssignHazardRequest(name=loop.name, unit=city.home.office)
    await city.supervisor.calls(loop.stub.AssignHazard, other)
    deadline = time.monotonic() + SOON_SECONDS
    while (await city.house.fetch(of_hazard, loop.name))[0]["unit"] != city.home.office:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    followed = await city.house.fetch(of_hazard, loop.name)
    assert [row["id"] for row in followed] == [supervision["id"]], "the ladder started again"
    entries = "SELECT unit_path FROM ledger.entry WHERE type = $1 AND $2 = ANY (objects)"
    (noted,) = await city.house.fetch(entries, "accountability.supervision_case.handed_on", loop.name)
    path = "SELECT path FROM directory.unit WHERE id = $1"
    (unit,) = await city.house.fetch(path, city.home.office.removeprefix("units/"))
    assert noted["unit_path"] == unit["path"]


async def test_who_planned_or_answers_never_judges(city: City, loop: Loop, both: Caller) -> None:
    """Who made the plan, or must answer for it, would declare it carried out."""
    await loop.assign()
    request = await loop.plan_request()
    leader = await city.hires(policy_pb2.ROLE_INSPECTOR)
    request.plan.responsible = leader.name
    await both.calls(loop.stub.SubmitRectificationPlan, request)
    await loop.rectify()

    async def expect_refused(method: Any, request: Any, second: str) -> None:
        for judge in (both, leader):
            refusal = await judge.refused(method, request)
            assert refusal.reason == "SEPARATION_OF_DUTIES"
            assert refusal.metadata == {"person": judge.name, "first": "plan", "second": second}

    await expect_refused(loop.stub.Reinspect, loop.inspection(kit_pb2.VERDICT_PASS), "reinspect")
    with pytest.raises(asyncpg.CheckViolationError, match="hazard_planner_never_reinspects"):
        await city.house.fetch(
            "UPDATE hazard.hazard SET reinspector = $2 WHERE id = $1", loop.name.removeprefix("hazards/"), both.name
        )
    await loop.reinspect()
    await expect_refused(loop.stub.LookBack, loop.visit(kit_pb2.VERDICT_PASS), "look_back")
    for judge, rule in (
        (both, "hazard_planner_never_looks_back"),
        (city.responsible, "hazard_rectifier_never_looks_back"),
    ):
        with pytest.raises(asyncpg.CheckViolationError, match=rule):
            await city.house.fetch(
                "UPDATE hazard.hazard SET look_backer = $2 WHERE id = $1",
                loop.name.removeprefix("hazards/"),
                judge.name,
            )


async def test_of_two_decisions_at_once_exactly_one_wins(city: City, loop: Loop, both: Caller) -> None:
    """An extension would be granted and refused, and each decider would believe his word stands."""
    await loop.assign()
    await loop.plan()
    await city.responsible.calls(loop.stub.RequestExtension, loop.extension(day(await city.house.now(), 30)))

    async def decide(by: Caller, verdict: kit_pb2.Verdict.ValueType) -> str:
        try:
            answer = await by.calls(loop.stub.DecideExtension, loop.decision(verdict))
        except grpc.aio.AioRpcError as error:
            assert grpc.StatusCode.FAILED_PRECONDITION is error.code()
            return ""
        assert verdict == answer.extension.verdict
        return answer.extension.decider

    deciders = await asyncio.gather(decide(city.supervisor, kit_pb2.VERDICT_PASS), decide(both, kit_pb2.VERDICT_FAIL))
    (winner,) = filter(None, deciders)
    assert winner == (await loop.read()).extension.decider


async def test_a_stale_view_is_refused(city: City) -> None:
    """Two supervisors would assign one hazard to two units without noticing each other."""
    loop = Loop(city, await city.reports(site=await create_site(city.house, city.home.region, city.home.enterprise)))
    before = await loop.read()
    suspension = hazard_pb2.SuspendSiteRequest(site=before.site, hazard=loop.name, instrument_number=uuid.uuid4().hex)
    order = await city.supervisor.calls(loop.stub.SuspendSite, suspension)
    blind = hazard_pb2.AssignHazardRequest(name=loop.name, unit=city.home.enterprise, etag=before.etag)
    refusal = await city.supervisor.refused(loop.stub.AssignHazard, blind)
    assert refusal.reason == "STALE_ETAG", "the order changed the hazard too"
    seen = await loop.read()
    assert seen.site_order == order.name
    first = hazard_pb2.AssignHazardRequest(name=loop.name, unit=city.home.enterprise, etag=seen.etag)
    await city.supervisor.calls(loop.stub.AssignHazard, first)
    second = hazard_pb2.AssignHazardRequest(name=loop.name, unit=city.home.office, etag=seen.etag)
    refusal = await city.supervisor.refused(loop.stub.AssignHazard, second)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.ABORTED, "STALE_ETAG")
    again = await city.supervisor.calls(loop.stub.AssignHazard, first)
    assert city.home.enterprise == again.unit


async def test_of_many_who_saw_the_same_one_acts(city: City) -> None:
    """Six supervisors would hand one hazard to six units, and each believe that his has it."""
    loop = Loop(city, await city.reports())
    seen, home = await loop.read(), city.home
    units = [await create_unit(city.house, home.region, ENTERPRISE, parent=home.office) for _ in range(3)]

    async def assign(unit: str, request_id: str) -> str:
        request = hazard_pb2.AssignHazardRequest(request_id=request_id, name=loop.name, unit=unit, etag=seen.etag)
        try:
            answer = await city.supervisor.calls(loop.stub.AssignHazard, request)
        except grpc.aio.AioRpcError as error:
            refusal = Refusal.of(error)
            assert (refusal.code, refusal.reason) == (grpc.StatusCode.ABORTED, "STALE_ETAG")
            return ""
        assert answer == await city.supervisor.calls(loop.stub.AssignHazard, request), "the first answer is for good"
        return answer.unit

    # To the same unit, too: whoever is late is told so, not that it has been assigned there already.
    winners = await asyncio.gather(*(assign(unit, uuid.uuid4().hex) for unit in units * 2))
    assert [unit for unit in winners if unit] == [(await loop.read()).unit]


async def test_on_the_spot_is_of_the_reporter_s_own_visit(city: City) -> None:
    """An inspector would close hundreds of hazards at his desk, or in a colleague's name: nobody looks again."""
    hazard = new_hazard(city.home.site, hazard_pb2.DISPOSITION_ON_THE_SPOT)
    method = city.house.hazard.ReportHazard
    refusal = await city.inspector.refused(method, hazard_pb2.ReportHazardRequest(hazard=hazard))
    assert (refusal.code, refusal.fields) == (grpc.StatusCode.INVALID_ARGUMENT, {"hazard.visit": "required"})
    hazard.visit = await city.visits(city.inspector)
    colleague = await city.hires(policy_pb2.ROLE_INSPECTOR)
    refusal = await colleague.refused(method, hazard_pb2.ReportHazardRequest(hazard=hazard))
    assert refusal.metadata == {"rule": "on_the_spot_is_reported_by_an_inspector_of_the_visit"}
    for visitor in (city.inspector, city.all_rounder):
        reported = await visitor.calls(method, hazard_pb2.ReportHazardRequest(hazard=hazard))
        assert (reported.state, reported.visit) == (hazard_pb2.HAZARD_STATE_CLOSED, hazard.visit)
    with pytest.raises(asyncpg.CheckViolationError, match="hazard_on_the_spot_is_of_a_visit"):
        forget = "UPDATE hazard.hazard SET visit = '' WHERE id = $1"
        await city.house.fetch(forget, reported.name.removeprefix("hazards/"))


async def test_on_the_spot_closes_at_once_without_a_case(city: City) -> None:
    """Thousands of trifles would each run a workflow, or a major hazard be settled with a handshake."""
    hazard = await city.reports(disposition=hazard_pb2.DISPOSITION_ON_THE_SPOT)
    assert hazard.state == hazard_pb2.HAZARD_STATE_CLOSED
    assert hazard.write_off_reason == hazard_pb2.WRITE_OFF_REASON_ON_THE_SPOT
    assert hazard.open_time == hazard.write_off_time
    assert not hazard.HasField("due_time")
    with pytest.raises(RPCError) as absent:
        await city.house.temporal.get_workflow_handle(case_of(hazard)).describe()
    assert RPCStatusCode.NOT_FOUND is absent.value.status

    request = hazard_pb2.ReportHazardRequest(hazard=hazard)
    request.hazard.grade = hazard_pb2.HAZARD_GRADE_MAJOR
    refusal = await city.inspector.refused(city.house.hazard.ReportHazard, request)
    assert (refusal.reason, refusal.metadata) == ("RULE_NOT_MET", {"rule": "major_hazard_needs_a_case"})
    request = hazard_pb2.ReportHazardRequest(hazard=hazard)
    request.hazard.remedy = ""
    refusal = await city.inspector.refused(city.house.hazard.ReportHazard, request)
    assert refusal.fields == {"hazard.remedy": "required"}


async def test_a_site_is_suspended_and_resumed(city: City) -> None:
    """A dangerous site would go on working, or a safe one stand still without a way back."""
    site = await create_site(city.house, city.home.region, city.home.enterprise)
    loop, stub = Loop(city, await city.reports(site=site)), city.house.hazard

    def suspension(instrument_number: str) -> hazard_pb2.SuspendSiteRequest:
        return hazard_pb2.SuspendSiteRequest(site=site, hazard=loop.name, instrument_number=instrument_number)

    number = uuid.uuid4().hex
    order = await city.supervisor.calls(stub.SuspendSite, suspension(number))
    assert (hazard_pb2.SITE_ORDER_KIND_SUSPEND, city.supervisor.name) == (order.kind, order.orderer)
    assert order.name == (await loop.read()).site_order
    for again in (number, uuid.uuid4().hex):
        refusal = await city.supervisor.refused(stub.SuspendSite, suspension(again))
        assert grpc.StatusCode.ALREADY_EXISTS is refusal.code
    refusal = await city.supervisor.refused(stub.ResumeSite, hazard_pb2.ResumeSiteRequest(name=order.name))
    assert refusal.metadata == {"rule": "hazard_of_the_order_is_written_off"}

    for step in (loop.assign, loop.plan, loop.rectify, loop.reinspect):
        await step()
    resumed = await city.supervisor.calls(stub.ResumeSite, hazard_pb2.ResumeSiteRequest(name=order.name))
    assert resumed.HasField("resume_time") and city.supervisor.name == resumed.resumer
    refusal = await city.supervisor.refused(stub.ResumeSite, hazard_pb2.ResumeSiteRequest(name=order.name))
    assert (refusal.reason, refusal.metadata["state"]) == ("WRONG_STATE", "RESUMED")
    refusal = await city.supervisor.refused(stub.SuspendSite, suspension(uuid.uuid4().hex))
    assert (refusal.reason, refusal.metadata["state"]) == ("WRONG_STATE", "WRITTEN_OFF")


async def test_each_unit_numbers_its_own_instruments(city: City) -> None:
    """The second of two counties that number alike could not suspend a site, and would learn of the first one's."""
    number, stub = uuid.uuid4().hex, city.house.hazard
    for place in (city.home, city.next_door):
        orderer = place.people[policy_pb2.ROLE_SUPERVISOR]
        for expected in (place.office, ""):  # once, and not once more
            site = await create_site(city.house, place.region, place.enterprise)
            report = hazard_pb2.ReportHazardRequest(hazard=new_hazard(site))
            hazard = await place.people[policy_pb2.ROLE_INSPECTOR].calls(stub.ReportHazard, report)
            request = hazard_pb2.SuspendSiteRequest(site=site, hazard=hazard.name, instrument_number=number)
            if expected:
                assert (await orderer.calls(stub.SuspendSite, request)).unit == expected
            else:
                refusal = await orderer.refused(stub.SuspendSite, request)
                assert refusal.metadata == {"resource": "site_order_instrument_number_is_used_once"}


async def test_an_order_is_of_the_unit_whose_post_reaches_the_hazard(city: City) -> None:
    """A supervisor of two cities would use up the numbers of the one for orders of the other."""
    both = await hire(city.house, city.next_door.office, policy_pb2.ROLE_SUPERVISOR)
    post = directory_pb2.Post(
        unit=city.home.office,
        display_name="兼任",
        roles=[policy_pb2.ROLE_SUPERVISOR],
        reach=directory_pb2.POST_REACH_REGION,
    )
    directory = city.house.directory
    made = await city.house.operator.calls(directory.CreatePost, directory_pb2.CreatePostRequest(post=post))
    held = directory_pb2.Appointment(post=made.name, person=both.name, start_date=IN_OFFICE_SINCE)
    await city.house.operator.calls(directory.Appoint, directory_pb2.AppointRequest(appointment=held))
    for place in (city.home, city.next_door):
        site = await create_site(city.house, place.region, place.enterprise)
        report = hazard_pb2.ReportHazardRequest(hazard=new_hazard(site))
        hazard = await place.people[policy_pb2.ROLE_INSPECTOR].calls(city.house.hazard.ReportHazard, report)
        order = hazard_pb2.SuspendSiteRequest(site=site, hazard=hazard.name, instrument_number=uuid.uuid4().hex)
        assert (await both.calls(city.house.hazard.SuspendSite, order)).unit == place.office


async def test_a_closed_site_is_never_resumed(city: City) -> None:
    """A site closed down for good would be told to go on working, on the strength of its own closure."""
    site = await create_site(city.house, city.home.region, city.home.enterprise)
    loop, other, stub = Loop(city, await city.reports(site=site)), await city.reports(site=site), city.house.hazard
    suspension = hazard_pb2.SuspendSiteRequest(site=site, hazard=loop.name, instrument_number=uuid.uuid4().hex)
    order = await city.supervisor.calls(stub.SuspendSite, suspension)
    resumption = hazard_pb2.ResumeSiteRequest(name=order.name)
    for step in (loop.assign, loop.plan, loop.rectify, loop.reinspect):
        await step()
    closure = hazard_pb2.CloseDownSiteRequest(site=site, hazard=other.name, instrument_number=uuid.uuid4().hex)
    await city.supervisor.calls(stub.CloseDownSite, closure)
    refusal = await city.supervisor.refused(stub.ResumeSite, resumption)
    assert (refusal.reason, refusal.metadata) == ("RULE_NOT_MET", {"rule": "site_is_not_closed_down"})


async def test_a_hazard_names_a_visit_to_its_own_site(city: City) -> None:
    """A hazard would be credited to a visit that never took place, or to one of another site."""
    elsewhere = await create_site(city.house, city.home.region, city.home.enterprise)
    made = await city.visits(city.inspector)

    def report(site: str, visit_name: str) -> hazard_pb2.ReportHazardRequest:
        request = hazard_pb2.ReportHazardRequest(hazard=new_hazard(site))
        request.hazard.visit = visit_name
        return request

    for unfit in (report(elsewhere, made), report(city.home.site, "visits/none")):
        refusal = await city.inspector.refused(city.house.hazard.ReportHazard, unfit)
        assert refusal.fields == {"hazard.visit": "unknown_reference"}
    reported = await city.inspector.calls(city.house.hazard.ReportHazard, report(city.home.site, made))
    assert reported.visit == made


async def test_a_closed_site_s_open_hazards_are_written_off(city: City) -> None:
    """Cases of a site that no longer exists would climb the ladder for ever."""
    site = await create_site(city.house, city.home.region, city.home.enterprise)
    stub = city.house.hazard
    reported, planned, done = [Loop(city, await city.reports(site=site)) for _ in range(3)]
    spot = await city.reports(site=site, disposition=hazard_pb2.DISPOSITION_ON_THE_SPOT)
    for each in (planned, done):
        await each.assign()
        await each.plan()
    await done.rectify()
    written_off = await done.reinspect()

    def closure(hazard: str) -> hazard_pb2.CloseDownSiteRequest:
        return hazard_pb2.CloseDownSiteRequest(site=site, hazard=hazard, instrument_number=uuid.uuid4().hex)

    for unfit in (spot.name, (await city.reports()).name):
        refusal = await city.supervisor.refused(stub.CloseDownSite, closure(unfit))
        assert ("UNFIT_REFERENCE", unfit) == (refusal.reason, refusal.metadata["resource"])
    order = await city.supervisor.calls(stub.CloseDownSite, closure(reported.name))
    assert order.kind == hazard_pb2.SITE_ORDER_KIND_CLOSE_DOWN
    for each in (reported, planned):
        closed = await each.until(hazard_pb2.HAZARD_STATE_CLOSED)
        assert closed.write_off_reason == hazard_pb2.WRITE_OFF_REASON_SITE_CLOSED_DOWN
        assert order.name == closed.site_order
        handle = city.house.temporal.get_workflow_handle(case_of(closed))
        assert (await asyncio.wait_for(handle.result(), SOON_SECONDS))["write_off_reason"] == "SITE_CLOSED_DOWN"
        assert await each.names_its_order(city.supervisor.name, order.name)
    ended = await done.until(hazard_pb2.HAZARD_STATE_CLOSED)
    assert (ended.write_off_reason, ended.write_off_time) == (written_off.write_off_reason, written_off.write_off_time)
    handle = city.house.temporal.get_workflow_handle(case_of(ended))
    assert (await asyncio.wait_for(handle.result(), SOON_SECONDS))["write_off_reason"] == "REINSPECTED"
    assert (await done.events())[-2:] == ["written_off", "closed"]
    assert await done.names_its_order(city.supervisor.name, order.name)

    refusal = await city.supervisor.refused(stub.ResumeSite, hazard_pb2.ResumeSiteRequest(name=order.name))
    assert refusal.reason == "WRONG_STATE"
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await city.reports(site=site)
    assert grpc.StatusCode.FAILED_PRECONDITION is failure.value.code()


@contextlib.asynccontextmanager
async def under_way(house: RunningHouse, sql: str, *arguments: object) -> "AsyncIterator[asyncpg.Connection[Any]]":
    """Hold open a transaction of somebody else's, as one does whose commit is still to come; it commits at the end."""
    url = required(house.settings.database_url, "database_url").get_secret_value()
    connection = await asyncpg.connect(url, user=OWNER, password=role_password(house.settings, OWNER))
    try:
        async with connection.transaction():
            await connection.execute(sql, *arguments)
            yield connection
    finally:
        await connection.close()


async def somebody_waits(house: RunningHouse, locktype: str) -> None:
    """Wait until somebody waits for such a lock."""
    sql = "SELECT FROM pg_locks WHERE locktype = $1 AND NOT granted"
    async with asyncio.timeout(SOON_SECONDS):
        while True:
            if await house.fetch(sql, locktype):
                return
            await asyncio.sleep(0.02)


async def test_reports_and_orders_on_one_site_do_not_pass_each_other(city: City) -> None:
    """A hazard reported in the moment of a closure would stay open on a closed site, its case climbing for ever."""
    site = await create_site(city.house, city.home.region, city.home.enterprise)
    hazard, stub = await city.reports(site=site), city.house.hazard

    def closure() -> hazard_pb2.CloseDownSiteRequest:
        return hazard_pb2.CloseDownSiteRequest(site=site, hazard=hazard.name, instrument_number=uuid.uuid4().hex)

    lock = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"
    async with under_way(city.house, lock, site):
        report = asyncio.create_task(city.reports(site=site))
        await asyncio.sleep(0.5)
        assert not report.done()
    second = await report
    async with under_way(city.house, lock, site):
        order = asyncio.create_task(city.supervisor.calls(stub.CloseDownSite, closure()))
        await asyncio.sleep(0.5)
        assert not order.done()
    await order
    for name in (hazard, second):
        await Loop(city, name).until(hazard_pb2.HAZARD_STATE_CLOSED)


INSERT_HAZARD = """
    INSERT INTO hazard.hazard (id, site, grade, disposition, description, state, region_code, reporter, open_time,
        legacy_id)
    VALUES ($1, 'sites/s', 'GENERAL', 'TIME_LIMITED', 'd', 'REPORTED', '1303', 'people/p', $2, $1)
"""


async def legacy_site(city: City, unit: str) -> tuple[str, str]:
    """Import a site; return its legacy id and its name."""
    legacy_id = uuid.uuid4().hex
    site = directory_pb2.Site(display_name="老厂", region=city.home.region, unit=unit, legacy_id=legacy_id)
    header = kit_pb2.ImportHeader(request_id=uuid.uuid4().hex)
    rows = [directory_pb2.SiteRow(row=1, site=site)]
    request = directory_pb2.ImportSitesRequest(header=header, rows=rows)
    report = await city.house.operator.sends(city.house.directory.ImportSites, request)
    assert report.created == 1, report
    (row,) = await city.house.fetch("SELECT id FROM directory.site WHERE legacy_id = $1", legacy_id)
    return legacy_id, f"sites/{row['id']}"


def legacy_hazards(*rows: hazard_pb2.LegacyHazardRow) -> hazard_pb2.ImportHazardsRequest:
    """Return an import of these rows."""
    return hazard_pb2.ImportHazardsRequest(header=kit_pb2.ImportHeader(request_id=uuid.uuid4().hex), rows=rows)


def legacy_hazard(row: int, site: str, opened: Date, written_off: Date | None = None) -> hazard_pb2.LegacyHazardRow:
    """Return a row of a legacy ledger."""
    return hazard_pb2.LegacyHazardRow(
        row=row,
        legacy_id=f"{site}-{row}",
        site_legacy_id=site,
        grade=hazard_pb2.HAZARD_GRADE_GENERAL,
        disposition=hazard_pb2.DISPOSITION_TIME_LIMITED,
        description="旧台账",
        open_date=opened,
        write_off_date=written_off,
    )


async def test_a_closed_site_s_open_hazards_are_not_imported(city: City) -> None:
    """A legacy ledger would open cases on a site that was closed down, even in that moment."""
    legacy_id, site = await legacy_site(city, city.home.enterprise)
    now, stub = await city.house.now(), city.house.hazard
    opened, earlier = day(now, -30), day(now, -10)
    first = legacy_hazards(legacy_hazard(1, legacy_id, opened))
    assert (await city.house.operator.sends(stub.ImportHazards, first)).created == 1
    (hazard,) = await city.house.fetch("SELECT id FROM hazard.hazard WHERE site = $1", site)
    rows = (
        legacy_hazard(1, legacy_id, opened),
        legacy_hazard(2, legacy_id, opened, earlier),
        legacy_hazard(3, legacy_id, opened),
    )
    closure = hazard_pb2.CloseDownSiteRequest(
        site=site, hazard=f"hazards/{hazard['id']}", instrument_number=uuid.uuid4().hex
    )
    async with under_way(city.house, "SELECT FROM hazard.hazard WHERE id = $1 FOR UPDATE", hazard["id"]):
        closing = asyncio.create_task(city.supervisor.calls(stub.CloseDownSite, closure))
        await somebody_waits(city.house, "transactionid")
        importing = asyncio.create_task(city.house.operator.sends(stub.ImportHazards, legacy_hazards(*rows)))
        await somebody_waits(city.house, "advisory")
    await closing
    report = await importing
    assert (report.created, report.unchanged, report.rejected) == (1, 1, 1)
    assert [(error.row, error.column) for error in report.errors] == [(3, "site_legacy_id")]


async def test_an_import_holds_up_nothing_but_closures_in_its_counties(city: City) -> None:
    """While one county moves its ledger, which takes minutes, nobody in the country could stop a dangerous site."""
    legacy_id, site = await legacy_site(city, city.home.enterprise)
    stub, now, known = city.house.hazard, await city.house.now(), await city.reports(site=site)
    rows = legacy_hazards(legacy_hazard(1, legacy_id, day(now, -30)))
    next_door = city.next_door
    farther = await create_site(city.house, next_door.region, next_door.enterprise)
    elsewhere = await city.reports(next_door.people[policy_pb2.ROLE_INSPECTOR], site=farther)
    supervisor_elsewhere = next_door.people[policy_pb2.ROLE_SUPERVISOR]

    def order(of: Any, hazard: hazard_pb2.Hazard) -> Any:
        return of(site=hazard.site, hazard=hazard.name, instrument_number=uuid.uuid4().hex)

    async with under_way(city.house, INSERT_HAZARD, f"{legacy_id}-1", now) as other:
        importing = asyncio.create_task(city.house.operator.sends(stub.ImportHazards, rows))
        await somebody_waits(city.house, "transactionid")
        await city.supervisor.calls(stub.SuspendSite, order(hazard_pb2.SuspendSiteRequest, known))
        await supervisor_elsewhere.calls(stub.CloseDownSite, order(hazard_pb2.CloseDownSiteRequest, elsewhere))
        closure = order(hazard_pb2.CloseDownSiteRequest, known)
        closing = asyncio.create_task(city.supervisor.calls(stub.CloseDownSite, closure))
        await somebody_waits(city.house, "advisory")
        await other.execute("DELETE FROM hazard.hazard WHERE id = $1", f"{legacy_id}-1")
    assert (await importing).created == 1
    await closing
    (imported,) = await city.house.fetch("SELECT id FROM hazard.hazard WHERE legacy_id = $1", f"{legacy_id}-1")
    for name in (known.name, f"hazards/{imported['id']}"):
        await Loop(city, hazard_pb2.Hazard(name=name)).until(hazard_pb2.HAZARD_STATE_CLOSED)


async def test_an_imported_hazard_always_has_somebody_who_answers(city: City) -> None:
    """The ladder over a legacy hazard of a site without a unit could not even begin."""
    legacy_id, site = await legacy_site(city, "")
    rows = legacy_hazards(legacy_hazard(1, legacy_id, day(await city.house.now(), -30)))
    assert (await city.house.operator.sends(city.house.hazard.ImportHazards, rows)).created == 1
    deadline = time.monotonic() + SOON_SECONDS
    # The relay starts imported cases.
    while await city.house.fetch("SELECT FROM hazard.case_message WHERE delivered_time IS NULL"):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    await city.house.advance(timedelta(days=15))
    (hazard,) = await city.house.fetch("SELECT id FROM hazard.hazard WHERE site = $1", site)
    opened = "SELECT unit FROM accountability.supervision_case WHERE hazard = $1"
    deadline = time.monotonic() + SOON_SECONDS
    while not (cases := await city.house.fetch(opened, f"hazards/{hazard['id']}")):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert [case["unit"] for case in cases] == ["units/root"]


async def test_the_unit_that_answers_at_first_is_the_one_whose_post_reaches_the_site(city: City) -> None:
    """Another city would be supervised for a hazard that it has nothing to do with, and read about it."""
    roles = (policy_pb2.ROLE_INSPECTOR, policy_pb2.ROLE_OPERATOR)
    both = await hire(city.house, city.home.office, *roles)
    await appoint(city.house, both, city.next_door.office, *roles)
    directory, stub = city.house.directory, city.house.hazard
    for place in (city.home, city.next_door):
        legacy_id = uuid.uuid4().hex
        site = directory_pb2.Site(
            display_name="无主场所", region=place.region, legacy_id=legacy_id, source_region=place.region
        )
        created = await city.house.operator.calls(directory.CreateSite, directory_pb2.CreateSiteRequest(site=site))
        await city.reports(both, site=created.name)
        rows = legacy_hazards(legacy_hazard(1, legacy_id, day(await city.house.now(), -1)))
        rows.header.source_region = place.region
        assert (await both.sends(stub.ImportHazards, rows)).created == 1
        messages = (
            "SELECT argument FROM hazard.case_message JOIN hazard.hazard ON workflow_id = $2 || id WHERE site = $1"
        )
        started = await city.house.fetch(messages, created.name, workflow_id(""))
        assert [orjson.loads(each["argument"])["fallback_unit"] for each in started] == [place.office] * 2


async def test_the_ledger_is_listed_as_of_a_day(city: City) -> None:
    """A report for last month would show today's figures, and no two reports would agree."""
    site = await create_site(city.house, city.home.region, city.home.enterprise)
    first_day = await city.house.now()

    async def counted(as_of: datetime | None, status: hazard_pb2.LedgerStatus.ValueType) -> int:
        request = hazard_pb2.ListHazardsRequest(site=site, status=status, page_size=1)
        if as_of is not None:
            request.as_of_date.CopyFrom(day(as_of))
        total, token = -1, ""
        names: list[str] = []
        while True:
            request.page_token = token
            page = await city.inspector.calls(city.house.hazard.ListHazards, request)
            total = page.total_size if not token else total
            names += [hazard.name for hazard in page.hazards]
            token = page.next_page_token
            if not token:
                break
        assert total == len(names) == len(set(names))
        return total

    async def figures(as_of: datetime | None) -> tuple[int, int, int]:
        statuses = (
            hazard_pb2.LEDGER_STATUS_UNSPECIFIED,
            hazard_pb2.LEDGER_STATUS_OPEN,
            hazard_pb2.LEDGER_STATUS_WRITTEN_OFF,
        )
        everything, open_ones, written_off = [await counted(as_of, status) for status in statuses]
        return everything, open_ones, written_off

    lasting = Loop(city, await city.reports(site=site))
    for step in (lasting.assign, lasting.plan):
        await step()
    await city.reports(site=site, disposition=hazard_pb2.DISPOSITION_ON_THE_SPOT)
    assert (2, 1, 1) == await figures(None) == await figures(first_day)
    assert await figures(first_day - timedelta(days=1)) == (0, 0, 0)

    second_day = await city.house.advance(timedelta(days=1))
    for step in (lasting.rectify, lasting.reinspect):
        await step()
    third_day = await city.house.advance(timedelta(days=1))
    await lasting.look_back(kit_pb2.VERDICT_FAIL)
    assert [await figures(each) for each in (first_day - timedelta(days=1), first_day, second_day, third_day)] == [
        (0, 0, 0),
        (2, 1, 1),
        (2, 0, 2),
        (2, 1, 1),
    ]
    foreign = city.next_door.people[policy_pb2.ROLE_INSPECTOR]
    elsewhere = await foreign.calls(city.house.hazard.ListHazards, hazard_pb2.ListHazardsRequest(site=site))
    assert (elsewhere.total_size, len(elsewhere.hazards)) == (0, 0)


async def test_a_missed_term_turns_red_and_closes_the_window(city: City, loop: Loop) -> None:
    """A responsible unit could extend its own deadline after it has passed."""
    await loop.assign()
    await loop.plan(day(await city.house.now(), 1))
    await city.house.advance(timedelta(days=3))
    overdue = await loop.read()
    assert (overdue.state, overdue.light) == (hazard_pb2.HAZARD_STATE_PLANNED, kit_pb2.LIGHT_RED)
    request = loop.extension(day(await city.house.now(), 30))
    refusal = await city.responsible.refused(loop.stub.RequestExtension, request)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "WINDOW_CLOSED")
    assert (await loop.rectify()).state == hazard_pb2.HAZARD_STATE_RECTIFIED


@pytest_asyncio.fixture(loop_scope="session")
async def frail(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedTemporal]:
    """A Temporal server of one's own, to be stopped."""
    server = EmbeddedTemporal(tmp_path_factory.mktemp("frail"), free_port(), None, virtual_time=True)
    await server.start()
    yield server
    await server.stop()


async def test_while_temporal_is_down_reads_and_reports_go_on(
    postgres: EmbeddedPostgres,
    new_database: NewDatabase,
    frail: EmbeddedTemporal,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """An outage of the engine would stop the whole city, or lose what was reported meanwhile."""
    keys = tmp_path_factory.mktemp("frail-keys")
    async with running_house(await new_database(), postgres.secrets_dir, frail, keys) as house:
        city = await settle(house)
        before = Loop(city, await city.reports())
        await frail.stop()

        assignment = hazard_pb2.AssignHazardRequest(name=before.name, unit=city.home.enterprise)
        refusal = await city.supervisor.refused(house.hazard.AssignHazard, assignment, seconds=3, locale="zh-CN")
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "CASE_UNAVAILABLE")
        assert refusal.retry_seconds and refusal.retry_seconds >= 1
        assert (await before.read()).state == hazard_pb2.HAZARD_STATE_REPORTED
        forward = directory_pb2.AdvanceClockRequest()
        forward.time.FromDatetime(await house.now() + timedelta(days=1))
        refusal = await house.operator.refused(house.directory.AdvanceClock, forward, seconds=20)
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE")
        during = Loop(city, await city.reports())
        listed = await city.inspector.calls(house.hazard.ListHazards, hazard_pb2.ListHazardsRequest())
        assert {before.name, during.name} <= {hazard.name for hazard in listed.hazards}

        await frail.start()
        assert (await _when_back(city, assignment)).state == hazard_pb2.HAZARD_STATE_ASSIGNED
        request = hazard_pb2.AssignHazardRequest(name=during.name, unit=city.home.enterprise)
        assert (await _when_back(city, request)).state == hazard_pb2.HAZARD_STATE_ASSIGNED
        deadline = time.monotonic() + 10  # what was delivered is noted in one go, every second
        while await house.fetch("SELECT FROM hazard.case_message WHERE delivered_time IS NULL"):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        assert await during.events() == ["reported", "assigned"]


async def _when_back(city: City, request: hazard_pb2.AssignHazardRequest) -> hazard_pb2.Hazard:
    """Repeat a request, as RetryInfo asks, until the case can be reached again."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return await city.supervisor.calls(city.house.hazard.AssignHazard, request, seconds=5)
        except grpc.aio.AioRpcError as error:
            assert grpc.StatusCode.UNAVAILABLE is error.code(), error
            assert time.monotonic() < deadline
        await asyncio.sleep(0.5)
