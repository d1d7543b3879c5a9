"""Annual task lists: the days of a recurrence, who may act on a task, lights, and what a list's filter means."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from dateutil.rrule import rrulestr
from hypothesis import given
from hypothesis import strategies as st

from dutyloop.duty.v1 import duty_pb2
from dutyloop.kit.v1 import kit_pb2
from dutyloop.plan.v1 import plan_pb2
from services.kit.dates import end_of
from services.kit.recurrence import is_recurrence, occurrences
from services.plan import rules
from tests.refusals import in_short, refusal

NOW = datetime(2025, 6, 15, 4, 0, tzinfo=UTC)
HOLDER = rules.Actor("people/h", ("posts/p",), ("units/u",))
TASK = rules.TaskStanding(
    name="tasks/t",
    etag="3",
    state="OPEN",
    list_state="PUBLISHED",
    unit="units/u",
    post="posts/p",
    submitters=(),
    expected_evidence=("RECORD",),
    evidence_types=(),
)


@pytest.mark.parametrize(
    ("rule", "year", "days"),
    [
        ("FREQ=YEARLY", 2025, ["01-01"]),
        ("FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=31", 2025, ["12-31"]),
        ("FREQ=YEARLY;BYMONTH=3,6,9,12;BYMONTHDAY=-1", 2025, ["03-31", "06-30", "09-30", "12-31"]),
        ("FREQ=MONTHLY;INTERVAL=3;BYMONTHDAY=10", 2025, ["01-10", "04-10", "07-10", "10-10"]),
        ("FREQ=MONTHLY;INTERVAL=6", 2025, ["01-01", "07-01"]),
        ("FREQ=MONTHLY;BYMONTHDAY=31", 2025, ["01-31", "03-31", "05-31", "07-31", "08-31", "10-31", "12-31"]),
        ("FREQ=WEEKLY;INTERVAL=13;BYDAY=MO", 2025, ["03-31", "06-30", "09-29", "12-29"]),
        ("FREQ=DAILY;COUNT=2", 2025, ["01-01", "01-02"]),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", 2024, ["02-29"]),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", 2025, []),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=-1", 2024, ["02-29"]),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=-1", 2025, ["02-28"]),
        ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1;BYMONTH=5", 2025, ["05-30"]),
    ],
)
def test_a_rule_gives_its_days(rule: str, year: int, days: list[str]) -> None:
    """Holders would be asked for their yearly, quarterly or monthly duties on other days than the list says."""
    assert is_recurrence(rule)
    assert [day.isoformat() for day in occurrences(rule, year)] == [f"{year}-{day}" for day in days]


@pytest.mark.parametrize(
    ("rule", "common", "leap"), [("FREQ=DAILY", 365, 366), ("FREQ=WEEKLY", 53, 53), ("FREQ=MONTHLY", 12, 12)]
)
def test_a_rule_fills_the_year(rule: str, common: int, leap: int) -> None:
    """A leap year would lose its 366th patrol, or a year its last week."""
    assert (len(occurrences(rule, 2025)), len(occurrences(rule, 2024))) == (common, leap)


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=DAILY;UNTIL=20251231",
        "FREQ=HOURLY",
        "FREQ=DAILY;BYHOUR=8",
        "FREQ=YEARLY;BYEASTER=0",
        "FREQ=YEARLY;INTERVAL=2",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=YEARLY;BYMONTH=13",
        "FREQ=WEEKLY;BYDAY=XX",
        "FREQ=DAILY;COUNT=0",
        "FREQ=DAILY;INTERVAL=-1",
        "FREQ=DAILY;INTERVAL=99999",
        "FREQ=DAILY;FREQ=DAILY",
        "FREQ=DAILY\nFREQ=DAILY",
        "RRULE:FREQ=DAILY",
        "DTSTART=20250101;FREQ=DAILY",
        "FREQ=DAILY;",
        "每月",
        "",
    ],
)
def test_a_rule_that_means_nothing_every_year_is_refused(rule: str) -> None:
    """An editor would learn only next year that a duty has silently stopped giving tasks."""
    assert not is_recurrence(rule)


@given(
    st.integers(1901, 2199),
    st.sampled_from(
        [
            "FREQ=YEARLY;BYWEEKNO=1,53;BYDAY=MO,SU",
            "FREQ=MONTHLY;BYDAY=-1FR",
            "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU",
            "FREQ=YEARLY;BYYEARDAY=-1,60,366",
        ]
    ),
)
def test_the_twin_year_gives_the_same_days(year: int, rule: str) -> None:
    """The short cut by a year with the same calendar would move somebody's deadlines."""
    first, last = datetime(year, 1, 1), datetime(year, 12, 31)  # noqa: DTZ001 (calendar days)
    assert occurrences(rule, year) == tuple(
        each.date() for each in rrulestr(rule, dtstart=first).between(first, last, inc=True)
    )


