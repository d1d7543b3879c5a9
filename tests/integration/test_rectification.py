"""The hazard loop over the wire, on the real engine in virtual time: from report to close, and every way out."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta, timezone

import grpc
import pytest
import pytest_asyncio
from google.type.date_pb2 import Date
from temporalio.service import RPCError, RPCStatusCode

from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.kit.v1 import kit_pb2
from dutyloop.policy.v1 import policy_pb2
from infra.embedded.postgres import EmbeddedPostgres
from infra.embedded.process import free_port
from infra.embedded.temporal import EmbeddedTemporal
from tests.integration.conftest import NewDatabase
from tests.integration.house import Caller, running_house
from tests.integration.people import City, create_site, settle
from workflows.payloads.rectification import workflow_id

BEIJING = timezone(timedelta(hours=8))
SOON_SECONDS = 15.0


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


@pytest_asyncio.fixture(loop_scope="session")
async def loop(city: City) -> Loop:
    """A hazard just reported."""
    return Loop(city, await city.reports())


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def both(city: City) -> Caller:
    """Somebody who answers for rectification and is an inspector too."""
    return await city.hires(policy_pb2.ROLE_INSPECTOR, policy_pb2.ROLE_RESPONSIBLE_UNIT, policy_pb2.ROLE_SUPERVISOR)


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
    await expect_refused("PLANNED", "reinspect", "look_back")
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
    await loop.plan(day(now, 10))
    refusal = await city.responsible.refused(loop.stub.RequestExtension, loop.extension(day(now, 10)))
    assert refusal.fields == {"extension.finish_date": "not_after_start"}


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


async def test_a_stale_view_is_refused(city: City, loop: Loop) -> None:
    """Two supervisors would assign one hazard to two units without noticing each other."""
    seen = await loop.read()
    first = hazard_pb2.AssignHazardRequest(name=loop.name, unit=city.home.enterprise, etag=seen.etag)
    await city.supervisor.calls(loop.stub.AssignHazard, first)
    second = hazard_pb2.AssignHazardRequest(name=loop.name, unit=city.home.office, etag=seen.etag)
    refusal = await city.supervisor.refused(loop.stub.AssignHazard, second)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.ABORTED, "STALE_ETAG")
    again = await city.supervisor.calls(loop.stub.AssignHazard, first)
    assert city.home.enterprise == again.unit


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
    await done.reinspect()

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
    assert (await done.read()).write_off_reason == hazard_pb2.WRITE_OFF_REASON_REINSPECTED

    refusal = await city.supervisor.refused(stub.ResumeSite, hazard_pb2.ResumeSiteRequest(name=order.name))
    assert refusal.reason == "WRONG_STATE"
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await city.reports(site=site)
    assert grpc.StatusCode.FAILED_PRECONDITION is failure.value.code()


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
    async with running_house(await new_database(), postgres.secrets_file, frail, keys) as house:
        city = await settle(house)
        before = Loop(city, await city.reports())
        await frail.stop()

        assignment = hazard_pb2.AssignHazardRequest(name=before.name, unit=city.home.enterprise)
        refusal = await city.supervisor.refused(house.hazard.AssignHazard, assignment, seconds=3, locale="zh-CN")
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "CASE_UNAVAILABLE")
        assert refusal.retry_seconds and refusal.retry_seconds >= 1
        assert (await before.read()).state == hazard_pb2.HAZARD_STATE_REPORTED
        during = Loop(city, await city.reports())
        listed = await city.inspector.calls(house.hazard.ListHazards, hazard_pb2.ListHazardsRequest())
        assert {before.name, during.name} <= {hazard.name for hazard in listed.hazards}

        await frail.start()
        assert (await _when_back(city, assignment)).state == hazard_pb2.HAZARD_STATE_ASSIGNED
        request = hazard_pb2.AssignHazardRequest(name=during.name, unit=city.home.enterprise)
        assert (await _when_back(city, request)).state == hazard_pb2.HAZARD_STATE_ASSIGNED
        (left,) = await house.fetch("SELECT count(*) FROM hazard.case_message")
        assert left["count"] == 0
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
