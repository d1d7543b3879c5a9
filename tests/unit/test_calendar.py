"""Counting days: notices, working days, terms, pauses, extensions and their explanations."""

import csv
from datetime import UTC, date, datetime, time, timedelta, timezone
from timeit import repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.kit.calendar import (
    Deadline,
    HolidayYear,
    Pause,
    RollRule,
    Step,
    StepCode,
    Term,
    Unit,
    WorkCalendar,
    WorkingHours,
    beijing,
    deadline,
    describe,
    describe_term,
    explain,
    explain_before,
)
from services.kit.dates import BEIJING
from services.kit.holidays import DAY_ZERO, WORKING, calendar_in_force, notice_year, seed_notices
from tests.shared_data import DATA, needs_shared

OFFICIAL = DATA / "holidays_cn.csv"
CALENDAR = calendar_in_force(())
NEXT = RollRule.NEXT_WORKING_DAY

days = st.dates(date(2004, 1, 1), date(2030, 12, 31))
instants = st.datetimes(datetime(2004, 1, 1), datetime(2030, 12, 31), timezones=st.just(BEIJING))  # noqa: DTZ001
small_terms = st.builds(Term, st.integers(1, 60), st.sampled_from(Unit))
rolls = st.sampled_from(RollRule)


def is_worked(day: date, calendar: WorkCalendar = CALENDAR) -> bool:
    """Tell whether people work that day, adjusted workdays included."""
    return bool(calendar.flags[day.toordinal() - DAY_ZERO] & WORKING)


def worked_between(first: date, last: date) -> int:
    """Count the working days after ``first`` up to ``last``, one by one."""
    return sum(is_worked(first + timedelta(days=each + 1)) for each in range((last - first).days))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BEIJING)


def working(amount: int) -> Term:
    return Term(amount, Unit.WORKING_DAYS)


def natural(amount: int) -> Term:
    return Term(amount, Unit.NATURAL_DAYS)


def months(amount: int) -> Term:
    return Term(amount, Unit.MONTHS)


def hours(amount: int) -> Term:
    return Term(amount, Unit.HOURS)


def working_hours(amount: int) -> Term:
    return Term(amount, Unit.WORKING_HOURS)


def pause(since: str, until: str) -> Pause:
    return Pause(at(since), at(until))


def official_rows() -> list[dict[str, str]]:
    with OFFICIAL.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def codes(found: Deadline) -> list[StepCode]:
    return [step.code for step in found.steps]


def only(found: Deadline, code: StepCode) -> Step:
    (step,) = (step for step in found.steps if step.code is code)
    return step


# Notices


@needs_shared
def test_seed_equals_the_official_notices_on_every_day() -> None:
    """A single wrong day would move deadlines of everyone whose clock runs over it."""
    official = {date.fromisoformat(row["date"]): row for row in official_rows()}
    day, wrong = date(2006, 12, 25), []
    while day <= date(2026, 12, 31):
        row = official.get(day)
        worked = row["kind"] == "work" if row else day.weekday() < 5
        if is_worked(day) != worked:
            wrong.append(day)
        day += timedelta(days=1)
    assert wrong == []


@needs_shared
def test_seed_names_every_official_holiday_weekday_alike() -> None:
    """An auditor would read the wrong holiday in an explanation."""
    short = {"“五一”": "劳动节", "“五一”国际劳动节": "劳动节", "“十一”": "国庆节"}
    wrong: list[tuple[date, str, str | None]] = []
    for row in official_rows():
        day, official = date.fromisoformat(row["date"]), short.get(row["name"], row["name"])
        name = CALENDAR.names.get(day.toordinal()) or None
        if name is None:
            natural_weekend = day.weekday() >= 5 and row["kind"] == "off"
            if not natural_weekend and day != date(2020, 2, 3):  # a Monday worked anyway
                wrong.append((day, official, name))
        elif official not in name and name not in official:
            wrong.append((day, official, name))
    assert wrong == []


def test_seed_carries_every_year_from_2004_to_2026() -> None:
    """A missing year would turn settled deadlines into provisional ones."""
    assert list(range(2004, 2027)) == [year for year in seed_notices() if year <= 2026]


@pytest.mark.parametrize(
    ("day", "year", "worked"),
    [
        ("2006-12-30", 2007, True),
        ("2006-12-31", 2007, True),
        ("2007-12-29", 2008, True),
        ("2007-12-31", 2008, False),
        ("2011-12-31", 2012, True),
        ("2018-12-29", 2019, True),
        ("2018-12-31", 2019, False),
        ("2022-12-31", 2023, False),
        ("2023-12-30", 2024, False),
    ],
)
def test_december_days_belong_to_the_next_notice(day: str, year: int, worked: bool) -> None:
    """Removing or revising one notice would take another year's days with it."""
    listed = date.fromisoformat(day)
    notice = seed_notices()[year]
    assert year == notice_year(listed)
    assert listed in (notice.work if worked else notice.off)
    assert worked == is_worked(listed)


def test_next_years_notice_overrides_the_own_years() -> None:
    """When two notices speak of one day people follow the later one."""
    day = date(2030, 12, 31)
    earlier = HolidayYear(2030, frozenset({day}), frozenset())
    later = HolidayYear(2031, frozenset(), frozenset({day}))
    assert is_worked(day, WorkCalendar({2031: later, 2030: earlier}))
    assert not is_worked(day, WorkCalendar({2030: earlier}))


