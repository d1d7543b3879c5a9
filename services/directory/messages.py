"""Rows and dates to messages and back."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from google.type import date_pb2

from dutyloop.directory.v1 import directory_pb2
from dutyloop.kit.v1 import kit_pb2
from dutyloop.policy.v1 import policy_pb2
from services.directory.rules import PARENT_LENGTH, DeadlineQuestion
from services.directory.statutory import StatutoryClock
from services.kit.calendar import Deadline, RollRule, Term, Unit, describe
from services.kit.catalogue import Locale
from services.kit.dates import day_of, set_day, time_of
from services.kit.db import Row
from services.kit.errors import invalid
from services.kit.names import name_of
from services.kit.terms import TERM_UNIT
from services.kit.words_of import Words

UNIT_KIND = Words(directory_pb2.UnitKind)
REACH = Words(directory_pb2.PostReach)
COLOUR = Words(directory_pb2.RiskColour)
ROLE = Words(policy_pb2.Role)
_REGION_LEVEL: Mapping[int, Any] = {length: level for level, length in enumerate(PARENT_LENGTH, start=1)}


def region_message(row: Row) -> directory_pb2.Region:
    """Return the region of a row; its level follows from the length of its code."""
    return directory_pb2.Region(
        name=name_of("regions", row["code"]),
        parent=name_of("regions", row["parent_code"]),
        level=_REGION_LEVEL[len(row["code"])],
        display_name=row["display_name"],
    )


def unit_message(row: Row) -> directory_pb2.Unit:
    """Return the unit of a row."""
    return directory_pb2.Unit(
        name=name_of("units", row["id"]),
        etag=str(row["revision"]),
        display_name=row["display_name"],
        region=name_of("regions", row["region_code"]),
        parent=name_of("units", row["parent_id"]),
        kind=UNIT_KIND.number(row["kind"]),
        enforcement=row["enforcement"],
        path=row["unit_path"],
    )


def person_message(row: Row) -> directory_pb2.Person:
    """Return the person of a row."""
    return directory_pb2.Person(
        name=name_of("people", row["id"]), display_name=row["display_name"], unit=name_of("units", row["unit_id"])
    )


def post_message(row: Row) -> directory_pb2.Post:
    """Return the post of a row."""
    return directory_pb2.Post(
        name=name_of("posts", row["id"]),
        unit=name_of("units", row["unit_id"]),
        display_name=row["display_name"],
        roles=[ROLE.number(role) for role in row["roles"]],
        reach=REACH.number(row["reach"]),
    )


def appointment_message(row: Row) -> directory_pb2.Appointment:
    """Return the appointment of a row."""
    message = directory_pb2.Appointment(
        name=name_of("appointments", row["id"]),
        post=name_of("posts", row["post_id"]),
        person=name_of("people", row["person_id"]),
        unit=name_of("units", row["unit_id"]),
    )
    set_day(message.start_date, row["start_date"])
    if row["end_date"] is not None:
        set_day(message.end_date, row["end_date"])
    return message


def site_message(row: Row) -> directory_pb2.Site:
    """Return the site of a row."""
    return directory_pb2.Site(
        name=name_of("sites", row["id"]),
        etag=str(row["revision"]),
        display_name=row["display_name"],
        credit_code=row["credit_code"] or "",
        region=name_of("regions", row["region_code"]),
        unit=name_of("units", row["unit_id"]),
        sector=row["sector"],
        colour=COLOUR.number(row["colour"]),
        legacy_id=row["legacy_id"] or "",
        source_region=name_of("regions", row["source_region_code"]),
    )


def notice_message(row: Row) -> directory_pb2.HolidayNotice:
    """Return the holiday notice of a row."""
    message = directory_pb2.HolidayNotice(name=name_of("holidayNotices", str(row["year"])))
    for target, days in ((message.off_dates, row["off_dates"]), (message.work_dates, row["work_dates"])):
        for day in days:
            set_day(target.add(), day)
    return message


def access_message(rows: Iterable[Row]) -> directory_pb2.ResolveAccessResponse:
    """Return the grants of the posts held: a post reaches its unit's subtree or its region's, never both."""
    message = directory_pb2.ResolveAccessResponse()
    for row in rows:
        by_unit = row["reach"] == "UNIT"
        message.grants.add(
            post=name_of("posts", row["post_id"]),
            unit=name_of("units", row["unit_id"]),
            roles=[ROLE.number(role) for role in row["roles"]],
            region_code="" if by_unit else row["region_code"],
            unit_path=row["path"] if by_unit else "",
            home_region_code=row["region_code"],
        )
    return message


def deadline_question(request: directory_pb2.ExplainDeadlineRequest) -> DeadlineQuestion:
    """Read the question out of a request."""
    return DeadlineQuestion(
        start=time_of(request.start_time),
        clock=request.clock,
        term=_term_of(request.term, "term") if request.HasField("term") else None,
        pauses=[(time_of(pause.start_time), time_of(pause.end_time)) for pause in request.pauses],
        extensions=[_term_of(term, f"extensions[{index}]") for index, term in enumerate(request.extensions)],
        roll_to_working_day=request.roll_to_working_day,
    )


def _term_of(term: kit_pb2.Term, field: str) -> tuple[int, Unit]:
    if not term.unit:
        raise invalid(f"{field}.unit", "unknown_value")
    return term.amount, Unit[TERM_UNIT.of(term.unit)]


def deadline_message(
    deadline: Deadline, clock: StatutoryClock | None, locale: Locale
) -> directory_pb2.ExplainDeadlineResponse:
    """Return the answer: the deadline, its steps in both languages and the source of a catalogued clock."""
    message = directory_pb2.ExplainDeadlineResponse(
        provisional=deadline.provisional,
        steps_zh=[describe(step, "zh-CN") for step in deadline.steps],
        steps_en=[describe(step, "en") for step in deadline.steps],
    )
    message.due_time.FromDatetime(deadline.due)
    set_day(message.due_date, deadline.due_date)
    if clock is not None:
        message.statutory = clock.statutory
        message.source = clock.citation(locale)
        message.steps_zh.insert(0, clock.introduction("zh-CN"))
        message.steps_en.insert(0, clock.introduction("en"))
    return message


def statutory_clock_message(clock: StatutoryClock, locale: Locale) -> directory_pb2.StatutoryClock:
    """Return a catalogued clock, worded in one language."""
    message = directory_pb2.StatutoryClock(
        key=clock.key,
        matter=clock.matter(locale),
        term=_term_message(clock.term),
        bound=directory_pb2.ClockBound.Value(f"CLOCK_BOUND_{clock.bound.name}"),
        roll_to_working_day=clock.roll is RollRule.NEXT_WORKING_DAY,
        statutory=clock.statutory,
        source=clock.citation(locale),
        region=name_of("regions", clock.region_code) if clock.region_code else "",
    )
    if clock.extension is not None:
        message.extension.CopyFrom(_term_message(clock.extension))
    return message


def _term_message(term: Term) -> kit_pb2.Term:
    return kit_pb2.Term(amount=term.amount, unit=TERM_UNIT.number(term.unit.name))


def clock_message(now: datetime, *, virtual: bool) -> directory_pb2.Clock:
    """Return business time as a message."""
    message = directory_pb2.Clock(virtual=virtual)
    message.time.FromDatetime(now)
    return message


def dates(messages: Sequence[date_pb2.Date]) -> list[date]:
    """Return the dates of messages whose field rules hold."""
    return [day_of(message) for message in messages]
