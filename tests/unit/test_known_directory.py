"""What a process knows of directory: due times by the calendar in force, and where units are."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from google.type.date_pb2 import Date

from dutyloop.directory.v1 import directory_pb2
from services.kit.calendar import Term, Unit, explain
from services.kit.directory import CALENDAR_SECONDS, Directory, TermEnd, UnitPlace
from services.kit.errors import InvalidFields, NotFound, ServiceUnavailable
from services.kit.holidays import calendar_in_force
from workflows.payloads import Term as Length

FRIDAY = datetime(2040, 6, 1, 2, 0, tzinfo=UTC)
"""In a year without a notice; its Monday is a working day until one says otherwise."""


class FakeClients:
    """Answers as directory would, and counts."""

    def __init__(self) -> None:
        self.directory = SimpleNamespace(ResolveCalendar="calendar", GetUnit="unit")
        self.notices: list[directory_pb2.HolidayNotice] = []
        self.down = False
        self.asked: list[str] = []

    async def call(self, method: str, request: Any) -> Any:
        """Answer."""
        self.asked.append(method)
        if self.down:
            raise ServiceUnavailable
        if method == "calendar":
            return directory_pb2.ResolveCalendarResponse(notices=self.notices)
        if request.name == "units/unknown":
            raise NotFound(request.name)
        return directory_pb2.Unit(name=request.name, region="regions/1303", path="a/b/")


@pytest.fixture
def clients() -> FakeClients:
    """A directory to ask."""
    return FakeClients()


@pytest.fixture
def known(clients: FakeClients) -> Directory:
    """What is known of it."""
    return Directory(clients)  # type: ignore[arg-type]


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets time pass for the process."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(f"{Directory.__module__}.time.monotonic", lambda: clock.now)

    def passing(seconds: float) -> None:
        clock.now += seconds

    return passing


async def test_timers_and_explanations_agree(known: Directory) -> None:
    """A timer would fire on another day than the one that was explained."""
    for unit in ("WORKING_DAYS", "NATURAL_DAYS", "MONTHS", "WORKING_HOURS"):
        explained = explain(calendar_in_force(()), FRIDAY, Term(10, Unit[unit]))
        assert await known.due_time(FRIDAY, Length(10, unit)) == explained.due


async def test_a_notice_counts_within_seconds(
    known: Directory, clients: FakeClients, wait: Callable[[float], None]
) -> None:
    """Terms would run by the old calendar long after the holidays were published."""
    assert await known.due_time(FRIDAY, Length(1, "WORKING_DAYS")) == datetime(2040, 6, 4, 16, tzinfo=UTC)
    clients.notices.append(
        directory_pb2.HolidayNotice(name="holidayNotices/2040", off_dates=[Date(year=2040, month=6, day=4)])
    )
    wait(CALENDAR_SECONDS + 0.1)
    assert await known.due_time(FRIDAY, Length(1, "WORKING_DAYS")) == datetime(2040, 6, 5, 16, tzinfo=UTC)
    await known.due_time(FRIDAY, Length(2, "WORKING_DAYS"))
    assert clients.asked == ["calendar"] * 2, "every due time would cost a call again"


async def test_an_end_that_awaits_a_notice_says_so(known: Directory, clients: FakeClients) -> None:
    """A day that may still move would be taken for settled, or be counted anew by the calendar that it had."""
    length = Length(1, "WORKING_DAYS")
    assert await known.term_end(FRIDAY, length) == TermEnd(datetime(2040, 6, 4, 16, tzinfo=UTC), 2040)
    assert (await known.term_end(FRIDAY, Length(1, "NATURAL_DAYS"))).awaited_notice == 0
    assert 2040 not in await known.published_years()
    clients.notices.append(
        directory_pb2.HolidayNotice(name="holidayNotices/2040", off_dates=[Date(year=2040, month=6, day=4)])
    )
    settled = await known.term_end(FRIDAY, length, notice=2040)
    assert settled == TermEnd(datetime(2040, 6, 5, 16, tzinfo=UTC)), "known to be published, so looked for at once"
    assert 2040 in await known.published_years()
    await known.term_end(FRIDAY, length, notice=2040)
    assert clients.asked == ["calendar"] * 2


async def test_no_due_time_by_an_old_calendar(
    known: Directory, clients: FakeClients, wait: Callable[[float], None]
) -> None:
    """While directory is away a step must wait: a due time by an old calendar could not be taken back."""
    await known.due_time(FRIDAY, Length(1, "WORKING_DAYS"))
    clients.down = True
    wait(CALENDAR_SECONDS + 0.1)
    with pytest.raises(ServiceUnavailable):
        await known.due_time(FRIDAY, Length(1, "WORKING_DAYS"))


@pytest.mark.parametrize(
    ("start", "amount", "unit", "field"),
    [
        (FRIDAY, 0, "WORKING_DAYS", "term.amount"),
        (FRIDAY, 1_000_000, "YEARS", "term.amount"),
        (datetime(2199, 12, 1, tzinfo=UTC), 2, "YEARS", "start_time"),
    ],
)
async def test_terms_out_of_range_are_refused(
    known: Directory, start: datetime, amount: int, unit: str, field: str
) -> None:
    """A letter with an impossible term would hang its tour instead of being sent back."""
    with pytest.raises(InvalidFields) as refused:
        await known.due_time(start, Length(amount, unit))
    assert [each.field for each in refused.value.violations] == [field]


async def test_a_unit_is_asked_for_once(known: Directory, clients: FakeClients) -> None:
    """Every assignment would ask where a unit is, which never changes; an unknown one may yet be created."""
    for _ in range(2):
        assert await known.place("units/b") == UnitPlace("units/b", "1303", "a/b/")
        with pytest.raises(NotFound):
            await known.place("units/unknown")
    assert clients.asked == ["unit"] * 3


def test_the_day_is_a_monday() -> None:
    """The other tests would prove nothing on a weekend."""
    assert date(2040, 6, 4).weekday() == 0