def test_last_week_of_december_waits_for_the_next_notice() -> None:
    """A unit would be told a settled date that the New Year notice then moves."""
    notices = {year: notice for year, notice in seed_notices().items() if year <= 2018}
    calendar = WorkCalendar(notices)
    assert calendar.awaited_notice(date(2018, 12, 24)) is None
    assert calendar.awaited_notice(date(2018, 12, 25)) == 2019
    assert not is_worked(date(2018, 12, 29), calendar)
    assert CALENDAR.awaited_notice(date(2018, 12, 29)) is None
    assert is_worked(date(2018, 12, 29))


def test_december_day_listed_by_its_own_notice_is_settled() -> None:
    """A published day would be shown as doubtful."""
    day = date(2030, 12, 30)
    calendar = WorkCalendar({2030: HolidayYear(2030, frozenset({day}), frozenset())})
    assert calendar.awaited_notice(day) is None
    assert calendar.awaited_notice(date(2030, 12, 31)) == 2031


def test_december_listed_by_the_next_notice_is_settled_without_the_own_one() -> None:
    """A day that a published notice lists would be shown as doubtful."""
    day = date(2030, 12, 31)
    calendar = WorkCalendar({2031: HolidayYear(2031, frozenset({day}), frozenset())})
    assert calendar.awaited_notice(day) is None
    assert calendar.awaited_notice(date(2030, 12, 30)) == 2030
    assert calendar.awaited_notice(date(2031, 6, 1)) is None


@given(st.dates(date(2040, 1, 1), date(2060, 12, 31)))
def test_unpublished_year_has_weekends_off_only(day: date) -> None:
    """Deadlines beyond the published notices would be refused or wrong by more than the holidays."""
    assert CALENDAR.awaited_notice(day) == day.year
    assert is_worked(day) == (day.weekday() < 5)
    assert day.toordinal() not in CALENDAR.names


def test_contradictory_or_misfiled_notices_are_refused() -> None:
    """A mistyped import would silently change the calendar of every region."""
    day = date(2030, 5, 1)
    with pytest.raises(ValueError, match="2030-05-01 is both off and a working day"):
        HolidayYear(2030, frozenset({day}), frozenset({day}))
    with pytest.raises(ValueError, match="2030-05-01 cannot belong to the notice for 2031"):
        HolidayYear(2031, frozenset({day}), frozenset())
    with pytest.raises(ValueError, match="filed under 2029"):
        WorkCalendar({2029: HolidayYear(2030, frozenset({day}), frozenset())})


def test_instants_and_far_dates_are_refused_as_days() -> None:
    """An instant taken for a date would be read in the wrong time zone."""
    with pytest.raises(ValueError, match="day must be a calendar date"):
        CALENDAR.awaited_notice(at("2024-02-08"))
    with pytest.raises(ValueError, match="day must lie between"):
        CALENDAR.awaited_notice(date(2200, 1, 1))


# Working days


@pytest.mark.parametrize(
    ("start", "term_working_days", "due"),
    [("2024-02-08", 15, "2024-03-06"), ("2024-09-27", 5, "2024-10-10"), ("2020-01-22", 5, "2020-02-06")],
)
def test_known_working_day_terms(start: str, term_working_days: int, due: str) -> None:
    """The check values of the domain page: every statutory working-day clock would be off."""
    expected = date.fromisoformat(due)
    assert term_working_days == worked_between(date.fromisoformat(start), expected)
    for clock in ("00:00", "10:30", "23:59:59"):
        found = explain(CALENDAR, at(f"{start}T{clock}"), working(term_working_days))
        assert expected == found.due_date
        assert datetime.combine(expected + timedelta(days=1), time.min, BEIJING) == found.due
        assert found.due == deadline(CALENDAR, at(f"{start}T{clock}"), working(term_working_days))
        assert not found.provisional


@given(instants, st.integers(1, 300))
def test_a_term_has_as_many_working_days_as_it_says(start: datetime, amount: int) -> None:
    """The fast walk would disagree with counting on the fingers."""
    last_day = explain(CALENDAR, start, working(amount)).due_date
    assert amount == worked_between(start.date(), last_day)
    assert is_worked(last_day)


def test_counting_a_thousand_working_days_is_fast() -> None:
    """Re-projecting thousands of open cases after a notice would stall the service."""
    start = at("2020-01-01T09:00")
    seconds = min(repeat(lambda: explain(CALENDAR, start, working(1000)), number=10, repeat=5)) / 10
    assert seconds < 0.005  # about 1 ms; generous for busy machines


# Terms


def test_start_is_taken_on_the_beijing_date() -> None:
    """A report sent late in UTC would start its clock on the day before."""
    assert date(2024, 3, 3) == explain(CALENDAR, datetime(2024, 3, 1, 16, 0, tzinfo=UTC), natural(1)).due_date
    assert date(2024, 3, 2) == explain(CALENDAR, datetime(2024, 3, 1, 15, 59, tzinfo=UTC), natural(1)).due_date
    american = timezone(timedelta(hours=-5))
    assert date(2024, 3, 3) == explain(CALENDAR, datetime(2024, 3, 1, 20, 0, tzinfo=american), natural(1)).due_date


@pytest.mark.parametrize("day", ["1986-05-04", "1988-04-10", "1991-09-15", "2024-03-31"])
def test_no_daylight_saving_ever(day: str) -> None:
    """Old cases of the daylight-saving years would end an hour off."""
    start = at(f"{day}T00:30")
    assert timedelta(hours=24) == deadline(CALENDAR, start, hours(24)) - start
    assert timedelta(hours=8) == deadline(CALENDAR, start, natural(30)).utcoffset()


