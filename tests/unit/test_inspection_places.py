"""Looking up in directory what a tour names: many things at once, and none that nobody waits for."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from dutyloop.directory.v1 import directory_pb2
from services.inspection.places import CONCURRENT_LOOKUPS, Places
from services.kit.errors import InvalidFields, NotFound

TARGETS = 200


class FakeClients:
    """Knows every unit but the first, and counts; what is asked after the first is answered once ``answers`` is set."""

    def __init__(self) -> None:
        self.directory = SimpleNamespace(GetUnit="unit")
        self.answers = asyncio.Event()
        self.asked: list[str] = []

    async def call(self, _method: str, request: Any) -> Any:
        """Answer."""
        self.asked.append(request.name)
        if request.name == "units/0":
            raise NotFound(request.name)
        await self.answers.wait()
        return directory_pb2.Unit(name=request.name, region="regions/1303")


async def test_a_refused_request_makes_no_further_calls() -> None:
    """Whoever names a thousand targets, the first unknown, would have the house busy long after his refusal."""
    clients, before = FakeClients(), asyncio.all_tasks()
    with pytest.raises(InvalidFields) as refused:
        await Places(clients).targets([f"units/{number}" for number in range(TARGETS)], "targets")  # type: ignore[arg-type]
    assert refused.value.violations[0].field == "targets[0]"
    assert asyncio.all_tasks() <= before
    assert len(clients.asked) <= 2 * CONCURRENT_LOOKUPS


async def test_targets_are_found_in_their_order_each_unit_asked_for_once() -> None:
    """A tour would visit one enterprise under the name of another, or the same question would be put for ever."""
    clients = FakeClients()
    clients.answers.set()
    names = [f"units/{number}" for number in (3, 1, 2, 3)]
    found = await Places(clients).targets(names, "targets")  # type: ignore[arg-type]
    assert [each.name for each in found] == names
    assert sorted(clients.asked) == ["units/1", "units/2", "units/3"]
