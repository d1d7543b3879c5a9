"""Who calls and how far their roles reach: permission × region subtree × unit subtree."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

import asyncpg

from services.kit.errors import NotFound, ServiceUnavailable

CACHE_SECONDS = 4.0
"""Below the five seconds within which a revoked role must stop working; counted from when directory was asked."""
RENEW_SECONDS = 3.0
"""From this age on grants are asked for again while they still count, so that nobody waits for the answer."""
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

    def row(self, resource: str, row: asyncpg.Record | None) -> asyncpg.Record:
        """Return the row read for a resource. Raises NotFound, the same for one that is absent and one outside."""
        if row is None:
            raise NotFound(resource)
        self.require(resource, row["region_code"], row["unit_path"])
        return row

    @property
    def prefixes(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The prefixes of region codes and of unit paths, as a list's statement is given them."""
        return self.regions, self.unit_paths


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
    """A person's grants, until when they may be used, when to renew them, and what was worked out from them."""

    until: float
    renewal: float
    grants: tuple[Grant, ...]
    reaches: dict[frozenset[int], Reach] = field(default_factory=dict)


Resolve = Callable[[str], Awaitable[tuple[Grant, ...]]]


class AccessCache:
    """Grants per person, at most ``CACHE_SECONDS`` old; concurrent misses of one person share a look-up.

    While directory does not answer in time, calls are answered ServiceUnavailable: nobody goes on with old grants.
    """

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._known: dict[str, _Known] = {}
        self._pending: dict[str, asyncio.Task[_Known]] = {}

    async def grants(self, person: str) -> tuple[Grant, ...]:
        """Return what the person's posts grant now. Raises ServiceUnavailable."""
        return (await self._current(person)).grants

    async def reach(self, person: str, roles: frozenset[int]) -> Reach:
        """Return what counts of it for a method of these roles; worked out once per look-up and set of roles.

        Raises ServiceUnavailable.
        """
        known = await self._current(person)
        reach = known.reaches.get(roles)
        if reach is None:
            reach = known.reaches[roles] = reach_of(known.grants, roles)
        return reach

    async def _current(self, person: str) -> _Known:
        known, now = self._known.get(person), time.monotonic()
        if known is None or now >= known.until:
            return await asyncio.shield(self._looking(person))
        if now >= known.renewal:
            self._looking(person)
        return known

    def _looking(self, person: str) -> "asyncio.Task[_Known]":
        """Return the look-up that is under way, or begin one."""
        task = self._pending.get(person)
        if task is None:
            task = self._pending[person] = asyncio.create_task(self._look_up(person))
            task.add_done_callback(lambda done: self._looked(person, done))
        return task

    def _looked(self, person: str, task: "asyncio.Task[_Known]") -> None:
        del self._pending[person]
        if not task.cancelled():
            task.exception()  # whoever waits is told; a renewal that failed need not be

    async def _look_up(self, person: str) -> _Known:
        asked = time.monotonic()
        until = asked + CACHE_SECONDS
        try:
            async with asyncio.timeout(CACHE_SECONDS):
                grants = await self._resolve(person)
        except TimeoutError:
            raise ServiceUnavailable from None
        if time.monotonic() >= until:  # directory may have read them before they were revoked, and answered late
            raise ServiceUnavailable
        known = _Known(until, asked + RENEW_SECONDS, grants)
        if len(self._known) >= CACHE_ENTRIES:
            self._known.clear()
        self._known[person] = known
        return known
