"""Options of the command line that are fields of a request: derived from its descriptor, never written twice."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, cast

import typer
from google.api import field_behavior_pb2, resource_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from dutyloop.kit.v1 import kit_pb2
from services.cli.bodies import ValueProblem, json_of, put_json
from services.cli.words import LOCALE, label, say
from services.kit.catalogue import LOCALES, describe_value
from services.kit.contexts import CONTEXTS
from services.kit.dates import BEIJING, set_day
from services.kit.policy import ANY_RESOURCE

OWN = frozenset({"request_id", "page_size", "page_token", "update_mask", "business_time"})
"""Fields that the command line fills itself, and the worker's clock, which people never send."""
CAPITAL = re.compile(r"[A-Z]")
TERM = re.compile(r"(\d{1,5})(d|wd|h|wh|min|m|y)")
TERM_UNITS = {
    "d": kit_pb2.TERM_UNIT_NATURAL_DAYS,
    "wd": kit_pb2.TERM_UNIT_WORKING_DAYS,
    "h": kit_pb2.TERM_UNIT_HOURS,
    "wh": kit_pb2.TERM_UNIT_WORKING_HOURS,
    "m": kit_pb2.TERM_UNIT_MONTHS,
    "y": kit_pb2.TERM_UNIT_YEARS,
    "min": kit_pb2.TERM_UNIT_MINUTES,
}
NUMBERS = (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64)
SCALAR_MESSAGES = ("google.type.Date", "google.protobuf.Timestamp", "dutyloop.kit.v1.Term")


MAX_DAYS_IN_A_ROW = 31
DAY = "YYYY-MM-DD"
TARGETS = frozenset({"target", "targets", "addressees"})
INSPECTED = ("units", "sites")
"""What a tour visits, among all that a field of any kind could name."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One field that an option fills: a field of the request, or of the one resource that the request carries."""

    field: FieldDescriptor
    inside: str
    required: bool

    @property
    def name(self) -> str:
        """Return the field's own name."""
        return self.field.name

    @property
    def option(self) -> str:
        """Return the option's name."""
        return "--" + self.name.replace("_", "-")

    def put(self, request: Message, texts: Sequence[str] | str | bool | int, *, by_place: bool = False) -> None:
        """Set the field from what the command line gave. Raises typer.BadParameter naming the field as it was given."""
        target = getattr(request, self.inside) if self.inside else request
        called = label(self.name) if by_place else self.option
        try:
            if self.field.is_repeated:
                for text in cast("Sequence[str]", texts):
                    for part in _parts(self.field, text):
                        put_value(target, self.field, part)
            elif isinstance(texts, (bool, int)):
                setattr(target, self.name, texts)
            else:
                put_value(target, self.field, cast("str", texts))
        except ValueProblem as error:
            raise typer.BadParameter(f"{called}: {error}") from error
        except ValueError as error:  # out of the field's range
            raise typer.BadParameter(f"{called}: {say('超出范围', 'out of range')}") from error


def leaves(request: Descriptor) -> Iterator[Leaf]:
    """Yield the fields that people fill, those of a carried resource in place of the resource."""
    partial = "update_mask" in request.fields_by_name
    for field in request.fields:
        if field.name in OWN:
            continue
        if _is_carried(field):
            for inner in cast("Descriptor", field.message_type).fields:
                behaviours = _behaviours(inner)
                if field_behavior_pb2.OUTPUT_ONLY in behaviours or inner.name in OWN:
                    continue
                if field_behavior_pb2.IDENTIFIER in behaviours:
                    if partial or _is_required(inner):  # the server names everything else that is created
                        yield Leaf(inner, field.name, required=True)
                elif not partial or field_behavior_pb2.IMMUTABLE not in behaviours:
                    yield Leaf(inner, field.name, required=not partial and _is_required(inner))
        else:
            yield Leaf(field, "", required=_is_required(field))


def _is_carried(field: FieldDescriptor) -> bool:
    kind = field.message_type
    return (
        kind is not None
        and not field.is_repeated
        and kind.full_name.startswith("dutyloop.")
        and kind.full_name not in SCALAR_MESSAGES
    )


def _behaviours(field: FieldDescriptor) -> Sequence[int]:
    extensions: Any = field.GetOptions().Extensions
    found: Sequence[int] = extensions[field_behavior_pb2.field_behavior]
    return found


def _is_required(field: FieldDescriptor) -> bool:
    return field_behavior_pb2.REQUIRED in _behaviours(field)


@cache
def collections() -> Mapping[str, str]:
    """Map each resource type to the collection in its names."""
    return {resource.type: resource.pattern[0].partition("/")[0] for resource in _resources()}


