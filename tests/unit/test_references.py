"""What accountability asks of directory before a command begins."""

from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from dutyloop.directory.v1 import directory_pb2
from services.accountability.references import References
from services.kit.access import Scope
from services.kit.dates import set_day
from services.kit.directory import Directory
from services.kit.errors import InvalidFields

NOW = datetime(2040, 6, 1, 2, 0, tzinfo=UTC)
PATHS = {"units/above": "above/", "units/below": "above/below/", "units/foreign": "foreign/"}


class FakeClients:
    """Knows a person's appointments and the units they are in, and answers nothing else."""

    def __init__(self, *units: str) -> None:
        self.directory = SimpleNamespace(ListAppointments="appointments", GetUnit="unit")
        self._units = units

    async def call(self, method: str, request: Any) -> Any:
        """Answer."""
        if method == "unit":
            return directory_pb2.Unit(name=request.name, region="regions/1303", path=PATHS[request.name])
        appointments = [directory_pb2.Appointment(person=request.person, unit=each) for each in self._units]
        for each in appointments:
            set_day(each.start_date, date(2039, 1, 1))
        return directory_pb2.ListAppointmentsResponse(appointments=appointments)


def references(*units: str) -> References:
    """Return the references to a person who holds posts in these units."""
    clients: Any = FakeClients(*units)
    return References(clients, Directory(clients))


def call_within(path: str, now: datetime = NOW) -> Any:
    """Return a call of somebody who reaches a unit and what is below it."""
    return SimpleNamespace(now=now, scope=Scope(regions=(), unit_paths=(path,)))


async def test_a_person_is_found_by_the_appointments_alone() -> None:
    """Each supervision of somebody with a post elsewhere would read every post of the country first."""
    await references("units/foreign", "units/below").require_person(call_within("above/"), "people/p", "person")


@pytest.mark.parametrize("units", [(), ("units/foreign",)])
async def test_a_person_elsewhere_is_answered_like_an_absent_one(units: tuple[str, ...]) -> None:
    """Whoever tries people would learn who holds an office anywhere."""
    with pytest.raises(InvalidFields) as refused:
        await references(*units).require_person(call_within("above/"), "people/p", "person")
    assert [(each.field, each.problem) for each in refused.value.violations] == [("person", "unknown_reference")]


async def test_who_is_to_come_into_office_is_not_yet_answerable() -> None:
    """A case would be opened against somebody for a time before the office."""
    early = call_within("above/", NOW - timedelta(days=600))
    with pytest.raises(InvalidFields):
        await references("units/below").require_person(early, "people/p", "person")
