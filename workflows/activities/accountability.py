"""Activities of the accountability service: opening and concluding supervision, recording what cases decided."""

from dataclasses import dataclass, replace
from datetime import datetime

from temporalio import activity

from dutyloop.accountability.v1 import accountability_pb2
from services.kit.catalogue import describe_action
from services.kit.clients import Clients
from services.kit.dates import optional_time, optional_timestamp, timestamp
from services.kit.directory import Directory
from services.kit.words_of import Words
from workflows.activities.calls import call, outer_command
from workflows.activities.directory import end_of
from workflows.payloads.accountability import AccountabilitySnapshot, AccountabilityTimes, RecordAccountability
from workflows.payloads.supervision import (
    CLIMBING,
    OpenAccountability,
    RecordRung,
    RecordSupervision,
    SupervisionSnapshot,
    SupervisionTimes,
)

ACCOUNTABILITY_CASE_STATE = Words(accountability_pb2.AccountabilityCaseState)
CASE_SOURCE = Words(accountability_pb2.CaseSource)
DECISION = Words(accountability_pb2.Decision)
MEASURE_KIND = Words(accountability_pb2.MeasureKind)
RUNG_TARGET = Words(accountability_pb2.RungTarget)
SUPERVISION_CASE_STATE = Words(accountability_pb2.SupervisionCaseState)


@dataclass(frozen=True, slots=True)
class OpenSupervision:
    """Asks for a supervision case over what is overdue. ``matter`` is the stage or task that was missed."""

    step: str
    business_time: datetime
    source: str
    matter: str
    unit: str
    person: str = ""
    post: str = ""
    hazard: str = ""
    task: str = ""
    tour: str = ""


@dataclass(frozen=True, slots=True)
class ConcludeSupervision:
    """Tells a supervision case that its matter is settled; ``because`` names what settled it."""

    step: str
    business_time: datetime
    supervision_case: str
    because: str


@dataclass(frozen=True, slots=True)
class HandOnSupervision:
    """Tells a supervision case which unit answers for its matter from now on."""

    step: str
    business_time: datetime
    supervision_case: str
    unit: str


class AccountabilityActivities:
    """Calls accountability."""

    def __init__(self, clients: Clients, directory: Directory) -> None:
        self._clients = clients
        self._directory = directory

    @activity.defn(name="open_supervision")
    async def open_supervision(self, opening: OpenSupervision) -> str:
        """Open a supervision case and return its name."""
        about = opening.hazard or opening.task or opening.tour or opening.unit
        request = accountability_pb2.OpenSupervisionCaseRequest(
            request_id=opening.step,
            business_time=timestamp(opening.business_time),
            supervision_case=accountability_pb2.SupervisionCase(
                display_name=f"{about} {describe_action(opening.matter, 'zh-CN')}",
                source=CASE_SOURCE.number(opening.source),
                matter=opening.matter,
                unit=opening.unit,
                person=opening.person,
                post=opening.post,
                hazard=opening.hazard,
                task=opening.task,
                tour=opening.tour,
            ),
        )
        answer = await call(self._clients, self._clients.accountability.OpenSupervisionCase, request)
        name: str = answer.name
        return name

    @activity.defn(name="conclude_supervision")
    async def conclude_supervision(self, conclusion: ConcludeSupervision) -> None:
        """Conclude a supervision case; the ladder climbs no further."""
        request = accountability_pb2.ConcludeSupervisionCaseRequest(
            request_id=conclusion.step,
            business_time=timestamp(conclusion.business_time),
            name=conclusion.supervision_case,
            conclusion=conclusion.because,
        )
        await call(self._clients, self._clients.accountability.ConcludeSupervisionCase, request)

    @activity.defn(name="hand_on_supervision")
    async def hand_on_supervision(self, handing: HandOnSupervision) -> None:
        """Have a supervision case follow its matter; the ladder climbs on."""
        request = accountability_pb2.HandOnSupervisionCaseRequest(
            request_id=handing.step,
            business_time=timestamp(handing.business_time),
            name=handing.supervision_case,
            unit=handing.unit,
        )
        await call(self._clients, self._clients.accountability.HandOnSupervisionCase, request)

    @activity.defn(name="open_accountability")
    async def open_accountability(self, opening: OpenAccountability) -> str:
        """Open an accountability case against the subject and return its name."""
        request = accountability_pb2.OpenAccountabilityCaseRequest(
            request_id=opening.step,
            business_time=timestamp(opening.business_time),
            accountability_case=accountability_pb2.AccountabilityCase(
                subject=opening.subject.person,
                unit=opening.subject.unit or opening.unit,
                post=opening.subject.post,
                matter=opening.matter,
                measure=opening.measure,
                supervision_case=opening.supervision_case,
                hazard=opening.hazard,
                task=opening.task,
            ),
        )
        answer = await call(self._clients, self._clients.accountability.OpenAccountabilityCase, request)
        name: str = answer.name
        return name

    @activity.defn(name="record_rung")
    async def record_rung(self, record: RecordRung) -> str:
        """Record a fired rung and return its measure; one that was recorded before stays as it is."""
        request = accountability_pb2.RecordRungRequest(
            request_id=record.step,
            business_time=timestamp(record.business_time),
            measure=accountability_pb2.Measure(
                supervision_case=record.case,
                kind=MEASURE_KIND.number(record.rung.kind),
                rung=record.number,
                cycle=record.cycle,
                label=record.rung.label,
                target=RUNG_TARGET.number(record.rung.target),
                target_unit=record.addressee.unit,
                target_post=record.addressee.post,
                target_person=record.addressee.person,
                escalation_policy=record.policy,
            ),
        )
        answer = await call(self._clients, self._clients.accountability.RecordRung, request)
        name: str = answer.name
        return name

    @activity.defn(name="record_supervision_transition")
    async def record_supervision(self, record: RecordSupervision) -> SupervisionTimes:
        """Record a transition of a supervision case, with the end of the term that it counts; return the times.

        While the ladder climbs, the term is the wait for its next rung.
        """
        snapshot, end = record.snapshot, await end_of(self._directory, record.term)
        if end is not None and snapshot.state == CLIMBING:
            snapshot = replace(snapshot, next_rung_time=end.time)
        elif end is not None:
            snapshot = replace(snapshot, due_time=end.time)
        request = accountability_pb2.RecordCaseTransitionRequest(
            request_id=record.step,
            name=record.snapshot.case,
            business_time=timestamp(record.business_time),
            transition=record.transition,
            supervision_case=supervision_message(snapshot),
            outer=outer_command(record.asked),
            awaited_notice=end.awaited_notice if end else None,
            notice=record.term.notice if record.term else 0,
        )
        answer = await call(self._clients, self._clients.accountability.RecordCaseTransition, request)
        case = answer.supervision_case
        return SupervisionTimes(
            next_rung_time=optional_time(case, "next_rung_time"),
            conclude_time=optional_time(case, "conclude_time"),
            due_time=optional_time(case, "due_time"),
        )

    @activity.defn(name="record_accountability_transition")
    async def record_accountability(self, record: RecordAccountability) -> AccountabilityTimes:
        """Record a transition of an accountability case, with the end of the term that it counts; return the times."""
        snapshot, end = record.snapshot, await end_of(self._directory, record.term)
        if end is not None:
            snapshot = replace(snapshot, due_time=end.time)
        request = accountability_pb2.RecordCaseTransitionRequest(
            request_id=record.step,
            name=record.snapshot.case,
            business_time=timestamp(record.business_time),
            transition=record.transition,
            accountability_case=accountability_message(snapshot),
            outer=outer_command(record.asked),
            awaited_notice=end.awaited_notice if end else None,
            notice=record.term.notice if record.term else 0,
        )
        answer = await call(self._clients, self._clients.accountability.RecordCaseTransition, request)
        case = answer.accountability_case
        return AccountabilityTimes(
            due_time=optional_time(case, "due_time"),
            decide_time=optional_time(case, "decide_time"),
            influence_end_time=optional_time(case, "influence_end_time"),
            appeal_due_time=optional_time(case, "appeal_due_time"),
            appeal_time=optional_time(case.appeal, "file_time"),
            close_time=optional_time(case, "close_time"),
        )