@given(st.text(alphabet="FREQ=YEALMONTHWKDIBS;,-0123456789", max_size=40))
def test_no_text_breaks_the_reading_of_rules(text: str) -> None:
    """One odd cell of a spreadsheet would break the import of the whole list."""
    assert is_recurrence(text) in (True, False)


def item(name: str, recurrence: str) -> rules.Item:
    """Return an item with a recurrence."""
    return rules.Item(f"dutyItems/{name}", "排查隐患", recurrence, 5, ("RECORD",))


def test_standing_duties_give_no_tasks() -> None:
    """Holders would find tasks without a date."""
    laid_out = rules.schedule([item("a", ""), item("b", "FREQ=MONTHLY")], 2025, date(2025, 1, 1))
    assert [each.name for each in laid_out.items] == ["dutyItems/b"]
    assert laid_out.task_count == 12


def test_tasks_start_with_the_effective_date() -> None:
    """A list that takes effect in July would make its holder overdue since January."""
    laid_out = rules.schedule([item("a", "FREQ=MONTHLY"), item("b", "FREQ=DAILY;COUNT=2")], 2025, date(2025, 7, 1))
    assert laid_out.task_count == 6
    assert min(day for _, day in laid_out.rule_days) == date(2025, 7, 1)


def test_items_of_one_rule_share_its_days() -> None:
    """A list of thousands of daily duties would send each day thousands of times to the database."""
    laid_out = rules.schedule([item(str(number), "FREQ=DAILY") for number in range(100)], 2025, date(2024, 1, 1))
    assert (laid_out.task_count, len(laid_out.rule_days)) == (36_500, 365)


def test_an_annual_list_is_bounded() -> None:
    """One careless list would fill the database and hold its locks for minutes."""
    items = [item(str(number), "FREQ=DAILY") for number in range(600)]
    refused = refusal(lambda: rules.schedule(items, 2025, date(2024, 1, 1)))
    assert refused == "an_annual_list_has_at_most_200000_tasks"


def source(**changes: object) -> duty_pb2.ResponsibilityList:
    """Return a published duty list, with changes."""
    found = duty_pb2.ResponsibilityList(
        name="responsibilityLists/a", kind=duty_pb2.LIST_KIND_DUTY, state=duty_pb2.LIST_STATE_PUBLISHED
    )
    found.effective_date.year = 2025
    for field, value in changes.items():
        setattr(found, field, value)
    return found


@pytest.mark.parametrize(
    ("of", "year", "refused"),
    [
        (source(), 2025, None),
        (source(kind=duty_pb2.LIST_KIND_NEGATIVE), 2025, "UNFIT_REFERENCE responsibility_list responsibilityLists/a"),
        (source(state=duty_pb2.LIST_STATE_DRAFT), 2025, "WRONG_STATE DRAFT generate_tasks"),
        (source(state=duty_pb2.LIST_STATE_SUPERSEDED), 2025, "WRONG_STATE SUPERSEDED generate_tasks"),
        (source(), 2024, "UNFIT_REFERENCE responsibility_list responsibilityLists/a"),
        (source(), 2023, "year out_of_range"),
        (source(), 2027, "year out_of_range"),
    ],
)
def test_tasks_come_from_a_duty_list_in_force(of: duty_pb2.ResponsibilityList, year: int, refused: str | None) -> None:
    """Holders would be given tasks by a list that nobody approved or that does not bind them that year."""
    assert refusal(lambda: rules.check_source(of, year, NOW)) == refused


