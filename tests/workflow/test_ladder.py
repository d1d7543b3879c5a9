"""The ladder, alone and inside the supervision case: order, exactness, closure, separation of duties."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from temporalio import workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from services.kit.errors import SeparationOfDuties, StaleEtag
from tests.workflow.cases import OPENED, CaseRoom, FakeServices, act, case_room, refused, replays
from workflows.case import CaseClock
from workflows.ladder import Ladder
from workflows.payloads import Term
from workflows.payloads.supervision import WORKFLOW, Policy, Rung, SupervisionStart, SupervisionTimes

FIVE_RUNGS = (
    Rung("REMINDER", "HOLDER"),
    Rung("SUPERVISION_NOTICE", "UNIT", Term(3, "WORKING_DAYS")),
    Rung("TALK", "SUPERIOR", Term(5, "WORKING_DAYS")),
    Rung("CIRCULAR", "UNIT", Term(5, "WORKING_DAYS")),
    Rung("INQUIRY", "HOLDER", Term(10, "WORKING_DAYS")),
)
KINDS = [rung.kind for rung in FIVE_RUNGS]
UNIT, OTHER_UNIT = "units/a", "units/other"
UNIT_STAFF, SUPERVISOR = "people/staff", "people/supervisor"
SOON = timedelta(minutes=2)
"""A loaded machine may take a while to fire; rungs are days apart."""


@pytest_asyncio.fixture
async def room(temporal_client: Client) -> AsyncIterator[CaseRoom]:
    """A worker with fake services."""
    async with case_room(temporal_client) as made:
        yield made


def opened(term_days: float = 0, person: str = "", rungs: tuple[Rung, ...] = FIVE_RUNGS) -> SupervisionStart:
    """Return the start of a case with a term of some days; 0 means already due."""
    return SupervisionStart(
        case="supervisionCases/1",
        opened=OPENED,
        due_time=OPENED + timedelta(days=term_days),
        matter="clear the exit",
        unit=UNIT,
        policy=Policy("escalationPolicies/p", 1, rungs),
        person=person,
        hazard="hazards/1",
    )


async def fired(room: CaseRoom, count: int) -> list[tuple[int, str]]:
    """Wait for so many rungs, then return the numbers and kinds of all that fired."""
    for _ in range(200):
        if len(room.services.rungs) >= count:
            break
        await asyncio.sleep(0.05)
    return [(record.number, record.rung.kind) for record in room.services.rungs]


async def end(handle: WorkflowHandle[Any, Any], unit: str = UNIT) -> Any:
    """Conclude a case and return its result."""
    await act(handle, "conclude", SUPERVISOR, unit=unit, conclusion="done")
    return await handle.result()


async def test_rungs_fire_in_order_once_and_on_time(room: CaseRoom) -> None:
    """An officeholder would be called in before he was reminded, or reminded twice."""
    handle = await room.start(WORKFLOW, opened(term_days=10))
    await room.pass_days(handle, 60)
    assert await fired(room, 5) == list(enumerate(KINDS, 1))
    waits = [record.business_time - OPENED for record in room.services.rungs]
    for wait, days in zip(waits, (10, 13, 18, 23, 33), strict=True):
        assert abs(wait - timedelta(days=days)) < SOON
    assert {record.cycle for record in room.services.rungs} == {1}
    result = await end(handle)
    assert result["fired_rung_count"] == 5
    assert await replays(handle)


async def test_nothing_fires_within_the_term(room: CaseRoom) -> None:
    """A unit that is in time would be reminded."""
    handle = await room.start(WORKFLOW, opened(term_days=10))
    await room.pass_days(handle, 9.9)
    assert await fired(room, 0) == []
    await end(handle)
    assert [transition for transition, _ in room.services.supervision] == ["concluded"]


async def test_case_that_is_already_due_is_reminded_at_once(room: CaseRoom) -> None:
    """An overdue hazard or task would wait for a term that has passed."""
    handle = await room.start(WORKFLOW, opened())
    assert await fired(room, 1) == [(1, "REMINDER")]
    await end(handle)


async def test_conclusion_cancels_the_ladder(room: CaseRoom) -> None:
    """A unit that settled its matter would still be named in a circular."""
    handle = await room.start(WORKFLOW, opened())
    await room.pass_days(handle, 4)
    assert await fired(room, 2) == [(1, "REMINDER"), (2, "SUPERVISION_NOTICE")]
    result = await end(handle)
    assert result["fired_rung_count"] == 2
    transition, last = room.services.supervision[-1]
    assert (transition, last.state, last.next_rung_time) == ("concluded", "CONCLUDED", None)
    assert len(room.services.rungs) == 2
    assert await replays(handle)


async def test_settled_matter_ends_the_case(room: CaseRoom) -> None:
    """A hazard that was written off would go on being pressed for."""
    handle = await room.start(WORKFLOW, opened())
    assert await fired(room, 1)
    await handle.execute_update("settle", {"because": "hazards/1"})
    await handle.result()
    _, last = room.services.supervision[-1]
    assert (last.conclusion, last.concluder) == ("hazards/1", "")


async def test_worker_that_is_replaced_fires_no_rung_twice(temporal_client: Client) -> None:
    """After a crash of the worker a unit would get the same notice again, or a rung would be skipped."""
    services = FakeServices()
    async with case_room(temporal_client, services, cached=0) as room:
        handle = await room.start(WORKFLOW, opened())
        await room.pass_days(handle, 4)
        assert len(await fired(room, 2)) == 2
    async with case_room(temporal_client, services, room.task_queue, cached=0) as room:
        await room.pass_days(handle, 60)
        assert await fired(room, 5) == list(enumerate(KINDS, 1))
        await end(handle)


async def test_inquiry_opens_one_accountability_case(room: CaseRoom) -> None:
    """The last rung would threaten only, or hold the wrong person to account."""
    handle = await room.start(WORKFLOW, opened())
    await room.pass_days(handle, 60)
    await fired(room, 5)
    result = await end(handle)
    assert result["accountability_case"] == "accountabilityCases/1"
    [opening] = room.services.openings
    assert (opening.subject.person, opening.measure, opening.hazard) == ("people/subject", "measures/5", "hazards/1")


async def test_refused_inquiry_does_not_end_the_supervision(room: CaseRoom) -> None:
    """A matter would drop out of sight because its accountability case could not be opened."""
    room.services.refuses_openings = True
    handle = await room.start(WORKFLOW, opened())
    await room.pass_days(handle, 60)
    assert len(await fired(room, 5)) == 5
    assert (await end(handle))["accountability_case"] == ""


async def test_rung_never_falls_silent(room: CaseRoom) -> None:
    """A measure would be lost because the post is vacant."""
    room.services.unknown_addressees = True
    handle = await room.start(WORKFLOW, opened())
    assert await fired(room, 1) == [(1, "REMINDER")]
    assert room.services.rungs[0].addressee.unit == "units/a"
    await end(handle)


async def test_reporter_never_concludes(room: CaseRoom) -> None:
    """Who reported on a matter, even earlier, or answers for it could declare it settled."""
    handle = await room.start(WORKFLOW, opened(term_days=10, person="people/answers"))
    await act(handle, "report_progress", UNIT_STAFF, unit=UNIT, progress="begun", evidence=[])
    await act(handle, "report_progress", "people/other", unit=UNIT, progress="half done", evidence=["doc 1"])
    for person in (UNIT_STAFF, "people/other", "people/answers"):
        refusal = await refused(handle, "conclude", person, unit=UNIT, conclusion="done")
        assert isinstance(refusal, SeparationOfDuties)
        assert refusal.metadata["person"] == person
    await end(handle)
    assert [(word, case.state) for word, case in room.services.supervision] == [
        ("progress_reported", "HANDLE"),
        ("progress_reported", "HANDLE"),
        ("concluded", "CONCLUDED"),
    ]


async def test_who_was_addressed_never_concludes(room: CaseRoom) -> None:
    """Whom the ladder reminded, or called to account over the case, could make it stop."""
    handle = await room.start(WORKFLOW, opened())
    await room.pass_days(handle, 10)
    assert len(await fired(room, 3)) == 3
    for person in ("people/holder", "people/superior"):
        refusal = await refused(handle, "conclude", person, unit=UNIT, conclusion="done")
        assert isinstance(refusal, SeparationOfDuties)
        assert refusal.metadata["person"] == person
    await end(handle)
    assert await replays(handle)


async def test_two_conclusions_at_once_have_one_winner(room: CaseRoom) -> None:
    """Two supervisors could both be told that they concluded the case."""
    handle = await room.start(WORKFLOW, opened(term_days=10))
    people = ("people/first", "people/second")
    outcomes = await asyncio.gather(
        *(act(handle, "conclude", person, unit=UNIT, conclusion="done") for person in people), return_exceptions=True
    )
    assert sum(outcome is None for outcome in outcomes) == 1
    assert [word for word, _ in room.services.supervision] == ["concluded"]


async def test_report_does_not_stop_the_ladder(room: CaseRoom) -> None:
    """A unit could stop the ladder by reporting instead of acting."""
    handle = await room.start(WORKFLOW, opened())
    assert await fired(room, 1)
    await act(handle, "report_progress", UNIT_STAFF, unit=UNIT, progress="soon", evidence=[])
    await room.pass_days(handle, 4)
    assert len(await fired(room, 2)) == 2
    await end(handle)
    assert room.services.supervision[-1][1].reporter == UNIT_STAFF


async def test_the_ladder_follows_its_matter_to_another_unit(room: CaseRoom) -> None:
    """A unit that no longer answers for a hazard would be pressed, and who answers for it would hear nothing."""
    handle = await room.start(WORKFLOW, opened(person="people/former"))
    assert await fired(room, 1)
    await handle.execute_update("hand_on", {"unit": OTHER_UNIT, "step": "1"})
    await room.pass_days(handle, 4)
    assert [number for number, _ in await fired(room, 2)] == [1, 2], "the ladder started again"
    assert [rung.addressee.unit for rung in room.services.rungs] == [UNIT, OTHER_UNIT]
    await end(handle, OTHER_UNIT)
    assert [(word, case.unit) for word, case in room.services.supervision if word == "handed_on"] == [
        ("handed_on", OTHER_UNIT)
    ]


async def test_who_acted_for_the_former_unit_is_refused(room: CaseRoom) -> None:
    """A unit from which the matter was taken in that moment would still report on it in the name of the other."""
    handle = await room.start(WORKFLOW, opened(term_days=10))
    await act(handle, "report_progress", UNIT_STAFF, unit=UNIT, progress="begun", evidence=[])
    await handle.execute_update("hand_on", {"unit": OTHER_UNIT, "step": "1"})
    for update, action in (
        ("report_progress", {"progress": "done", "evidence": []}),
        ("conclude", {"conclusion": "done"}),
    ):
        refusal = await refused(handle, update, SUPERVISOR, unit=UNIT, **action)
        assert isinstance(refusal, StaleEtag), update
        assert refusal.metadata == {"resource": "supervisionCases/1"}
    await act(handle, "report_progress", "people/other", unit=OTHER_UNIT, progress="begun", evidence=[])
    await end(handle, OTHER_UNIT)
    assert [(word, case.reporter) for word, case in room.services.supervision] == [
        ("progress_reported", UNIT_STAFF),
        ("handed_on", UNIT_STAFF),
        ("progress_reported", "people/other"),
        ("concluded", "people/other"),
    ]
    assert await replays(handle)


async def test_the_rung_time_on_record_binds_the_case(room: CaseRoom) -> None:
    """A rung done over across midnight would fire on another day than the one the record tells."""
    on_record = OPENED + timedelta(days=2)
    room.services.supervision_times["rung_fired"] = SupervisionTimes(on_record, None)
    handle = await room.start(WORKFLOW, opened())
    assert await fired(room, 1)
    await room.pass_days(handle, 2.5)
    assert len(await fired(room, 2)) >= 2
    await end(handle)


@workflow.defn(name="ladder_probe")
class LadderProbe:
    """A case that is nothing but a ladder."""

    @workflow.init
    def __init__(self, opened_at: datetime) -> None:
        self.fired: list[int] = []
        self._clock = CaseClock(opened_at)
        self._lock = asyncio.Lock()
        self._ladder = Ladder(self._clock, FIVE_RUNGS[:2], self._due, self._lock)

    @workflow.run
    async def run(self, opened_at: datetime) -> list[int]:
        """Climb, and return the numbers fired."""
        await self._ladder.start(opened_at)
        await self._ladder.climb(self._fire)
        return self.fired

    @workflow.update
    async def move(self, due: datetime) -> None:
        """Move the second rung, once the first has fired."""
        await workflow.wait_condition(lambda: bool(self.fired))
        async with self._lock:
            self._ladder.move(due)

    @workflow.update
    async def cancel(self) -> None:
        """Cancel the ladder."""
        async with self._lock:
            self._ladder.cancel()

    async def _due(self, start: datetime, term: Term) -> datetime:
        return start + timedelta(days=term.amount)

    async def _fire(self, number: int, rung: Rung) -> None:
        self.fired.append(number)


@pytest.mark.parametrize(("moved_to", "passed", "expected"), [(30, 29, 1), (1, 2, 2)])
async def test_next_rung_can_be_moved(temporal_client: Client, moved_to: int, passed: int, expected: int) -> None:
    """A rung would fire at its first date although it was put off, or wait although it was brought forward."""
    async with Worker(
        temporal_client, task_queue="probe", workflows=[LadderProbe], workflow_runner=UnsandboxedWorkflowRunner()
    ):
        room = CaseRoom(temporal_client, "probe", FakeServices())
        handle = await room.start("ladder_probe", OPENED)
        await handle.execute_update("move", OPENED + timedelta(days=moved_to))
        await room.pass_days(handle, passed)
        if expected == 1:
            await handle.execute_update("cancel")
        async with asyncio.timeout(20):
            assert len(await handle.result()) == expected


async def test_a_notice_moves_the_term_and_then_each_wait(room: CaseRoom) -> None:
    """A unit would be reminded on a holiday, or called in two days late because a weekend turned out to be worked."""
    start = replace(opened(term_days=10), term=Term(10, "WORKING_DAYS"))
    handle = await room.start(WORKFLOW, start)
    for _ in range(2):
        await room.reproject(handle, 4, "reproject-1")
    await room.pass_days(handle, 13.9)
    assert await fired(room, 0) == [], "the term of before ran out"
    await room.pass_days(handle, 14.1)
    assert len(await fired(room, 1)) == 1
    await room.reproject(handle, 2, "reproject-4")
    await room.pass_days(handle, 18.9)
    assert len(await fired(room, 1)) == 1, "the wait of before ran out"
    await room.pass_days(handle, 19.1)
    assert len(await fired(room, 2)) == 2
    await room.pass_days(handle, 21.5)
    await room.reproject(handle, -3, "reproject-6")
    assert len(await fired(room, 3)) == 3, "what is past by the new calendar fires at once"
    told = [transition for transition, _ in room.services.supervision]
    assert told == ["reprojected", "overdue", "rung_fired", "reprojected", "rung_fired", "reprojected", "rung_fired"]
    await end(handle)
    assert await replays(handle)


async def test_a_notice_leaves_alone_what_awaits_none(room: CaseRoom) -> None:
    """A case without a term would be given one, or a ladder that has reached its end begin anew."""
    handle = await room.start(WORKFLOW, replace(opened(), policy=Policy("escalationPolicies/p", 1, FIVE_RUNGS[:1])))
    assert len(await fired(room, 1)) == 1
    await room.reproject(handle, 4, "reproject-3")
    await act(handle, "conclude", SUPERVISOR, unit=UNIT, conclusion="done")
    await handle.result()
    assert "reprojected" not in [transition for transition, _ in room.services.supervision]
