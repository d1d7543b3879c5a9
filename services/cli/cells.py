"""How values are written for people: words, days, Beijing time, and what resources are called beside their names."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from dutyloop.kit.v1 import kit_pb2
from services.audit.words import tell_entry
from services.cli.fields import SCALAR_MESSAGES, enum_word
from services.cli.recurrences import describe_recurrence
from services.cli.words import LOCALE, label, say
from services.kit.catalogue import describe_action
from services.kit.dates import BEIJING, day_of

Names = Mapping[str, str]
"""What people call resources, by resource name."""
NOBODY: Names = {}
CALLED = re.compile(r"(?:units|posts|people|sites|regions)/[A-Za-z0-9._-]+")
"""Names of what directory keeps, which all have display names."""
OWN_NAME = "name"
"""Of what is shown itself, whose display name is a field of its own."""
TERM_ENDS = frozenset({"due_time", "appeal_due_time"})
"""Times that are the first instant after a term: one at midnight is the end of the day before."""
WITH_WEEKDAY = TERM_ENDS | {"due_date", "finish_date", "scheduled_date", "next_rung_time", "off_dates", "work_dates"}
WEEKDAYS: Sequence[tuple[str, str]] = tuple(
    zip(
        ("周一", "周二", "周三", "周四", "周五", "周六", "周日"),
        ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
        strict=True,
    )
)
LEDGER_TYPE = "dutyloop.audit.v1.LedgerEntry.type"


def is_nested(field: FieldDescriptor) -> bool:
    """Tell whether a field holds messages with fields of their own to be shown, and not a day, a time or a term."""
    return field.message_type is not None and field.message_type.full_name not in SCALAR_MESSAGES


def cell_of(message: Message, name: str, names: Names = NOBODY, *, ids: bool = True) -> str:
    """Write a field for a table; what a resource is called stands before its name, or instead of it without ids."""
    return ", ".join(values_of(message, name, names, ids=ids))


def values_of(message: Message, name: str, names: Names = NOBODY, *, ids: bool = True) -> list[str]:
    """Write each value of a field; an unset one has none."""
    field = cast("FieldDescriptor", message.DESCRIPTOR.fields_by_name[name])
    value = getattr(message, name)
    if field.is_repeated:
        return [_value_text(field, each, names, ids=ids) for each in value]
    if field.message_type is not None and not message.HasField(name):
        return []
    text = _value_text(field, value, names, ids=ids)
    return [say(f"{text}（暂定）", f"{text} (provisional)") if _is_provisional(message, name) else text]


def _is_provisional(message: Message, name: str) -> bool:
    """Tell whether a time is the one that a holiday notice may still move: once a ladder climbs, its next rung's."""
    if name not in ("due_time", "next_rung_time") or not getattr(message, "due_provisional", False):
        return False
    climbs = "next_rung_time" in message.DESCRIPTOR.fields_by_name and message.HasField("next_rung_time")
    return climbs == (name == "next_rung_time")


def yes_or_no(value: object) -> str:
    """Write a truth value for people."""
    return say("是", "yes") if value else say("否", "no")


def instant_text(instant: datetime) -> str:
    """Write a time as Beijing time."""
    return instant.astimezone(BEIJING).strftime("%Y-%m-%d %H:%M")


def term_end_text(instant: datetime) -> str:
    """Write the first instant after a term as its end, with the weekday: midnight is 24:00 of the day before."""
    local = instant.astimezone(BEIJING)
    if (local.hour, local.minute) == (0, 0):
        return f"{_with_weekday(local - timedelta(days=1))} 24:00"
    return f"{_with_weekday(local)} {local:%H:%M}"


def term_text(term: kit_pb2.Term) -> str:
    """Write a term: 15 working days."""
    unit = enum_word(kit_pb2.TermUnit.DESCRIPTOR, term.unit)
    counted = say("个", "") if term.unit not in (kit_pb2.TERM_UNIT_YEARS, kit_pb2.TERM_UNIT_MINUTES) else ""
    if LOCALE != "zh-CN" and term.amount == 1:
        unit = unit.removesuffix("s")
    return f"{term.amount} {counted}{unit}"


def names_in(message: Message, columns: frozenset[str] | None = None) -> Iterator[str]:
    """Yield the names of what directory keeps in a message, or in the columns of it that are shown."""
    for field, value in message.ListFields():
        if field.name == OWN_NAME or (columns is not None and field.name not in columns):
            continue
        values = value if field.is_repeated else [value]
        if field.type == FieldDescriptor.TYPE_STRING:
            yield from (each for each in values if CALLED.fullmatch(each))
        elif is_nested(field):
            for each in values:
                yield from names_in(each)


def _with_weekday(day: Any) -> str:
    return f"{day:%Y-%m-%d} {say(*WEEKDAYS[day.weekday()])}"


def _value_text(field: FieldDescriptor, value: Any, names: Names, *, ids: bool) -> str:
    if field.enum_type is not None:
        return enum_word(field.enum_type, value)
    if isinstance(value, bool):
        return yes_or_no(value)
    if field.message_type is not None:
        return _message_text(field, value, names, ids=ids)
    if isinstance(value, bytes):
        return value.hex()
    return _text(field, value, names, ids=ids) if isinstance(value, str) else _number(field, value)


def _message_text(field: FieldDescriptor, value: Any, names: Names, *, ids: bool) -> str:
    match cast("Any", field.message_type).full_name:
        case "google.type.Date":
            day = day_of(value)
            return _with_weekday(day) if field.name in WITH_WEEKDAY else day.isoformat()
        case "google.protobuf.Timestamp":
            instant = value.ToDatetime(tzinfo=BEIJING)
            if field.name in TERM_ENDS:
                return term_end_text(instant)
            return f"{_with_weekday(instant)} {instant:%H:%M}" if field.name in WITH_WEEKDAY else instant_text(instant)
        case "dutyloop.kit.v1.Term":
            return term_text(value)
    parts = ((inner.name, cell_of(value, inner.name, names, ids=ids)) for inner, _ in value.ListFields())
    return "; ".join(f"{label(name)}: {text}" for name, text in parts)


def _text(field: FieldDescriptor, value: str, names: Names, *, ids: bool) -> str:
    if field.name == "matter":  # of an overdue hazard's case it is the action that the hazard waits for
        return describe_action(value, LOCALE)
    if field.name == "recurrence":
        return _explained(describe_recurrence(value), value)
    if field.full_name == LEDGER_TYPE:
        told = tell_entry(value, [], {})
        return _explained(say(told.zh, told.en), value)
    if field.name == "actor" and value.startswith("services/"):
        return _explained(say("系统", "the system"), value)
    if value in names and field.name != OWN_NAME:
        return f"{names[value]} {value}" if ids else names[value]
    return value


def _explained(words: str, value: str) -> str:
    return f"{words} ({value})" if words and words != value else value


def _number(field: FieldDescriptor, value: float) -> str:
    if field.name == "funds_fen":
        return f"{value} ({value / 100:,.2f} {say('元', 'CNY')})"
    return str(value)
