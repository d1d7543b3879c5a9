"""The supervision case: study, handle, supervise, conclude (研、办、督、结).

One per tracked matter. When its term passes the pinned ladder climbs, rung by rung, until the case is
concluded: by a person who reported nothing on it and whom no rung addressed, or by the case whose hazard
or task it was about.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from workflows.activities.accountability import AccountabilityActivities
    from workflows.activities.directory import DirectoryActivities
    from workflows.payloads import Reproject, RunningTerm
    from workflows.payloads.supervision import (
        CLIMBING,
        WORKFLOW,
        Addressee,
        Conclude,
        FindAddressee,
        HandOn,
        OpenAccountability,
        RecordRung,
        RecordSupervision,
        ReportProgress,
        Rung,
        Settle,
        SupervisionResult,
        SupervisionSnapshot,
        SupervisionStart,
    )

from workflows.case import (
    SERVICE_CALL,
    SERVICE_CALL_TIMEOUT,
    Acted,
    CaseClock,
    asked,
    changed,
    same_person,
    step,
    wrong_state,
)
from workflows.deadline import Deadline, due_time
from workflows.ladder import Ladder

INQUIRY = "INQUIRY"
SUBJECT = "SUBJECT"
"""Asks directory for the person who may have to answer, in place of a rung's target."""