@pytest.mark.parametrize(
    ("state", "person", "refused"),
    [
        ("DRAFT", "people/b", None),
        ("DRAFT", "people/a", "SEPARATION_OF_DUTIES people/a generate_tasks publish_annual_list"),
        ("PUBLISHED", "people/b", "WRONG_STATE PUBLISHED publish_annual_list"),
    ],
)
def test_who_generated_does_not_publish(state: str, person: str, refused: str | None) -> None:
    """One person alone could oblige a holder for a year."""
    assert refusal(lambda: rules.check_publication(state, "people/a", person)) == refused


@pytest.mark.parametrize(("percent", "taken"), [(-1, False), (0, True), (99, True), (100, False)])
def test_progress_is_short_of_completion(percent: int, taken: bool) -> None:
    """A task could be shown complete without evidence and without confirmation."""
    expected = None if taken else "progress_percent out_of_range"
    assert refusal(lambda: rules.check_progress(percent)) == expected


@pytest.mark.parametrize(
    ("task", "actor", "etag", "shown", "refused"),
    [
        (TASK, replace(HOLDER, posts=("posts/q",)), "", ("RECORD",), "a_task_is_reported_by_its_holder"),
        (
            replace(TASK, post=""),
            replace(HOLDER, units=("units/x",)),
            "",
            ("RECORD",),
            "a_task_is_reported_by_its_holder",
        ),
        (replace(TASK, list_state="DRAFT"), HOLDER, "", ("RECORD",), "WRONG_STATE DRAFT submit_completion"),
        (replace(TASK, state="SUBMITTED"), HOLDER, "", ("RECORD",), "WRONG_STATE SUBMITTED submit_completion"),
        (replace(TASK, state="DONE"), HOLDER, "", ("RECORD",), "WRONG_STATE DONE submit_completion"),
        (TASK, HOLDER, "2", ("RECORD",), "STALE_ETAG tasks/t"),
        (TASK, HOLDER, "", ("MEDIA",), "a_completion_shows_the_expected_evidence"),
    ],
)
def test_a_holder_is_told_why_nothing_happened(
    task: rules.TaskStanding, actor: rules.Actor, etag: str, shown: tuple[str, ...], refused: str
) -> None:
    """A holder would be left guessing why a report was not taken."""
    assert in_short(rules.holder_refusal(task, actor, "submit_completion", etag, shown)) == refused


@pytest.mark.parametrize(
    ("changes", "list_state", "actor", "etag", "shown", "refused"),
    [
        ({}, "PUBLISHED", HOLDER, "3", rules.MAX_EVIDENCE, None),
        ({"post": ""}, "PUBLISHED", HOLDER, "", 0, None),
        ({}, "PUBLISHED", replace(HOLDER, posts=("posts/q",)), "", 0, "a_task_is_reported_by_its_holder"),
        ({"post": ""}, "PUBLISHED", replace(HOLDER, units=()), "", 0, "a_task_is_reported_by_its_holder"),
        ({}, "DRAFT", HOLDER, "", 0, "WRONG_STATE DRAFT report_progress"),
        ({"state": plan_pb2.TASK_STATE_DONE}, "PUBLISHED", HOLDER, "", 0, "WRONG_STATE DONE report_progress"),
        ({}, "PUBLISHED", HOLDER, "2", 0, "STALE_ETAG tasks/t"),
        ({}, "PUBLISHED", HOLDER, "", rules.MAX_EVIDENCE + 1, "task_evidence_has_a_type_each"),
    ],
)
def test_progress_is_taken_from_the_holder_of_an_open_task(
    changes: dict[str, Any], list_state: str, actor: rules.Actor, etag: str, shown: int, refused: str | None
) -> None:
    """Somebody else could report on a holder's task, or on one that is over; or evidence pile up without end."""
    fields = {"name": "tasks/t", "etag": "3", "unit": "units/u", "post": "posts/p", "state": plan_pb2.TASK_STATE_OPEN}
    task = plan_pb2.Task(**{**fields, **changes})
    found = rules.report_refusal(task, list_state, actor, etag, shown)
    assert (found and in_short(found)) == refused