@cache
def kinds() -> Mapping[str, str]:
    """Map each collection to what people call one of its resources."""
    return {
        resource.pattern[0].partition("/")[0]: label(
            CAPITAL.sub(lambda found: "_" + found[0].lower(), resource.singular)
        )
        for resource in _resources()
    }


def _resources() -> Iterator[resource_pb2.ResourceDescriptor]:
    for context in CONTEXTS.values():
        for message in context.file.message_types_by_name.values():
            extensions: Any = message.GetOptions().Extensions
            resource = extensions[resource_pb2.resource]
            if resource.type:
                yield resource


def reference_of(field: FieldDescriptor) -> str:
    """Return the resource type that a reference or identifier names; empty for other fields."""
    extensions: Any = field.GetOptions().Extensions
    kind = extensions[resource_pb2.resource_reference].type
    if not kind and field_behavior_pb2.IDENTIFIER in _behaviours(field):
        owner: Any = cast("Descriptor", field.containing_type).GetOptions().Extensions
        kind = owner[resource_pb2.resource].type
    return str(kind)


def collections_of(field: FieldDescriptor) -> tuple[str, ...]:
    """Return the collections that a reference or identifier may point into; none for other fields."""
    kind = reference_of(field)
    if kind == ANY_RESOURCE:
        return INSPECTED if field.name in TARGETS else tuple(kinds())
    return (collections()[kind],) if kind else ()


def _resource_name(wanted: tuple[str, ...], text: str) -> str:
    """Complete a bare id where one kind is wanted; say which that is when a name of another is given."""
    if not text:
        return text
    if "/" not in text and len(wanted) == 1:
        return f"{wanted[0]}/{text}"
    given, _, identifier = text.partition("/")
    if given in wanted and identifier and "/" not in identifier:
        return text
    known = wanted if len(wanted) <= len(INSPECTED) else ()
    expected = say("或 ", "or ").join(
        say(f"{each}/…（{kinds()[each]}）", f"{each}/… ({kinds()[each]}) ") for each in known
    )
    example = say("资源名，如 hazards/…（隐患）", "a resource name such as hazards/… (hazard)")
    called = say(f"（{kinds()[given]}）", f" ({kinds()[given]})") if given in kinds() else ""
    expected = expected.strip() or example
    raise ValueProblem(say(f"应为 {expected}，实为 {text}{called}", f"must be {expected}, not {text}{called}"))


