"""The rectification case on a real Temporal server in virtual time, with fake activities under the real names."""

import dataclasses
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Replayer, Worker

from services.kit import virtual
from services.kit.codec import data_converter
from services.kit.errors import InvalidFields, RuleNotMet, SeparationOfDuties, StaleEtag, WrongState
from tests.workflow.cases import DAYS, OPENED, act, refused
from workflows.activities.accountability import ConcludeSupervision, HandOnSupervision, OpenSupervision
from workflows.payloads.rectification import (
    WORKFLOW,
    HazardSnapshot,
    Plan,
    Recorded,
    RecordTransition,
    RectificationStart,
    RectificationTerms,
    workflow_id,
)
from workflows.rectification import Rectification

UNIT, OTHER_UNIT = "units/a", "units/b"
SUPERVISOR, RESPONSIBLE, INSPECTOR, HEAD = "people/supervisor", "people/fixer", "people/inspector", "people/head"
TERMS = RectificationTerms()


@dataclass
class Services:
    """What the fake services were told."""

    recorded: list[RecordTransition] = field(default_factory=list)
    on_record: dict[str, Recorded] = field(default_factory=dict)
    opened: list[OpenSupervision] = field(default_factory=list)
    concluded: list[str] = field(default_factory=list)
    handed_on: list[tuple[str, str]] = field(default_factory=list)
    days_moved: int = 0
    """By how much the notice that has come moves the end of a term."""

    @activity.defn(name="record_hazard_transition")
    async def record(self, record: RecordTransition) -> Recorded:
        """Keep a transition; count the days of its term without a calendar."""
        self.recorded.append(record)
        due, written_off = record.snapshot.due_time, record.snapshot.write_off_time
        if running := record.term:
            moved = self.days_moved if running.notice else 0
            due = running.start + timedelta(days=running.term.amount * DAYS[running.term.unit] + moved)
        return self.on_record.get(record.transition) or Recorded(due, written_off)

    @activity.defn(name="open_supervision")
    async def open_supervision(self, opening: OpenSupervision) -> str:
        """Keep what was opened."""
        self.opened.append(opening)
        return f"supervisionCases/{len(self.opened)}"

    @activity.defn(name="conclude_supervision")
    async def conclude_supervision(self, conclusion: ConcludeSupervision) -> None:
        """Keep what was concluded."""
        self.concluded.append(conclusion.supervision_case)

    @activity.defn(name="hand_on_supervision")
    async def hand_on_supervision(self, handing: HandOnSupervision) -> None:
        """Keep what was handed on."""
        self.handed_on.append((handing.supervision_case, handing.unit))


@dataclass
class Case:
    """One hazard's case under way."""

    client: Client
    services: Services
    handle: WorkflowHandle[Any, Any]
    unit: str = ""

    async def read(self) -> HazardSnapshot:
        """Return the hazard as the case sees it."""
        snapshot: HazardSnapshot = await self.handle.query("hazard", result_type=HazardSnapshot)
        return snapshot

    async def on_day(self, days: float) -> None:
        """Let business time pass until so many days after OPENED."""
        while await virtual.catch_up(self.client, self.handle.id, OPENED + timedelta(days=days)):
            pass

    async def assign(self, unit: str = UNIT) -> None:
        """Assign it."""
        await act(self.handle, "assign", SUPERVISOR, unit=unit, unit_path=f"{unit}/", from_unit=self.unit)
        self.unit = unit

    async def plan(self, by: str = RESPONSIBLE, days: int = 10) -> None:
        """Hand in a plan that ends so many days after OPENED."""
        await act(self.handle, "submit_plan", by, unit=UNIT, plan=plan(days))

    async def rectify(self, by: str = RESPONSIBLE) -> None:
        """Report it rectified."""
        await act(self.handle, "submit_rectification", by, unit=UNIT, evidence=["photo"])

    async def reproject(self, days_moved: int, told_as: str) -> None:
        """Tell it of a notice that moves the end of its term, under the id of one message."""
        self.services.days_moved = days_moved
        await self.handle.execute_update("reproject", {"notice": 2026}, id=told_as)

    async def judge(self, update: str, verdict: str, by: str = INSPECTOR) -> None:
        """Reinspect it or look back."""
        await act(self.handle, update, by, unit=UNIT, verdict=verdict)

    @property
    def transitions(self) -> list[str]:
        """Return what was recorded, in order."""
        return [record.transition for record in self.services.recorded]

    async def end(self) -> Any:
        """Close the site, and return how the case ended; its history must replay."""
        await self.handle.execute_update("close_down", {"site_order": "siteOrders/1"})
        result = await self.handle.result()
        replayer = Replayer(workflows=[Rectification], data_converter=data_converter(None))
        await replayer.replay_workflow(await self.handle.fetch_history())
        return result


