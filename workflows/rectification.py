"""The rectification case: assign, plan, rectify, reinspect, write off, look back.

One per hazard that needs time. Each stage has a term; a term that runs out opens a supervision case,
whose ladder climbs until the stage is done. Who planned, answers for the plan or rectified never reinspects
nor looks back; and whoever does, or decides on an extension, does so from outside the responsible unit.
"""

import asyncio
import functools
from dataclasses import replace
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from services.kit.dates import end_of, last_day_before
    from services.kit.units import judges_itself
    from workflows.activities.accountability import (
        AccountabilityActivities,
        ConcludeSupervision,
        HandOnSupervision,
        OpenSupervision,
    )
    from workflows.activities.hazard import HazardActivities
    from workflows.payloads import Reproject, RunningTerm, Term
    from workflows.payloads.rectification import (
        WORKFLOW,
        Assign,
        CloseDown,
        Extension,
        HazardSnapshot,
        Judge,
        RecordTransition,
        RectificationResult,
        RectificationStart,
        RequestExtension,
        SubmitPlan,
        SubmitRectification,
    )

from workflows.case import (
    SERVICE_CALL,
    SERVICE_CALL_TIMEOUT,
    Acted,
    CaseClock,
    asked,
    changed,
    refuse,
    same_person,
    step,
    wrong_state,
)
from workflows.deadline import Deadline

SUPERVISED = {"REPORTED": "assign", "ASSIGNED": "plan", "PLANNED": "rectify", "RECTIFIED": "reinspect"}
"""Stages whose missed term opens a supervision case; a missed look-back only turns the light red."""
LONGEST_TERM = timedelta(days=366)
"""The furthest last day of a plan or an extension (our cap, not statutory)."""


