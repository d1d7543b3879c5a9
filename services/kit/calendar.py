"""The one piece of code that counts days: working days, terms, pauses, extensions, and why.

Calendar dates are Beijing dates (fixed +08:00). The start day is never counted. A term in days,
months or years ends when its last day ends: ``Deadline.due`` is the next midnight, exclusive, and
``Deadline.due_date`` the last day itself. Terms in minutes and hours end at an exact instant.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Final

from services.kit.catalogue import LOCALES, Locale
from services.kit.dates import BEIJING
from services.kit.holidays import (
    ADJUSTED,
    DAY_LAST,
    DAY_ZERO,
    FIRST_DAY,
    HOLIDAY,
    HOLIDAY_NAMES_EN,
    LAST_DAY,
    PROVISIONAL,
    WORKING,
)
from services.kit.holidays import HolidayYear as HolidayYear
from services.kit.holidays import WorkCalendar as WorkCalendar

_ONE_DAY: Final = timedelta(days=1)
_MIDNIGHT: Final = time(tzinfo=BEIJING)


class Unit(StrEnum):
    """What a term is counted in."""

    NATURAL_DAYS = "natural_days"
    WORKING_DAYS = "working_days"
    MINUTES = "minutes"
    HOURS = "hours"
    WORKING_HOURS = "working_hours"
    MONTHS = "months"
    YEARS = "years"


_LONGEST: Final = {
    Unit.NATURAL_DAYS: 36_525,
    Unit.WORKING_DAYS: 25_000,
    Unit.MINUTES: 52_596_000,
    Unit.HOURS: 876_600,
    Unit.WORKING_HOURS: 20_000,
    Unit.MONTHS: 1_200,
    Unit.YEARS: 100,
}
_EXACT: Final = (Unit.MINUTES, Unit.HOURS, Unit.WORKING_HOURS)
"""Units that end at an instant; the others end when a day does."""
_IN_MONTHS: Final = {Unit.MONTHS: 1, Unit.YEARS: 12}


class RollRule(StrEnum):
    """What happens when a term in days, months or years ends on a day off; exact instants never roll."""

    KEEP = "keep"
    NEXT_WORKING_DAY = "next_working_day"


@dataclass(frozen=True, slots=True)
class Term:
    """A length of time in its own unit; ``amount`` is positive and at most about a century."""

    amount: int
    unit: Unit

    def __post_init__(self) -> None:
        if not 1 <= self.amount <= _LONGEST[self.unit]:
            raise ValueError(f"amount must be 1 to {_LONGEST[self.unit]} {self.unit.value}, got {self.amount}")


@dataclass(frozen=True, slots=True)
class Pause:
    """A half-open interval in which the clock stands still.

    Hour clocks stop for exactly this long. For day clocks a day does not count if the clock stood
    still when that day ended, so pauses add up and a break within one day changes nothing. A pause
    that is still open is given with ``until`` set to the moment of asking.
    """

    since: datetime
    until: datetime

    def __post_init__(self) -> None:
        if beijing("pause.until", self.until) <= beijing("pause.since", self.since):
            raise ValueError("pause.until must be later than pause.since")


@dataclass(frozen=True, slots=True)
class WorkingHours:
    """Hours that count on a working day; an editable preset, not statutory. No lunch: equal times."""

    opens: time = time(8, 30)
    lunch_from: time = time(12, 0)
    lunch_until: time = time(14, 0)
    closes: time = time(17, 30)

    def __post_init__(self) -> None:
        if any(t.tzinfo for t in (self.opens, self.lunch_from, self.lunch_until, self.closes)):
            raise ValueError("working hours are Beijing wall times without tzinfo")
        if not self.opens < self.lunch_from <= self.lunch_until < self.closes:
            raise ValueError("working hours must satisfy opens < lunch_from <= lunch_until < closes")

    def on(self, day: date) -> Iterable[tuple[datetime, datetime]]:
        """Yield the morning and the afternoon of one working day."""
        for opens, closes in ((self.opens, self.lunch_from), (self.lunch_until, self.closes)):
            yield datetime.combine(day, opens, BEIJING), datetime.combine(day, closes, BEIJING)


class StepCode(StrEnum):
    """Which parameters of a step are set is said beside each code."""

    START_DAY = "start_day"  # first
    START_INSTANT = "start_instant"  # at
    COUNTED_BACK = "counted_back"  # term; first: the day of the event, or at: its instant
    TERM = "term"  # term
    EXTENDED = "extended"  # term
    WEEKEND_SKIPPED = "weekend_skipped"  # first, last
    HOLIDAY_SKIPPED = "holiday_skipped"  # first, last, names; weekend_joined
    ADJUSTED_WORKDAY_COUNTED = "adjusted_workday_counted"  # first, names
    WAITED_FOR_HOURS = "waited_for_hours"  # at: when the working-hour clock begins to run
    DAYS_PAUSED = "days_paused"  # first, last
    CLOCK_PAUSED = "clock_paused"  # at, until
    MONTH_CLIPPED = "month_clipped"  # first: the last day of a month without the corresponding day
    PROVISIONAL = "provisional"  # year whose notice is awaited
    ROLLED = "rolled"  # first: the day off, last: the working day instead
    DUE = "due"  # first: last day, at: exclusive instant


@dataclass(frozen=True, slots=True)
class Step:
    """One reason in an explanation: a code and its parameters; `describe` words it."""

    code: StepCode
    first: date | None = None
    last: date | None = None
    at: datetime | None = None
    until: datetime | None = None
    term: Term | None = None
    names: tuple[str, ...] = ()
    weekend_joined: bool = False
    year: int | None = None


@dataclass(frozen=True, slots=True)
class Deadline:
    """A due instant (Beijing, exclusive), its last day, and the steps that led there.

    ``provisional`` says that a day it depends on awaits a holiday notice not yet published.
    """

    due: datetime
    due_date: date
    provisional: bool
    steps: tuple[Step, ...]

    @property
    def awaited_notice(self) -> int:
        """Year of the first notice that it awaits; 0 for one that is settled."""
        return min((step.year for step in self.steps if step.code is StepCode.PROVISIONAL and step.year), default=0)


def beijing(name: str, instant: datetime) -> datetime:
    """Return the instant as Beijing time; a naive one is refused with a ``ValueError`` naming it."""
    if instant.tzinfo is None or instant.utcoffset() is None:
        raise ValueError(f"{name} must be an aware datetime, got {instant.isoformat()} without a time zone")
    if not FIRST_DAY.year <= instant.year <= LAST_DAY.year + 1:  # astimezone overflows at the extremes
        raise ValueError(f"{name} must lie between {FIRST_DAY} and {LAST_DAY}, got {instant.isoformat()}")
    return _within(name, instant.astimezone(BEIJING))


def deadline(
    calendar: WorkCalendar,
    start: datetime,
    term: Term,
    *,
    roll: RollRule = RollRule.KEEP,
    hours: WorkingHours | None = None,
    pauses: Sequence[Pause] = (),
    extensions: Sequence[Term] = (),
) -> datetime:
    """Return the due instant (exclusive) alone; see `explain`, which computes it."""
    found = explain(calendar, start, term, roll=roll, hours=hours, pauses=pauses, extensions=extensions)
    return found.due


def explain(
    calendar: WorkCalendar,
    start: datetime,
    term: Term,
    *,
    roll: RollRule = RollRule.KEEP,
    hours: WorkingHours | None = None,
    pauses: Sequence[Pause] = (),
    extensions: Sequence[Term] = (),
) -> Deadline:
    """Compute the deadline of an act due within ``term`` after ``start``, with its reasons.

    Extensions count on from the end that would hold without them, before rolling; the roll happens
    once, at the very end. Months after months keep the original corresponding day (31 January +
    1 month + 1 month = 31 March). ``ValueError``: naive instants, or an end after `LAST_DAY`.
    """
    at = beijing("start", start)
    count = _Count(calendar, pauses)
    day = at.date().toordinal()
    if term.unit in _EXACT:
        count.steps.append(Step(StepCode.START_INSTANT, at=at))
    else:
        count.steps.append(Step(StepCode.START_DAY, first=at.date()))
    anchor = nominal = day
    months = 0
    for position, part in enumerate((term, *extensions)):
        count.steps.append(Step(StepCode.EXTENDED if position else StepCode.TERM, term=part))
        if part.unit in _EXACT:
            if part.unit is Unit.WORKING_HOURS:
                at = count.working_hours(at, _length(part), hours or WorkingHours())
            else:
                at = count.elapsed(at, _length(part))
            day = _last_day(at).toordinal()
        elif part.unit in _IN_MONTHS:
            if not months:
                anchor = nominal = day
            months += part.amount * _IN_MONTHS[part.unit]
            target = count.corresponding_day(anchor, months)
            day, nominal = count.natural_days(day, target - nominal), target
        elif part.unit is Unit.WORKING_DAYS:
            day = count.working_days(day, part.amount)
        else:
            day = count.natural_days(day, part.amount)
        if part.unit not in _EXACT:
            at = _midnight_after(day)
        if part.unit not in _IN_MONTHS:
            months = 0
    if roll is RollRule.NEXT_WORKING_DAY and (term, *extensions)[-1].unit not in _EXACT:
        at = _midnight_after(count.roll(day))
    return count.finish(at)


def explain_before(calendar: WorkCalendar, event: datetime, term: Term) -> Deadline:
    """Compute the last moment to act ``term`` before an event; its day is not counted.

    For terms in days, months or years ``due_date`` is the last day that is early enough. Nothing
    rolls or pauses: both would shorten the notice. Working hours are refused (``ValueError``).
    """
    at = beijing("event", event)
    count = _Count(calendar)
    day = at.date().toordinal()
    if term.unit is Unit.WORKING_HOURS:
        raise ValueError("term in working hours cannot be counted back from an event")
    if term.unit in _EXACT:
        count.steps.append(Step(StepCode.COUNTED_BACK, at=at, term=term))
        return count.finish(_within("due", at - _length(term)))
    count.steps.append(Step(StepCode.COUNTED_BACK, first=at.date(), term=term))
    if term.unit is Unit.WORKING_DAYS:
        day = count.working_days(day, -term.amount)
    elif term.unit is Unit.NATURAL_DAYS:
        day = _bounded(day - term.amount)
    else:
        day = count.corresponding_day(day, -term.amount * _IN_MONTHS[term.unit])
    return count.finish(_midnight_after(day))


_UNIT_WORDS: Final = {
    Unit.NATURAL_DAYS: ("日", "day"),
    Unit.WORKING_DAYS: ("个工作日", "working day"),
    Unit.MINUTES: ("分钟", "minute"),
    Unit.HOURS: ("小时", "hour"),
    Unit.WORKING_HOURS: ("个工作小时", "working hour"),
    Unit.MONTHS: ("个月", "month"),
    Unit.YEARS: ("年", "year"),
}

_STEP_WORDS: Final = {
    StepCode.START_DAY: ("起算日 {first} 不计入", "The start day {first} is not counted"),
    StepCode.START_INSTANT: ("自 {at} 起算", "The clock starts at {at}"),
    StepCode.COUNTED_BACK: ("自 {event} 向前推算 {term}", "{term} counted back from {event}"),
    StepCode.TERM: ("期限为 {term}", "The term is {term}"),
    StepCode.EXTENDED: ("延长 {term}", "Extended by {term}"),
    StepCode.WEEKEND_SKIPPED: ("跳过 {span}（周末）", "Skipped {span} (weekend)"),
    StepCode.HOLIDAY_SKIPPED: (
        "跳过 {span}（{names}假期{joined}）",
        "Skipped {span} ({names}holiday{joined})",
    ),
    StepCode.ADJUSTED_WORKDAY_COUNTED: (
        "{first} 调休上班{for_names}，计入",
        "{first} is an adjusted workday{for_names}, counted",
    ),
    StepCode.WAITED_FOR_HOURS: (
        "非工作时间不计，自 {at} 开始计时",
        "Outside working hours; the clock runs from {at}",
    ),
    StepCode.DAYS_PAUSED: ("{span} 中止计时，不计入", "Clock stopped {span}, not counted"),
    StepCode.CLOCK_PAUSED: ("{at} 至 {until} 中止计时", "Clock stopped from {at} to {until}"),
    StepCode.MONTH_CLIPPED: (
        "当月没有对应日，取月末日 {first}",
        "No corresponding day in that month; its last day {first} is taken",
    ),
    StepCode.PROVISIONAL: (
        "{year} 年放假安排尚未公布，结果为暂定，公布后重新推算",
        "The holiday notice for {year} is not yet published; provisional until it is",
    ),
    StepCode.ROLLED: ("{first} 为休息日，顺延至 {last}", "{first} is a day off, moved to {last}"),
    StepCode.DUE: ("截止于 {due}（北京时间）", "Due by {due} (Beijing time)"),
}


def describe(step: Step, locale: Locale) -> str:
    """Word one step in Chinese or English; an unknown locale is a ``ValueError``."""
    if locale not in LOCALES:
        raise ValueError(f"locale must be one of {LOCALES}, got {locale!r}")
    english = locale == "en"
    first, last = step.first, step.last
    # The days of a notice that was entered have no names.
    names = ", ".join(HOLIDAY_NAMES_EN.get(n, n) for n in step.names) if english else "、".join(step.names)
    return _STEP_WORDS[step.code][english].format(
        first=first,
        last=last,
        span=first if first == last else f"{first}{' to ' if english else ' 至 '}{last}",
        at=step.at and _clock_time(step.at),
        until=step.until and _clock_time(step.until),
        event=first or (step.at and _clock_time(step.at)),
        due=step.at and (f"{first} 24:00" if step.at.timetz() == _MIDNIGHT else _clock_time(step.at)),
        term=step.term and describe_term(step.term, locale),
        names=f"{names} " if names and english else names,
        for_names=names and (f" ({names})" if english else f"（{names}）"),
        joined=((" and weekend" if english else "，含周末") if step.weekend_joined else ""),
        year=step.year,
    )


def describe_term(term: Term, locale: Locale) -> str:
    """Word a term: "15 个工作日", "15 working days"."""
    chinese, english = _UNIT_WORDS[term.unit]
    if locale == "en":
        return f"{term.amount} {english}{'' if term.amount == 1 else 's'}"
    return f"{term.amount} {chinese}"


def _clock_time(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%d %H:%M:%S" if instant.second or instant.microsecond else "%Y-%m-%d %H:%M")


class _Count:
    """One computation in progress: moves a day or an instant and writes down why, as it goes."""

    def __init__(self, calendar: WorkCalendar, pauses: Sequence[Pause] = ()) -> None:
        self._calendar = calendar
        self._flags = calendar.flags
        self._pauses = _merged(pauses)
        self._paused_days = _merged_days(self._pauses)
        self.steps: list[Step] = []
        self._awaited: set[int] = set()
        self._run: list[int] = []  # consecutive days off, not yet written down
        self._told: set[datetime] = set()

    def finish(self, due: datetime) -> Deadline:
        due_date = _last_day(due)
        self.steps.append(Step(StepCode.DUE, first=due_date, at=due))
        return Deadline(due, due_date, bool(self._awaited), tuple(self.steps))

    def natural_days(self, day: int, amount: int) -> int:
        end = day + amount
        for first, resumed in self._paused_days:
            if resumed <= day + 1:
                continue
            if first > end:
                break
            stopped = max(first, day + 1)
            self._tell_paused_days(stopped, resumed)
            end += resumed - stopped
        return _bounded(end)

    def working_days(self, day: int, amount: int) -> int:
        """Move by working days; backwards (negative) pauses are not looked at."""
        direction, left = (1, amount) if amount >= 0 else (-1, -amount)
        while left:
            day = _bounded(day + direction)
            if direction > 0 and self._paused_days and (resumed := self._resumed(day)):
                self._close_run()
                self._tell_paused_days(day, resumed)
                day = resumed - 1
                continue
            # The plain working day is told apart first: it is most of a long count.
            if (self._flags[day - DAY_ZERO] == WORKING and not self._run) or self._works(day):
                left -= 1
        return day

    def elapsed(self, at: datetime, amount: timedelta) -> datetime:
        end = at + amount
        for since, until in self._pauses:
            if until <= at:
                continue
            if since >= end:
                break
            self._tell_pause(since, until)
            end += until - max(since, at)
        return _within("due", end)

    def working_hours(self, at: datetime, amount: timedelta, hours: WorkingHours) -> datetime:
        left, begun, start = amount, False, at
        pauses = [p for p in self._pauses if p[1] > at]
        day = at.toordinal()
        while True:
            if self._works(_bounded(day)):
                for opens, closes in hours.on(date.fromordinal(day)):
                    cursor = max(opens, at)
                    while cursor < closes:
                        while pauses and pauses[0][1] <= cursor:
                            pauses.pop(0)
                        stop = min(closes, max(pauses[0][0], cursor)) if pauses else closes
                        if stop > cursor and not begun:
                            begun = True
                            if cursor == opens > start:
                                self.steps.append(Step(StepCode.WAITED_FOR_HOURS, at=cursor))
                        if stop - cursor >= left:
                            return cursor + left
                        left -= stop - cursor
                        if stop < closes:
                            self._tell_pause(*pauses[0])
                            cursor = at = pauses[0][1]
                        else:
                            cursor = closes
            day = max(day + 1, at.toordinal())

    def corresponding_day(self, anchor: int, months: int) -> int:
        """Return the same day of another month, or that month's last day if it has no such day."""
        start = date.fromordinal(anchor)
        year, month0 = divmod(start.year * 12 + start.month - 1 + months, 12)
        first = date(year, month0 + 1, 1)
        last = (first + timedelta(days=31)).replace(day=1) - _ONE_DAY
        if start.day > last.day:
            self.steps.append(Step(StepCode.MONTH_CLIPPED, first=last))
            return _bounded(last.toordinal())
        return _bounded(first.toordinal() + start.day - 1)

    def roll(self, day: int) -> int:
        due = day
        while not self._working(due) or (due > day and self._resumed(due)):
            due = _bounded(due + 1)
        if due > day:
            self.steps.append(Step(StepCode.ROLLED, first=date.fromordinal(day), last=date.fromordinal(due)))
        return due

    def _working(self, day: int) -> int:
        """Look a day up, remembering that the result depends on it."""
        flags = self._flags[day - DAY_ZERO]
        if flags & PROVISIONAL:
            year = self._calendar.awaited_notice(date.fromordinal(day))
            if year is not None and year not in self._awaited:
                self._awaited.add(year)
                self.steps.append(Step(StepCode.PROVISIONAL, year=year))
        return flags & WORKING

    def _works(self, day: int) -> int:
        """Like `_working`, and write down a skipped run or an adjusted workday."""
        works = self._working(day)
        if not works:
            self._run.append(day)
            return 0
        if self._run:
            self._close_run()
        if self._flags[day - DAY_ZERO] & ADJUSTED:
            self.steps.append(
                Step(StepCode.ADJUSTED_WORKDAY_COUNTED, first=date.fromordinal(day), names=self._names([day]))
            )
        return works

    def _close_run(self) -> None:
        if not self._run:
            return
        run = sorted(self._run)  # counting back meets the days in reverse
        self._run = []
        holidays = [day for day in run if self._flags[day - DAY_ZERO] & HOLIDAY]
        first, last = date.fromordinal(run[0]), date.fromordinal(run[-1])
        if not holidays:
            self.steps.append(Step(StepCode.WEEKEND_SKIPPED, first=first, last=last))
            return
        joined = len(holidays) < len(run)
        self.steps.append(
            Step(StepCode.HOLIDAY_SKIPPED, first, last, names=self._names(holidays), weekend_joined=joined)
        )

    def _names(self, days: Iterable[int]) -> tuple[str, ...]:
        listed = (self._calendar.names.get(day, "").split("、") for day in days)  # 国庆节、中秋节 are two
        return tuple(dict.fromkeys(name for names in listed for name in names if name))

    def _resumed(self, day: int) -> int | None:
        """Return the first day that counts again if the clock stood still when ``day`` ended."""
        for first, resumed in self._paused_days:
            if first <= day < resumed:
                return resumed
        return None

    def _tell_paused_days(self, first: int, resumed: int) -> None:
        self.steps.append(Step(StepCode.DAYS_PAUSED, first=date.fromordinal(first), last=date.fromordinal(resumed - 1)))

    def _tell_pause(self, since: datetime, until: datetime) -> None:
        if since not in self._told:
            self._told.add(since)
            self.steps.append(Step(StepCode.CLOCK_PAUSED, at=since, until=until))


