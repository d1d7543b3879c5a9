"""Sites behind the legacy ids of an import, learnt from directory batch by batch before any connection is taken."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from dutyloop.directory.v1 import directory_pb2
from services.kit.call import Call
from services.kit.clients import Clients
from services.kit.policy import violations_of
from services.kit.registers import FromRegister


@dataclass(frozen=True, slots=True)
class LegacySite:
    """A site within the caller's reach, and who answers for it."""

    name: str
    region_code: str
    unit: str
    unit_path: str


Sites = Mapping[str, LegacySite | None]
"""Sites by legacy id; None for an id that directory does not know, or whose site is out of the caller's reach."""


class LegacySites:
    """What is known of the sites that an import's rows name in ``site_legacy_id``: ids of the import's register."""

    def __init__(self, clients: Clients, call: Call, source: FromRegister[Any]) -> None:
        self._clients = clients
        self._scope = call.scope
        self._source = source
        self._known: dict[str, LegacySite | None] = {}

    @property
    def known(self) -> Sites:
        """Return what was learnt so far."""
        return self._known

    async def messages(self) -> AsyncIterator[Any]:
        """Pass the import's messages on, each once the sites of its rows are known. Raises NotFound (register)."""
        if self._source.region:
            region = directory_pb2.GetRegionRequest(name=self._source.region)
            await self._clients.call(self._clients.directory.GetRegion, region)
        known = self._known
        async for message in self._source.messages:
            unknown = set()
            for row in message.rows:
                legacy_id = row.site_legacy_id
                # Ids that break a field rule are left to the import, which reports their rows.
                if legacy_id and legacy_id not in known and legacy_id not in unknown and not violations_of(row):
                    unknown.add(legacy_id)
            if unknown:
                await self._learn(sorted(unknown))
            yield message

    async def _learn(self, legacy_ids: list[str]) -> None:
        self._known.update(dict.fromkeys(legacy_ids))
        request = directory_pb2.ResolveSitesRequest(legacy_ids=legacy_ids, source_region=self._source.region)
        answer = await self._clients.call(self._clients.directory.ResolveSites, request)
        for site in answer.sites:
            if self._scope.covers(site.region_code, site.unit_path):
                self._known[site.legacy_id] = LegacySite(site.site, site.region_code, site.unit, site.unit_path)