def plan(days: int, responsible: str = HEAD) -> dict[str, Any]:
    """Return a plan that ends so many days after OPENED."""
    last = (OPENED + timedelta(days=days)).date()
    made = Plan(responsible, "measures", 0, last, "contingency")
    return {**dataclasses.asdict(made), "finish_date": last.isoformat()}


def end_of(days: int) -> datetime:
    """Return the end of a plan's last day in Beijing."""
    last: date = (OPENED + timedelta(days=days)).date()
    return datetime(last.year, last.month, last.day, 16, tzinfo=UTC)


@pytest_asyncio.fixture
async def case(temporal_client: Client) -> AsyncIterator[Case]:
    """A case just opened, to be assigned within three days, with a worker of its own."""
    services, queue, hazard = Services(), f"cases-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    activities: list[Any] = [
        services.record,
        services.open_supervision,
        services.conclude_supervision,
        services.hand_on_supervision,
    ]
    async with Worker(temporal_client, task_queue=queue, workflows=[Rectification], activities=activities):
        handle = await temporal_client.start_workflow(
            WORKFLOW,
            RectificationStart(f"hazards/{hazard}", OPENED, OPENED + timedelta(days=3), "GENERAL", "units/fallback"),
            id=workflow_id(hazard),
            task_queue=queue,
            memo={virtual.OPENED_MEMO: OPENED.isoformat()},
        )
        yield Case(temporal_client, services, handle)


async def test_a_second_plan_does_not_end_the_ladder(case: Case) -> None:
    """A unit that missed its term would hand in a new plan, and the ladder over it would end."""
    await case.assign()
    await case.plan(days=10)
    await case.on_day(12)
    assert [(each.matter, each.person) for each in case.services.opened] == [("rectify", HEAD)]
    refusal = await refused(case.handle, "submit_plan", RESPONSIBLE, unit=UNIT, plan=plan(60))
    assert isinstance(refusal, WrongState)
    assert (await case.read()).due_time == end_of(10)
    assert case.services.concluded == []
    await case.rectify()
    await case.end()
    assert case.services.concluded == ["supervisionCases/1"]


async def test_after_a_failed_reinspection_the_same_plan_has_a_new_term(case: Case) -> None:
    """A hazard found unfinished could not be taken up again, or its unit would set itself the term for that."""
    await case.assign()
    await case.plan(days=10)
    later = (OPENED + timedelta(days=20)).date().isoformat()
    await act(case.handle, "request_extension", RESPONSIBLE, unit=UNIT, finish_date=later, reason="late")
    await case.on_day(2)
    await case.rectify()
    await case.judge("reinspect", "FAIL")
    failed = await case.read()
    assert failed.state == "PLANNED" and failed.plan is not None and failed.rectifier == ""
    assert failed.due_time is not None
    given = failed.due_time - OPENED - timedelta(days=2)
    assert abs(given - timedelta(days=TERMS.rectify_again.amount)) < timedelta(minutes=2)
    refusal = await refused(case.handle, "submit_plan", RESPONSIBLE, unit=UNIT, plan=plan(60))
    assert isinstance(refusal, WrongState)
    refusal = await refused(case.handle, "decide_extension", SUPERVISOR, unit=UNIT, verdict="PASS")
    assert isinstance(refusal, WrongState), "what was asked for the first attempt would shorten or stretch the second"
    await case.on_day(8)
    assert [each.matter for each in case.services.opened] == ["rectify"]
    await case.rectify()
    assert (await case.read()).state == "RECTIFIED"
    await case.end()


