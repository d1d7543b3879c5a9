"""Method policies and field rules, read from the descriptors: default deny, nothing unannotated."""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from google.api import field_behavior_pb2, resource_pb2
from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    MethodDescriptor,
    ServiceDescriptor,
)
from google.protobuf.message import Message

from dutyloop.policy.v1 import policy_pb2
from services.kit.contexts import CONTEXTS
from services.kit.errors import InvalidFields, Violation
from services.kit.names import ID

DEFAULT_MAX_CHARACTERS = 1_000
DEFAULT_MAX_ELEMENTS = 1_000
MAX_NAME_CHARACTERS = 200
BLANKS = " \u3000\u115f\u1160\u2800\u3164\uffa0" + "".join(map(chr, range(0xFE00, 0xFE10)))
"""Spaces, fillers and variation selectors: a text of nothing else says nothing."""
ANY_RESOURCE = "*"
TIMESTAMP_RANGE_SECONDS = (-2_208_988_800, 253_370_764_800)
"""1900-01-01 to 9999-01-01: what PostgreSQL, Python and every calendar here can hold."""
YEAR_RANGE = (1900, 9998)
FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u0080-\u009f\u00ad\u061c\u180e"
    "\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""Control, zero-width and bidirectional characters: they hide text from the people who must read it."""
FORBIDDEN_IN_A_LINE = re.compile(f"{FORBIDDEN.pattern}|[\t\n\r\u2028\u2029]")

Check = Callable[[Message, str, list[Violation]], None]


class PolicyError(Exception):
    """A method or field is annotated wrongly; the process must not start."""


@dataclass(frozen=True, slots=True)
class MethodRule:
    """What the descriptor says of one method."""

    path: str
    name: str
    kind: int
    roles: frozenset[int]
    scope_field: str
    worker: bool
    request: Descriptor
    client_streaming: bool
    server_streaming: bool
    subject: bool = False

    @property
    def workers_alone(self) -> bool:
        """Tell what of internal methods is the worker's: all but reads. It may act in a person's name, at a time."""
        return self.worker and self.kind not in (policy_pb2.METHOD_KIND_READ, policy_pb2.METHOD_KIND_SERVICE)

    @property
    def changes_state(self) -> bool:
        """Tell commands, case actions and worker recordings from reads (the worker's pages among them)."""
        return _changes_state(self.kind, self.request)


def method_rules(service: ServiceDescriptor) -> Iterator[MethodRule]:
    """Yield the rule of every method. Raises PolicyError on one without a policy, or a command without roles."""
    for method in service.methods:
        yield _rule(service, method)


def _rule(service: ServiceDescriptor, method: MethodDescriptor) -> MethodRule:
    policy = method.GetOptions().Extensions[policy_pb2.method]
    path = f"/{service.full_name}/{method.name}"
    if policy.kind == policy_pb2.METHOD_KIND_UNSPECIFIED:
        raise PolicyError(f"{path} has no policy")
    internal = policy.kind in (policy_pb2.METHOD_KIND_WORKER, policy_pb2.METHOD_KIND_SERVICE)
    if internal == bool(policy.roles) and policy.kind != policy_pb2.METHOD_KIND_READ:
        raise PolicyError(f"{path}: people's methods name roles, internal ones none")
    changes = _changes_state(policy.kind, method.input_type)
    if changes and not method.client_streaming and "request_id" not in method.input_type.fields_by_name:
        raise PolicyError(f"{path}: a state change needs a request_id")
    if policy.scope_field and not _names_text(method.input_type, policy.scope_field):
        raise PolicyError(f"{path}: the request has no {policy.scope_field} to decide the scope by")
    return MethodRule(
        path=path,
        name=method.name,
        kind=policy.kind,
        roles=frozenset(policy.roles),
        scope_field=policy.scope_field,
        worker=policy.worker or internal,
        request=method.input_type,
        client_streaming=method.client_streaming,
        server_streaming=method.server_streaming,
        subject=policy.subject,
    )


def _names_text(request: Descriptor, path: str) -> bool:
    """Tell whether a dotted path leads to a text, such as a resource name."""
    name, _, rest = path.partition(".")
    field = request.fields_by_name.get(name)
    if field is None:
        return False
    if rest:
        return field.message_type is not None and _names_text(field.message_type, rest)
    return field.type == FieldDescriptor.TYPE_STRING


def _changes_state(kind: int, request: Descriptor) -> bool:
    if kind == policy_pb2.METHOD_KIND_WORKER:
        return "page_token" not in request.fields_by_name
    return kind not in (policy_pb2.METHOD_KIND_READ, policy_pb2.METHOD_KIND_SERVICE)


