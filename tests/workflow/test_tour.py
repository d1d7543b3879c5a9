"""The tour on a real Temporal server in virtual time, with fake activities under the real names."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
import pytest_asyncio
from temporalio import activity
from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.worker import Replayer, Worker

from services.kit import virtual
from workflows.activities.accountability import ConcludeSupervision, OpenSupervision
from workflows.payloads import Outer
from workflows.payloads.tour import (
    WORKFLOW,
    Addressee,
    CloseTour,
    DrawInspectors,
    IssueLetter,
    Letter,
    RecordTransition,
    Recusal,
    Report,
    StartTour,
    SubmitReport,
    TourResult,
    TourSnapshot,
    TourStart,
    TourTerms,
    workflow_id,
)
from workflows.tour import Tour

BEIJING = timezone(timedelta(hours=8))
OPENED = datetime(2026, 3, 1, 1, 0, tzinfo=UTC)
SEED = "ab" * 32
DAYS = {"WORKING_DAYS": 1.5, "MONTHS": 30.0}
"""A calendar that needs no directory: ten working days are fifteen days."""


@dataclass
class City:
    """What the fake services were told, and what they answer."""

    recorded: list[RecordTransition] = field(default_factory=list)
    opened: list[OpenSupervision] = field(default_factory=list)
    concluded: list[ConcludeSupervision] = field(default_factory=list)
    unvisited: int = 0
    refused_transition: str = ""
    accountability_asked: asyncio.Event = field(default_factory=asyncio.Event)
    accountability_answers: asyncio.Event = field(default_factory=asyncio.Event)

    @activity.defn(name="make_seed")
    async def make_seed(self) -> str:
        return SEED

    @activity.defn(name="count_unvisited_targets")
    async def count_unvisited_targets(self, tour: str) -> int:
        return self.unvisited

    @activity.defn(name="record_tour_transition")
    async def record(self, record: RecordTransition) -> datetime | None:
        if record.transition == self.refused_transition:
            raise ApplicationError("ALREADY_EXISTS", {}, type="ALREADY_EXISTS", non_retryable=True)
        self.recorded.append(record)
        if term := record.term:
            return record.business_time + timedelta(days=term.amount * DAYS[term.unit])
        return record.snapshot.due_time

    @activity.defn(name="open_supervision")
    async def open_supervision(self, opening: OpenSupervision) -> str:
        self.accountability_asked.set()
        await self.accountability_answers.wait()
        self.opened.append(opening)
        return f"supervisionCases/{len(self.opened)}"

    @activity.defn(name="conclude_supervision")
    async def conclude_supervision(self, conclusion: ConcludeSupervision) -> None:
        self.concluded.append(conclusion)

    @property
    def transitions(self) -> list[str]:
        """What was recorded, in order."""
        return [each.transition for each in self.recorded]

    @property
    def matters(self) -> list[tuple[str, str]]:
        """What is supervised, and who must act."""
        return [(each.matter, each.unit) for each in self.opened]


@dataclass
class RunningTour:
    """One tour under way."""

    client: Client
    city: City
    handle: WorkflowHandle[Tour, TourResult]

    async def live_until(self, time: datetime) -> None:
        """Let business time pass up to ``time``, timers firing on the way."""
        while await virtual.catch_up(self.client, self.handle.id, time):
            pass

    async def act(self, update: str, action: object) -> None:
        """Put an action to the case."""
        await self.handle.execute_update(update, action)

    async def refused(self, update: str, action: object) -> tuple[str, dict[str, str]]:
        """Put an action that must be refused; return reason and metadata."""
        with pytest.raises(WorkflowUpdateFailedError) as failure:
            await self.act(update, action)
        cause: BaseException | None = failure.value
        while cause is not None and not (isinstance(cause, ApplicationError) and cause.type):
            cause = cause.__cause__
        assert isinstance(cause, ApplicationError) and cause.type
        return cause.type, dict(cause.details[0]) if cause.details else {}

    async def settles(self, count: int) -> None:
        """Wait until so many supervision cases are concluded."""
        async with asyncio.timeout(10):
            while True:
                if len(self.city.concluded) >= count:
                    return
                await asyncio.sleep(0.02)

    async def draw_and_start(self) -> None:
        """Bring the tour to its visits."""
        await self.act("draw_inspectors", DrawInspectors("cd" * 32, "", (), by("planner")))
        await self.act("start_tour", StartTour(by("planner")))

    async def replays(self) -> None:
        """The finished history must run through the present code."""
        history = await self.handle.fetch_history()
        await Replayer(workflows=[Tour], data_converter=self.client.data_converter).replay_workflow(history)


def by(person: str) -> Outer:
    """Return somebody's command."""
    return Outer(f"people/{person}", "/method", uuid.uuid4().hex, "00")


