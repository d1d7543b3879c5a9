"""Moving business time by hand, asked for twice."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dutyloop.directory.v1 import directory_pb2
from services.directory import service
from services.directory.messages import clock_message
from services.kit import virtual
from services.kit.access import EVERYWHERE

MOVED = datetime(2026, 2, 1, tzinfo=UTC)


async def test_a_repeated_request_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry after a lost answer would move cases that were opened in the meantime."""

    async def stored_answer(call: object) -> bytes:
        return clock_message(MOVED, virtual=True).SerializeToString()

    async def advance_all(*_: object) -> None:
        raise AssertionError("cases were moved")

    monkeypatch.setattr(virtual, "advance_all", advance_all)
    database = SimpleNamespace(stored_answer=stored_answer)
    house = SimpleNamespace(settings=SimpleNamespace(virtual_time=True), temporal=None)
    directory = service.DirectoryService(cast("Any", database), cast("Any", house))
    request = directory_pb2.AdvanceClockRequest()
    request.time.FromDatetime(MOVED)
    call = SimpleNamespace(scope=EVERYWHERE, now=MOVED)
    answer = await directory.AdvanceClock(request, cast("Any", call))
    assert answer.time.ToDatetime(tzinfo=UTC) == MOVED