@cache
def resource_patterns() -> dict[str, re.Pattern[str]]:
    """Map each resource type to the pattern of its names, from every loaded dutyloop proto."""

    patterns: dict[str, re.Pattern[str]] = {}
    for context in CONTEXTS.values():
        for message in context.file.message_types_by_name.values():
            resource = _resource(message)
            if resource.type:
                expression = "|".join(re.sub(r"\{\w+\}", ID.pattern, pattern) for pattern in resource.pattern)
                patterns[resource.type] = re.compile(expression)
    return patterns


def validate(message: Message) -> None:
    """Check a request against its field rules. Raises InvalidFields listing every violation."""
    validator(cast("Descriptor", message.DESCRIPTOR))(message)


def validator(request: Descriptor) -> Callable[[Message], None]:
    """Return what ``validate`` does for requests of one type, its checks looked up once."""
    checks = _checks(request)

    def check_all(message: Message) -> None:
        violations: list[Violation] = []
        for check in checks:
            check(message, "", violations)
        if violations:
            raise InvalidFields(*violations)

    return check_all


def violations_of(message: Message) -> list[Violation]:
    """Return the violations of one message, for callers that report row by row."""
    found: list[Violation] = []
    for check in _checks(message.DESCRIPTOR):
        check(message, "", found)
    return found


def is_sensitive(field: FieldDescriptor) -> bool:
    """Tell whether the field must stay out of logs."""
    return bool(field.GetOptions().Extensions[policy_pb2.field].sensitive)


def redacted(message: Message) -> dict[str, Any]:
    """Return a message as data for a log, the values of sensitive fields left out."""
    shown: dict[str, Any] = {}
    for field, value in message.ListFields():
        if is_sensitive(field):
            shown[field.name] = "…"
        elif field.type != FieldDescriptor.TYPE_MESSAGE:
            shown[field.name] = list(value) if field.is_repeated else value
        elif field.is_repeated:
            shown[field.name] = [redacted(each) for each in value]
        else:
            shown[field.name] = redacted(value)
    return shown


def _resource(message: Descriptor) -> resource_pb2.ResourceDescriptor:
    extensions: Any = message.GetOptions().Extensions
    found: resource_pb2.ResourceDescriptor = extensions[resource_pb2.resource]
    return found


def _reference(field: FieldDescriptor) -> str:
    extensions: Any = field.GetOptions().Extensions
    return str(extensions[resource_pb2.resource_reference].type)


def _behaviours(field: FieldDescriptor) -> Sequence[int]:
    extensions: Any = field.GetOptions().Extensions
    found: Sequence[int] = extensions[field_behavior_pb2.field_behavior]
    return found


def _owner(field: FieldDescriptor) -> Descriptor:
    return cast("Descriptor", field.containing_type)


@cache
def _checks(descriptor: Descriptor, *, partial: bool = False) -> tuple[Check, ...]:
    """Compile a message's checks; ``partial`` is a resource of which only some fields are sent."""
    return tuple(check for field in descriptor.fields for check in _field_checks(field, partial=partial))


def _is_partial(request: Descriptor) -> bool:
    """Tell requests whose resource need not be complete: masked updates and recorded transitions."""
    return bool({"update_mask", "transition"} & set(request.fields_by_name))


def _field_checks(field: FieldDescriptor, *, partial: bool) -> Iterator[Check]:
    behaviours = _behaviours(field)
    if field_behavior_pb2.OUTPUT_ONLY in behaviours:
        return
    policy = field.GetOptions().Extensions[policy_pb2.field]
    identifies = field_behavior_pb2.IDENTIFIER in behaviours
    if identifies if partial else field_behavior_pb2.REQUIRED in behaviours:
        yield _required(field)
    if field.is_repeated:
        yield _max_elements(field, policy.max_length or DEFAULT_MAX_ELEMENTS)
    if field.type == FieldDescriptor.TYPE_STRING:
        reference = _reference(field)
        own = _resource(_owner(field)).type
        if field.name == "name" and own and not reference:
            reference = own
        if reference:
            yield _each(field, _name_problem(reference))
        else:
            limit = DEFAULT_MAX_CHARACTERS if field.is_repeated else policy.max_length or DEFAULT_MAX_CHARACTERS
            yield _each(field, _text_problem(policy, limit, empty=not field.is_repeated))
    elif field.type == FieldDescriptor.TYPE_BYTES:
        yield _each(field, _bytes_problem(policy.max_length or DEFAULT_MAX_CHARACTERS))
    elif field.type == FieldDescriptor.TYPE_ENUM:
        yield _each(field, _enum_problem(cast("EnumDescriptor", field.enum_type), unspecified=not field.is_repeated))
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        yield _nested(field)


