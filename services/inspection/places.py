"""What tours and visits must know of the directory: units, sites, and inspectors as they stand now."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from dutyloop.directory.v1 import directory_pb2
from dutyloop.policy.v1 import policy_pb2
from services.inspection.rules import SITES, Inspector, Target
from services.kit.access import Scope
from services.kit.clients import Clients
from services.kit.errors import NotFound, invalid
from services.kit.names import code_of

CONCURRENT_LOOKUPS = 16
"""Well below the calls that a process reserves for its own services."""
T = TypeVar("T")


class Places:
    """Look-ups in directory for one call; each unit is asked for once."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._units: dict[str, asyncio.Task[directory_pb2.Unit]] = {}
        self._lookups = asyncio.Semaphore(CONCURRENT_LOOKUPS)

    async def unit(self, name: str, field: str) -> directory_pb2.Unit:
        """Return a unit. Raises InvalidFields naming ``field`` when there is none."""
        try:
            return await self.own_unit(name)
        except NotFound:
            raise invalid(field, "unknown_reference") from None

    async def own_unit(self, name: str) -> directory_pb2.Unit:
        """Return the unit that decides the call's scope. Raises NotFound, the same as for one outside it."""
        task = self._units.get(name)
        if task is None:
            request = directory_pb2.GetUnitRequest(name=name)
            task = asyncio.create_task(self._ask(self._clients.directory.GetUnit, request))
            self._units[name] = task
        return await task

    async def target(self, name: str, field: str) -> Target:
        """Return a unit or site as a target. Raises InvalidFields naming ``field`` when there is none."""
        try:
            return await self.own_target(name)
        except NotFound:
            raise invalid(field, "unknown_reference") from None

    async def own_target(self, name: str) -> Target:
        """Return the target that decides the call's scope. Raises NotFound, the same as for one outside it."""
        if not name.startswith(SITES):
            unit = await self.own_unit(name)
            enterprise = unit.kind == directory_pb2.UNIT_KIND_ENTERPRISE
            return Target(name, code_of(unit.region), name, unit.path, enterprise)
        site = await self._ask(self._clients.directory.GetSite, directory_pb2.GetSiteRequest(name=name))
        path = (await self.own_unit(site.unit)).path if site.unit else ""
        return Target(name, code_of(site.region), site.unit, path, enterprise=True)

    async def targets(self, names: Sequence[str], field: str) -> list[Target]:
        """Return every target, in order."""
        return await _all(self.target(name, f"{field}[{index}]") for index, name in enumerate(names))

    async def inspector(self, person: str, field: str) -> Inspector:
        """Return a person with what makes him an inspector. Raises InvalidFields naming ``field``."""
        try:
            found = await self._ask(self._clients.directory.GetPerson, directory_pb2.GetPersonRequest(name=person))
        except NotFound:
            raise invalid(field, "unknown_reference") from None
        access = await self._ask(
            self._clients.directory.ResolveAccess, directory_pb2.ResolveAccessRequest(person=person)
        )
        posts = [grant for grant in access.grants if policy_pb2.ROLE_INSPECTOR in grant.roles]
        reach = Scope(
            regions=tuple(post.region_code for post in posts if not post.unit_path),
            unit_paths=tuple(post.unit_path for post in posts if post.unit_path),
        )
        unit = await self.unit(found.unit, field)
        return Inspector(person, found.unit, unit.path, bool(posts), code_of(unit.region), reach)

    async def inspectors(self, people: Sequence[str], field: str) -> list[Inspector]:
        """Return every person, in order."""
        return await _all(self.inspector(person, f"{field}[{index}]") for index, person in enumerate(people))

    async def _ask(self, method: Any, request: Any) -> Any:
        async with self._lookups:
            return await self._clients.call(method, request)


async def _all(lookups: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return what is found, in order. The first look-up that is refused ends the others, and the calls they make."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(lookup) for lookup in lookups]
    except ExceptionGroup as refusals:
        raise refusals.exceptions[0] from None
    return [task.result() for task in tasks]