@pytest.mark.parametrize(
    ("start", "term", "due"),
    [
        ("2024-01-31", months(1), "2024-02-29"),
        ("2023-01-31", months(1), "2023-02-28"),
        ("2024-03-31", months(1), "2024-04-30"),
        ("2024-01-30", months(1), "2024-02-29"),
        ("2024-01-29", months(1), "2024-02-29"),
        ("2024-01-28", months(1), "2024-02-28"),
        ("2024-08-31", months(6), "2025-02-28"),
        ("2024-12-15", months(1), "2025-01-15"),
        ("2024-11-30", months(3), "2025-02-28"),
        ("2024-02-29", Term(1, Unit.YEARS), "2025-02-28"),
        ("2024-02-29", Term(4, Unit.YEARS), "2028-02-29"),
        ("2096-02-29", Term(4, Unit.YEARS), "2100-02-28"),
        ("2023-12-31", Term(2, Unit.YEARS), "2025-12-31"),
    ],
)
def test_months_and_years_end_on_the_corresponding_day(start: str, term: Term, due: str) -> None:
    """Review windows in months would close a day early or spill into the next month."""
    found = explain(CALENDAR, at(f"{start}T15:00"), term)
    clipped = date.fromisoformat(start).day != date.fromisoformat(due).day
    assert date.fromisoformat(due) == found.due_date
    assert clipped == (StepCode.MONTH_CLIPPED in codes(found))


@given(instants, st.integers(1, 100))
def test_years_are_twelve_months(start: datetime, amount: int) -> None:
    """A one-year evaluation and a twelve-month sanction would end on different days."""
    assert deadline(CALENDAR, start, months(12 * amount)) == deadline(CALENDAR, start, Term(amount, Unit.YEARS))


def test_minutes_and_hours_end_at_an_exact_instant_even_at_night() -> None:
    """The incident clocks (30 min, 1 h, 2 h) would wait for morning or for Monday."""
    start = at("2024-02-10T23:45:30")
    assert at("2024-02-11T00:15:30") == deadline(CALENDAR, start, Term(30, Unit.MINUTES), roll=NEXT)
    found = explain(CALENDAR, start, hours(2), roll=NEXT)
    assert at("2024-02-11T01:45:30") == found.due
    assert date(2024, 2, 11) == found.due_date
    assert date(2024, 2, 10) == explain(CALENDAR, at("2024-02-10T22:00"), hours(2)).due_date


@pytest.mark.parametrize(
    ("start", "amount", "due"),
    [
        ("2024-02-08T09:00", 2, "2024-02-08T11:00"),
        ("2024-02-08T11:00", 2, "2024-02-08T15:00"),
        ("2024-02-08T11:00", 1, "2024-02-08T12:00"),
        ("2024-02-08T12:30", 1, "2024-02-08T15:00"),
        ("2024-02-08T05:00", 7, "2024-02-08T17:30"),
        ("2024-02-08T17:30", 1, "2024-02-09T09:30"),
        ("2024-02-09T17:00", 1, "2024-02-18T09:00"),
        ("2024-02-12T10:00", 14, "2024-02-19T17:30"),
    ],
)
def test_working_hours_run_in_office_hours_only(start: str, amount: int, due: str) -> None:
    """Grid workers' tickets would fall due at lunch, at night or in the holidays."""
    assert at(due) == deadline(CALENDAR, at(start), working_hours(amount))


def test_working_hours_are_a_setting() -> None:
    """A county without lunch break could not set its own hours."""
    through = WorkingHours(time(9), time(12), time(12), time(17))
    assert at("2024-02-08T16:00") == deadline(CALENDAR, at("2024-02-08T09:00"), working_hours(7), hours=through)
    with pytest.raises(ValueError, match="opens < lunch_from"):
        WorkingHours(opens=time(13))
    with pytest.raises(ValueError, match="without tzinfo"):
        WorkingHours(opens=time(8, 30, tzinfo=BEIJING))


@pytest.mark.parametrize("unit", Unit)
def test_terms_out_of_range_are_refused(unit: Unit) -> None:
    """A typing slip would give a deadline at once or never."""
    for amount in (0, -1, 10**9):
        with pytest.raises(ValueError, match="amount must be 1 to"):
            Term(amount, unit)


def test_ends_beyond_the_supported_range_are_refused() -> None:
    """A stray date would crash with an overflow instead of a clear refusal."""
    for term in (natural(1000), working(1000), months(100), hours(10_000), working_hours(5000)):
        with pytest.raises(ValueError, match="1949-10-01"):
            explain(CALENDAR, at("2199-12-01T09:00"), term)
        if term.unit is not Unit.WORKING_HOURS:
            with pytest.raises(ValueError, match="1949-10-01"):
                explain_before(CALENDAR, at("1949-10-15T09:00"), term)
    for extreme in (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)):
        with pytest.raises(ValueError, match="start must lie between"):
            explain(CALENDAR, extreme, natural(1))


@pytest.mark.parametrize("name", ["start", "event", "pause.since", "pause.until"])
def test_naive_instants_are_refused_by_name(name: str) -> None:
    """A caller would get a date shifted by its server's time zone without notice."""
    naive, aware = datetime(2024, 2, 8, 9), at("2024-02-07T09:00")  # noqa: DTZ001
    with pytest.raises(ValueError, match=f"^{name} must be an aware datetime"):
        match name:
            case "start":
                explain(CALENDAR, naive, natural(1))
            case "event":
                explain_before(CALENDAR, naive, natural(1))
            case "pause.since":
                Pause(naive, aware)
            case _:
                Pause(aware, naive)