def letter(*targets: str) -> Letter:
    """Return a letter to targets, each answered for by a unit of the same name."""
    return Letter("1号", "两处问题", tuple(Addressee(each, f"units/of-{each[6:]}") for each in targets))


def report(target: str) -> Report:
    """Return a target's report."""
    return Report(target, "整改1号", "ef" * 32)


@pytest_asyncio.fixture(loop_scope="session")
async def city(temporal_client: Client) -> AsyncIterator[City]:
    """A worker with fake services."""
    fake = City()
    fake.accountability_answers.set()
    async with Worker(
        temporal_client,
        task_queue=f"tour-{id(fake)}",
        workflows=[Tour],
        activities=[
            fake.make_seed,
            fake.count_unvisited_targets,
            fake.record,
            fake.open_supervision,
            fake.conclude_supervision,
        ],
    ):
        yield fake


@contextlib.asynccontextmanager
async def running(
    client: Client, city: City, *, start_day: date = date(2026, 3, 1), notice: date | None = None
) -> AsyncIterator[RunningTour]:
    """Plan a tour at ``OPENED`` that ends on 20 March."""
    name = uuid.uuid4().hex[:16]
    due = datetime.combine(start_day + timedelta(days=1), datetime.min.time(), tzinfo=BEIJING)
    start = TourStart(f"tours/{name}", OPENED, due, "units/office", start_day, date(2026, 3, 20), notice)
    handle: WorkflowHandle[Tour, TourResult] = await client.start_workflow(
        WORKFLOW,
        start,
        id=workflow_id(name),
        task_queue=f"tour-{id(city)}",
        memo={virtual.OPENED_MEMO: OPENED.isoformat()},
        result_type=TourResult,
    )
    try:
        yield RunningTour(client, city, handle)
    finally:
        with contextlib.suppress(Exception):
            await handle.terminate("the test is over")


async def test_a_tour_runs_from_plan_to_close(temporal_client: Client, city: City) -> None:
    """A city must be able to bring a tour to its end, each step recorded once with its term."""
    async with running(temporal_client, city) as tour:
        recusals = (Recusal("people/a", "sites/1"),)
        await tour.act("draw_inspectors", DrawInspectors("cd" * 32, "彩票", recusals, by("planner")))
        drawn = city.recorded[-1]
        assert drawn.draw is not None
        assert (drawn.draw.seed, drawn.draw.pool_hash, drawn.draw.recusals) == (SEED, "cd" * 32, recusals)
        await tour.act("start_tour", StartTour(by("planner")))
        assert city.recorded[-1].snapshot.due_time == datetime(2026, 3, 21, tzinfo=BEIJING)
        await tour.act("issue_letter", IssueLetter(letter("sites/1", "sites/2"), by("planner")))
        await tour.act("submit_report", SubmitReport(report("sites/1"), by("unit")))
        assert city.recorded[-1].snapshot.state == "FEEDBACK"
        await tour.act("submit_report", SubmitReport(report("sites/2"), by("other")))
        assert city.recorded[-1].snapshot.state == "REPORTED"
        refusal = await tour.refused("close_tour", CloseTour("完", by("unit")))
        assert refusal[0] == "SEPARATION_OF_DUTIES" and refusal[1]["second"] == "close_tour"
        await tour.act("close_tour", CloseTour("完", by("planner")))
        assert (await tour.handle.result()).state == "CLOSED"
        assert city.transitions == [
            "drawn",
            "started",
            "letter_issued",
            "rectification_reported",
            "rectification_reported",
            "closed",
        ]
        assert not city.opened
        assert len({each.step for each in city.recorded}) == len(city.recorded)
        await tour.replays()


