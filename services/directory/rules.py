"""What directory demands of codes, units, posts, terms of office, notices and questions about deadlines."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from services.directory.statutory import CLOCKS, Bound
from services.kit.calendar import (
    Deadline,
    Pause,
    RollRule,
    Term,
    Unit,
    WorkCalendar,
    explain,
    explain_before,
)
from services.kit.errors import AlreadyExists, InvalidFields, RuleNotMet, Violation, WrongState, invalid
from services.kit.holidays import FIRST_DAY, LAST_DAY, HolidayYear

REGION_CODE = re.compile(r"[0-9]{2}|[0-9]{4}|[0-9]{6}|[0-9]{9}|[0-9]{12}")
PARENT_LENGTH: Mapping[int, int] = {2: 0, 4: 2, 6: 4, 9: 6, 12: 9}
"""Digits of a region's code → digits of its parent's (GB/T 2260 and the statistics bureau's extension)."""

CREDIT_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
"""GB 32100: no I, O, S, V, Z, which are mistaken for digits and letters beside them."""
CREDIT_LENGTH = 18
_CREDIT_VALUE: Mapping[str, int] = {character: value for value, character in enumerate(CREDIT_ALPHABET)}
_CREDIT_WEIGHTS = tuple(pow(3, position, 31) for position in range(CREDIT_LENGTH - 1))

ENFORCING_KINDS = frozenset({"GOVERNMENT", "DEPARTMENT", "TOWNSHIP_OFFICE"})
"""Committees coordinate and enterprises answer: neither enforces (国办发〔2024〕54号)."""

_COUNTED_BACK = (Bound.AT_LEAST_BEFORE, Bound.ONLY_WITHIN_BEFORE, Bound.LOOKS_BACK)
NOTICE_YEARS = range(FIRST_DAY.year + 1, LAST_DAY.year + 1)


def region_violation(code: str, parent_code: str) -> Violation | None:
    """Check a region's code and that its parent is the code one level up; None when both are right."""
    if not code:
        return Violation("code", "required")
    if not REGION_CODE.fullmatch(code):
        return Violation("code", "malformed")
    if parent_code != code[: PARENT_LENGTH[len(code)]]:
        return Violation("parent_code", "not_the_parent" if parent_code else "required")
    return None


def region_above(codes: Sequence[str]) -> str:
    """Return the lowest region that contains all of these, '' (the country) where no smaller one does."""
    first = codes[0]
    levels = sorted((length for length in PARENT_LENGTH if length <= len(first)), reverse=True)
    return next((first[:length] for length in levels if all(code.startswith(first[:length]) for code in codes)), "")


def credit_check_character(first_17: str) -> str:
    """Return the check character of GB 32100. Raises KeyError on a character outside the alphabet."""
    total = sum(_CREDIT_VALUE[character] * weight for character, weight in zip(first_17, _CREDIT_WEIGHTS, strict=True))
    return CREDIT_ALPHABET[(31 - total % 31) % 31]


def credit_code_problem(code: str) -> str | None:
    """Return what is wrong with a unified social credit code, or None; an empty one is not wrong."""
    if not code:
        return None
    if len(code) != CREDIT_LENGTH or not _CREDIT_VALUE.keys() >= set(code):
        return "malformed"
    return None if credit_check_character(code[:-1]) == code[-1] else "check_digit"


def require_credit_code(code: str, field: str) -> None:
    """Raise InvalidFields when the credit code is wrong."""
    if problem := credit_code_problem(code):
        raise invalid(field, problem)


def require_enforcing_kind(kind: str, *, enforcement: bool) -> None:
    """Raise RuleNotMet when a body that cannot be an enforcement body is marked as one."""
    if enforcement and kind not in ENFORCING_KINDS:
        raise RuleNotMet(rule="unit_enforcement_needs_an_authority")


def require_within_parent(region_code: str, parent_region_code: str) -> None:
    """Raise InvalidFields unless the parent unit's region contains the unit's."""
    if not region_code.startswith(parent_region_code):
        raise invalid("unit.parent", "outside_parent")


def require_roles(roles: Sequence[int]) -> None:
    """Raise InvalidFields on ROLE_UNSPECIFIED and on a role named twice."""
    for index, role in enumerate(roles):
        if role == 0:
            raise invalid(f"post.roles[{index}]", "unknown_value")
        if role in roles[:index]:
            raise invalid(f"post.roles[{index}]", "duplicate")


@dataclass(frozen=True, slots=True)
class TermOfOffice:
    """The days a post is held: ``start`` inclusive, ``end`` exclusive or None while it lasts."""

    start: date
    end: date | None

    def overlaps(self, other: "TermOfOffice") -> bool:
        """Tell whether a day belongs to both; a term that ended before it began holds no day."""
        latest_start = max(self.start, other.start)
        return all(end is None or latest_start < end for end in (self.end, other.end))


def require_order(term: TermOfOffice, field: str) -> None:
    """Raise InvalidFields when an appointment would end before its first day is over."""
    if term.end is not None and term.end <= term.start:
        raise invalid(field, "not_after_start")


def require_free_post(term: TermOfOffice, held: Iterable[TermOfOffice]) -> None:
    """Raise RuleNotMet when somebody holds the post on a day of the term."""
    if any(term.overlaps(other) for other in held):
        raise RuleNotMet(rule="post_is_held_by_one_person_at_a_time")


def end_of_office(term: TermOfOffice, asked: date | None, today: date) -> date:
    """Return the day to store as the end: the one asked for, or today, so that roles stop at once.

    An appointment that has not begun is cancelled: it ends on its first day. Raises WrongState on one that
    is over, InvalidFields on a day before today, which would rewrite who was in office.
    """
    if term.end is not None and term.end <= max(today, term.start):
        raise WrongState(state="ENDED", action="end_appointment")
    if asked is None:
        return max(today, term.start)
    if asked < today:
        raise invalid("end_date", "in_the_past")
    if asked <= term.start:
        raise invalid("end_date", "not_after_start")
    return asked


def require_unused(code: str, taken: Collection[str | None]) -> None:
    """Raise AlreadyExists when another site carries the credit code, or the legacy id in the same register.

    The answer names what the caller sent and nothing else, whether or not the other site is within his reach.
    """
    if code and code in taken:
        raise AlreadyExists(resource=code)


def holiday_year(year: str, off: Sequence[date], work: Sequence[date]) -> HolidayYear:
    """Check a notice and return it. Raises InvalidFields naming the first date at fault.

    Its dates lie between December before the year and January after it; what is worked instead is a
    weekend day, and no day is both or listed twice.
    """
    if not re.fullmatch(r"[0-9]{4}", year) or int(year) not in NOTICE_YEARS:
        raise invalid("notice.name", "out_of_range")
    number = int(year)
    first, last = date(number - 1, 12, 1), date(number + 1, 1, 31)
    seen: set[date] = set()
    for field, days in (("off_dates", off), ("work_dates", work)):
        for index, day in enumerate(days):
            if not first <= day <= last or (field == "work_dates" and day.weekday() < 5):
                raise invalid(f"notice.{field}[{index}]", "out_of_range")
            if day in seen:
                raise invalid(f"notice.{field}[{index}]", "duplicate")
            seen.add(day)
    return HolidayYear(number, frozenset(off), frozenset(work))


@dataclass(frozen=True, slots=True)
class DeadlineQuestion:
    """What ExplainDeadline is asked: a catalogued clock by key, or a term; amounts as the caller sent them."""

    start: datetime
    clock: str
    term: tuple[int, Unit] | None
    pauses: Sequence[tuple[datetime, datetime]]
    extensions: Sequence[tuple[int, Unit]]
    roll_to_working_day: bool


def answer_deadline(calendar: WorkCalendar, question: DeadlineQuestion) -> Deadline:
    """Compute and explain a deadline. Raises InvalidFields naming the field that cannot be computed with.

    A catalogued clock brings its own rolling; one that looks before an event counts back from the start,
    and can neither pause nor be extended.
    """
    if not FIRST_DAY <= question.start.date() <= LAST_DAY:
        raise invalid("start_time", "out_of_range")
    pauses = [_pause(index, *pause) for index, pause in enumerate(question.pauses)]
    extensions = [_term(f"extensions[{index}]", *each) for index, each in enumerate(question.extensions)]
    roll = RollRule.NEXT_WORKING_DAY if question.roll_to_working_day else RollRule.KEEP
    try:
        if not question.clock:
            if question.term is None:
                raise invalid("term", "required")
            term = _term("term", *question.term)
            return explain(calendar, question.start, term, roll=roll, pauses=pauses, extensions=extensions)
        if question.term is not None:
            raise invalid("term", "excluded")
        clock = CLOCKS.get(question.clock)
        if clock is None:
            raise invalid("clock", "unknown_reference")
        if clock.bound not in _COUNTED_BACK:
            return explain(calendar, question.start, clock.term, roll=clock.roll, pauses=pauses, extensions=extensions)
        if pauses or extensions:
            raise InvalidFields(*(Violation(field, "excluded") for field in _given(pauses, extensions)))
        return explain_before(calendar, question.start, clock.term)
    except ValueError:  # the calendar's only refusal left here: the count leaves its range of years
        raise invalid("start_time", "out_of_range") from None


def _given(pauses: Sequence[Pause], extensions: Sequence[Term]) -> list[str]:
    return [field for field, values in (("pauses", pauses), ("extensions", extensions)) if values]


def _term(field: str, amount: int, unit: Unit) -> Term:
    try:
        return Term(amount, unit)
    except ValueError:
        raise invalid(f"{field}.amount", "out_of_range") from None


def _pause(index: int, since: datetime, until: datetime) -> Pause:
    for field, instant in (("start_time", since), ("end_time", until)):
        if not FIRST_DAY <= instant.date() <= LAST_DAY:
            raise invalid(f"pauses[{index}].{field}", "out_of_range")
    if until <= since:
        raise invalid(f"pauses[{index}].end_time", "not_after_start")
    return Pause(since, until)