def test_beijing_converts_aware_instants() -> None:
    """Due times would be shown in the zone of the caller."""
    assert beijing("at", datetime(2024, 2, 8, 9, tzinfo=UTC)).isoformat() == "2024-02-08T17:00:00+08:00"


# Rolling


@pytest.mark.parametrize(
    ("start", "term", "kept", "rolled"),
    [
        ("2024-01-31", natural(10), "2024-02-10", "2024-02-18"),  # first day of Spring Festival; works Sunday
        ("2024-02-01", natural(10), "2024-02-11", "2024-02-18"),
        ("2024-02-17", natural(1), "2024-02-18", "2024-02-18"),  # an adjusted Sunday stays
        ("2024-05-04", months(1), "2024-06-04", "2024-06-04"),
        ("2024-05-08", months(1), "2024-06-08", "2024-06-11"),
        ("2023-05-01", Term(1, Unit.YEARS), "2024-05-01", "2024-05-06"),
    ],
)
def test_end_on_a_day_off_follows_the_setting(start: str, term: Term, kept: str, rolled: str) -> None:
    """An applicant would lose, or a body gain, days that the setting does not grant."""
    start_at = at(f"{start}T09:00")
    assert date.fromisoformat(kept) == explain(CALENDAR, start_at, term).due_date
    found = explain(CALENDAR, start_at, term, roll=NEXT)
    assert date.fromisoformat(rolled) == found.due_date
    assert (kept != rolled) == (StepCode.ROLLED in codes(found))


def test_roll_skips_days_on_which_the_clock_stands_still() -> None:
    """A term not yet over when the pause began would end inside the pause."""
    stop = pause("2024-02-12T09:00", "2024-02-20T09:00")
    found = explain(CALENDAR, at("2024-01-31T09:00"), natural(10), roll=NEXT, pauses=[stop])
    assert date(2024, 2, 20) == found.due_date


@given(instants, small_terms, rolls)
def test_roll_only_moves_later_and_to_a_working_day(start: datetime, term: Term, roll: RollRule) -> None:
    """Rolling would shorten somebody's term or end it on a holiday."""
    kept, found = explain(CALENDAR, start, term), explain(CALENDAR, start, term, roll=roll)
    assert kept.due <= found.due
    if roll is NEXT and term.unit in (Unit.NATURAL_DAYS, Unit.MONTHS, Unit.YEARS):
        assert is_worked(found.due_date)


# Pauses


def test_pause_within_one_day_changes_no_day_clock() -> None:
    """Short interruptions would add whole days to a term."""
    stop = pause("2024-03-05T09:00", "2024-03-05T18:00")
    assert date(2024, 3, 11) == explain(CALENDAR, at("2024-03-01"), natural(10), pauses=[stop]).due_date


def test_pause_stops_working_days_but_not_twice() -> None:
    """Weekends and holidays inside a pause would be granted a second time."""
    stop = pause("2024-02-08T12:00", "2024-02-20T12:00")
    found = explain(CALENDAR, at("2024-02-07T09:00"), working(3), pauses=[stop])
    assert date(2024, 2, 22) == found.due_date
    assert codes(found) == [StepCode.START_DAY, StepCode.TERM, StepCode.DAYS_PAUSED, StepCode.DUE]
    step = only(found, StepCode.DAYS_PAUSED)
    assert (date(2024, 2, 8), date(2024, 2, 19)) == (step.first, step.last)


def test_pause_before_the_start_or_after_the_end_is_without_effect() -> None:
    """A past or late suspension would prolong a term that it never touched."""
    outside = [pause("2024-01-01", "2024-03-01T08:00"), pause("2024-03-12", "2024-04-01")]
    for term in (natural(10), working(6), hours(240), working_hours(40)):
        plain = explain(CALENDAR, at("2024-03-01T08:00"), term)
        assert plain == explain(CALENDAR, at("2024-03-01T08:00"), term, pauses=outside)


def test_working_hours_resume_when_the_pause_ends() -> None:
    """A ticket waiting for its reporter would fall due while it waits."""
    stop = pause("2024-02-08T10:00", "2024-02-19T15:00")
    found = explain(CALENDAR, at("2024-02-08T09:00"), working_hours(2), pauses=[stop])
    assert at("2024-02-19T16:00") == found.due
    assert StepCode.CLOCK_PAUSED in codes(found)


def test_start_inside_a_pause_waits_for_its_end() -> None:
    """A case opened while suspended would be overdue before it may begin."""
    stop = pause("2024-03-01", "2024-03-05T10:00")
    assert at("2024-03-05T12:00") == deadline(CALENDAR, at("2024-03-02"), hours(2), pauses=[stop])
    assert at("2024-03-05T15:00") == deadline(CALENDAR, at("2024-03-02"), working_hours(3), pauses=[stop])
    assert date(2024, 3, 6) == explain(CALENDAR, at("2024-03-02"), natural(2), pauses=[stop]).due_date


