"""Activities of the hazard service: recording what the rectification case decided."""

from temporalio import activity

from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.kit.v1 import kit_pb2
from services.kit.clients import Clients
from services.kit.dates import day_message, optional_time, optional_timestamp, timestamp
from services.kit.directory import Directory
from services.kit.words_of import Words
from workflows.activities.calls import call, outer_command
from workflows.activities.directory import end_of
from workflows.payloads.rectification import HazardSnapshot, Recorded, RecordTransition

HAZARD_GRADE = Words(hazard_pb2.HazardGrade)
HAZARD_STATE = Words(hazard_pb2.HazardState)
WRITE_OFF_REASON = Words(hazard_pb2.WriteOffReason)
VERDICT = Words(kit_pb2.Verdict)


class HazardActivities:
    """Calls hazard."""

    def __init__(self, clients: Clients, directory: Directory) -> None:
        self._clients = clients
        self._directory = directory

    @activity.defn(name="record_hazard_transition")
    async def record_transition(self, record: RecordTransition) -> Recorded:
        """Record a transition, with the end of the term that it counts; return the times that stand on record.

        The same step is recorded once however often it is tried, and keeps the times of its first time.
        """
        hazard = hazard_message(record.snapshot)
        end = await end_of(self._directory, record.term)
        if end is not None:
            hazard.due_time.FromDatetime(end.time)
        request = hazard_pb2.RecordHazardTransitionRequest(
            request_id=record.step,
            name=record.snapshot.hazard,
            business_time=timestamp(record.business_time),
            transition=record.transition,
            remark=record.remark,
            hazard=hazard,
            outer=outer_command(record.asked),
            unit_path=record.unit_path,
            awaited_notice=end.awaited_notice if end else None,
            notice=record.term.notice if record.term else 0,
        )
        answer = await call(self._clients, self._clients.hazard.RecordHazardTransition, request)
        return Recorded(optional_time(answer, "due_time"), optional_time(answer, "write_off_time"))


def hazard_message(snapshot: HazardSnapshot) -> hazard_pb2.Hazard:
    """Return the protobuf form of a snapshot."""
    hazard = hazard_pb2.Hazard(
        name=snapshot.hazard,
        state=HAZARD_STATE.number(snapshot.state),
        grade=HAZARD_GRADE.number(snapshot.grade),
        unit=snapshot.unit,
        rectifier=snapshot.rectifier,
        reinspector=snapshot.reinspector,
        look_backer=snapshot.look_backer,
        evidence=snapshot.evidence,
        due_time=optional_timestamp(snapshot.due_time),
        write_off_time=optional_timestamp(snapshot.write_off_time),
        write_off_reason=WRITE_OFF_REASON.number(snapshot.write_off_reason or "UNSPECIFIED"),
        reopen_count=snapshot.reopen_count,
        site_order=snapshot.site_order,
    )
    if plan := snapshot.plan:
        hazard.plan.CopyFrom(
            hazard_pb2.RectificationPlan(
                responsible=plan.responsible,
                measures=plan.measures,
                funds_fen=plan.funds_fen,
                finish_date=day_message(plan.finish_date),
                contingency=plan.contingency,
            )
        )
    if extension := snapshot.extension:
        hazard.extension.CopyFrom(
            hazard_pb2.Extension(
                finish_date=day_message(extension.finish_date),
                reason=extension.reason,
                requester=extension.requester,
                verdict=VERDICT.number(extension.verdict or "UNSPECIFIED"),
                decider=extension.decider,
            )
        )
    return hazard