async def test_each_step_waits_for_the_one_before(temporal_client: Client, city: City) -> None:
    """A tour started undrawn, drawn twice or closed unreported would be a tour on paper."""
    async with running(temporal_client, city) as tour:
        draw = DrawInspectors("cd" * 32, "", (), by("planner"))
        assert await tour.refused("start_tour", StartTour(by("planner"))) == (
            "WRONG_STATE",
            {"state": "PLANNED", "action": "start_tour"},
        )
        assert (await tour.refused("issue_letter", IssueLetter(letter(), by("planner"))))[0] == "WRONG_STATE"
        await tour.act("draw_inspectors", draw)
        assert (await tour.refused("draw_inspectors", draw))[0] == "WRONG_STATE"
        await tour.act("start_tour", StartTour(by("planner")))
        assert (await tour.refused("close_tour", CloseTour("完", by("x"))))[0] == "WRONG_STATE"
        assert (await tour.refused("submit_report", SubmitReport(report("sites/1"), by("x"))))[0] == "WRONG_STATE"
        await tour.act("issue_letter", IssueLetter(letter("sites/1", "sites/2"), by("planner")))
        assert (await tour.refused("submit_report", SubmitReport(report("sites/9"), by("x"))))[0] == "UNFIT_REFERENCE"
        await tour.act("submit_report", SubmitReport(report("sites/1"), by("x")))
        assert (await tour.refused("submit_report", SubmitReport(report("sites/1"), by("x"))))[0] == "WRONG_STATE"
        assert city.transitions == ["drawn", "started", "letter_issued", "rectification_reported"]


async def test_a_letter_that_asks_nothing_leaves_only_the_close(temporal_client: Client, city: City) -> None:
    """A tour that found nothing must not wait for reports that nobody owes."""
    async with running(temporal_client, city) as tour:
        await tour.draw_and_start()
        await tour.act("issue_letter", IssueLetter(letter(), by("planner")))
        assert city.recorded[-1].snapshot.state == "REPORTED"
        await tour.act("close_tour", CloseTour("无问题", by("planner")))
        assert (await tour.handle.result()).state == "CLOSED"


async def test_a_refused_recording_changes_nothing(temporal_client: Client, city: City) -> None:
    """A letter number used before is refused to the caller; the tour must then take another one."""
    async with running(temporal_client, city) as tour:
        await tour.draw_and_start()
        city.refused_transition = "letter_issued"
        refusal = await tour.refused("issue_letter", IssueLetter(letter("sites/1"), by("planner")))
        assert refusal[0] == "ALREADY_EXISTS"
        city.refused_transition = ""
        await tour.act("issue_letter", IssueLetter(letter("sites/1"), by("planner")))
        assert city.transitions == ["drawn", "started", "letter_issued"]


async def test_the_targets_are_told_on_their_day_and_not_before_the_first_may_start(
    temporal_client: Client, city: City
) -> None:
    """Notice given late, twice or never, or a tour started before its first day, surprises the wrong people."""
    notice, first = date(2026, 3, 5), date(2026, 3, 10)
    async with running(temporal_client, city, start_day=first, notice=notice) as tour:
        await tour.act("draw_inspectors", DrawInspectors("cd" * 32, "", (), by("planner")))
        assert await tour.refused("start_tour", StartTour(by("planner"))) == (
            "RULE_NOT_MET",
            {"rule": "tour_starts_on_its_first_day_or_later"},
        )
        await tour.live_until(datetime(2026, 3, 10, 1, tzinfo=BEIJING))
        assert city.transitions == ["drawn", "notice_given"]
        told = city.recorded[-1].business_time.astimezone(BEIJING)
        assert timedelta() <= told - datetime(2026, 3, 5, tzinfo=BEIJING) < timedelta(seconds=5)
        await tour.act("start_tour", StartTour(by("planner")))
        assert city.transitions == ["drawn", "notice_given", "started"]


