"""Sites behind the legacy ids of an import, learnt from directory batch by batch before any connection is taken."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from dutyloop.directory.v1 import directory_pb2
from services.kit.clients import Clients
from services.kit.policy import violations_of


class LegacySites:
    """What is known of the sites that an import's rows name in ``site_legacy_id``."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._known: dict[str, directory_pb2.ResolvedSite | None] = {}

    @property
    def known(self) -> Mapping[str, directory_pb2.ResolvedSite | None]:
        """Sites by legacy id; None for an id that directory does not know."""
        return self._known

    async def follow(self, messages: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Pass the import's messages on, each once the sites of its rows are known."""
        async for message in messages:
            # Ids that break a field rule are left to the import, which reports their rows.
            named = {row.site_legacy_id for row in message.rows if row.site_legacy_id and not violations_of(row)}
            if unknown := sorted(named - self._known.keys()):
                self._known.update(dict.fromkeys(unknown))
                answer = await self._clients.call(
                    self._clients.directory.ResolveSites, directory_pb2.ResolveSitesRequest(legacy_ids=unknown)
                )
                self._known.update({site.legacy_id: site for site in answer.sites})
            yield message
