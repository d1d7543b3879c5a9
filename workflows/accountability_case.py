"""The accountability case: facts, decision or exemption, appeal window, closure.

One per subject and matter. Who opened the case or handed in facts never decides, and the subject does
neither. A term for facts or decision that is missed is recorded, and the case waits on. A decided measure
against which the law gives a remedy keeps the case open until the window for it ends; an appeal filed
meanwhile stands beside the case and does not suspend the measure (Civil Servants Law §96, Supervision Law
§56). Deciding appeals is no part of this case.
"""

import asyncio
from dataclasses import replace
from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from services.kit.dates import last_day_before
    from workflows.activities.accountability import AccountabilityActivities
    from workflows.activities.directory import ClockWindow, DirectoryActivities, StatutoryClock
    from workflows.payloads import Reproject, RunningTerm, Term
    from workflows.payloads.accountability import (
        WORKFLOW,
        AccountabilityResult,
        AccountabilitySnapshot,
        AccountabilityStart,
        Appeal,
        Decide,
        Exempt,
        FileAppeal,
        RecordAccountability,
        SubmitFacts,
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
from workflows.deadline import Deadline, due_time

OVERDUE = {"OPENED": "facts_overdue", "FACTS_SUBMITTED": "decision_overdue"}
"""States that await a decision, and the transition that records their missed term; the state stays."""


@workflow.defn(name=WORKFLOW)
class AccountabilityCase:
    """Drives one subject's case to its closure or exemption."""

    @workflow.init
    def __init__(self, start: AccountabilityStart) -> None:
        self._start = start
        self._clock = CaseClock(start.opened)
        self._case = AccountabilitySnapshot(start.case, "OPENED", start.due_time)
        self._handlers: list[str] = []
        # Handlers await clocks and recordings; without the lock two decisions could both pass their checks.
        self._one_action = asyncio.Lock()
        self._term = Deadline(self._clock, start.due_time)
        self._running = RunningTerm(start.opened, start.terms.facts)

    @workflow.run
    async def run(self, start: AccountabilityStart) -> AccountabilityResult:
        while await self._term.reached_before(self._is_decided):
            await self._note_overdue()
        if self._case.state == "DECIDED":
            await self._let_appeal_window_pass()
            async with self._one_action:
                closed = replace(self._case, state="CLOSED", due_time=None, close_time=self._clock.now())
                await self._record("closed", closed, None)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return AccountabilityResult(
            start.case, self._case.state, self._case.decision, appealed=self._case.appeal is not None
        )

    @workflow.query
    def case(self) -> AccountabilitySnapshot:
        """Return the case as its workflow sees it."""
        return self._case

    @workflow.update
    async def submit_facts(self, action: SubmitFacts) -> None:
        """Take the facts; until the decision they may be handed in anew, by others too."""
        async with self._one_action:
            self._require("submit_facts", "OPENED", "FACTS_SUBMITTED")
            handler = action.outer.principal
            self._require_other_than_subject(handler, "submit_facts")
            running = RunningTerm(self._clock.now(), self._start.terms.decide)
            submitted = replace(
                self._case,
                state="FACTS_SUBMITTED",
                facts=action.facts,
                evidence=action.evidence,
                handler=handler,
                due_time=await due_time(running.start, running.term),
            )
            await self._record("facts_submitted", submitted, action, running)
            self._running = running
            self._term.move(self._case.due_time)
            if handler not in self._handlers:
                self._handlers.append(handler)

    @workflow.update
    async def decide(self, action: Decide) -> None:
        """Decide with a measure; influence period and appeal window count from now."""
        async with self._one_action:
            self._require_decider(action, "decide")
            now = self._clock.now()
            window = await self._window(now, action.appeal_clock) if action.appeal_clock else None
            influence_end = None
            if action.influence_months:
                influence_end = await due_time(now, Term(action.influence_months, "MONTHS"))
            decided = replace(
                self._case,
                state="DECIDED",
                due_time=window.due_time if window else None,
                decider=action.outer.principal,
                decide_time=now,
                decision=action.decision,
                instrument_number=action.instrument_number,
                influence_months=action.influence_months,
                influence_end_time=influence_end,
                grounds=action.grounds,
                appeal_due_time=window.due_time if window else None,
                appeal_basis=window.source if window else "",
            )
            await self._record("decided", decided, action)

    @workflow.update
    async def exempt(self, action: Exempt) -> None:
        """Exempt the subject, whose duties were shown performed; this ends the case."""
        async with self._one_action:
            self._require_decider(action, "exempt")
            now = self._clock.now()
            exempted = replace(
                self._case,
                state="EXEMPTED",
                due_time=None,
                decider=action.outer.principal,
                decide_time=now,
                grounds=action.exemption.grounds,
                exemption=action.exemption,
                close_time=now,
            )
            await self._record("exempted", exempted, action)

    @workflow.update
    async def file_appeal(self, action: FileAppeal) -> None:
        """Take the subject's appeal while the window is open; one per case."""
        async with self._one_action:
            if action.outer.principal != self._start.subject:
                raise refuse("RULE_NOT_MET", rule="only_the_subject_appeals")
            self._require("file_appeal", "DECIDED", "CLOSED")
            due = self._case.appeal_due_time
            if due is None:
                raise refuse("RULE_NOT_MET", rule="measure_has_an_appeal_window")
            now = self._clock.now()
            if now >= due or self._case.state == "CLOSED":
                raise refuse("WINDOW_CLOSED", closed=last_day_before(due))
            if self._case.appeal is not None:
                raise wrong_state("APPEAL_FILED", "file_appeal")
            await self._record("appeal_filed", replace(self._case, appeal=Appeal(action.reason, now)), action)

    @workflow.update
    async def reproject(self, action: Reproject) -> None:
        """Count the present term anew, by a holiday notice that it awaited; a missed one stays as it is."""
        async with self._one_action:
            if self._is_decided() or self._term.due is None:
                return
            await self._record("reprojected", self._case, None, replace(self._running, notice=action.notice))
            self._term.move(self._case.due_time)

    def _is_decided(self) -> bool:
        return self._case.state not in OVERDUE

    def _require(self, action: str, *states: str) -> None:
        if self._case.state not in states:
            raise wrong_state(self._case.state, action)

    def _require_other_than_subject(self, person: str, step: str) -> None:
        if person == self._start.subject:
            raise same_person(person, "answer", step)

    def _require_decider(self, action: Decide | Exempt, what: str) -> None:
        person, subject_path = action.outer.principal, self._start.unit_path
        self._require(what, "FACTS_SUBMITTED")
        self._require_other_than_subject(person, what)
        if person == self._start.opener:
            raise same_person(person, "open", what)
        if person in self._handlers:
            raise same_person(person, "submit_facts", what)
        below = [path != subject_path and path.startswith(subject_path) for path in action.unit_paths]
        if below and all(below):
            raise refuse("RULE_NOT_MET", rule="decider_is_no_subordinate_of_the_subject")

    async def _note_overdue(self) -> None:
        """Record, once for each term, that it passed without facts or without a decision."""
        async with self._one_action:
            # Facts, a decision or a notice may have held the lock while the timer fired.
            if self._is_decided() or not self._term.is_past():
                return
            await self._record(OVERDUE[self._case.state], self._case, None)
            self._term.move(None)

    async def _let_appeal_window_pass(self) -> None:
        due = self._case.appeal_due_time
        if due is not None:
            await Deadline(self._clock, due).reached_before(lambda: False)

    async def _window(self, start: datetime, clock: str) -> ClockWindow:
        return await workflow.execute_local_activity_method(
            DirectoryActivities.explain_statutory_clock,
            StatutoryClock(start, clock),
            start_to_close_timeout=SERVICE_CALL_TIMEOUT,
            retry_policy=SERVICE_CALL,
        )

    async def _record(
        self, transition: str, case: AccountabilitySnapshot, action: Acted | None, term: RunningTerm | None = None
    ) -> None:
        recorded = await workflow.execute_local_activity_method(
            AccountabilityActivities.record_accountability,
            RecordAccountability(
                step(transition, f"{case.due_time or ''}"), self._clock.now(), transition, case, asked(action), term
            ),
            start_to_close_timeout=SERVICE_CALL_TIMEOUT,
            retry_policy=SERVICE_CALL,
        )
        appeal = case.appeal
        if appeal is not None and recorded.appeal_time is not None:
            appeal = replace(appeal, file_time=recorded.appeal_time)
        self._case = replace(
            case,
            due_time=recorded.due_time,
            decide_time=recorded.decide_time,
            influence_end_time=recorded.influence_end_time,
            appeal_due_time=recorded.appeal_due_time,
            appeal=appeal,
            close_time=recorded.close_time,
        )
