"""Requests made from the descriptors: right in every field rule, or wrong in exactly one.

Whatever method or field is added to a proto is covered the day it appears.
"""

import functools
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from dutyloop.policy.v1 import policy_pb2
from services.kit.contexts import CONTEXTS
from services.kit.policy import (
    ANY_RESOURCE,
    DEFAULT_MAX_CHARACTERS,
    DEFAULT_MAX_ELEMENTS,
    MethodRule,
    _behaviours,
    _is_partial,
    _reference,
    _resource,
)

INTEGERS = (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64)
BAD_CHARACTERS = ("\0", "\u202e", "\u200b", "\ufeff")
INTEGER_BITS = {FieldDescriptor.TYPE_INT32: 31, FieldDescriptor.TYPE_INT64: 63}
CHOSEN: Mapping[str, Any] = {
    "dutyloop.hazard.v1.Hazard.disposition": 2,  # time-limited: on the spot would need a remedy
    "dutyloop.directory.v1.HolidayNotice.name": "holidayNotices/2027",
    "dutyloop.audit.v1.GetCaseTimelineRequest.workflow_id": "rectification/absent",
}
"""Values for fields where the plain example would meet a rule of the domain before the rule under test."""
UNIQUE = ("request_id", "instrument_number", "code")
Names = Mapping[str, str]
"""Resource type (for example "dutyloop/Unit") to the name that a request shall carry."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One wrong value: the field at fault as the answer must name it, the problem, and the request."""

    field: str
    problem: str
    request: Message


def collections() -> dict[str, str]:
    """Map every resource type to its collection, for example "dutyloop/Unit" to "units"."""
    found = {}
    for context in CONTEXTS.values():
        for message in context.file.message_types_by_name.values():
            resource = _resource(message)
            if resource.type:
                found[resource.type] = resource.pattern[0].partition("/")[0]
    return found


COLLECTIONS = collections()


def resource_type(message: Descriptor) -> str:
    """Return the type of the resource that a message describes, or the empty string."""
    return str(_resource(message).type)


def well_formed(rule: MethodRule, names: Names | None = None) -> Any:
    """Return a request that breaks no field rule; names not given are of resources that do not exist."""
    return _filled(rule.request, names or {})


def stream_of(rule: MethodRule, names: Names | None = None) -> Any:
    """Return the one message of a dry-run import without rows; what it is to be imported into is always named."""
    request = well_formed(rule, names)
    for field in _sent(rule.request):
        if field.type == FieldDescriptor.TYPE_STRING and _named(field):
            _set(request, field, _value(field, names or {}))
    request.header.CopyFrom(_filled(request.header.DESCRIPTOR, {}))
    request.header.dry_run = True
    return request


def _filled(descriptor: Descriptor, names: Names, *, partial: bool = False) -> Any:
    message = GetMessageClass(descriptor)()
    for field in _sent(descriptor):
        if _is_required(field, partial=partial) or field.full_name in CHOSEN:
            _set(message, field, _value(field, names))
    return message


def _sent(descriptor: Descriptor) -> Iterator[FieldDescriptor]:
    return (field for field in descriptor.fields if field_behavior_pb2.OUTPUT_ONLY not in _behaviours(field))


def _is_required(field: FieldDescriptor, *, partial: bool) -> bool:
    needed = field_behavior_pb2.IDENTIFIER if partial else field_behavior_pb2.REQUIRED
    return needed in _behaviours(field)


def _set(message: Message, field: FieldDescriptor, value: Any) -> None:
    if field.is_repeated:
        getattr(message, field.name).extend([value])
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        getattr(message, field.name).CopyFrom(value)
    else:
        setattr(message, field.name, value)


def _named(field: FieldDescriptor) -> str:
    """Return the resource type that a field names, or the empty string."""
    owner = _resource(cast("Descriptor", field.containing_type)).type
    return _reference(field) or (owner if field.name == "name" else "")