def _required(field: FieldDescriptor) -> Check:
    name, presence = field.name, field.has_presence
    text = field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated

    def check(message: Message, path: str, violations: list[Violation]) -> None:
        value = getattr(message, name)
        missing = not message.HasField(name) if presence else not value or (text and not value.strip(BLANKS))
        if missing:
            violations.append(Violation(path + name, "required"))

    return check


def _max_elements(field: FieldDescriptor, limit: int) -> Check:
    name = field.name

    def check(message: Message, path: str, violations: list[Violation]) -> None:
        if len(getattr(message, name)) > limit:
            violations.append(Violation(path + name, "too_many"))

    return check


def _each(field: FieldDescriptor, problem_of: Callable[..., str | None]) -> Check:
    """Apply ``problem_of`` to the value, or to each element; an unset value is the required check's matter."""
    name = field.name
    if field.is_repeated:

        def check_all(message: Message, path: str, violations: list[Violation]) -> None:
            for index, value in enumerate(getattr(message, name)):
                if problem := problem_of(value):
                    violations.append(Violation(f"{path}{name}[{index}]", problem))

        return check_all

    def check(message: Message, path: str, violations: list[Violation]) -> None:
        value = getattr(message, name)
        if value and (problem := problem_of(value)):
            violations.append(Violation(path + name, problem))

    return check


def _nested(field: FieldDescriptor) -> Check:
    name, kind = field.name, cast("Descriptor", field.message_type)
    if kind.full_name == "google.protobuf.Timestamp":
        low, high = TIMESTAMP_RANGE_SECONDS

        def timestamp_problem(value: Message) -> str | None:
            inside = low <= value.seconds < high and 0 <= value.nanos < 1_000_000_000  # type: ignore[attr-defined]
            return None if inside else "out_of_range"

        return _each_message(field, timestamp_problem)
    if kind.full_name == "google.type.Date":
        return _each_message(field, _date_problem)
    if kind.full_name.startswith("google."):
        return lambda message, path, violations: None

    partial = _is_partial(_owner(field)) and bool(_resource(kind).type)

    def check(message: Message, path: str, violations: list[Violation]) -> None:
        if field.is_repeated:
            for index, value in enumerate(getattr(message, name)):
                for nested in _checks(kind):
                    nested(value, f"{path}{name}[{index}].", violations)
        elif message.HasField(name):
            for nested in _checks(kind, partial=partial):
                nested(getattr(message, name), f"{path}{name}.", violations)

    return check


def _each_message(field: FieldDescriptor, problem_of: Callable[[Message], str | None]) -> Check:
    name = field.name
    if field.is_repeated:
        return _each(field, problem_of)

    def check(message: Message, path: str, violations: list[Violation]) -> None:
        if message.HasField(name) and (problem := problem_of(getattr(message, name))):
            violations.append(Violation(path + name, problem))

    return check


def _date_problem(value: Message) -> str | None:
    year, month, day = value.year, value.month, value.day  # type: ignore[attr-defined]
    if not YEAR_RANGE[0] <= year <= YEAR_RANGE[1] or not 1 <= month <= 12 or day < 1:
        return "out_of_range"
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]
    return None if day <= days else "out_of_range"


def _name_problem(reference: str) -> Callable[[str], str | None]:
    patterns = resource_patterns()
    allowed = tuple(patterns.values()) if reference == ANY_RESOURCE else (patterns[reference],)

    def problem(value: str) -> str | None:
        if len(value) > MAX_NAME_CHARACTERS:
            return "too_long"
        for pattern in allowed:
            if pattern.fullmatch(value):
                return None
        return "malformed"

    return problem


def _text_problem(policy: policy_pb2.FieldPolicy, limit: int, *, empty: bool) -> Callable[[str], str | None]:
    found_forbidden = (FORBIDDEN if policy.multiline else FORBIDDEN_IN_A_LINE).search
    exact = policy.exact

    def problem(value: str) -> str | None:
        if not value and not empty:
            return "required"
        if len(value) > limit:
            return "too_long"
        if found_forbidden(value):
            return "bad_character"
        if exact and (value.strip(BLANKS) != value or not unicodedata.is_normalized("NFC", value)):
            return "not_exact"
        return None

    return problem


def _bytes_problem(limit: int) -> Callable[[bytes], str | None]:
    return lambda value: "too_long" if len(value) > limit else None


def _enum_problem(enum: EnumDescriptor, *, unspecified: bool) -> Callable[[int], str | None]:
    known = frozenset(enum.values_by_number) - (frozenset() if unspecified else {0})
    return lambda value: None if value in known else "unknown_value"