@workflow.defn(name=WORKFLOW)
class Rectification:
    """Drives one hazard through its loop."""

    @workflow.init
    def __init__(self, start: RectificationStart) -> None:
        self._start = start
        self._clock = CaseClock(start.opened)
        self._hazard = HazardSnapshot(start.hazard, "REPORTED", start.grade, start.due_time)
        self._deadline = Deadline(self._clock, start.due_time)
        self._term: RunningTerm | None = RunningTerm(start.opened, start.terms.assign)
        self._stage = 0
        self._supervision = ""
        self._supervised = ""
        self._hand_overs = 0
        self._rectifiers: list[str] = []
        self._planners: list[str] = []
        self._unit_path = ""
        # Handlers await calendar and recording; without the lock two actions could both pass their checks.
        self._one_action = asyncio.Lock()

    @workflow.run
    async def run(self, start: RectificationStart) -> RectificationResult:
        while self._hazard.state != "CLOSED":
            stage = self._stage
            if await self._deadline.reached_before(functools.partial(self._has_turned, stage)):
                async with self._one_action:
                    # An action, or a notice, may have held the lock while the timer fired.
                    if self._left(stage) or not self._deadline.is_past():
                        continue
                    self._deadline.move(None)
                # Without the lock: while accountability is down, people must still be able to act on the hazard.
                await self._supervise()
            if self._supervision and self._left(stage):
                await self._end_supervision()
            elif self._supervision and self._has_turned(stage):
                await self._hand_on_supervision()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return RectificationResult(
            start.hazard, self._hazard.state, self._hazard.write_off_reason, self._hazard.reopen_count
        )

    @workflow.query
    def hazard(self) -> HazardSnapshot:
        """Return the hazard as the case sees it."""
        return self._hazard

    @workflow.update
    async def assign(self, action: Assign) -> None:
        """Assign the hazard to the unit that must rectify it; handing it on to another gives no new term."""
        async with self._one_action:
            self._require("assign", "REPORTED", "ASSIGNED")
            self._require_still(action.from_unit)
            if self._hazard.state == "ASSIGNED":
                if action.unit == self._hazard.unit:
                    raise refuse("RULE_NOT_MET", rule="reassigned_to_another_unit_only")
                handed_on = replace(self._hazard, unit=action.unit)
                await self._record("assigned", handed_on, action, unit_path=action.unit_path)
                self._hand_overs += 1
                return
            assigned = replace(self._hazard, state="ASSIGNED", unit=action.unit)
            await self._move("assigned", assigned, action, term=self._start.terms.plan, unit_path=action.unit_path)

    @workflow.update
    async def submit_plan(self, action: SubmitPlan) -> None:
        """Take the five-element plan; its last day becomes the term, which from then on a supervisor alone moves."""
        async with self._one_action:
            self._require("plan", "ASSIGNED")
            self._require_still(action.unit)
            due = end_of(action.plan.finish_date)
            if due <= self._clock.now():
                raise refuse("INVALID_FIELD", field="plan.finish_date", problem="in_the_past")
            self._require_within_cap(due, "plan.finish_date")
            planned = replace(self._hazard, state="PLANNED", plan=action.plan, extension=None, due_time=due)
            await self._move("planned", planned, action)
            self._planners += [action.outer.principal, action.plan.responsible]

    @workflow.update
    async def request_extension(self, action: RequestExtension) -> None:
        """Note that more time is asked for; the term runs on until it is granted."""
        async with self._one_action:
            self._require("request_extension", "PLANNED")
            self._require_still(action.unit)
            due = self._hazard.due_time
            if due is None or self._clock.now() >= due:
                raise refuse("WINDOW_CLOSED", closed=last_day_before(due))
            if self._hazard.extension is not None and not self._hazard.extension.verdict:
                # The day would change under the hand of whoever decides on it.
                raise refuse("RULE_NOT_MET", rule="one_extension_is_asked_for_at_a_time")
            if end_of(action.finish_date) <= due:
                raise refuse("INVALID_FIELD", field="extension.finish_date", problem="not_after_start")
            self._require_within_cap(end_of(action.finish_date), "extension.finish_date")
            extension = Extension(action.finish_date, action.reason, action.outer.principal)
            await self._record("extension_requested", replace(self._hazard, extension=extension), action)

    @workflow.update
    async def decide_extension(self, action: Judge) -> None:
        """Grant or refuse the extension; a granted one moves the term."""
        async with self._one_action:
            self._require("decide_extension", "PLANNED")
            self._require_still(action.unit)
            extension = self._hazard.extension
            if extension is None or extension.verdict:
                raise wrong_state("NO_EXTENSION_ASKED", "decide_extension")
            if extension.requester == action.outer.principal:
                raise same_person(action.outer.principal, "request_extension", "decide_extension")
            self._require_outside(action)
            decided = replace(extension, verdict=action.verdict, decider=action.outer.principal)
            granted = action.verdict == "PASS"
            due = end_of(extension.finish_date) if granted else self._hazard.due_time
            hazard = replace(self._hazard, extension=decided, due_time=due)
            word = "extension_granted" if granted else "extension_refused"
            if granted:
                await self._move(word, hazard, action)
            else:
                await self._record(word, hazard, action)

    @workflow.update
    async def submit_rectification(self, action: SubmitRectification) -> None:
        """Take the report that the hazard is rectified; who reports it may never reinspect it."""
        async with self._one_action:
            self._require("rectify", "PLANNED")
            self._require_still(action.unit)
            rectified = replace(
                self._hazard,
                state="RECTIFIED",
                rectifier=action.outer.principal,
                evidence=action.evidence,
            )
            await self._move("rectified", rectified, action, term=self._start.terms.reinspect)
            self._rectifiers.append(action.outer.principal)

    @workflow.update
    async def reinspect(self, action: Judge) -> None:
        """Write the hazard off, or send it back to be rectified again, by the same plan within a term of its own."""
        async with self._one_action:
            self._require("reinspect", "RECTIFIED")
            self._require_still(action.unit)
            self._require_independent(action, "reinspect")
            terms = self._start.terms
            if action.verdict == "PASS":
                passed = replace(
                    self._hazard,
                    state="WRITTEN_OFF",
                    reinspector=action.outer.principal,
                    write_off_time=self._clock.now(),
                    write_off_reason="REINSPECTED",
                )
                await self._move("written_off", passed, action, remark=action.remark, term=terms.look_back)
            else:
                failed = replace(self._hazard, state="PLANNED", rectifier="", extension=None)
                await self._move("reinspection_failed", failed, action, remark=action.remark, term=terms.rectify_again)

    @workflow.update
    async def look_back(self, action: Judge) -> None:
        """End the case, or reopen the hazard one grade up."""
        async with self._one_action:
            self._require("look_back", "WRITTEN_OFF")
            self._require_still(action.unit)
            self._require_independent(action, "look_back")
            if action.verdict == "PASS":
                closed = replace(self._hazard, state="CLOSED", due_time=None, look_backer=action.outer.principal)
                await self._move("closed", closed, action, remark=action.remark)
                return
            reopened = HazardSnapshot(
                self._hazard.hazard,
                "ASSIGNED",
                "MAJOR",
                None,
                unit=self._hazard.unit,
                reopen_count=self._hazard.reopen_count + 1,
                look_backer=action.outer.principal,
            )
            await self._move("reopened", reopened, action, remark=action.remark, term=self._start.terms.plan)
            self._hazard = replace(self._hazard, look_backer="")  # who reopened it may rectify it, as anybody

    @workflow.update
    async def close_down(self, action: CloseDown) -> None:
        """End the case because its site was closed down by order; what was written off before stays so."""
        async with self._one_action:
            if self._hazard.state == "CLOSED":
                raise wrong_state(self._hazard.state, "close_down")
            if self._hazard.state == "WRITTEN_OFF":
                ended = replace(self._hazard, state="CLOSED", due_time=None, site_order=action.site_order)
                await self._move("closed", ended, None)
                return
            closed = replace(
                self._hazard,
                state="CLOSED",
                due_time=None,
                write_off_time=self._clock.now(),
                write_off_reason="SITE_CLOSED_DOWN",
                site_order=action.site_order,
            )
            await self._move("written_off", closed, None)

    @workflow.update
    async def reproject(self, action: Reproject) -> None:
        """Count the present term anew, by a holiday notice that it awaited; one that has run out stays as it is."""
        async with self._one_action:
            if self._term is None or self._deadline.due is None:
                return
            await self._record("reprojected", self._hazard, None, term=replace(self._term, notice=action.notice))
            self._deadline.move(self._hazard.due_time)

    def _left(self, stage: int) -> bool:
        return self._stage != stage

    def _has_turned(self, stage: int) -> bool:
        """Tell whether the stage was left, or the hazard was handed on from the unit that is supervised."""
        return self._left(stage) or bool(self._supervision and self._supervised != self._answerable())

    def _answerable(self) -> str:
        return self._hazard.unit or self._start.fallback_unit

    def _require(self, action: str, *states: str) -> None:
        if self._hazard.state not in states:
            raise wrong_state(self._hazard.state, action)

    def _require_still(self, unit: str) -> None:
        # Who may act follows from the hazard's unit; it may have been handed on since the service looked.
        if unit != self._hazard.unit:
            raise changed(self._hazard.hazard)

    def _require_within_cap(self, due: datetime, field: str) -> None:
        if due > self._clock.now() + LONGEST_TERM:
            raise refuse("INVALID_FIELD", field=field, problem="over_a_year_ahead")

    def _require_independent(self, action: Judge, step: str) -> None:
        # Over the whole history: who took part in an earlier attempt does not judge a later one either.
        person = action.outer.principal
        if person in self._rectifiers:
            raise same_person(person, "rectify", step)
        if person in self._planners:
            raise same_person(person, "plan", step)
        self._require_outside(action)

    def _require_outside(self, action: Judge) -> None:
        if judges_itself(action.unit_paths, self._unit_path):
            raise refuse("RULE_NOT_MET", rule="judged_from_outside_the_responsible_unit")

    async def _move(
        self,
        transition: str,
        hazard: HazardSnapshot,
        action: Acted | None,
        *,
        remark: str = "",
        term: Term | None = None,
        unit_path: str = "",
    ) -> None:
        """Record a transition that ends the present stage; the next one has ``term``, or the snapshot's due time."""
        running = RunningTerm(self._clock.now(), term) if term else None
        await self._record(transition, hazard, action, remark=remark, term=running, unit_path=unit_path)
        self._term = running
        self._stage += 1
        self._deadline.move(self._hazard.due_time)

    async def _record(
        self,
        transition: str,
        hazard: HazardSnapshot,
        action: Acted | None,
        *,
        remark: str = "",
        term: RunningTerm | None = None,
        unit_path: str = "",
    ) -> None:
        recorded = await workflow.execute_local_activity_method(
            HazardActivities.record_transition,
            RecordTransition(
                step(transition), self._clock.now(), transition, hazard, asked(action), remark, term, unit_path
            ),
            start_to_close_timeout=SERVICE_CALL_TIMEOUT,
            retry_policy=SERVICE_CALL,
        )
        self._hazard = replace(hazard, due_time=recorded.due_time, write_off_time=recorded.write_off_time)
        self._unit_path = unit_path or self._unit_path

    async def _supervise(self) -> None:
        """Open a supervision case for the stage whose term ran out; then only an action ends the wait."""
        stage = SUPERVISED.get(self._hazard.state)
        if stage is None or self._supervision:
            return
        self._supervised = self._answerable()
        try:
            self._supervision = await workflow.execute_activity_method(
                AccountabilityActivities.open_supervision,
                OpenSupervision(
                    step=step("supervise", str(self._stage)),
                    business_time=self._clock.now(),
                    source="OVERDUE_HAZARD",
                    matter=stage,
                    unit=self._supervised,
                    person=self._hazard.plan.responsible if self._hazard.plan else "",
                    hazard=self._hazard.hazard,
                ),
                start_to_close_timeout=SERVICE_CALL_TIMEOUT,
                retry_policy=SERVICE_CALL,
            )
        except ActivityError as error:
            # A refused opening must not end the hazard's own case; the red light and the log remain.
            workflow.logger.error("supervision_not_opened", extra={"cause": type(error.cause).__name__})

    async def _hand_on_supervision(self) -> None:
        """Have the supervision follow the hazard: a new ladder would start again with every hand-over."""
        self._supervised = self._answerable()
        handing = HandOnSupervision(
            step("hand_on", str(self._hand_overs)), self._clock.now(), self._supervision, self._supervised
        )
        try:
            await workflow.execute_activity_method(
                AccountabilityActivities.hand_on_supervision,
                handing,
                start_to_close_timeout=SERVICE_CALL_TIMEOUT,
                retry_policy=SERVICE_CALL,
            )
        except ActivityError as error:
            workflow.logger.warning("supervision_not_handed_on", extra={"cause": type(error.cause).__name__})

    async def _end_supervision(self) -> None:
        supervision, self._supervision = self._supervision, ""
        try:
            await workflow.execute_activity_method(
                AccountabilityActivities.conclude_supervision,
                ConcludeSupervision(step("conclude", supervision), self._clock.now(), supervision, self._hazard.hazard),
                start_to_close_timeout=SERVICE_CALL_TIMEOUT,
                retry_policy=SERVICE_CALL,
            )
        except ActivityError as error:
            workflow.logger.warning("supervision_not_concluded", extra={"cause": type(error.cause).__name__})