def _value(field: FieldDescriptor, names: Names) -> Any:
    """Return a right value for a field (for a repeated one: an element)."""
    if (chosen := CHOSEN.get(field.full_name)) is not None:
        return GetMessageClass(cast("Descriptor", field.message_type))(**chosen) if isinstance(chosen, dict) else chosen
    if field.type == FieldDescriptor.TYPE_STRING:
        if resource := _named(field):
            resource = "dutyloop/Site" if resource == ANY_RESOURCE else resource
            return names.get(resource) or f"{COLLECTIONS[resource]}/absent"
        return uuid.uuid4().hex if field.name in UNIQUE else "x"
    if field.type == FieldDescriptor.TYPE_ENUM:
        return next(number for number in cast("EnumDescriptor", field.enum_type).values_by_number if number)
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        kind = cast("Descriptor", field.message_type)
        if kind.full_name == "google.type.Date":
            return GetMessageClass(kind)(year=2026, month=1, day=1)
        if kind.full_name == "google.protobuf.Timestamp":
            return GetMessageClass(kind)(seconds=1_767_225_600)
        partial = _is_partial(cast("Descriptor", field.containing_type)) and bool(_resource(kind).type)
        return _filled(kind, names, partial=partial)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return bytes(32)
    return field.type == FieldDescriptor.TYPE_BOOL or 1


Alter = Callable[[Callable[[Any], None]], Message]
"""Copies the whole request and lets a function change one message within it."""


def mistakes(rule: MethodRule) -> Iterator[Mistake]:
    """Yield the request with each field in turn wrong in each way that its rules know."""
    base = well_formed(rule)

    def alter(change: Callable[[Any], None]) -> Message:
        copy = type(base)()
        copy.CopyFrom(base)
        change(copy)
        return cast("Message", copy)

    return _mistakes(rule.request, "", alter, partial=False)


def row_mistakes(rule: MethodRule, names: Names) -> Iterator[Mistake]:
    """Yield dry runs of an import with one row, each with a mistake in a field of the row."""
    base = stream_of(rule, names)
    rows = rule.request.fields_by_name["rows"]

    def alter(change: Callable[[Any], None]) -> Message:
        copy = type(base)()
        copy.CopyFrom(base)
        row = _value(rows, {})
        change(row)
        copy.rows.extend([row])
        return cast("Message", copy)

    return _mistakes(cast("Descriptor", rows.message_type), "", alter, partial=False)


def _mistakes(descriptor: Descriptor, path: str, alter: Alter, *, partial: bool) -> Iterator[Mistake]:
    for field in _sent(descriptor):
        at = path + field.name
        if _is_required(field, partial=partial):
            yield Mistake(at, "required", alter(functools.partial(_clear, field)))
        if field.is_repeated:
            count = (_policy(field).max_length or DEFAULT_MAX_ELEMENTS) + 1
            yield Mistake(at, "too_many", alter(functools.partial(_repeat, field, count)))
        element = f"{at}[0]" if field.is_repeated else at
        for problem, wrong in _wrong_values(field):
            yield Mistake(element, problem, alter(functools.partial(_replace, field, wrong)))
        if field.type == FieldDescriptor.TYPE_MESSAGE and not _is_google(field):
            yield from _nested_mistakes(field, f"{element}.", alter)


def _nested_mistakes(field: FieldDescriptor, path: str, alter: Alter) -> Iterator[Mistake]:
    kind = cast("Descriptor", field.message_type)

    def alter_nested(change: Callable[[Any], None]) -> Message:
        value = _value(field, {})
        change(value)
        return alter(functools.partial(_replace, field, value))

    partial = _is_partial(cast("Descriptor", field.containing_type)) and bool(_resource(kind).type)
    yield from _mistakes(kind, path, alter_nested, partial=partial and not field.is_repeated)


def _clear(field: FieldDescriptor, message: Any) -> None:
    message.ClearField(field.name)


def _repeat(field: FieldDescriptor, count: int, message: Any) -> None:
    getattr(message, field.name).extend([_value(field, {})] * count)


def _replace(field: FieldDescriptor, value: Any, message: Any) -> None:
    message.ClearField(field.name)
    _set(message, field, value)


def _is_google(field: FieldDescriptor) -> bool:
    return cast("Descriptor", field.message_type).full_name.startswith("google.")


def _policy(field: FieldDescriptor) -> policy_pb2.FieldPolicy:
    return field.GetOptions().Extensions[policy_pb2.field]