async def test_a_relapsed_hazard_needs_a_new_plan(case: Case) -> None:
    """A hazard found relapsed would stand with the plan that did not last."""
    await case.assign()
    await case.plan(days=10)
    await case.rectify()
    await case.judge("reinspect", "PASS")
    await case.judge("look_back", "FAIL")
    reopened = await case.read()
    assert (reopened.state, reopened.grade, reopened.plan) == ("ASSIGNED", "MAJOR", None)
    await case.plan("people/other fixer", days=30)
    assert (await case.read()).due_time == end_of(30)
    await case.rectify("people/third fixer")
    for judge in (RESPONSIBLE, "people/other fixer", "people/third fixer", HEAD):
        refusal = await refused(case.handle, "reinspect", judge, unit=UNIT, verdict="PASS")
        assert isinstance(refusal, SeparationOfDuties)
    await case.end()


@pytest.mark.parametrize(("days", "problem"), [(-2, "in_the_past"), (400, "over_a_year_ahead")])
async def test_a_plan_ends_within_a_year(case: Case, days: int, problem: str) -> None:
    """A plan that ends in a generation is as good as none, and no ladder ever begins."""
    await case.assign()
    refusal = await refused(case.handle, "submit_plan", RESPONSIBLE, unit=UNIT, plan=plan(days))
    assert isinstance(refusal, InvalidFields)
    assert [(each.field, each.problem) for each in refusal.violations] == [("plan.finish_date", problem)]
    await case.end()


async def test_handing_on_neither_prolongs_the_term_nor_ends_the_ladder(case: Case) -> None:
    """Two units could pass a hazard to and fro, each time with a new term and a ladder that starts again."""
    await case.assign()
    refusal = await refused(case.handle, "assign", SUPERVISOR, unit=UNIT, unit_path="a/", from_unit=UNIT)
    assert isinstance(refusal, RuleNotMet)
    due = (await case.read()).due_time
    await case.on_day(7)
    assert [each.matter for each in case.services.opened] == ["plan"]
    await case.assign(OTHER_UNIT)
    handed_on = await case.read()
    assert (handed_on.state, handed_on.unit, handed_on.due_time) == ("ASSIGNED", OTHER_UNIT, due)
    await case.on_day(9)
    assert (len(case.services.opened), case.services.concluded) == (1, [])
    assert case.services.handed_on == [("supervisionCases/1", OTHER_UNIT)], "the former unit would be pressed on"
    await case.assign()
    await case.on_day(10)
    assert case.services.handed_on[1:] == [("supervisionCases/1", UNIT)]
    await case.assign(OTHER_UNIT)
    await act(case.handle, "submit_plan", RESPONSIBLE, unit=OTHER_UNIT, plan=plan(20))
    await case.end()
    assert case.services.concluded == ["supervisionCases/1"]


async def test_who_acted_for_the_former_unit_is_refused(case: Case) -> None:
    """A unit from which the hazard was taken in that moment would still plan for the other."""
    await case.assign()
    await case.assign(OTHER_UNIT)
    for update, action in (
        ("submit_plan", {"plan": plan(10)}),
        ("request_extension", {"finish_date": "2026-05-01", "reason": "late"}),
        ("submit_rectification", {"evidence": ["photo"]}),
    ):
        refusal = await refused(case.handle, update, RESPONSIBLE, unit=UNIT, **action)
        assert isinstance(refusal, StaleEtag)
        if update == "submit_plan":
            await act(case.handle, update, RESPONSIBLE, unit=OTHER_UNIT, **action)
    assert case.transitions == ["assigned", "assigned", "planned"]
    await case.end()