@workflow.defn(name=WORKFLOW)
class SupervisionCase:
    """Drives one matter until it is concluded."""

    @workflow.init
    def __init__(self, start: SupervisionStart) -> None:
        self._start = start
        self._clock = CaseClock(start.opened)
        self._case = SupervisionSnapshot(start.case, "STUDY", start.due_time)
        self._answerable = start
        self._reporters: list[str] = []
        self._addressed: list[str] = []
        # Handlers and rungs await recordings; without the lock a rung could fire after the conclusion.
        self._one_action = asyncio.Lock()
        self._term = Deadline(self._clock, start.due_time)
        self._ladder = Ladder(self._clock, start.policy.rungs, due_time, self._one_action)

    @workflow.run
    async def run(self, start: SupervisionStart) -> SupervisionResult:
        while await self._term.reached_before(self._is_concluded):
            if await self._supervise():
                await self._ladder.climb(self._take_measure)
                break
        await workflow.wait_condition(self._is_concluded)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return SupervisionResult(start.case, self._case.fired_rung_count, self._case.accountability_case)

    @workflow.query
    def case(self) -> SupervisionSnapshot:
        """Return the case as its workflow sees it."""
        return self._case

    @workflow.update
    async def report_progress(self, action: ReportProgress) -> None:
        """Take the unit's report; the first one ends the study. The ladder climbs on until the conclusion."""
        async with self._one_action:
            self._require_open("report_progress")
            self._require_still(action.unit)
            reporter = action.outer.principal
            await self._record(
                "progress_reported",
                replace(
                    self._case,
                    state="HANDLE" if self._case.state == "STUDY" else self._case.state,
                    progress=action.progress,
                    evidence=action.evidence,
                    reporter=reporter,
                ),
                action,
            )
            if reporter not in self._reporters:
                self._reporters.append(reporter)

    @workflow.update
    async def conclude(self, action: Conclude) -> None:
        """Conclude by a person who neither answers for the matter, nor reported on it, nor was addressed over it."""
        async with self._one_action:
            self._require_open("conclude")
            self._require_still(action.unit)
            person = action.outer.principal
            if person in self._reporters:
                raise same_person(person, "report_progress", "conclude")
            if person in (self._start.person, self._answerable.person) or person in self._addressed:
                raise same_person(person, "answer", "conclude")
            await self._end(replace(self._case, conclusion=action.conclusion, concluder=person), action)

    @workflow.update
    async def settle(self, action: Settle) -> None:
        """Conclude because what the case is about is settled."""
        async with self._one_action:
            self._require_open("settle")
            await self._end(replace(self._case, conclusion=action.because), None)

    @workflow.update
    async def hand_on(self, action: HandOn) -> None:
        """Follow the matter to another unit: from now on the rungs address its people, and the ladder climbs on."""
        async with self._one_action:
            self._require_open("hand_on")
            await self._record("handed_on", replace(self._case, unit=action.unit), None)
            self._answerable = replace(self._start, unit=action.unit, post="", person="")

    @workflow.update
    async def reproject(self, action: Reproject) -> None:
        """Count the present term, or the wait for the next rung, anew by a holiday notice that it awaited."""
        async with self._one_action:
            climbs = self._case.state == CLIMBING
            running = self._ladder.waiting if climbs else self._own_term()
            if running is None or self._is_concluded():
                return
            await self._record("reprojected", self._case, None, replace(running, notice=action.notice))
            if not climbs:
                self._term.move(self._case.due_time)

    def _own_term(self) -> RunningTerm | None:
        return RunningTerm(self._start.opened, self._start.term) if self._start.term else None

    def _is_concluded(self) -> bool:
        return self._case.state == "CONCLUDED"

    def _require_open(self, action: str) -> None:
        if self._is_concluded():
            raise wrong_state(self._case.state, action)

    def _require_still(self, unit: str) -> None:
        # Who may act follows from the unit that answers; the matter may have been handed on since the service looked.
        if unit != self._answerable.unit:
            raise changed(self._start.case)

    async def _end(self, case: SupervisionSnapshot, action: Acted | None) -> None:
        ended = replace(case, state="CONCLUDED", next_rung_time=None, conclude_time=self._clock.now())
        await self._record("concluded", ended, action)
        self._ladder.cancel()

    async def _supervise(self) -> bool:
        """Note that the term passed, and set the first rung's time; False when it did not pass after all."""
        async with self._one_action:
            # A conclusion, or a notice, may have held the lock while the timer fired.
            if self._is_concluded() or not self._term.is_past():
                return False
            due = self._case.due_time
            # The wait counts from the term's last day, not from the midnight that ends it.
            had_term = due > self._start.opened
            await self._ladder.start(due - timedelta(microseconds=1) if had_term else due)
            pressed = replace(self._case, state=CLIMBING, next_rung_time=self._ladder.next_time)
            await self._record("overdue", pressed, None, self._ladder.waiting)
            return True

    async def _take_measure(self, number: int, rung: Rung) -> None:
        """Fire one rung; the ladder calls this under the lock, and once per rung."""
        start = self._start
        addressee = await self._find(SUBJECT if rung.kind == INQUIRY else rung.target)
        measure = await workflow.execute_local_activity_method(
            AccountabilityActivities.record_rung,
            RecordRung(
                step("rung", str(number)),
                self._clock.now(),
                start.case,
                self._case.cycle,
                number,
                rung,
                start.policy.name,
                addressee,
            ),
            start_to_close_timeout=SERVICE_CALL_TIMEOUT,
            retry_policy=SERVICE_CALL,
        )
        self._addressed.append(addressee.person)
        opened = await self._open_accountability(addressee, measure) if rung.kind == INQUIRY else ""
        climbed = replace(
            self._case,
            fired_rung_count=number,
            next_rung_time=self._ladder.next_time,
            accountability_case=opened or self._case.accountability_case,
        )
        await self._record("rung_fired", climbed, None, self._ladder.waiting)

    async def _find(self, target: str) -> Addressee:
        start = self._answerable
        try:
            return await workflow.execute_local_activity_method(
                DirectoryActivities.find_addressee,
                FindAddressee(self._clock.now(), target, start.unit, start.post, start.person),
                start_to_close_timeout=SERVICE_CALL_TIMEOUT,
                retry_policy=SERVICE_CALL,
            )
        except ApplicationError as error:  # how a local activity's refusal arrives
            # A rung never falls silent: who cannot be found is addressed through the unit.
            workflow.logger.error("addressee_not_found", extra={"reason": error.type})
            return Addressee(start.unit, start.post, start.person)

    async def _open_accountability(self, subject: Addressee, measure: str) -> str:
        if not subject.person:
            workflow.logger.error("inquiry_has_no_subject", extra={"case": self._start.case})
            return ""
        start = self._answerable
        try:
            return await workflow.execute_activity_method(
                AccountabilityActivities.open_accountability,
                OpenAccountability(
                    step("inquire", measure),
                    self._clock.now(),
                    subject,
                    start.unit,
                    start.matter,
                    measure,
                    start.case,
                    start.hazard,
                    start.task,
                ),
                start_to_close_timeout=SERVICE_CALL_TIMEOUT,
                retry_policy=SERVICE_CALL,
            )
        except ActivityError as error:
            # A refused opening must not end the supervision; the measure and the log remain.
            workflow.logger.error("accountability_not_opened", extra={"cause": type(error.cause).__name__})
            return ""

    async def _record(
        self, transition: str, case: SupervisionSnapshot, action: Acted | None, term: RunningTerm | None = None
    ) -> None:
        recorded = await workflow.execute_local_activity_method(
            AccountabilityActivities.record_supervision,
            RecordSupervision(
                step(transition, str(case.fired_rung_count)), self._clock.now(), transition, case, asked(action), term
            ),
            start_to_close_timeout=SERVICE_CALL_TIMEOUT,
            retry_policy=SERVICE_CALL,
        )
        if recorded.next_rung_time is not None and recorded.next_rung_time != case.next_rung_time:
            self._ladder.move(recorded.next_rung_time)
        self._case = replace(
            case,
            due_time=recorded.due_time or case.due_time,
            next_rung_time=recorded.next_rung_time,
            conclude_time=recorded.conclude_time,
        )
