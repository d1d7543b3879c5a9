"""Who was at the visits in which hazards are found, as inspection recorded them."""

from dutyloop.inspection.v1 import inspection_pb2
from services.kit.clients import Clients
from services.kit.errors import invalid
from services.kit.paging import MAX_SIZE, pages

KNOWN = 10_000


class Visits:
    """Inspectors of visits. A recorded visit never changes, so each is asked for once."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._inspectors: dict[tuple[str, str], frozenset[str]] = {}

    async def inspectors(self, visit: str, site: str) -> frozenset[str]:
        """Return who was at a visit to a site. Raises InvalidFields when there was none."""
        key = (visit, site)
        if key not in self._inspectors:
            found = await self._look(visit, site)
            if len(self._inspectors) >= KNOWN:
                self._inspectors.clear()
            self._inspectors[key] = found
        return self._inspectors[key]

    async def _look(self, visit: str, site: str) -> frozenset[str]:
        request = inspection_pb2.ListVisitsRequest(target=site, page_size=MAX_SIZE)  # a site has few
        async for each in pages(self._clients.call, self._clients.inspection.ListVisits, request, "visits"):
            if each.name == visit:
                return frozenset(each.inspectors)
        raise invalid("hazard.visit", "unknown_reference")