async def test_who_saw_the_hazard_elsewhere_neither_judges_nor_hands_it_on(case: Case) -> None:
    """A supervisor whose reach ends with the former unit would still decide, or two would assign it past each other."""

    async def is_refused(update: str, by: str, **action: str) -> None:
        refusal = await refused(case.handle, update, by, **action)
        assert isinstance(refusal, StaleEtag), update
        assert refusal.metadata == {"resource": (await case.read()).hazard}

    await case.assign()
    await is_refused("assign", SUPERVISOR, unit=OTHER_UNIT, unit_path="b/", from_unit="")
    await case.plan()
    later = (OPENED + timedelta(days=20)).date().isoformat()
    await act(case.handle, "request_extension", RESPONSIBLE, unit=UNIT, finish_date=later, reason="late")
    await is_refused("decide_extension", SUPERVISOR, unit=OTHER_UNIT, verdict="PASS")
    await case.rectify()
    await is_refused("reinspect", INSPECTOR, unit=OTHER_UNIT, verdict="PASS")
    await case.judge("reinspect", "PASS")
    await is_refused("look_back", INSPECTOR, unit=OTHER_UNIT, verdict="PASS")
    assert case.transitions == ["assigned", "planned", "extension_requested", "rectified", "written_off"]
    await case.end()


async def test_the_times_on_record_bind_the_case(case: Case) -> None:
    """A step done over across midnight would give the case another term than the one its unit was told."""
    due, written_off = OPENED + timedelta(days=4), OPENED - timedelta(seconds=5)
    case.services.on_record = {
        "assigned": Recorded(due, None),
        "written_off": Recorded(OPENED + timedelta(days=20), written_off),
    }
    await case.assign()
    assert (await case.read()).due_time == due
    await case.on_day(4.5)
    assert [each.matter for each in case.services.opened] == ["plan"], "the case waited for a term of its own"
    await case.plan()
    await case.rectify()
    await case.judge("reinspect", "PASS")
    assert (await case.read()).write_off_time == written_off
    await case.end()


async def test_who_planned_or_answers_never_judges(case: Case) -> None:
    """Who made the plan, or must answer for it, would declare it carried out."""
    await case.assign()
    await case.plan("people/planner")
    await case.rectify()
    for person, first in (("people/planner", "plan"), (HEAD, "plan"), (RESPONSIBLE, "rectify")):
        refusal = await refused(case.handle, "reinspect", person, unit=UNIT, verdict="PASS")
        assert refusal.metadata == {"person": person, "first": first, "second": "reinspect"}
    await case.judge("reinspect", "PASS")
    for person, first in (("people/planner", "plan"), (HEAD, "plan"), (RESPONSIBLE, "rectify")):
        refusal = await refused(case.handle, "look_back", person, unit=UNIT, verdict="PASS")
        assert refusal.metadata == {"person": person, "first": first, "second": "look_back"}
    await case.judge("look_back", "PASS")
    assert (await case.handle.result())["state"] == "CLOSED"


async def test_the_responsible_unit_never_judges_itself(case: Case) -> None:
    """A unit would prolong its own term and pass its own work, one colleague for the other, past the service."""
    later = (OPENED + timedelta(days=20)).date().isoformat()
    own, outside = [f"{UNIT}/", f"{UNIT}/workshop/"], [f"{UNIT}/", f"{OTHER_UNIT}/"]

    async def judged_from_outside(update: str) -> None:
        colleague = "people/colleague"
        refusal = await refused(case.handle, update, colleague, unit=UNIT, verdict="PASS", unit_paths=own)
        assert isinstance(refusal, RuleNotMet), update
        assert refusal.metadata == {"rule": "judged_from_outside_the_responsible_unit"}
        await act(case.handle, update, colleague, unit=UNIT, verdict="PASS", unit_paths=outside)

    await case.assign(OTHER_UNIT)
    await case.assign()  # whose post counts is known from the last hand-over
    await case.plan()
    await act(case.handle, "request_extension", RESPONSIBLE, unit=UNIT, finish_date=later, reason="late")
    await judged_from_outside("decide_extension")
    await case.rectify()
    await judged_from_outside("reinspect")
    await judged_from_outside("look_back")
    assert (await case.handle.result())["state"] == "CLOSED"