@given(
    instants,
    st.integers(1, 2000),
    st.lists(st.tuples(st.integers(-5000, 90_000), st.integers(1, 20_000)), min_size=1, max_size=4),
)
def test_pauses_lengthen_hour_terms_by_exactly_the_time_stopped(
    start: datetime, amount: int, gaps: list[tuple[int, int]]
) -> None:
    """Time would be lost or won with every suspension."""
    pauses = [
        Pause(start + timedelta(minutes=since), start + timedelta(minutes=since + length)) for since, length in gaps
    ]
    due = deadline(CALENDAR, start, hours(amount), pauses=pauses)
    stopped = {
        minute
        for since, length in gaps
        for minute in range(max(since, 0), since + length)
        if start + timedelta(minutes=minute) < due
    }
    assert timedelta(hours=amount) == due - start - timedelta(minutes=len(stopped))


@given(
    instants,
    st.one_of(st.builds(natural, st.integers(1, 90)), st.builds(months, st.integers(1, 6))),
    st.data(),
)
def test_one_pause_lengthens_a_day_term_by_exactly_its_days(start: datetime, term: Term, data: st.DataObject) -> None:
    """Suspended days would be counted against the unit, or given twice."""
    plain = explain(CALENDAR, start, term).due_date
    length = (plain - start.date()).days
    since = datetime.combine(start.date(), time(15), BEIJING) + timedelta(days=data.draw(st.integers(1, length)))
    stopped_days = data.draw(st.integers(0, 400))
    until = datetime.combine(since.date(), time(15, 30), BEIJING) + timedelta(days=stopped_days)
    found = explain(CALENDAR, start, term, pauses=[Pause(since, until)])
    assert timedelta(days=stopped_days) == found.due_date - plain


@given(instants, st.integers(1, 90), st.integers(1, 90), st.integers(0, 60))
def test_one_pause_lengthens_a_working_day_term_by_its_working_days(
    start: datetime, amount: int, since_days: int, stopped_days: int
) -> None:
    """Suspended working days would be counted against the unit, or given twice."""
    since = datetime.combine(start.date() + timedelta(days=since_days), time(9), BEIJING)
    plain = explain(CALENDAR, start, working(amount)).due_date
    stop = Pause(since, since + timedelta(days=stopped_days, minutes=1))
    found = explain(CALENDAR, start, working(amount), pauses=[stop]).due_date
    stopped = sum(is_worked(since.date() + timedelta(days=offset)) for offset in range(stopped_days))
    expected = amount + stopped if since.date() <= plain else amount
    assert found == explain(CALENDAR, start, working(expected)).due_date


@given(instants, small_terms, st.integers(1, 60), st.integers(1, 60), st.integers(0, 90), rolls)
def test_splitting_a_pause_changes_nothing(
    start: datetime, term: Term, first: int, second: int, offset: int, roll: RollRule
) -> None:
    """Two decisions to suspend in a row would cost more or less than one."""
    since = start + timedelta(days=offset)
    middle, until = since + timedelta(hours=7 * first), since + timedelta(hours=7 * (first + second))
    whole = explain(CALENDAR, start, term, pauses=[Pause(since, until)], roll=roll)
    parts = [Pause(middle, until), Pause(since, middle)]
    assert whole == explain(CALENDAR, start, term, pauses=parts, roll=roll)


def test_pause_that_begins_when_the_hours_are_over_is_without_effect() -> None:
    """A term already expired would be revived by suspending it on the dot."""
    stop = pause("2024-03-01T11:00", "2024-03-02T11:00")
    found = explain(CALENDAR, at("2024-03-01T09:00"), hours(2), pauses=[stop])
    assert at("2024-03-01T11:00") == found.due
    assert StepCode.CLOCK_PAUSED not in codes(found)


def test_touching_pauses_are_told_as_one() -> None:
    """A reader would see two suspensions where the clock stood still throughout."""
    touching = [pause("2024-03-01T10:00", "2024-03-01T15:00"), pause("2024-03-01T15:00", "2024-03-02T10:00")]
    step = only(explain(CALENDAR, at("2024-03-01T09:00"), hours(2), pauses=touching), StepCode.CLOCK_PAUSED)
    assert (at("2024-03-01T10:00"), at("2024-03-02T10:00")) == (step.at, step.until)
    same_day = [pause("2024-03-02T10:00", "2024-03-05T09:00"), pause("2024-03-05T12:00", "2024-03-08T09:00")]
    for term in (natural(5), working(5)):
        step = only(explain(CALENDAR, at("2024-03-01T09:00"), term, pauses=same_day), StepCode.DAYS_PAUSED)
        assert (date(2024, 3, 2), date(2024, 3, 7)) == (step.first, step.last)


def test_empty_or_reversed_pauses_are_refused() -> None:
    """A suspension entered the wrong way round would be ignored in silence."""
    for until in ("2024-03-01", "2024-02-01"):
        with pytest.raises(ValueError, match=r"later than pause\.since"):
            pause("2024-03-01", until)


# Extensions


def test_extension_counts_on_from_the_unrolled_end_and_rolls_once() -> None:
    """Holidays between term and extension would be granted twice."""
    found = explain(CALENDAR, at("2024-01-31T09:00"), natural(10), extensions=[natural(5)], roll=NEXT)
    assert date(2024, 2, 18) == found.due_date
    found = explain(CALENDAR, at("2024-01-31T09:00"), natural(10), extensions=[natural(15)], roll=NEXT)
    assert date(2024, 2, 26) == found.due_date  # 25 natural days, a Sunday, moved on