def supervision_message(snapshot: SupervisionSnapshot) -> accountability_pb2.SupervisionCase:
    """Return the protobuf form of a snapshot."""
    return accountability_pb2.SupervisionCase(
        name=snapshot.case,
        state=SUPERVISION_CASE_STATE.number(snapshot.state),
        due_time=timestamp(snapshot.due_time),
        next_rung_time=optional_timestamp(snapshot.next_rung_time),
        fired_rung_count=snapshot.fired_rung_count,
        cycle=snapshot.cycle,
        progress=snapshot.progress,
        evidence=snapshot.evidence,
        reporter=snapshot.reporter,
        conclusion=snapshot.conclusion,
        concluder=snapshot.concluder,
        conclude_time=optional_timestamp(snapshot.conclude_time),
        accountability_case=snapshot.accountability_case,
        unit=snapshot.unit,
    )


def accountability_message(snapshot: AccountabilitySnapshot) -> accountability_pb2.AccountabilityCase:
    """Return the protobuf form of a snapshot."""
    case = accountability_pb2.AccountabilityCase(
        name=snapshot.case,
        state=ACCOUNTABILITY_CASE_STATE.number(snapshot.state),
        due_time=optional_timestamp(snapshot.due_time),
        facts=snapshot.facts,
        evidence=snapshot.evidence,
        handler=snapshot.handler,
        decider=snapshot.decider,
        decide_time=optional_timestamp(snapshot.decide_time),
        decision=DECISION.number(snapshot.decision or "UNSPECIFIED"),
        instrument_number=snapshot.instrument_number,
        influence_months=snapshot.influence_months,
        influence_end_time=optional_timestamp(snapshot.influence_end_time),
        grounds=snapshot.grounds,
        appeal_due_time=optional_timestamp(snapshot.appeal_due_time),
        appeal_basis=snapshot.appeal_basis,
        close_time=optional_timestamp(snapshot.close_time),
    )
    if exemption := snapshot.exemption:
        case.exemption.grounds = exemption.grounds
        for duty in exemption.duties:
            case.exemption.duties.add(duty_item=duty.duty_item, ledger_entries=duty.ledger_entries)
    if appeal := snapshot.appeal:
        case.appeal.reason = appeal.reason
        case.appeal.file_time.FromDatetime(appeal.file_time)
    return case