async def test_an_extension_under_decision_is_not_exchanged(case: Case) -> None:
    """A supervisor who grants two days would be made to grant a year, asked for while his answer was on its way."""
    await case.assign()
    await case.plan()

    def ask(days: int) -> dict[str, Any]:
        day = (OPENED + timedelta(days=days)).date().isoformat()
        return {"unit": UNIT, "finish_date": day, "reason": "late"}

    await act(case.handle, "request_extension", RESPONSIBLE, **ask(12))
    refusal = await refused(case.handle, "request_extension", RESPONSIBLE, **ask(300))
    assert isinstance(refusal, RuleNotMet)
    assert refusal.metadata == {"rule": "one_extension_is_asked_for_at_a_time"}
    await case.judge("decide_extension", "FAIL", SUPERVISOR)
    await act(case.handle, "request_extension", RESPONSIBLE, **ask(14))
    await case.judge("decide_extension", "PASS", SUPERVISOR)
    assert (await case.read()).due_time == end_of(14)
    await case.end()


async def test_a_closure_ends_a_case_that_awaits_its_look_back(case: Case) -> None:
    """The case of a hazard written off would wait for a look-back at a site that no longer exists."""
    await case.assign()
    await case.plan()
    await case.rectify()
    await case.judge("reinspect", "PASS")
    before = await case.read()
    result = await case.end()
    assert (result["state"], result["write_off_reason"]) == ("CLOSED", "REINSPECTED")
    last = case.services.recorded[-1]
    assert (last.transition, last.snapshot.write_off_time) == ("closed", before.write_off_time)
    assert (last.snapshot.due_time, last.snapshot.site_order) == (None, "siteOrders/1")


async def test_a_closure_writes_an_open_hazard_off(case: Case) -> None:
    """The ladder over a hazard would climb on although its site was closed down."""
    await case.on_day(4)
    assert [(each.matter, each.unit) for each in case.services.opened] == [("assign", "units/fallback")]
    result = await case.end()
    assert result["write_off_reason"] == "SITE_CLOSED_DOWN"
    assert (case.transitions, case.services.concluded) == (["written_off"], ["supervisionCases/1"])


async def test_a_notice_moves_a_term_to_a_later_day_once(case: Case) -> None:
    """A unit would be supervised on a holiday, or twice over for one message of a notice."""
    due = (await case.read()).due_time
    assert due is not None
    for _ in range(2):
        await case.reproject(4, "reproject-1")
    assert (case.transitions, (await case.read()).due_time) == (["reprojected"], due + timedelta(days=4))
    running = case.services.recorded[0].term
    assert running is not None and (running.start, running.term, running.notice) == (OPENED, TERMS.assign, 2026)
    await case.on_day(6.9)
    assert case.services.opened == [], "the term of before ran out"
    await case.on_day(7.1)
    assert [each.matter for each in case.services.opened] == ["assign"]
    await case.end()


async def test_a_notice_by_which_a_term_has_run_out_ends_it_at_once(case: Case) -> None:
    """A weekend that turns out to be worked would give a unit two days more than others have."""
    await case.assign()
    await case.on_day(4)
    assert case.services.opened == []
    await case.reproject(-2, "reproject-2")
    await case.on_day(4.1)
    assert [each.matter for each in case.services.opened] == ["plan"]
    await case.end()


async def test_a_notice_leaves_alone_what_is_no_running_term(case: Case) -> None:
    """A supervision begun would go on over a term that runs again, or a plan's own day would be moved."""
    await case.on_day(4)
    await case.reproject(4, "reproject-1")
    await case.assign()
    await case.plan(days=20)
    await case.reproject(4, "reproject-3")
    assert (await case.read()).due_time == end_of(20)
    assert case.transitions == ["assigned", "planned"]
    assert len(case.services.opened) == 1
    await case.end()