def test_month_extensions_keep_the_original_day() -> None:
    """A short February would shorten an extension for good."""
    start = at("2024-01-31T09:00")
    found = explain(CALENDAR, start, months(1), extensions=[months(1)])
    assert date(2024, 3, 31) == found.due_date
    stop = pause("2024-02-10", "2024-02-13")
    found = explain(CALENDAR, start, months(1), extensions=[months(1)], pauses=[stop])
    assert date(2024, 4, 3) == found.due_date


def test_extensions_may_change_the_unit() -> None:
    """A working-day term could not be extended by natural days, hours or months."""
    start = at("2024-02-08T09:00")
    assert date(2024, 3, 16) == explain(CALENDAR, start, working(15), extensions=[natural(10)]).due_date
    assert date(2024, 4, 6) == explain(CALENDAR, start, working(15), extensions=[months(1)]).due_date
    assert at("2024-03-07T02:00") == deadline(CALENDAR, start, working(15), extensions=[hours(2)])
    assert at("2024-02-10T00:00") == deadline(CALENDAR, start, hours(2), extensions=[natural(1)])


def test_months_after_another_unit_count_from_the_new_end() -> None:
    """Months granted after days would be as long as the first month, not as the granted one."""
    found = explain(CALENDAR, at("2024-01-15T09:00"), months(1), extensions=[natural(20), months(1)])
    assert date(2024, 4, 6) == found.due_date


@given(instants, st.sampled_from([Unit.NATURAL_DAYS, Unit.WORKING_DAYS, Unit.HOURS, Unit.MONTHS]), st.data())
def test_extension_of_the_same_unit_equals_one_longer_term(start: datetime, unit: Unit, data: st.DataObject) -> None:
    """60 days and an extension of 30 would not be 90 days."""
    first, second = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 60))
    extended = deadline(CALENDAR, start, Term(first, unit), extensions=[Term(second, unit)])
    assert deadline(CALENDAR, start, Term(first + second, unit)) == extended


# Counting back from an event


@pytest.mark.parametrize(
    ("event", "term", "last_day"),
    [
        ("2024-02-20", working(7), "2024-02-05"),  # 19, 18 worked; then 9, 8, 7, 6, 5 before the festival
        ("2024-03-31", months(1), "2024-02-29"),
        ("2024-03-20", natural(10), "2024-03-10"),
        ("2024-02-29", Term(1, Unit.YEARS), "2023-02-28"),
    ],
)
def test_counting_back_gives_the_last_day_early_enough(event: str, term: Term, last_day: str) -> None:
    """A hearing notice or an extension request would be sent too late."""
    found = explain_before(CALENDAR, at(f"{event}T09:00"), term)
    assert date.fromisoformat(last_day) == found.due_date
    assert found.steps[-1] == Step(StepCode.DUE, first=found.due_date, at=found.due)


def test_counting_back_in_hours_is_exact_and_working_hours_are_refused() -> None:
    """Power would be cut less than 24 hours after the notice."""
    assert at("2024-03-01T09:00") == explain_before(CALENDAR, at("2024-03-02T09:00"), hours(24)).due
    with pytest.raises(ValueError, match="working hours cannot be counted back"):
        explain_before(CALENDAR, at("2024-03-02T09:00"), working_hours(2))


def test_counting_back_explains_days_in_order() -> None:
    """A reader would meet a festival that ends before it begins."""
    found = explain_before(CALENDAR, at("2024-02-20T09:00"), working(7))
    step = only(found, StepCode.HOLIDAY_SKIPPED)
    assert (date(2024, 2, 10), date(2024, 2, 17), ("春节",)) == (step.first, step.last, step.names)


@given(instants, st.integers(1, 60))
def test_counting_back_is_the_reverse_of_counting_on(event: datetime, amount: int) -> None:
    """Notice given on the last day would still be found too short."""
    last_day = explain_before(CALENDAR, event, working(amount)).due_date
    assert amount == worked_between(last_day - timedelta(days=1), event.date() - timedelta(days=1))
    assert is_worked(last_day)


# Monotony


@given(instants, small_terms, st.integers(0, 100_000), rolls)
def test_later_start_is_never_due_earlier(start: datetime, term: Term, minutes: int, roll: RollRule) -> None:
    """Filing earlier would be punished."""
    later = start + timedelta(minutes=minutes)
    assert deadline(CALENDAR, start, term, roll=roll) <= deadline(CALENDAR, later, term, roll=roll)


@given(instants, small_terms, rolls)
def test_longer_terms_are_never_due_earlier(start: datetime, term: Term, roll: RollRule) -> None:
    """A more generous policy would end sooner."""
    longer = Term(term.amount + 1, term.unit)
    due = deadline(CALENDAR, start, term, roll=roll)
    assert start < due <= deadline(CALENDAR, start, longer, roll=roll)


# Explanations


@given(
    instants,
    small_terms,
    st.lists(small_terms, max_size=2),
    rolls,
    st.integers(1, 2000),
    st.integers(1, 2000),
)
def test_last_step_is_the_due_instant_and_every_step_has_words(
    start: datetime, term: Term, extensions: list[Term], roll: RollRule, gap_hours: int, length_hours: int
) -> None:
    """The explanation shown to a unit would end in another date than its timer."""
    since = start + timedelta(hours=gap_hours)
    pauses = [Pause(since, since + timedelta(hours=length_hours))]
    found = explain(CALENDAR, start, term, roll=roll, pauses=pauses, extensions=extensions)
    assert found.steps[-1] == Step(StepCode.DUE, first=found.due_date, at=found.due)
    assert found.provisional == (StepCode.PROVISIONAL in codes(found))
    assert codes(found).count(StepCode.EXTENDED) == len(extensions)
    for step in found.steps:
        for words in (describe(step, "zh-CN"), describe(step, "en")):
            assert words
            assert "None" not in words
            assert "{" not in words


