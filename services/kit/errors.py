"""Domain errors, the only table from error class to gRPC status, and the status details clients read.

The words shown to people live in ``catalogue``; what travels is a reason, metadata and field violations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from services.kit.catalogue import Locale, describe_problem, describe_reason

DOMAIN = "dutyloop"
Metadata = Sequence[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True)
class Violation:
    """One field at fault: its dotted path and a problem code of the catalogue."""

    field: str
    problem: str


class DomainError(Exception):
    """A refusal with a catalogued reason. Metadata values are shown to the caller: no secrets, no text of others."""

    reason: ClassVar[str]

    def __init__(self, **metadata: str) -> None:
        super().__init__(self.reason)
        self.metadata: Mapping[str, str] = metadata
        self.violations: Sequence[Violation] = ()


class InvalidFields(DomainError):
    """Request fields are missing or malformed."""

    reason = "INVALID_FIELD"

    def __init__(self, *violations: Violation) -> None:
        super().__init__()
        self.violations = violations


def invalid(field: str, problem: str = "malformed") -> InvalidFields:
    """Return the error for one field at fault."""
    return InvalidFields(Violation(field, problem))


class Unauthenticated(DomainError):
    """No valid access token came with the call."""

    reason = "UNAUTHENTICATED"


class RoleMissing(DomainError):
    """The caller holds none of the method's roles."""

    reason = "ROLE_MISSING"


class NotFound(DomainError):
    """The resource is absent, or hidden because it lies outside the caller's scope."""

    reason = "NOT_FOUND"

    def __init__(self, resource: str, *, hidden: bool = False) -> None:
        super().__init__(resource=resource)
        self.hidden = hidden


class AlreadyExists(DomainError):
    """A resource with this identity exists."""

    reason = "ALREADY_EXISTS"


class StaleEtag(DomainError):
    """The etag sent is not the current one."""

    reason = "STALE_ETAG"


def require_etag(resource: str, etag: str, revision: int) -> None:
    """Raise StaleEtag when the caller said what he saw, and it is not what there is."""
    if etag and etag != str(revision):
        raise StaleEtag(resource=resource)


class RequestIdReused(DomainError):
    """The request id came before with another body."""

    reason = "REQUEST_ID_REUSED"


class WrongState(DomainError):
    """The state does not allow the action; metadata: state, action."""

    reason = "WRONG_STATE"


class SeparationOfDuties(DomainError):
    """One person may not do both steps; metadata: person, first, second."""

    reason = "SEPARATION_OF_DUTIES"


class WindowClosed(DomainError):
    """The window for the action is over; metadata: closed."""

    reason = "WINDOW_CLOSED"


class UnfitReference(DomainError):
    """A referenced resource is not fit; metadata: field, resource."""

    reason = "UNFIT_REFERENCE"


class RuleNotMet(DomainError):
    """A rule of the domain is not met; metadata: rule."""

    reason = "RULE_NOT_MET"


class ImportRunning(DomainError):
    """The same import is running."""

    reason = "IMPORT_RUNNING"


class CaseUnavailable(DomainError):
    """The case's workflow cannot be reached now."""

    reason = "CASE_UNAVAILABLE"


class ServiceUnavailable(DomainError):
    """A store or service cannot be reached now."""

    reason = "SERVICE_UNAVAILABLE"


class Overloaded(DomainError):
    """Too many calls at once."""

    reason = "OVERLOADED"


class Disabled(DomainError):
    """The operation needs a setting that is off; metadata: setting."""

    reason = "DISABLED"


class DeadlinePassed(DomainError):
    """The call's deadline passed."""

    reason = "DEADLINE"


class Internal(DomainError):
    """Something broke; details are in the log only."""

    reason = "INTERNAL"


