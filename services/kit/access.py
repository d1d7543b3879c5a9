"""Who calls and how far their roles reach: permission × region subtree × unit subtree."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from services.kit.errors import NotFound

CACHE_SECONDS = 4.0
"""Below the five seconds within which a revoked role must stop working."""
CACHE_ENTRIES = 10_000


@dataclass(frozen=True, slots=True)
class Grant:
    """What one post grants. Reach is a region subtree (``region_code``) or a unit subtree (``unit_path``)."""

    post: str
    unit: str
    roles: frozenset[int]
    region_code: str
    unit_path: str
    home_region_code: str = ""
    """Region of the post's unit: where what its holder was refused is recorded."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The subtrees within reach. Codes and paths nest by prefix, so a subtree is a prefix."""

    regions: tuple[str, ...]
    unit_paths: tuple[str, ...]

    def covers(self, region_code: str, unit_path: str = "") -> bool:
        """Tell whether a resource of this region and unit lies within reach."""
        return region_code.startswith(self.regions) or unit_path.startswith(self.unit_paths)

    def require(self, resource: str, region_code: str, unit_path: str = "") -> None:
        """Raise NotFound, the same as for an absent resource, when it lies outside."""
        if not self.covers(region_code, unit_path):
            raise NotFound(resource, hidden=True)


EVERYWHERE = Scope(regions=("",), unit_paths=())


def scope_of(grants: Iterable[Grant]) -> Scope:
    """Unite the reach of several grants."""
    grants = tuple(grants)
    return Scope(
        regions=tuple(sorted({grant.region_code for grant in grants if not grant.unit_path})),
        unit_paths=tuple(sorted({grant.unit_path for grant in grants if grant.unit_path})),
    )


@dataclass(frozen=True, slots=True)
class Reach:
    """What of a person's grants counts for a method: those that carry one of its roles, and how far they reach."""

    grants: tuple[Grant, ...]
    scope: Scope
    home_region_code: str
    """Region of the person's first post, whatever its roles."""


def reach_of(grants: tuple[Grant, ...], roles: frozenset[int]) -> Reach:
    """Pick the grants that carry one of the roles; all of them where no role is asked for."""
    home = grants[0].home_region_code if grants else ""
    held = tuple(grant for grant in grants if grant.roles & roles) if roles else grants
    return Reach(held, scope_of(held), home)


@dataclass(frozen=True, slots=True)
class _Known:
    """A person's grants, until when they may be used, and what has been worked out from them."""

    until: float
    grants: tuple[Grant, ...]
    reaches: dict[frozenset[int], Reach] = field(default_factory=dict)


Resolve = Callable[[str], Awaitable[tuple[Grant, ...]]]


class AccessCache:
    """Grants per person, at most ``CACHE_SECONDS`` old; concurrent misses of one person share a look-up."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._known: dict[str, _Known] = {}
        self._pending: dict[str, asyncio.Task[_Known]] = {}

    async def grants(self, person: str) -> tuple[Grant, ...]:
        """Return what the person's posts grant now."""
        return (await self._current(person)).grants

    async def reach(self, person: str, roles: frozenset[int]) -> Reach:
        """Return what counts of it for a method of these roles; worked out once per look-up and set of roles."""
        known = await self._current(person)
        reach = known.reaches.get(roles)
        if reach is None:
            reach = known.reaches[roles] = reach_of(known.grants, roles)
        return reach

    async def _current(self, person: str) -> _Known:
        known = self._known.get(person)
        if known is not None and time.monotonic() < known.until:
            return known
        task = self._pending.get(person)
        if task is None:
            task = asyncio.create_task(self._look_up(person))
            self._pending[person] = task
            task.add_done_callback(lambda _: self._pending.pop(person, None))
        return await asyncio.shield(task)

    async def _look_up(self, person: str) -> _Known:
        asked = time.monotonic()
        known = _Known(asked + CACHE_SECONDS, await self._resolve(person))
        if len(self._known) >= CACHE_ENTRIES:
            self._known.clear()
        self._known[person] = known
        return known