def _wrong_values(field: FieldDescriptor) -> Iterator[tuple[str, Any]]:
    """Yield what a field's rules refuse, each with the problem to be named."""
    if field.type == FieldDescriptor.TYPE_STRING and _named(field):
        collection = COLLECTIONS.get(_named(field), "sites")
        yield "too_long", f"{collection}/" + "a" * 200
        for wrong in (
            "nonsense",
            f"{collection}/",
            f"{collection}/a\0",
            f"{collection}/a/b",
            f"{collection}/..",
            "x/1",
        ):
            yield "malformed", wrong
    elif field.type == FieldDescriptor.TYPE_STRING:
        limit = _policy(field).max_length or DEFAULT_MAX_CHARACTERS
        yield "too_long", "长" * ((DEFAULT_MAX_CHARACTERS if field.is_repeated else limit) + 1)
        for character in BAD_CHARACTERS:
            yield "bad_character", character
        if not _policy(field).multiline:
            yield "bad_character", "\n"
        if _policy(field).exact:
            for twin in ("1 ", "\u30001", "1\u3164", "e\u0301"):
                yield "not_exact", twin
    elif field.type == FieldDescriptor.TYPE_BYTES:
        yield "too_long", bytes((_policy(field).max_length or DEFAULT_MAX_CHARACTERS) + 1)
    elif field.type == FieldDescriptor.TYPE_ENUM:
        yield "unknown_value", 99
        yield "unknown_value", -1
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        kind = cast("Descriptor", field.message_type)
        if kind.full_name == "google.type.Date":
            for year, month, day in ((2026, 2, 30), (0, 1, 1), (9999, 1, 1), (2026, 13, 1)):
                yield "out_of_range", GetMessageClass(kind)(year=year, month=month, day=day)
        elif kind.full_name == "google.protobuf.Timestamp":
            for seconds, nanos in ((2**63 - 1, 0), (-(2**63), 0), (0, -1)):
                yield "out_of_range", GetMessageClass(kind)(seconds=seconds, nanos=nanos)


@dataclass(frozen=True, slots=True)
class Reference:
    """A field of a request that names a resource: its dotted path, and the resource's type ("*" for any)."""

    path: str
    type: str


def references(rule: MethodRule) -> list[Reference]:
    """Return every field by which a request names something that exists."""
    return list(_references(rule, rule.request, ""))


def _references(rule: MethodRule, descriptor: Descriptor, path: str) -> Iterator[Reference]:
    for field in _sent(descriptor):
        at = path + field.name
        if field.type == FieldDescriptor.TYPE_MESSAGE and not _is_google(field):
            yield from _references(rule, cast("Descriptor", field.message_type), f"{at}.")
        # The name of what is created names nothing yet.
        elif field.type == FieldDescriptor.TYPE_STRING and (_reference(field) or at == rule.scope_field):
            yield Reference(at, _named(field))


def named_by(message: Any, path: str) -> list[str]:
    """Return the names that a message holds at a path; those of every element of what is repeated."""
    return [value for owner, field in _owners(message, path.split(".")) for value in _values(owner, field)]


def renamed(request: Any, old: str, new: str, paths: Iterable[str]) -> Any:
    """Return a copy that names another thing, at every one of the paths where it named the old one."""
    copy = type(request)()
    copy.CopyFrom(request)
    for path in paths:
        for owner, field in _owners(copy, path.split(".")):
            values = [new if value == old else value for value in _values(owner, field)]
            owner.ClearField(field.name)
            for value in values:
                _set(owner, field, value)
    return copy


def _owners(message: Any, steps: list[str]) -> Iterator[tuple[Any, FieldDescriptor]]:
    field = message.DESCRIPTOR.fields_by_name[steps[0]]
    if len(steps) == 1:
        yield message, field
    elif field.is_repeated:
        for element in getattr(message, field.name):
            yield from _owners(element, steps[1:])
    elif message.HasField(field.name):
        yield from _owners(getattr(message, field.name), steps[1:])


def _values(owner: Any, field: FieldDescriptor) -> list[str]:
    value = getattr(owner, field.name)
    return list(value) if field.is_repeated else [value] * bool(value)


def absent_like(name: str) -> str:
    """Return a name of the same kind that nothing has."""
    collection, slash, _ = name.partition("/")
    return f"{collection}/absent" if slash else "absent"


def extremes(rule: MethodRule) -> Iterator[Message]:
    """Yield the request with each integer in turn at its limits; they break no field rule, so handlers meet them."""
    for field in _sent(rule.request):
        for path, descriptor in ((None, rule.request), (field, field.message_type)):
            if descriptor is None or (path is not None and (field.is_repeated or _is_google(field))):
                continue
            for integer in _sent(descriptor) if path is not None else (field,):
                if integer.type not in INTEGERS or integer.is_repeated:
                    continue
                bits = INTEGER_BITS[integer.type]
                for value in (2**bits - 1, -(2**bits), 0):
                    request = well_formed(rule)
                    owner = request if path is None else getattr(request, field.name)
                    if path is not None and not request.HasField(field.name):
                        owner.CopyFrom(_value(field, {}))
                    setattr(owner, integer.name, value)
                    yield request