async def test_every_missed_term_is_supervised_once_until_somebody_acts(temporal_client: Client, city: City) -> None:
    """A stage missed unseen ends the loop; one supervised twice, or after the act, wears everybody out."""
    async with running(temporal_client, city) as tour:
        await tour.live_until(datetime(2026, 3, 4, tzinfo=BEIJING))
        assert city.matters == [("draw", "units/office")]
        await tour.draw_and_start()
        await tour.settles(1)
        city.unvisited = 3
        await tour.live_until(datetime(2026, 4, 30, tzinfo=BEIJING))
        assert city.matters[1:] == [("visit", "units/office"), ("issue_letter", "units/office")]
        assert city.transitions == ["drawn", "started", "visits_ended"]
        await tour.act("issue_letter", IssueLetter(letter("sites/1", "sites/2", "sites/3"), by("planner")))
        await tour.settles(3)
        await tour.act("submit_report", SubmitReport(report("sites/2"), by("unit")))
        await tour.live_until(datetime(2027, 3, 1, tzinfo=BEIJING))
        assert city.matters[3:] == [
            ("report_rectification sites/1", "units/of-1"),
            ("report_rectification sites/3", "units/of-3"),
        ]
        await tour.act("submit_report", SubmitReport(report("sites/1"), by("unit")))
        await tour.settles(4)
        assert city.concluded[-1].supervision_case == "supervisionCases/4"
        await tour.act("submit_report", SubmitReport(report("sites/3"), by("unit")))
        await tour.settles(5)
        await tour.live_until(datetime(2027, 6, 1, tzinfo=BEIJING))
        assert city.matters[5:] == [("close", "units/office")]
        await tour.act("close_tour", CloseTour("完", by("planner")))
        assert (await tour.handle.result()).state == "CLOSED"
        assert [each.supervision_case for each in city.concluded] == [f"supervisionCases/{n}" for n in range(1, 7)]
        assert {each.source for each in city.opened} == {"TOUR_FINDING"}
        await tour.replays()


async def test_a_tour_goes_on_while_accountability_is_down(temporal_client: Client, city: City) -> None:
    """Nobody could draw, start or close an overdue tour for as long as another service is away."""
    async with running(temporal_client, city) as tour:
        city.accountability_answers.clear()
        living = asyncio.create_task(tour.live_until(OPENED + timedelta(days=2)))
        await asyncio.wait_for(city.accountability_asked.wait(), 20)
        try:
            draw = DrawInspectors("cd" * 32, "", (), by("planner"))
            await asyncio.wait_for(tour.act("draw_inspectors", draw), 5)
        finally:
            city.accountability_answers.set()
            await living
        await tour.settles(1)
        assert (city.opened[0].matter, city.concluded[0].supervision_case) == ("draw", "supervisionCases/1")
        await tour.act("start_tour", StartTour(by("planner")))


async def test_complete_visits_are_not_supervised(temporal_client: Client, city: City) -> None:
    """An organiser who visited everybody in time must not be pressed for it."""
    async with running(temporal_client, city) as tour:
        await tour.draw_and_start()
        await tour.live_until(datetime(2026, 3, 22, tzinfo=BEIJING))
        assert city.transitions[-1] == "visits_ended"
        ended = city.recorded[-1]
        assert ended.term == TourTerms().letter
        due = (await tour.handle.query("tour", result_type=TourSnapshot)).due_time
        assert due == ended.business_time + timedelta(days=15)
        assert not city.opened


async def test_of_two_closings_at_once_one_is_refused(temporal_client: Client, city: City) -> None:
    """Two supervisors who close the same tour must not both be answered that they did."""
    async with running(temporal_client, city) as tour:
        await tour.draw_and_start()
        await tour.act("issue_letter", IssueLetter(letter("sites/1"), by("planner")))
        await tour.act("submit_report", SubmitReport(report("sites/1"), by("unit")))
        answers = await asyncio.gather(
            *(tour.act("close_tour", CloseTour("完", by(person))) for person in ("a", "b")), return_exceptions=True
        )
        refused = [each for each in answers if each is not None]
        # Refused by the case, or by the server when the case has ended in between.
        assert len(refused) == 1 and isinstance(refused[0], (WorkflowUpdateFailedError, RPCError))
        assert city.transitions.count("closed") == 1
