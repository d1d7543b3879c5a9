"""Business days: calendar days of Beijing, their bounds, and how messages carry days and times.

Pure, so that workflows count by the same days as the services.
"""

from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any, Final, Protocol

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date

BEIJING: Final = timezone(timedelta(hours=8), "Asia/Shanghai")
"""Fixed: China has kept no summer time since 1991."""


class CalendarDay(Protocol):
    """A google.type.Date whose parts have been checked to form a day."""

    year: int
    month: int
    day: int


def beijing_date(instant: datetime) -> date:
    """Return the Beijing calendar day of an aware time."""
    return instant.astimezone(BEIJING).date()


def start_of(day: date) -> datetime:
    """Return the first instant of a Beijing calendar day, in UTC."""
    return datetime.combine(day, time.min, BEIJING).astimezone(UTC)


def end_of(day: date) -> datetime:
    """Return the first instant after a Beijing calendar day, in UTC."""
    return start_of(day + timedelta(days=1))


def last_day_before(due: datetime | None) -> str:
    """Return the last day of a term that ends before ``due``, for people to read; '' when none runs."""
    return "" if due is None else beijing_date(due - timedelta(microseconds=1)).isoformat()


def day_of(message: CalendarDay) -> date:
    """Return the day that a checked google.type.Date names."""
    return date(message.year, message.month, message.day)


def set_day(message: CalendarDay, day: date) -> None:
    """Set a google.type.Date in place."""
    message.year, message.month, message.day = day.year, day.month, day.day


def day_message(day: date) -> Date:
    """Return the protobuf form of a calendar day."""
    return Date(year=day.year, month=day.month, day=day.day)


def optional_day(message: Any, field: str) -> date | None:
    """Return a day field of a message, None when it is unset."""
    return day_of(getattr(message, field)) if message.HasField(field) else None


def timestamp(instant: datetime) -> Timestamp:
    """Return the protobuf form of an aware time."""
    stamp = Timestamp()
    stamp.FromDatetime(instant)
    return stamp


def optional_timestamp(instant: datetime | None) -> Timestamp | None:
    """Return the protobuf form of a time that may be absent."""
    return None if instant is None else timestamp(instant)


def time_of(stamp: Timestamp) -> datetime:
    """Return a timestamp as an aware time, in UTC."""
    return stamp.ToDatetime(tzinfo=UTC)


def optional_time(message: Any, field: str) -> datetime | None:
    """Return a timestamp field of a message as an aware time in UTC, None when it is unset."""
    return time_of(getattr(message, field)) if message.HasField(field) else None
