"""Gathered reads: at once when alone, one statement for those who come together, and nobody pays for another."""

import asyncio
from collections import deque
from typing import Any

import pytest

from services.kit import gather
from services.kit.gather import Gatherer


class Statements:
    """The statements that were sent, each held until it is answered."""

    def __init__(self) -> None:
        self.sent: deque[tuple[list[str], asyncio.Future[Any]]] = deque()

    async def read(self, keys: list[str]) -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.sent.append((keys, answer))
        return await answer

    def next(self) -> tuple[list[str], asyncio.Future[Any]]:
        """Take the first statement that is still unanswered."""
        return self.sent.popleft()

    def answer(self) -> list[str]:
        """Answer the first one with a row for every key but "absent"; return its keys."""
        keys, answer = self.next()
        places = [(place, key) for place, key in enumerate(keys, start=1) if key != "absent"]
        answer.set_result([{"place": place, "key": key} for place, key in reversed(places)])
        return keys


async def turns() -> None:
    """Let everything happen that waits for nobody but the event loop."""
    for _ in range(gather.TURNS + 5):
        await asyncio.sleep(0)


def asking(gatherer: Gatherer, *keys: str) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(gatherer.row(key)) for key in keys]


@pytest.fixture
def statements() -> Statements:
    return Statements()


@pytest.fixture
def gatherer(statements: Statements) -> Gatherer:
    return Gatherer(statements.read)


async def busy(gatherer: Gatherer, statements: Statements) -> asyncio.Task[Any]:
    """Have somebody ask who is not answered yet."""
    (first,) = asking(gatherer, "first")
    await asyncio.sleep(0)
    assert statements.sent[0][0] == ["first"]
    return first


async def test_who_asks_alone_waits_for_nobody(gatherer: Gatherer, statements: Statements) -> None:
    """Every call on a quiet evening would be slower for the sake of a rush that is not there."""
    for _ in range(2):
        first = await busy(gatherer, statements)
        statements.answer()
        assert (await first)["key"] == "first"


async def test_who_comes_together_shares_a_statement_and_gets_his_own_row(
    gatherer: Gatherer, statements: Statements
) -> None:
    """Somebody would be shown another's task."""
    first = await busy(gatherer, statements)
    together = asking(gatherer, "a", "b", "absent", "b", "c")
    await turns()
    assert statements.answer() == ["first"]
    assert statements.answer() == ["a", "b", "absent", "b", "c"]
    rows = await asyncio.gather(first, *together)
    assert [row and row["key"] for row in rows] == ["first", "a", "b", None, "b", "c"]
    assert not statements.sent


async def test_a_statement_begins_after_all_who_share_it_have_asked(gatherer: Gatherer, statements: Statements) -> None:
    """Who has just changed a task and reads it would be shown how it was before."""
    first = await busy(gatherer, statements)
    early = asking(gatherer, "a")
    await turns()
    late = asking(gatherer, "a")
    await turns()
    assert [keys for keys, _ in statements.sent] == [["first"], ["a"], ["a"]]
    for _ in range(3):
        statements.answer()
    await asyncio.gather(first, *early, *late)


async def test_who_gives_up_leaves_the_others_alone(gatherer: Gatherer, statements: Statements) -> None:
    """One client that hangs up would take the answers of everybody who asked beside it."""
    first = await busy(gatherer, statements)
    leader, other, later = asking(gatherer, "leader", "other", "later")
    await asyncio.sleep(0)
    leader.cancel()
    await turns()
    later.cancel()
    first.cancel()
    statements.next()
    assert statements.answer() == ["other", "later"]
    assert (await other)["key"] == "other"
    assert await asyncio.gather(first, leader, later, return_exceptions=True)
    assert leader.cancelled()
    assert later.cancelled()


async def test_nothing_is_asked_for_those_who_have_all_given_up(gatherer: Gatherer, statements: Statements) -> None:
    """A rush that has gone away would go on keeping the database busy."""
    first = await busy(gatherer, statements)
    gone = asking(gatherer, "a", "b")
    await asyncio.sleep(0)
    for each in gone:
        each.cancel()
    await turns()
    assert statements.answer() == ["first"]
    assert not statements.sent
    await first
    assert all(each.cancelled() for each in gone)


async def test_a_deadline_is_one_s_own(gatherer: Gatherer, statements: Statements) -> None:
    """Who asked for an answer within a moment would wait as long as who has time, or take it from him."""
    first = await busy(gatherer, statements)
    (patient,) = asking(gatherer, "patient")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await gatherer.row("hasty")
    await turns()
    statements.answer()
    statements.answer()
    assert (await patient)["key"] == "patient"
    await first


async def test_what_goes_wrong_is_told_to_all_and_to_nobody_after_them(
    gatherer: Gatherer, statements: Statements
) -> None:
    """Callers would hang until their deadlines when PostgreSQL goes away, and others after it is back."""
    first = await busy(gatherer, statements)
    together = asking(gatherer, "a", "b")
    await turns()
    for _ in range(2):
        statements.next()[1].set_exception(ConnectionError("gone"))
    refused = await asyncio.gather(first, *together, return_exceptions=True)
    assert [type(each) for each in refused] == [ConnectionError] * 3
    await turns()
    first = await busy(gatherer, statements)
    statements.answer()
    assert (await first)["key"] == "first"


async def test_a_statement_takes_no_more_than_its_fill(
    gatherer: Gatherer, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rush would make one statement so large that nobody has his answer before all do."""
    monkeypatch.setattr(gather, "MAX_ROWS", 3)
    first = await busy(gatherer, statements)
    together = asking(gatherer, *"abcdefg")
    await turns()
    assert [keys for keys, _ in statements.sent] == [["first"], ["a", "b", "c"], ["d", "e", "f"], ["g"]]
    for _ in range(4):
        statements.answer()
    assert [row["key"] for row in await asyncio.gather(first, *together)] == ["first", *"abcdefg"]
