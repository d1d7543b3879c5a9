"""The duty service: responsibility lists from draft to acknowledgement."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from dutyloop.directory.v1 import directory_pb2
from dutyloop.duty.v1 import duty_pb2
from dutyloop.kit.v1 import kit_pb2
from services.duty import messages
from services.duty.imports import Areas, item_importer
from services.duty.store import DutyStore
from services.kit.call import Call
from services.kit.db import Database
from services.kit.directory import Directory
from services.kit.errors import InvalidFields, NotFound, invalid
from services.kit.imports import run_import
from services.kit.masks import changed_fields
from services.kit.offices import Offices
from services.kit.paging import page_of
from services.kit.serve import House

CHANGEABLE = ("display_name", "effective_date")


class DutyService:
    """Serves dutyloop.duty.v1.DutyService."""

    descriptor = duty_pb2.DESCRIPTOR.services_by_name["DutyService"]

    def __init__(self, database: Database, house: House) -> None:
        self.database = database
        self._clients = house.clients
        self._directory = Directory(house.clients)
        self._offices = Offices(house.clients.call, house.clients.directory)
        self._store = DutyStore(database)

    def background(self) -> Sequence[Callable[[], Any]]:
        """Run nothing: lists have no cases."""
        return ()

    async def CreateResponsibilityList(
        self, request: duty_pb2.CreateResponsibilityListRequest, call: Call
    ) -> duty_pb2.ResponsibilityList:
        """Draft a list."""
        wanted = request.responsibility_list
        place = await self._directory.place(wanted.unit)
        call.scope.require(wanted.unit, place.region_code, place.path)
        if wanted.post and not await self._offices.has_post(wanted.unit, wanted.post):
            raise invalid("responsibility_list.post", "unknown_reference")
        return await self._store.draft(call, wanted, place)

    async def UpdateResponsibilityList(
        self, request: duty_pb2.UpdateResponsibilityListRequest, call: Call
    ) -> duty_pb2.ResponsibilityList:
        """Change a draft."""
        changes = changed_fields(request, "responsibility_list", CHANGEABLE, required=CHANGEABLE)
        return await self._store.edit(call, request.responsibility_list, changes)

    async def ImportDutyItems(
        self, stream: AsyncIterator[duty_pb2.ImportDutyItemsRequest], call: Call
    ) -> kit_pb2.ImportReport:
        """Import items into a draft."""
        first = await anext(stream)  # the guard refuses a stream without a message
        row = await self._store.responsibility_list(first.responsibility_list, call.scope, "responsibility_list")
        areas = Areas()
        importer = item_importer(call, messages.version_of(row), row["region_code"], row["unit_path"], areas)
        return await run_import(self.database, call, self._with_areas(first, stream, areas), importer)

    async def ListDutyItems(self, request: duty_pb2.ListDutyItemsRequest, call: Call) -> duty_pb2.ListDutyItemsResponse:
        """List the items of a list."""
        page = page_of(request)
        of = await self._store.responsibility_list(request.responsibility_list, call.scope, "responsibility_list")
        shown, following = page.cut(await self._store.list_items(of["id"], page), "number_key", "id")
        return duty_pb2.ListDutyItemsResponse(duty_items=map(messages.item_message, shown), next_page_token=following)

    async def SubmitResponsibilityList(
        self, request: duty_pb2.SubmitResponsibilityListRequest, call: Call
    ) -> duty_pb2.ResponsibilityList:
        """Hand a draft in."""
        return await self._store.submit(call, request.name, request.etag)

    async def ApproveResponsibilityList(
        self, request: duty_pb2.ApproveResponsibilityListRequest, call: Call
    ) -> duty_pb2.ResponsibilityList:
        """Approve and publish a list."""
        return await self._store.approve(call, request.name, request.etag)

    async def ReturnResponsibilityList(
        self, request: duty_pb2.ReturnResponsibilityListRequest, call: Call
    ) -> duty_pb2.ResponsibilityList:
        """Return a list to its editor."""
        return await self._store.return_to_editor(call, request.name, request.reason, request.etag)

    async def SupersedeResponsibilityList(
        self, request: duty_pb2.SupersedeResponsibilityListRequest, call: Call
    ) -> duty_pb2.ResponsibilityList:
        """Take a list out of force."""
        return await self._store.supersede(call, request.name, request.successor, request.etag)

    async def GetResponsibilityList(
        self, request: duty_pb2.GetResponsibilityListRequest, call: Call
    ) -> duty_pb2.ResponsibilityList:
        """Read one list."""
        return messages.list_message(await self._store.responsibility_list(request.name, call.scope))

    async def ListResponsibilityLists(
        self, request: duty_pb2.ListResponsibilityListsRequest, call: Call
    ) -> duty_pb2.ListResponsibilityListsResponse:
        """List responsibility lists."""
        page = page_of(request)
        shown, following = page.cut(await self._store.list_lists(call, request, page), "id")
        return duty_pb2.ListResponsibilityListsResponse(
            responsibility_lists=map(messages.list_message, shown), next_page_token=following
        )

    async def AcknowledgeResponsibilityList(
        self, request: duty_pb2.AcknowledgeResponsibilityListRequest, call: Call
    ) -> duty_pb2.Acknowledgement:
        """Acknowledge a list."""
        return await self._store.acknowledge(call, request.name)

    async def ListAcknowledgements(
        self, request: duty_pb2.ListAcknowledgementsRequest, call: Call
    ) -> duty_pb2.ListAcknowledgementsResponse:
        """List acknowledgements."""
        page = page_of(request)
        rows = await self._store.list_acknowledgements(call, request, page)
        shown, following = page.cut(rows, "acknowledge_time", "id")
        return duty_pb2.ListAcknowledgementsResponse(
            acknowledgements=map(messages.acknowledgement_message, shown), next_page_token=following
        )

    async def _with_areas(
        self,
        first: duty_pb2.ImportDutyItemsRequest,
        stream: AsyncIterator[duty_pb2.ImportDutyItemsRequest],
        areas: Areas,
    ) -> AsyncIterator[duty_pb2.ImportDutyItemsRequest]:
        """Yield the stream's messages, each once directory was asked for the areas that are new in it."""
        await self._look_up(first, areas)
        yield first
        async for message in stream:
            await self._look_up(message, areas)
            yield message

    async def _look_up(self, message: duty_pb2.ImportDutyItemsRequest, areas: Areas) -> None:
        for row in message.rows:
            area = row.item.area
            if area in areas.known or not area.startswith("regions/"):
                continue
            try:
                request = directory_pb2.GetRegionRequest(name=area)
                await self._clients.call(self._clients.directory.GetRegion, request)
                areas.known[area] = True
            except (NotFound, InvalidFields):
                areas.known[area] = False


def build(database: Database, house: House) -> DutyService:
    """Return the service over its database."""
    return DutyService(database, house)
