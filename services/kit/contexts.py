"""The bounded contexts: each is a service, a database schema, and the database role of the same name."""

from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor

from dutyloop.accountability.v1 import accountability_pb2
from dutyloop.accountability.v1.accountability_pb2_grpc import AccountabilityServiceStub
from dutyloop.audit.v1 import audit_pb2
from dutyloop.audit.v1.audit_pb2_grpc import AuditServiceStub
from dutyloop.directory.v1 import directory_pb2
from dutyloop.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from dutyloop.duty.v1 import duty_pb2
from dutyloop.duty.v1.duty_pb2_grpc import DutyServiceStub
from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.hazard.v1.hazard_pb2_grpc import HazardServiceStub
from dutyloop.inspection.v1 import inspection_pb2
from dutyloop.inspection.v1.inspection_pb2_grpc import InspectionServiceStub
from dutyloop.plan.v1 import plan_pb2
from dutyloop.plan.v1.plan_pb2_grpc import PlanServiceStub

OWNER = "dutyloop_owner"
"""The database role that owns every schema; migrations run as it."""
AUDITOR = "auditor"
"""The database role that reads every schema and writes none; the ledger is verified as it."""


@dataclass(frozen=True, slots=True)
class Context:
    """One context: the protobuf file of its API, and the class that calls it."""

    file: FileDescriptor
    stub: type

    @property
    def service(self) -> ServiceDescriptor:
        """Return its gRPC service, of which there is one."""
        [service] = self.file.services_by_name.values()
        return service


CONTEXTS: Mapping[str, Context] = {
    "audit": Context(audit_pb2.DESCRIPTOR, AuditServiceStub),
    "directory": Context(directory_pb2.DESCRIPTOR, DirectoryServiceStub),
    "duty": Context(duty_pb2.DESCRIPTOR, DutyServiceStub),
    "plan": Context(plan_pb2.DESCRIPTOR, PlanServiceStub),
    "inspection": Context(inspection_pb2.DESCRIPTOR, InspectionServiceStub),
    "hazard": Context(hazard_pb2.DESCRIPTOR, HazardServiceStub),
    "accountability": Context(accountability_pb2.DESCRIPTOR, AccountabilityServiceStub),
}
"""By name. audit is first: its migrations create the ledger that the others are granted."""
