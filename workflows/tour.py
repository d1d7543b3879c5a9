"""The tour: plan, draw, notice, start, visits, feedback letter, rectification reports, close.

Visits are plain transactions of the inspection service; the case asks what was visited when their days are
over. Each stage has a term; a term that runs out opens a supervision case over who must act, which ends with
the act. Who handed in a report never closes the tour.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from services.kit.dates import end_of, start_of
    from services.kit.names import derived_id
    from workflows.activities.accountability import AccountabilityActivities, ConcludeSupervision, OpenSupervision
    from workflows.activities.inspection import InspectionActivities
    from workflows.payloads import Term
    from workflows.payloads.tour import (
        WORKFLOW,
        Addressee,
        CloseTour,
        DrawInspectors,
        FrozenDraw,
        IssueLetter,
        Letter,
        RecordTransition,
        Report,
        StartTour,
        SubmitReport,
        TourResult,
        TourSnapshot,
        TourStart,
    )

from workflows.case import (
    SERVICE_CALL,
    SERVICE_CALL_TIMEOUT,
    Acted,
    CaseClock,
    asked,
    refuse,
    same_person,
    step,
    wrong_state,
)
from workflows.deadline import Deadline


@dataclass(frozen=True, slots=True)
class Missed:
    """What a unit should have done by now, and what settles it."""

    matter: str
    unit: str
    settled: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Supervised:
    """A supervision case that this tour opened, and what settles it."""

    supervision_case: str
    settled: Callable[[], bool]


@workflow.defn(name=WORKFLOW)
class Tour:
    """Drives one tour from its plan to its end."""

    @workflow.init
    def __init__(self, start: TourStart) -> None:
        self._start = start
        self._clock = CaseClock(start.opened)
        self._tour = TourSnapshot(start.tour, "PLANNED", start.due_time)
        self._deadline = Deadline(self._clock, start.due_time)
        self._addressees: tuple[Addressee, ...] = ()
        self._reported: dict[str, str] = {}
        self._visits_ended = False
        self._actions = 0
        self._supervised: list[Supervised] = []
        # Handlers await calendar and recording; without the lock two actions could both pass their checks.
        self._one_action = asyncio.Lock()

    @workflow.run
    async def run(self, start: TourStart) -> TourResult:
        notice = asyncio.create_task(self._give_notice())
        while not self._is_closed():
            seen = self._actions
            overdue = await self._deadline.reached_before(self._acted_since(seen))
            async with self._one_action:
                missed = await self._overdue() if overdue and self._actions == seen else ()
            # Without the lock: while accountability is down, people must still be able to act on the tour.
            for each in missed:
                await self._supervise(each)
            await self._end_supervision()
        await notice
        await workflow.wait_condition(workflow.all_handlers_finished)
        return TourResult(start.tour, self._tour.state)

    @workflow.query
    def tour(self) -> TourSnapshot:
        """Return the tour as the case sees it."""
        return self._tour

    @workflow.update
    async def draw_inspectors(self, action: DrawInspectors) -> None:
        """Make the seed, now that the pool's hash stands in the history, and have the draw recorded."""
        async with self._one_action:
            self._require("draw_inspectors", "PLANNED")
            seed = await workflow.execute_local_activity_method(
                InspectionActivities.make_seed,
                start_to_close_timeout=SERVICE_CALL_TIMEOUT,
                retry_policy=SERVICE_CALL,
            )
            frozen = FrozenDraw(action.pool_hash, seed, action.public_entropy, action.recusals)
            await self._move("drawn", replace(self._tour, state="DRAWN"), action, draw=frozen)

    @workflow.update
    async def start_tour(self, action: StartTour) -> None:
        """Open the targets to visits, on the first day or later, and never before they were told."""
        async with self._one_action:
            self._require("start_tour", "DRAWN")
            if self._clock.now() < start_of(self._start.start_date):
                raise refuse("RULE_NOT_MET", rule="tour_starts_on_its_first_day_or_later")
            started = replace(self._tour, state="STARTED", due_time=end_of(self._start.end_date))
            await self._move("started", started, action)

    @workflow.update
    async def issue_letter(self, action: IssueLetter) -> None:
        """Tell the targets what was found; those addressed must report within the term."""
        async with self._one_action:
            self._require("issue_feedback_letter", "STARTED")
            letter = action.letter
            state = "FEEDBACK" if letter.addressees else "REPORTED"
            terms = self._start.terms
            term = (letter.term or terms.report) if letter.addressees else terms.close
            await self._move("letter_issued", replace(self._tour, state=state), action, letter=letter, term=term)
            self._addressees = letter.addressees

    @workflow.update
    async def submit_report(self, action: SubmitReport) -> None:
        """Take an addressee's report; with the last one the tour waits to be closed."""
        async with self._one_action:
            self._require("report_rectification", "FEEDBACK")
            target = action.report.target
            if all(each.target != target for each in self._addressees):
                raise refuse("UNFIT_REFERENCE", field="target", resource=target)
            if target in self._reported:
                raise wrong_state("REPORTED", "report_rectification")
            last = len(self._reported) + 1 == len(self._addressees)
            tour = replace(self._tour, state="REPORTED") if last else self._tour
            term = self._start.terms.close if last else None
            await self._record("rectification_reported", tour, action, report=action.report, term=term)
            self._reported[target] = action.outer.principal
            self._actions += 1
            if last:
                self._deadline.move(self._tour.due_time)

    @workflow.update
    async def close_tour(self, action: CloseTour) -> None:
        """End the tour; never by who handed in one of its reports."""
        async with self._one_action:
            self._require("close_tour", "REPORTED")
            if action.outer.principal in self._reported.values():
                raise same_person(action.outer.principal, "report_rectification", "close_tour")
            closed = replace(self._tour, state="CLOSED", due_time=None)
            await self._move("closed", closed, action, conclusion=action.conclusion)

    def _require(self, action: str, *states: str) -> None:
        if self._tour.state not in states:
            raise wrong_state(self._tour.state, action)

    def _is_closed(self) -> bool:
        return self._tour.state == "CLOSED"

    def _acted_since(self, seen: int) -> Callable[[], bool]:
        return lambda: self._actions != seen

    def _has_left(self, state: str) -> Callable[[], bool]:
        return lambda: self._tour.state != state

    def _has_reported(self, target: str) -> Callable[[], bool]:
        return lambda: target in self._reported

    async def _give_notice(self) -> None:
        """Record, on the day planned for it, that the targets are told; a tour without notice tells nobody."""
        if self._start.notice_date is None:
            return
        due = Deadline(self._clock, start_of(self._start.notice_date))
        if await due.reached_before(self._is_closed):
            async with self._one_action:
                if not self._is_closed():
                    await self._record("notice_given", self._tour, None)

    async def _overdue(self) -> tuple[Missed, ...]:
        """Act on a term that ran out, and return what was missed; only an action ends the wait for it."""
        self._deadline.move(None)
        state = self._tour.state
        if state == "STARTED" and not self._visits_ended:
            return await self._end_visits()
        if state == "FEEDBACK":
            return tuple(
                Missed(
                    f"report_rectification {each.target}",
                    each.unit or self._start.unit,
                    self._has_reported(each.target),
                )
                for each in self._addressees
                if each.target not in self._reported
            )
        matter = {"PLANNED": "draw", "DRAWN": "start", "STARTED": "issue_letter", "REPORTED": "close"}[state]
        return (Missed(matter, self._start.unit, self._has_left(state)),)

    async def _end_visits(self) -> tuple[Missed, ...]:
        """The days for visits are over: what was missed is to be supervised, and the letter's term begins."""
        unvisited = await workflow.execute_local_activity_method(
            InspectionActivities.count_unvisited_targets,
            self._start.tour,
            start_to_close_timeout=SERVICE_CALL_TIMEOUT,
            retry_policy=SERVICE_CALL,
        )
        await self._record("visits_ended", self._tour, None, term=self._start.terms.letter)
        self._visits_ended = True
        self._deadline.move(self._tour.due_time)
        return (Missed("visit", self._start.unit, self._has_left("STARTED")),) if unvisited else ()

    async def _supervise(self, missed: Missed) -> None:
        if missed.settled():  # while another's supervision was opened
            return
        try:
            opened = await workflow.execute_activity_method(
                AccountabilityActivities.open_supervision,
                OpenSupervision(
                    step=step("supervise", derived_id(missed.matter)),
                    business_time=self._clock.now(),
                    source="TOUR_FINDING",
                    matter=missed.matter,
                    unit=missed.unit,
                    tour=self._start.tour,
                ),
                start_to_close_timeout=SERVICE_CALL_TIMEOUT,
                retry_policy=SERVICE_CALL,
            )
        except ActivityError as error:
            # A refused opening must not end the tour's own case; the red light and the log remain.
            workflow.logger.error("supervision_not_opened", extra={"cause": type(error.cause).__name__})
            return
        self._supervised.append(Supervised(opened, missed.settled))

    async def _end_supervision(self) -> None:
        settled = [each for each in self._supervised if each.settled()]
        self._supervised = [each for each in self._supervised if each not in settled]
        for each in settled:
            try:
                await workflow.execute_activity_method(
                    AccountabilityActivities.conclude_supervision,
                    ConcludeSupervision(
                        step("conclude", each.supervision_case),
                        self._clock.now(),
                        each.supervision_case,
                        self._start.tour,
                    ),
                    start_to_close_timeout=SERVICE_CALL_TIMEOUT,
                    retry_policy=SERVICE_CALL,
                )
            except ActivityError as error:
                workflow.logger.warning("supervision_not_concluded", extra={"cause": type(error.cause).__name__})

    async def _move(
        self,
        transition: str,
        tour: TourSnapshot,
        action: Acted,
        *,
        draw: FrozenDraw | None = None,
        letter: Letter | None = None,
        conclusion: str = "",
        term: Term | None = None,
    ) -> None:
        """Record a transition that ends the present stage; the next one has ``term``, or the snapshot's due time."""
        await self._record(transition, tour, action, draw=draw, letter=letter, conclusion=conclusion, term=term)
        self._actions += 1
        self._deadline.move(self._tour.due_time)

    async def _record(
        self,
        transition: str,
        tour: TourSnapshot,
        action: Acted | None,
        *,
        draw: FrozenDraw | None = None,
        letter: Letter | None = None,
        report: Report | None = None,
        conclusion: str = "",
        term: Term | None = None,
    ) -> None:
        due = await workflow.execute_local_activity_method(
            InspectionActivities.record_transition,
            RecordTransition(
                step(transition),
                self._clock.now(),
                transition,
                tour,
                asked(action),
                draw,
                letter,
                report,
                conclusion,
                term,
            ),
            start_to_close_timeout=SERVICE_CALL_TIMEOUT,
            retry_policy=SERVICE_CALL,
        )
        self._tour = replace(tour, due_time=due)
