"""Every error has a status and words; what travels can be rebuilt and gives nothing away."""

import inspect
import string

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from dutyloop.errors.v1 import errors_pb2
from services.kit import errors
from services.kit.catalogue import LOCALES, PROBLEMS, REASONS, Locale, describe_problem, describe_reason
from services.kit.errors import (
    RETRYABLE_AFTER_SECONDS,
    RETRYABLE_CODES,
    STATUS,
    DomainError,
    Internal,
    InvalidFields,
    NotFound,
    SeparationOfDuties,
    Violation,
    from_reason,
    from_rpc_error,
    invalid,
    is_recorded,
    to_status,
)

CLASSES = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, DomainError) and cls is not DomainError
]
PROTO_REASONS = [
    name.removeprefix("ERROR_REASON_") for name, _ in errors_pb2.ErrorReason.items() if "UNSPECIFIED" not in name
]


def example(cls: type[DomainError]) -> DomainError:
    """Return an error of the class."""
    if cls is InvalidFields:
        return InvalidFields(Violation("hazard.site", "malformed"), Violation("request_id", "required"))
    if cls is NotFound:
        return NotFound("hazards/7")
    return cls(resource="hazards/7", state="CLOSED")


def travelled(status: status_pb2.Status) -> grpc.aio.AioRpcError:
    """Return the error that a client sees."""
    details = grpc.aio.Metadata(("grpc-status-details-bin", status.SerializeToString()))
    return grpc.aio.AioRpcError(grpc.StatusCode.UNKNOWN, grpc.aio.Metadata(), details, None, None)


def details_of(error: DomainError, locale: Locale) -> dict[str, object]:
    """Return the details of a status by their type."""
    found: dict[str, object] = {}
    for packed in to_status(error, locale).details:
        cls = getattr(error_details_pb2, packed.TypeName().rpartition(".")[2])
        detail = cls()
        assert packed.Unpack(detail)
        found[cls.__name__] = detail
    return found


def test_every_error_has_a_status_and_every_status_an_error() -> None:
    """A new refusal would be answered with an internal error."""
    assert set(CLASSES) == set(STATUS)


def test_proto_catalogue_and_classes_name_the_same_reasons() -> None:
    """A client that switches on reasons would meet one that the contract does not name, or in no language."""
    assert set(PROTO_REASONS) == set(REASONS) == {cls.reason for cls in CLASSES}
    assert len({cls.reason for cls in CLASSES}) == len(CLASSES)


@pytest.mark.parametrize("texts", [*REASONS.values(), *PROBLEMS.values()])
def test_every_text_is_there_in_both_languages(texts: tuple[str, str]) -> None:
    """A Chinese inspector would read English, or an English reader nothing; a blank filled in one language only."""
    chinese, english = texts
    assert any("一" <= letter <= "鿿" for letter in chinese), chinese
    assert english.isascii() and english.strip()
    blanks = [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in texts]
    assert blanks[0] == blanks[1]


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_an_error_survives_the_way_to_a_client_and_back(cls: type[DomainError], locale: Locale) -> None:
    """A service would answer another service's refusal as an internal error, or lose what it was about."""
    error = example(cls)
    rebuilt = from_rpc_error(travelled(to_status(error, locale)))
    assert type(rebuilt) is cls
    assert dict(rebuilt.metadata) == dict(error.metadata)
    assert list(rebuilt.violations) == list(error.violations)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_a_status_says_reason_words_and_when_to_retry(cls: type[DomainError]) -> None:
    """A client could not tell whether to correct, to retry, or when."""
    error = example(cls)
    for locale in LOCALES:
        details = details_of(error, locale)
        info = details["ErrorInfo"]
        words = details["LocalizedMessage"]
        assert isinstance(info, error_details_pb2.ErrorInfo) and isinstance(words, error_details_pb2.LocalizedMessage)
        assert ("dutyloop", cls.reason) == (info.domain, info.reason)
        assert (locale, describe_reason(cls.reason, error.metadata, locale)) == (words.locale, words.message)
        assert "{" not in words.message
    assert ("RetryInfo" in details) == (cls in RETRYABLE_AFTER_SECONDS)
    assert STATUS[cls].value[0] == to_status(error, "en").code
    assert ("BadRequest" in details) == bool(error.violations)


def test_a_violation_names_its_field_in_the_caller_s_language() -> None:
    """A form could not mark the field at fault."""
    detail = details_of(invalid("hazard.site", "required"), "zh-CN")["BadRequest"]
    assert isinstance(detail, error_details_pb2.BadRequest)
    (violation,) = detail.field_violations
    assert (violation.field, violation.reason) == ("hazard.site", "REQUIRED")
    assert describe_problem("required", "zh-CN") == violation.description


def test_a_missing_blank_is_shown_as_a_dash() -> None:
    """A refusal without its metadata would be answered with an internal error."""
    assert describe_reason("WRONG_STATE", {}, "en") == "The present state (-) does not allow this action (-)"


@pytest.mark.parametrize("text", ["{0}", "{state.__class__}", "{}", "%s"])
def test_metadata_is_never_a_format(text: str) -> None:
    """A resource name with braces would break the answer or reach into our objects."""
    assert text in describe_reason("NOT_FOUND", {"resource": text}, "en")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "SERVICE_UNAVAILABLE"),
        (grpc.StatusCode.UNIMPLEMENTED, "INTERNAL"),
        (grpc.StatusCode.PERMISSION_DENIED, "INTERNAL"),
    ],
)
def test_a_status_without_details_is_trouble_of_ours(code: grpc.StatusCode, reason: str) -> None:
    """A person would be refused for what another service's transport answered to us."""
    assert (
        reason
        == from_rpc_error(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), None, None)).reason
    )


def test_a_reason_of_the_future_is_an_internal_error() -> None:
    """During a rolling upgrade a new service's refusal would raise in the old one."""
    assert isinstance(from_reason("NOT_INVENTED_YET", {"a": "b"}), Internal)


def test_what_is_retried_is_never_a_decision() -> None:
    """A worker would ask for ever what was refused for good, or give up what a restart would have mended."""
    decided = {cls.__name__ for cls, code in STATUS.items() if code not in RETRYABLE_CODES}
    assert {"RoleMissing", "NotFound", "WrongState", "SeparationOfDuties", "InvalidFields", "RuleNotMet"} <= decided
    assert {STATUS[cls] for cls in RETRYABLE_AFTER_SECONDS} <= RETRYABLE_CODES


def test_refusals_of_people_are_recorded_and_typing_errors_are_not() -> None:
    """An auditor would not see who tried to verify his own work, or would drown in misspelt names."""
    assert is_recorded(SeparationOfDuties(person="people/1", first="rectify", second="reinspect"))
    assert is_recorded(NotFound("hazards/7", hidden=True))
    assert not is_recorded(NotFound("hazards/7"))
    assert not is_recorded(invalid("name"))
