"""Activities of the hazard service: recording what the rectification case decided."""

from temporalio import activity

from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.kit.v1 import kit_pb2
from services.kit.clients import Clients
from services.kit.dates import day_message, optional_timestamp, timestamp
from workflows.activities.calls import call, outer_command
from workflows.payloads.rectification import HazardSnapshot, RecordTransition


class HazardActivities:
    """Calls hazard."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    @activity.defn(name="record_hazard_transition")
    async def record_transition(self, record: RecordTransition) -> None:
        """Record a transition; the same step is recorded once however often it is tried."""
        request = hazard_pb2.RecordHazardTransitionRequest(
            request_id=record.step,
            name=record.snapshot.hazard,
            business_time=timestamp(record.business_time),
            transition=record.transition,
            remark=record.remark,
            hazard=hazard_message(record.snapshot),
            outer=outer_command(record.outer),
        )
        await call(self._clients, self._clients.hazard.RecordHazardTransition, request)


def hazard_message(snapshot: HazardSnapshot) -> hazard_pb2.Hazard:
    """Return the protobuf form of a snapshot."""
    hazard = hazard_pb2.Hazard(
        name=snapshot.hazard,
        state=hazard_pb2.HazardState.Value(f"HAZARD_STATE_{snapshot.state}"),
        grade=hazard_pb2.HazardGrade.Value(f"HAZARD_GRADE_{snapshot.grade}"),
        unit=snapshot.unit,
        rectifier=snapshot.rectifier,
        reinspector=snapshot.reinspector,
        evidence=snapshot.evidence,
        due_time=optional_timestamp(snapshot.due_time),
        write_off_time=optional_timestamp(snapshot.write_off_time),
        write_off_reason=hazard_pb2.WriteOffReason.Value(
            f"WRITE_OFF_REASON_{snapshot.write_off_reason or 'UNSPECIFIED'}"
        ),
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
                verdict=kit_pb2.Verdict.Value(f"VERDICT_{extension.verdict or 'UNSPECIFIED'}"),
                decider=extension.decider,
            )
        )
    return hazard