@pytest.mark.parametrize(
    ("state", "person", "etag", "refused"),
    [
        ("SUBMITTED", "people/a", "", "SEPARATION_OF_DUTIES people/a submit_completion confirm_completion"),
        ("SUBMITTED", "people/b", "", "SEPARATION_OF_DUTIES people/b submit_completion confirm_completion"),
        ("OPEN", "people/c", "", "WRONG_STATE OPEN confirm_completion"),
        ("SUBMITTED", "people/c", "9", "STALE_ETAG tasks/t"),
    ],
)
def test_who_ever_submitted_does_not_judge(state: str, person: str, etag: str, refused: str) -> None:
    """After a rejection two people could confirm each other's completion of one task."""
    task = replace(TASK, state=state, submitters=("people/a", "people/b"))
    found = rules.judge_refusal(task, rules.Actor(person), "confirm_completion", etag)
    assert in_short(found) == refused


DUE = datetime(2025, 6, 20, 16, 0, tzinfo=UTC)
"""The end of June 20th in Beijing."""


@pytest.mark.parametrize(
    ("state", "submitted", "now", "expected", "overdue"),
    [
        ("OPEN", None, DUE - timedelta(days=5, seconds=1), kit_pb2.LIGHT_GREEN, False),
        ("OPEN", None, DUE - timedelta(days=5), kit_pb2.LIGHT_YELLOW, False),
        ("OPEN", None, DUE - timedelta(seconds=1), kit_pb2.LIGHT_YELLOW, False),
        ("OPEN", None, DUE, kit_pb2.LIGHT_RED, True),
        ("SUBMITTED", DUE - timedelta(seconds=1), DUE + timedelta(days=9), kit_pb2.LIGHT_GREEN, False),
        ("SUBMITTED", DUE, DUE + timedelta(days=9), kit_pb2.LIGHT_RED, True),
        ("DONE", DUE + timedelta(days=1), DUE + timedelta(days=9), kit_pb2.LIGHT_UNSPECIFIED, False),
    ],
)
def test_lights_follow_state_and_time(
    state: str, submitted: datetime | None, now: datetime, expected: int, overdue: bool
) -> None:
    """A supervisor would press for what is in time, or overlook what is late."""
    seconds = (DUE.timestamp(), submitted.timestamp() if submitted else None, now.timestamp())
    assert rules.light(state, *seconds) == expected
    assert rules.is_overdue(state, *seconds) == overdue


@given(
    state=st.sampled_from(["OPEN", "SUBMITTED", "DONE"]),
    due=st.dates(date(2025, 6, 1), date(2025, 6, 30)),
    submitted_hours=st.integers(-24 * 20, 0),
    wanted=st.sampled_from([kit_pb2.LIGHT_GREEN, kit_pb2.LIGHT_YELLOW, kit_pb2.LIGHT_RED]),
)
def test_a_filter_finds_what_shows_the_light(state: str, due: date, submitted_hours: int, wanted: int) -> None:
    """A list filtered by red would miss tasks that show red, or show others."""
    submitted = NOW + timedelta(hours=submitted_hours) if state != "OPEN" else None
    end = end_of(due).timestamp()
    shows = rules.light(state, end, submitted.timestamp() if submitted else None, NOW.timestamp()) == wanted
    found = rules.task_filter("", wanted, None, NOW, overdue=False)
    assert found is not None
    late = submitted is not None and submitted.timestamp() >= end
    matches = (
        state in found.states
        and found.due_from <= due < found.due_before
        and (state != "OPEN" or due >= found.open_from)
        and (state != "SUBMITTED" or found.late is None or found.late == late)
    )
    assert matches == shows


def test_a_filter_nothing_can_match_is_known_beforehand() -> None:
    """Contradictory filters would cost a search through every task."""
    assert rules.task_filter("DONE", kit_pb2.LIGHT_RED, None, NOW, overdue=False) is None
    assert rules.task_filter("", kit_pb2.LIGHT_GREEN, None, NOW, overdue=True) is None
    assert rules.task_filter("", kit_pb2.LIGHT_YELLOW, date(2025, 1, 1), NOW, overdue=False) is None
    everything = rules.task_filter("", 0, None, NOW, overdue=False)
    assert everything is not None
    assert everything.matches_all