@settings(max_examples=60)
@given(instants, st.integers(1, 120), st.integers(0, 200), st.integers(1, 900))
def test_steps_account_for_every_day(start: datetime, amount: int, gap: int, length: int) -> None:
    """An auditor adding up the explanation would not arrive at the due date."""
    since = start + timedelta(days=gap)
    pauses = [Pause(since, since + timedelta(hours=length))]
    found = explain(CALENDAR, start, working(amount), pauses=pauses)
    skipped = [step for step in found.steps if step.first and step.last]
    uncounted = sum((step.last - step.first).days + 1 for step in skipped if step.first and step.last)
    assert (found.due_date - start.date()).days == amount + uncounted
    spans = [(step.first, step.last) for step in skipped if step.first and step.last]
    assert spans == sorted(spans)


@pytest.mark.parametrize(
    ("start", "begins"),
    [
        ("2024-02-08T05:00", "2024-02-08T08:30"),
        ("2024-02-08T12:30", "2024-02-08T14:00"),
        ("2024-02-09T18:00", "2024-02-18T08:30"),
        ("2024-02-08T08:30", None),
        ("2024-02-08T09:00", None),
    ],
)
def test_start_outside_working_hours_is_explained(start: str, begins: str | None) -> None:
    """A grid worker could not tell why the clock seems to start late."""
    found = explain(CALENDAR, at(start), working_hours(1))
    waited = [step.at for step in found.steps if step.code is StepCode.WAITED_FOR_HOURS]
    assert waited == ([at(begins)] if begins else [])


def test_explanation_in_chinese() -> None:
    """People in the units could not follow how their date came about."""
    found = explain(CALENDAR, at("2024-02-08T10:00"), working(15))
    assert [describe(step, "zh-CN") for step in found.steps] == [
        "起算日 2024-02-08 不计入",
        "期限为 15 个工作日",
        "跳过 2024-02-10 至 2024-02-17（春节假期）",
        "2024-02-18 调休上班（春节），计入",
        "跳过 2024-02-24 至 2024-02-25（周末）",
        "跳过 2024-03-02 至 2024-03-03（周末）",
        "截止于 2024-03-06 24:00（北京时间）",
    ]


def test_explanation_in_english() -> None:
    """Foreign auditors could not follow how a date came about."""
    found = explain(CALENDAR, at("2024-09-27T10:00"), working(5), extensions=[working(1)])
    assert [describe(step, "en") for step in found.steps] == [
        "The start day 2024-09-27 is not counted",
        "The term is 5 working days",
        "Skipped 2024-09-28 (weekend)",
        "2024-09-29 is an adjusted workday (National Day), counted",
        "Skipped 2024-10-01 to 2024-10-07 (National Day holiday)",
        "Extended by 1 working day",
        "Due by 2024-10-11 24:00 (Beijing time)",
    ]


def test_days_of_an_entered_notice_are_told_without_a_name() -> None:
    """The explanation would have empty brackets where the built-in years name the festival."""
    off, worked = frozenset({date(2031, 10, 1)}), frozenset({date(2031, 10, 11)})
    found = explain(WorkCalendar({2031: HolidayYear(2031, off, worked)}), at("2031-09-30T10:00"), working(8))
    told = {locale: [describe(step, locale) for step in found.steps] for locale in ("zh-CN", "en")}
    assert {"跳过 2031-10-01（假期）", "2031-10-11 调休上班，计入"} <= set(told["zh-CN"])
    assert {"Skipped 2031-10-01 (holiday)", "2031-10-11 is an adjusted workday, counted"} <= set(told["en"])


def test_weekend_joined_to_a_holiday_is_one_run() -> None:
    """A reader would see three gaps where people had one long weekend."""
    found = explain(CALENDAR, at("2019-06-06T09:00"), working(1))
    step = only(found, StepCode.HOLIDAY_SKIPPED)
    assert (date(2019, 6, 7), date(2019, 6, 9), ("端午节",)) == (step.first, step.last, step.names)
    plain = WorkCalendar({2019: HolidayYear(2019, frozenset({date(2019, 6, 7)}), frozenset())})
    unnamed = only(explain(plain, at("2019-06-06T09:00"), working(1)), StepCode.HOLIDAY_SKIPPED)
    assert unnamed.weekend_joined
    assert unnamed.names == ()


def test_two_festivals_in_one_run_are_both_named() -> None:
    """One of two festivals that fall together would vanish from the explanation."""
    off = {date(2020, 10, 1): "国庆节、中秋节", date(2020, 10, 2): "国庆节", date(2020, 10, 5): "调休日"}
    calendar = WorkCalendar({2020: HolidayYear(2020, frozenset(off), frozenset(), off)})
    step = only(explain(calendar, at("2020-09-30T09:00"), working(1)), StepCode.HOLIDAY_SKIPPED)
    assert (date(2020, 10, 1), date(2020, 10, 5)) == (step.first, step.last)
    assert step.names == ("国庆节", "中秋节", "调休日")
    assert describe(step, "zh-CN").endswith("（国庆节、中秋节、调休日假期，含周末）")
    assert describe(step, "en").endswith("(National Day, Mid-autumn Festival, 调休日 holiday and weekend)")


