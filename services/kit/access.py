"""Who calls and how far their roles reach: permission × region subtree × unit subtree."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

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
        return any(region_code.startswith(prefix) for prefix in self.regions) or any(
            unit_path.startswith(prefix) for prefix in self.unit_paths
        )

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


Resolve = Callable[[str], Awaitable[tuple[Grant, ...]]]


class AccessCache:
    """Grants per person, at most ``CACHE_SECONDS`` old; concurrent misses of one person share a look-up."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._known: dict[str, tuple[float, tuple[Grant, ...]]] = {}
        self._pending: dict[str, asyncio.Task[tuple[Grant, ...]]] = {}

    async def grants(self, person: str) -> tuple[Grant, ...]:
        """Return what the person's posts grant now."""
        known = self._known.get(person)
        if known is not None and time.monotonic() < known[0]:
            return known[1]
        task = self._pending.get(person)
        if task is None:
            task = asyncio.create_task(self._look_up(person))
            self._pending[person] = task
            task.add_done_callback(lambda _: self._pending.pop(person, None))
        return await asyncio.shield(task)

    async def _look_up(self, person: str) -> tuple[Grant, ...]:
        asked = time.monotonic()
        grants = await self._resolve(person)
        if len(self._known) >= CACHE_ENTRIES:
            self._known.clear()
        self._known[person] = (asked + CACHE_SECONDS, grants)
        return grants
