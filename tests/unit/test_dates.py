"""Business days: which day an instant lies in, where a day begins and ends, and how messages carry both."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dutyloop.hazard.v1 import hazard_pb2
from services.kit import dates

days = st.dates(min_value=date(1900, 1, 1), max_value=date(2199, 12, 31))
TODAY = date(2026, 3, 10)


@pytest.mark.parametrize(
    ("hour", "expected"),
    [("2026-03-09T15:59:59", date(2026, 3, 9)), ("2026-03-09T16:00:00", TODAY), ("2026-03-10T15:59:59", TODAY)],
)
def test_days_are_beijing_days(hour: str, expected: date) -> None:
    """Roles and terms would start and stop at eight in the morning."""
    assert dates.beijing_date(datetime.fromisoformat(hour).replace(tzinfo=UTC)) == expected


def test_a_day_lasts_from_midnight_to_midnight_in_beijing() -> None:
    """A term that ended at London's midnight would give or take eight hours from everybody."""
    assert dates.start_of(TODAY) == datetime(2026, 3, 9, 16, tzinfo=UTC)
    assert dates.end_of(TODAY) == datetime(2026, 3, 10, 16, tzinfo=UTC)


@given(days)
def test_every_instant_of_a_day_lies_in_it(day: date) -> None:
    """A task due on a day would turn red within it, or stay green after it."""
    last = dates.end_of(day) - timedelta(microseconds=1)
    assert dates.beijing_date(dates.start_of(day)) == day == dates.beijing_date(last)
    assert dates.last_day_before(dates.end_of(day)) == day.isoformat()


def test_closed_window_names_its_last_beijing_day() -> None:
    """People would read that the window closed a day after it did."""
    midnight_in_beijing = datetime(2026, 3, 31, 16, 0, tzinfo=UTC)
    assert dates.last_day_before(midnight_in_beijing) == "2026-03-31"
    assert dates.last_day_before(midnight_in_beijing + timedelta(microseconds=1)) == "2026-04-01"
    assert dates.last_day_before(None) == ""


@given(days)
def test_messages_carry_days_unchanged(day: date) -> None:
    """A deadline would be stored as another day than the one that was sent."""
    message = hazard_pb2.Extension(finish_date=dates.day_message(day))
    assert dates.optional_day(message, "finish_date") == day == dates.day_of(message.finish_date)
    dates.set_day(message.finish_date, TODAY)
    assert dates.day_of(message.finish_date) == TODAY


def test_messages_carry_times_as_utc_and_absence_as_none() -> None:
    """An unset term would read as one that ended in 1970, and turn every light red."""
    due = dates.end_of(TODAY)
    message = hazard_pb2.Hazard(due_time=dates.optional_timestamp(due.astimezone(dates.BEIJING)))
    read = dates.optional_time(message, "due_time")
    assert read == due
    assert read is not None
    assert read.tzinfo == UTC
    assert dates.optional_timestamp(None) is None
    assert dates.optional_time(message, "write_off_time") is None
    assert dates.optional_day(hazard_pb2.Extension(), "finish_date") is None