@pytest.mark.parametrize(
    ("step", "chinese", "english"),
    [
        (
            Step(StepCode.PROVISIONAL, year=2027),
            "2027 年放假安排尚未公布，结果为暂定，公布后重新推算",
            "The holiday notice for 2027 is not yet published; provisional until it is",
        ),
        (
            Step(StepCode.ROLLED, date(2024, 2, 10), date(2024, 2, 18)),
            "2024-02-10 为休息日，顺延至 2024-02-18",
            "2024-02-10 is a day off, moved to 2024-02-18",
        ),
        (
            Step(StepCode.DAYS_PAUSED, date(2024, 2, 8), date(2024, 2, 19)),
            "2024-02-08 至 2024-02-19 中止计时，不计入",
            "Clock stopped 2024-02-08 to 2024-02-19, not counted",
        ),
        (
            Step(StepCode.CLOCK_PAUSED, at=at("2024-02-08T10:00"), until=at("2024-02-08T10:00:30")),
            "2024-02-08 10:00 至 2024-02-08 10:00:30 中止计时",
            "Clock stopped from 2024-02-08 10:00 to 2024-02-08 10:00:30",
        ),
        (
            Step(
                StepCode.HOLIDAY_SKIPPED,
                date(2024, 4, 4),
                date(2024, 4, 7),
                names=("清明节",),
                weekend_joined=True,
            ),
            "跳过 2024-04-04 至 2024-04-07（清明节假期，含周末）",
            "Skipped 2024-04-04 to 2024-04-07 (Tomb-sweeping Day holiday and weekend)",
        ),
        (Step(StepCode.EXTENDED, term=natural(30)), "延长 30 日", "Extended by 30 days"),
        (
            Step(StepCode.COUNTED_BACK, first=date(2024, 2, 20), term=working(7)),
            "自 2024-02-20 向前推算 7 个工作日",
            "7 working days counted back from 2024-02-20",
        ),
        (
            Step(StepCode.DUE, first=date(2024, 2, 8), at=at("2024-02-08T17:30")),
            "截止于 2024-02-08 17:30（北京时间）",
            "Due by 2024-02-08 17:30 (Beijing time)",
        ),
        (
            Step(StepCode.MONTH_CLIPPED, first=date(2024, 2, 29)),
            "当月没有对应日，取月末日 2024-02-29",
            "No corresponding day in that month; its last day 2024-02-29 is taken",
        ),
        (
            Step(StepCode.WAITED_FOR_HOURS, at=at("2024-02-08T08:30")),
            "非工作时间不计，自 2024-02-08 08:30 开始计时",
            "Outside working hours; the clock runs from 2024-02-08 08:30",
        ),
        (
            Step(StepCode.START_INSTANT, at=at("2024-02-08T08:30")),
            "自 2024-02-08 08:30 起算",
            "The clock starts at 2024-02-08 08:30",
        ),
    ],
)
def test_words_of_each_step(step: Step, chinese: str, english: str) -> None:
    """One of the two languages would show a wrong or empty reason."""
    assert chinese == describe(step, "zh-CN")
    assert english == describe(step, "en")


@pytest.mark.parametrize("unit", Unit)
def test_every_unit_has_words(unit: Unit) -> None:
    """A clock's length would be shown as a code."""
    assert describe_term(Term(1, unit), "zh-CN").startswith("1 ")
    assert describe_term(Term(2, unit), "en") == describe_term(Term(1, unit), "en").replace("1", "2") + "s"


def test_unknown_locale_is_refused() -> None:
    """A typing slip in a locale would silently show the other language."""
    with pytest.raises(ValueError, match="locale must be one of"):
        describe(Step(StepCode.PROVISIONAL, year=2027), "fr")  # type: ignore[arg-type]


# Provisional results


def test_only_results_that_depend_on_an_unpublished_notice_are_provisional() -> None:
    """Units would be warned of changes that cannot come, or not of those that can."""
    calendar = WorkCalendar({year: notice for year, notice in seed_notices().items() if year <= 2026})
    start = at("2026-12-20T09:00")
    assert not explain(calendar, start, natural(30)).provisional
    assert not explain(calendar, start, months(2)).provisional
    assert not explain(calendar, start, hours(900)).provisional
    assert not explain(calendar, start, working(4)).provisional
    assert explain(calendar, start, working(5)).provisional
    assert explain(calendar, start, working_hours(70)).provisional
    assert explain(calendar, start, natural(30), roll=NEXT).provisional
    assert explain_before(calendar, at("2027-03-01T09:00"), working(5)).provisional
    found = explain(calendar, start, working(300))
    awaited = [step.year for step in found.steps if step.code is StepCode.PROVISIONAL]
    assert awaited == [2027, 2028]
    assert (found.awaited_notice, explain(calendar, start, working(4)).awaited_notice) == (2027, 0)


def test_published_notice_changes_a_provisional_date_and_settles_it() -> None:
    """A date would keep its warning, or not move, after the notice came."""
    before = WorkCalendar({year: notice for year, notice in seed_notices().items() if year <= 2023})
    start = at("2024-02-08T09:00")
    provisional, settled = explain(before, start, working(15)), explain(CALENDAR, start, working(15))
    assert (date(2024, 2, 29), True) == (provisional.due_date, provisional.provisional)
    assert (date(2024, 3, 6), False) == (settled.due_date, settled.provisional)
