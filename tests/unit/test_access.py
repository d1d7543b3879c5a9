"""Reach of grants, and the cache through which a revoked role must stop within five seconds."""

import asyncio
import dataclasses

import pytest

from services.kit import access
from services.kit.access import CACHE_SECONDS, EVERYWHERE, RENEW_SECONDS, AccessCache, Grant, Scope, scope_of
from services.kit.errors import NotFound, ServiceUnavailable


class Clock:
    """A monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def monotonic(self) -> float:
        return self.seconds


class Directory:
    """Counts look-ups; ``gate`` holds them back."""

    def __init__(self) -> None:
        self.grants: tuple[Grant, ...] = (grant(region="13"),)
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.fails = False
        self._asked = asyncio.Semaphore(0)

    async def has_been_asked(self, times: int) -> None:
        for _ in range(times):
            await self._asked.acquire()

    async def resolve(self, person: str) -> tuple[Grant, ...]:
        self.asked.append(person)
        self._asked.release()
        found = self.grants
        await self.gate.wait()
        if self.fails:
            raise ServiceUnavailable
        return found


def grant(region: str = "", unit_path: str = "") -> Grant:
    """Return a grant with this reach."""
    return Grant("posts/1", "units/1", frozenset({1}), region, unit_path)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the cache."""
    moved = Clock()
    monkeypatch.setattr(access, "time", moved)
    return moved


@pytest.mark.parametrize(
    ("regions", "unit_paths", "region_code", "unit_path", "covered"),
    [
        (("1303",), (), "1303", "", True),
        (("1303",), (), "130302", "a/b/", True),
        (("1303",), (), "1304", "", False),
        (("1303",), (), "13", "", False),
        (("",), (), "", "", True),
        (("1303",), (), "", "", False),
        ((), ("a/b/",), "1304", "a/b/", True),
        ((), ("a/b/",), "1304", "a/b/c/", True),
        ((), ("a/b/",), "1303", "a/", False),
        ((), ("a/b/",), "1303", "a/bc/", False),
        ((), ("a/b/",), "1303", "", False),
        ((), (), "1303", "a/b/", False),
        ((), (), "", "", False),
        (("1303", "1401"), ("a/",), "1401", "", True),
    ],
)
def test_scopes_nest_by_prefix(
    regions: tuple[str, ...], unit_paths: tuple[str, ...], region_code: str, unit_path: str, covered: bool
) -> None:
    """A county would read its sibling, a city its province, or a unit its neighbour with a longer id."""
    assert covered == Scope(regions, unit_paths).covers(region_code, unit_path)


def test_outside_is_the_same_as_absent() -> None:
    """Whoever guesses names would learn which hazards a sibling county has."""
    with pytest.raises(NotFound) as outside:
        Scope(("1303",), ()).require("hazards/7", "1304")
    assert NotFound("hazards/7").metadata == outside.value.metadata
    assert outside.value.hidden
    EVERYWHERE.require("hazards/7", "")


def test_a_unit_s_post_does_not_reach_its_region() -> None:
    """A clerk's post with the reach of one unit would open the whole county."""
    united = scope_of([grant("1303", "a/"), grant("1401"), grant("1401"), grant("1303", "b/")])
    assert Scope(regions=("1401",), unit_paths=("a/", "b/")) == united
    assert not united.covers("1303")
    assert Scope((), ()) == scope_of([])


async def test_grants_are_looked_up_once_and_again_before_five_seconds(clock: Clock) -> None:
    """A revoked role would go on working, or directory would be asked for every call."""
    directory = Directory()
    cache = AccessCache(directory.resolve)
    first = await cache.grants("people/1")
    directory.grants = ()
    clock.seconds += CACHE_SECONDS - 0.01
    assert first == await cache.grants("people/1")
    clock.seconds += 0.02
    assert await cache.grants("people/1") == ()
    assert directory.asked == ["people/1"] * 2
    assert CACHE_SECONDS < 5