def _merged(pauses: Sequence[Pause]) -> list[tuple[datetime, datetime]]:
    """Return the pauses in order, overlapping and touching ones joined."""
    merged: list[tuple[datetime, datetime]] = []
    for since, until in sorted((beijing("pause", p.since), beijing("pause", p.until)) for p in pauses):
        if merged and since <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(until, merged[-1][1]))
        else:
            merged.append((since, until))
    return merged


def _merged_days(pauses: list[tuple[datetime, datetime]]) -> list[tuple[int, int]]:
    """Return the half-open runs of days at whose end the clock stood still."""
    runs: list[tuple[int, int]] = []
    for since, until in pauses:
        first, resumed = since.toordinal(), until.toordinal()
        if first == resumed:
            continue
        if runs and first <= runs[-1][1]:
            runs[-1] = (runs[-1][0], resumed)
        else:
            runs.append((first, resumed))
    return runs


def _length(term: Term) -> timedelta:
    return timedelta(minutes=term.amount) if term.unit is Unit.MINUTES else timedelta(hours=term.amount)


def _bounded(ordinal: int) -> int:
    if not DAY_ZERO <= ordinal <= DAY_LAST:
        raise ValueError(f"the computation leaves {FIRST_DAY} to {LAST_DAY}")
    return ordinal


def _within(name: str, instant: datetime) -> datetime:
    if not FIRST_DAY <= instant.date() <= LAST_DAY:
        raise ValueError(f"{name} must lie between {FIRST_DAY} and {LAST_DAY}, got {instant.isoformat()}")
    return instant


def _midnight_after(day: int) -> datetime:
    return datetime.combine(date.fromordinal(day + 1), time.min, BEIJING)


def _last_day(due: datetime) -> date:
    """Return the day an exclusive instant belongs to: midnight is the end of the day before."""
    return (due - timedelta(microseconds=1)).date()