STATUS: Mapping[type[DomainError], grpc.StatusCode] = {
    InvalidFields: grpc.StatusCode.INVALID_ARGUMENT,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    RoleMissing: grpc.StatusCode.PERMISSION_DENIED,
    NotFound: grpc.StatusCode.NOT_FOUND,
    AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    StaleEtag: grpc.StatusCode.ABORTED,
    RequestIdReused: grpc.StatusCode.ALREADY_EXISTS,
    WrongState: grpc.StatusCode.FAILED_PRECONDITION,
    SeparationOfDuties: grpc.StatusCode.FAILED_PRECONDITION,
    WindowClosed: grpc.StatusCode.FAILED_PRECONDITION,
    UnfitReference: grpc.StatusCode.FAILED_PRECONDITION,
    RuleNotMet: grpc.StatusCode.FAILED_PRECONDITION,
    ImportRunning: grpc.StatusCode.ABORTED,
    CaseUnavailable: grpc.StatusCode.UNAVAILABLE,
    ServiceUnavailable: grpc.StatusCode.UNAVAILABLE,
    Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Disabled: grpc.StatusCode.FAILED_PRECONDITION,
    DeadlinePassed: grpc.StatusCode.DEADLINE_EXCEEDED,
    Internal: grpc.StatusCode.INTERNAL,
}
RETRYABLE_AFTER_SECONDS: Mapping[type[DomainError], int] = {
    CaseUnavailable: 2,
    ServiceUnavailable: 2,
    Overloaded: 1,
    ImportRunning: 5,
}
RECORDED_REFUSALS = (
    RoleMissing,
    SeparationOfDuties,
    WrongState,
    WindowClosed,
    RuleNotMet,
    UnfitReference,
    RequestIdReused,
)
"""Refusals that are written to the ledger, with those of NotFound that hide a resource out of scope."""

BY_REASON: Mapping[str, type[DomainError]] = {cls.reason: cls for cls in STATUS}
RETRYABLE_CODES = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNAUTHENTICATED,
    }
)
"""Codes that an activity retries: trouble of the infrastructure, never a domain refusal."""


def from_reason(reason: str, metadata: Mapping[str, str]) -> DomainError:
    """Rebuild the error that a workflow or another service refused with."""
    cls = BY_REASON.get(reason, Internal)
    if cls is NotFound:
        return NotFound(metadata.get("resource", ""))
    if cls is InvalidFields:
        return InvalidFields(Violation(metadata.get("field", ""), metadata.get("problem", "malformed")))
    return cls(**metadata)


def is_recorded(error: DomainError) -> bool:
    """Tell whether the refusal belongs in the ledger."""
    return isinstance(error, RECORDED_REFUSALS) or (isinstance(error, NotFound) and error.hidden)


def to_status(error: DomainError, locale: Locale) -> status_pb2.Status:
    """Build the google.rpc.Status for a refusal, worded in the caller's language."""
    code = STATUS[type(error)]
    message = describe_reason(error.reason, error.metadata, locale)
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=dict(error.metadata)),
        error_details_pb2.LocalizedMessage(locale=locale, message=message),
    ]
    if error.violations:
        details.append(
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(
                        field=violation.field,
                        description=describe_problem(violation.problem, locale),
                        reason=violation.problem.upper(),
                    )
                    for violation in error.violations
                ]
            )
        )
    if (seconds := RETRYABLE_AFTER_SECONDS.get(type(error))) is not None:
        details.append(error_details_pb2.RetryInfo(retry_delay=Duration(seconds=seconds)))
    packed = []
    for detail in details:
        wrapper = AnyMessage()
        wrapper.Pack(detail)
        packed.append(wrapper)
    return status_pb2.Status(code=code.value[0], message=message, details=packed)


def from_rpc_error(error: grpc.aio.AioRpcError) -> DomainError:
    """Rebuild the domain error that another service answered with."""
    for key, value in cast("Metadata", error.trailing_metadata() or ()):
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            info = error_details_pb2.ErrorInfo()
            bad_request = error_details_pb2.BadRequest()
            violations: list[Violation] = []
            for detail in status_pb2.Status.FromString(value).details:
                detail.Unpack(info)
                if detail.Unpack(bad_request):
                    violations = [Violation(each.field, each.reason.lower()) for each in bad_request.field_violations]
            if info.reason:
                rebuilt = from_reason(info.reason, dict(info.metadata))
                if violations:
                    rebuilt.violations = violations
                return rebuilt
    if error.code() in RETRYABLE_CODES:
        return ServiceUnavailable()
    return Internal()