@cache
def enum_words(enum: EnumDescriptor) -> Mapping[str, int]:
    """Return the short words of an enum: ``HAZARD_GRADE_MAJOR`` is ``major``."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return {
        value.name.removeprefix(prefix).lower().replace("_", "-"): value.number for value in enum.values if value.number
    }


def enum_word(enum: EnumDescriptor, number: int) -> str:
    """Return what people read for a value, or the empty string for the unspecified one."""
    value = enum.values_by_number.get(number)
    return describe_value(value.name, LOCALE) if value is not None and number else ""


def choices_of(enum: EnumDescriptor) -> str:
    """Name what may be typed for an enum; a Chinese reader is told what each word means."""
    words = enum_words(enum)
    return say("、".join(f"{word}（{enum_word(enum, words[word])}）" for word in words), ", ".join(words))


def metavar_of(field: FieldDescriptor) -> str:
    """Return what a value looks like, for the help."""
    if field.enum_type is not None:
        return "|".join(enum_words(field.enum_type))
    if field.message_type is not None:
        shapes = dict(zip(SCALAR_MESSAGES, (DAY, say("时刻", "TIME"), "15wd|30d|6m"), strict=True))
        keys = ",".join(f"{inner.name}=…" for inner in field.message_type.fields)
        shape = shapes.get(field.message_type.full_name, keys)
        return f"{shape}[..{shape}]" if field.is_repeated and shape == DAY else shape
    if field.type == FieldDescriptor.TYPE_BYTES:
        return say("十六进制|@文件", "HEX|@FILE")
    wanted = collections_of(field)
    named = 0 < len(wanted) <= len(INSPECTED)
    return "|".join(f"{each}/…" for each in wanted) if named else say("文本", "TEXT")


def _parts(field: FieldDescriptor, text: str) -> Sequence[str]:
    """Names, words and days may also stand in one option, joined by commas; texts and objects may not.

    Of days, the first and the last of several in a row are enough. Raises ValueProblem.
    """
    kind = field.message_type
    splits = field.enum_type is not None or collections_of(field) or (kind and kind.full_name in SCALAR_MESSAGES)
    parts = [part.strip() for part in text.split(",")] if splits else [text]
    if kind is not None and kind.full_name == "google.type.Date":
        return [day for part in parts for day in _days(part)]
    return parts


def _days(text: str) -> Iterator[str]:
    first, dots, last = text.partition("..")
    if not dots:
        yield text
        return
    start, end = day_of(first), day_of(last)
    if not 0 <= (end - start).days <= MAX_DAYS_IN_A_ROW:
        raise ValueProblem(say(f"{text}：起止日期有误", f"{text}: these are not the ends of a few days in a row"))
    for number in range((end - start).days + 1):
        yield (start + timedelta(days=number)).isoformat()


def put_value(message: Message, field: FieldDescriptor, text: str) -> None:
    """Set or append one value from text. Raises ValueProblem."""
    if field.message_type is not None:
        holder = getattr(message, field.name)
        value = holder.add() if field.is_repeated else holder
        value.SetInParent()
        _fill(value, text)
        return
    value = _scalar(field, text)
    if field.is_repeated:
        getattr(message, field.name).append(value)
    else:
        setattr(message, field.name, value)


def _scalar(field: FieldDescriptor, text: str) -> Any:
    if field.enum_type is not None:
        words = enum_words(field.enum_type)
        numbers = field.enum_type.values_by_number
        shown = {describe_value(numbers[each].name, locale): each for each in words.values() for locale in LOCALES}
        number = words.get(text.lower().replace("_", "-"), shown.get(text))
        if number is None:
            known = choices_of(field.enum_type)
            raise ValueProblem(say(f"应为 {known} 之一", f"must be one of {known}"))
        return number
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        if text.lower() not in ("true", "false"):
            raise ValueProblem(say("应为 true 或 false", "must be true or false"))
        return text.lower() == "true"
    if field.cpp_type in NUMBERS:
        try:
            return int(text)
        except ValueError as error:
            raise ValueProblem(say("应为整数", "must be a whole number")) from error
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _bytes(text)
    wanted = collections_of(field)
    return _resource_name(wanted, text) if wanted else text


def _bytes(text: str) -> bytes:
    """Take a hash in hexadecimal, or take the SHA-256 of the file named after ``@``."""
    try:
        if text.startswith("@"):
            return hashlib.sha256(Path(text[1:]).read_bytes()).digest()
        return bytes.fromhex(text)
    except (OSError, ValueError) as error:
        raise ValueProblem(say("应为十六进制，或 @文件名", "must be hexadecimal, or @FILE")) from error


def _fill(value: Message, text: str) -> None:
    match value.DESCRIPTOR.full_name:
        case "google.type.Date":
            set_day(cast("Any", value), day_of(text))
        case "google.protobuf.Timestamp":
            cast("Any", value).FromDatetime(instant_of(text))
        case "dutyloop.kit.v1.Term":
            _fill_term(cast("kit_pb2.Term", value), text)
        case _:
            _fill_object(value, text)


def day_of(text: str) -> date:
    """Read a day: 2024-05-01, 2024/5/1 or 20240501. Raises ValueProblem."""
    found = re.fullmatch(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})|(\d{4})(\d{2})(\d{2})", text)
    try:
        if found is None:
            raise ValueError(text)
        year, month, day = (int(part) for part in found.groups() if part is not None)
        return date(year, month, day)
    except ValueError as error:
        raise ValueProblem(say("应为日期，如 2024-05-01", "must be a day such as 2024-05-01")) from error


def instant_of(text: str) -> datetime:
    """Read an instant; one without an offset is Beijing time. Raises ValueProblem."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        example = "2024-05-01T08:00+08:00"
        raise ValueProblem(say(f"应为时刻，如 {example}", f"must be an instant such as {example}")) from error
    return instant if instant.tzinfo else instant.replace(tzinfo=BEIJING)


def _fill_term(value: kit_pb2.Term, text: str) -> None:
    found = TERM.fullmatch(text.lower())
    if found is None:
        raise ValueProblem(
            say(
                "应为期限：15wd（工作日）、30d、6m、1y、24h、8wh（工作小时）、30min",
                "must be a term: 15wd (working days), 30d, 6m, 1y, 24h, 8wh (working hours), 30min",
            )
        )
    value.amount, value.unit = int(found[1]), TERM_UNITS[found[2]]


def _fill_object(value: Message, text: str) -> None:
    """Read ``key=value,key=value`` (a key that stands twice makes a list), or JSON."""
    if text.startswith("{"):
        put_json(json_of(text), value)
        return
    fields = value.DESCRIPTOR.fields_by_name
    for part in text.split(","):
        key, equals, given = part.partition("=")
        if not equals or key.strip() not in fields:
            shape = ",".join(f"{name}=…" for name in fields)
            raise ValueProblem(say(f"应为 {shape} 或 JSON", f"must be {shape} or JSON"))
        put_value(value, cast("FieldDescriptor", fields[key.strip()]), given.strip())


def message_class(descriptor: Descriptor) -> type[Message]:
    """Return the generated class of a descriptor."""
    found: type[Message] = GetMessageClass(descriptor)
    return found