async def test_what_counts_for_a_method_follows_a_new_look_up(clock: Clock) -> None:
    """What was worked out from revoked grants would go on opening methods after the grants themselves are gone."""
    directory = Directory()
    inspector = dataclasses.replace(grant("1303"), roles=frozenset({1}), home_region_code="1303")
    editor = dataclasses.replace(grant("14"), roles=frozenset({2, 3}))
    directory.grants = (inspector, editor)
    cache = AccessCache(directory.resolve)
    both, edits = await cache.reach("people/1", frozenset()), await cache.reach("people/1", frozenset({2}))
    assert (both.grants, both.scope) == ((inspector, editor), Scope(("1303", "14"), ()))
    assert (edits.grants, edits.scope, edits.home_region_code) == ((editor,), Scope(("14",), ()), "1303")
    assert (await cache.reach("people/1", frozenset({4}))).grants == ()
    assert await cache.reach("people/1", frozenset({2})) is edits
    directory.grants = (inspector,)
    clock.seconds += CACHE_SECONDS + 0.01
    assert (await cache.reach("people/1", frozenset({2}))).grants == ()
    assert directory.asked == ["people/1"] * 2


async def test_a_slow_look_up_does_not_lengthen_a_role(clock: Clock) -> None:
    """Grants read before a revocation would be trusted from the time their answer came in, ten seconds later even."""
    directory = Directory()
    directory.gate.clear()
    cache = AccessCache(directory.resolve)
    waiting = asyncio.create_task(cache.grants("people/1"))
    await directory.has_been_asked(1)
    directory.grants = ()
    clock.seconds += CACHE_SECONDS
    directory.gate.set()
    with pytest.raises(ServiceUnavailable):
        await waiting
    assert await cache.grants("people/1") == ()


async def test_grants_are_renewed_before_they_end(clock: Clock) -> None:
    """Every few seconds each person's calls would wait for directory, and fail when it restarts for a second."""
    directory = Directory()
    cache = AccessCache(directory.resolve)
    first = await cache.grants("people/1")
    clock.seconds += RENEW_SECONDS
    directory.grants = ()
    directory.gate.clear()
    for _ in range(3):
        assert await cache.grants("people/1") == first, "the renewal is under way"
    await directory.has_been_asked(2)
    assert directory.asked == ["people/1"] * 2
    directory.gate.set()
    await asyncio.gather(*cache._pending.values(), return_exceptions=True)
    assert await cache.grants("people/1") == ()
    clock.seconds += RENEW_SECONDS
    directory.fails = True
    assert await cache.grants("people/1") == ()
    await asyncio.gather(*cache._pending.values(), return_exceptions=True)
    directory.fails, directory.grants = False, first
    clock.seconds += CACHE_SECONDS - RENEW_SECONDS
    assert await cache.grants("people/1") == first, "a renewal that failed would keep everybody out, or in"


async def test_no_role_outlives_a_directory_that_hangs(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """While directory takes calls and answers none, whoever lost his post would go on; or calls would pile up."""
    directory = Directory()
    cache = AccessCache(directory.resolve)
    first = await cache.grants("people/1")
    directory.gate.clear()
    clock.seconds += CACHE_SECONDS - 0.01
    assert await cache.grants("people/1") == first
    monkeypatch.setattr(access, "CACHE_SECONDS", 0.02)
    clock.seconds += 0.01
    for answer in await asyncio.gather(*(cache.grants("people/1") for _ in range(3)), return_exceptions=True):
        assert isinstance(answer, ServiceUnavailable)
    assert not cache._pending
    directory.gate.set()
    assert directory.grants == await cache.grants("people/1")


async def test_concurrent_misses_share_one_look_up() -> None:
    """A burst of one person's calls would become a burst on directory."""
    directory = Directory()
    directory.gate.clear()
    cache = AccessCache(directory.resolve)
    calls = [asyncio.create_task(cache.grants(person)) for person in ["people/1"] * 20 + ["people/2"] * 20]
    await directory.has_been_asked(2)
    calls[0].cancel()
    directory.gate.set()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert directory.asked == ["people/1", "people/2"]
    assert isinstance(answers[0], asyncio.CancelledError)
    assert [directory.grants] * 39 == answers[1:]


async def test_a_failed_look_up_is_not_remembered() -> None:
    """A second of directory's restart would lock people out for as long as the cache lives."""
    directory = Directory()
    directory.fails = True
    cache = AccessCache(directory.resolve)
    for answer in await asyncio.gather(*(cache.grants("people/1") for _ in range(3)), return_exceptions=True):
        assert isinstance(answer, ServiceUnavailable)
    directory.fails = False
    assert directory.grants == await cache.grants("people/1")


async def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long-lived process would keep the grants of everyone who ever called."""
    monkeypatch.setattr(access, "CACHE_ENTRIES", 10)
    directory = Directory()
    cache = AccessCache(directory.resolve)
    for number in range(35):
        await cache.grants(f"people/{number}")
    assert len(cache._known) <= 10
    assert not cache._pending
