"""DirectoryService: who and where, the holiday calendar and business time."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Any

from dutyloop.directory.v1 import directory_pb2
from dutyloop.kit.v1 import kit_pb2
from services.directory import messages, rules
from services.directory.display_names import NameStore
from services.directory.imports import region_importer, site_importer
from services.directory.rules import TermOfOffice
from services.directory.sites import SiteStore
from services.directory.statutory import CLOCKS
from services.directory.store import DirectoryStore
from services.kit import virtual
from services.kit.access import EVERYWHERE
from services.kit.call import Call
from services.kit.dates import beijing_date, day_of, optional_day, time_of
from services.kit.db import Database
from services.kit.errors import Disabled, NotFound, invalid
from services.kit.imports import run_import
from services.kit.masks import changed_fields
from services.kit.names import id_of, name_of, optional_id
from services.kit.paging import page_of
from services.kit.registers import from_register
from services.kit.serve import House

UNIT_CHANGEABLE = ("display_name", "kind", "enforcement")
SITE_CHANGEABLE = ("display_name", "sector", "colour", "unit")


class DirectoryService:
    """Serves dutyloop.directory.v1.DirectoryService."""

    descriptor = directory_pb2.DESCRIPTOR.services_by_name["DirectoryService"]

    def __init__(self, database: Database, house: House) -> None:
        self.database = database
        self._house = house
        self._store = DirectoryStore(database)
        self._sites = SiteStore(database)
        self._names = NameStore(database)

    def background(self) -> Sequence[Callable[[], Any]]:
        """Return no loops: directory starts no cases."""
        return ()

    async def read_clock(self) -> datetime:
        """Return the virtual business clock; for every call of a process that hosts directory."""
        return await self._store.clock()

    async def ImportRegions(
        self, requests: AsyncIterator[directory_pb2.ImportRegionsRequest], call: Call
    ) -> kit_pb2.ImportReport:
        """Import a GB/T 2260 listing."""
        return await run_import(self.database, call, requests, region_importer(call))

    async def GetRegion(self, request: directory_pb2.GetRegionRequest, call: Call) -> directory_pb2.Region:
        """Read a region; regions are public facts, open to whoever holds a post."""
        row = await self._store.region(id_of(request.name, "regions"))
        if row is None:
            raise NotFound(request.name)
        return messages.region_message(row)

    async def ListRegions(
        self, request: directory_pb2.ListRegionsRequest, call: Call
    ) -> directory_pb2.ListRegionsResponse:
        """List regions by code; regions are public facts, open to whoever holds a post."""
        page = page_of(request)
        rows = await self._store.regions(page, optional_id(request.parent, "regions", "parent"))
        shown, following = page.cut(rows, "code")
        return directory_pb2.ListRegionsResponse(regions=map(messages.region_message, shown), next_page_token=following)

    async def CreateUnit(self, request: directory_pb2.CreateUnitRequest, call: Call) -> directory_pb2.Unit:
        """Create a unit."""
        return await self._store.create_unit(call, request.unit)

    async def UpdateUnit(self, request: directory_pb2.UpdateUnitRequest, call: Call) -> directory_pb2.Unit:
        """Change a unit's display name, kind or enforcement mark."""
        changes = changed_fields(request, "unit", UNIT_CHANGEABLE, required=("display_name", "kind"))
        return await self._store.update_unit(call, request.unit, changes)

    async def GetUnit(self, request: directory_pb2.GetUnitRequest, call: Call) -> directory_pb2.Unit:
        """Read a unit within reach."""
        return messages.unit_message(await self._store.unit(request.name, call.scope))

    async def ListUnits(self, request: directory_pb2.ListUnitsRequest, call: Call) -> directory_pb2.ListUnitsResponse:
        """List units within reach."""
        page = page_of(request)
        parent_id = optional_id(request.parent, "units", "parent")
        rows = await self._store.units(call, page, parent_id, optional_id(request.region, "regions", "region"))
        shown, following = page.cut(rows, "id")
        return directory_pb2.ListUnitsResponse(units=map(messages.unit_message, shown), next_page_token=following)

    async def CreatePerson(self, request: directory_pb2.CreatePersonRequest, call: Call) -> directory_pb2.Person:
        """Register a person."""
        return await self._store.create_person(call, request.person)

    async def GetPerson(self, request: directory_pb2.GetPersonRequest, call: Call) -> directory_pb2.Person:
        """Read a person within reach; everybody may read himself."""
        scope = EVERYWHERE if call.principal == request.name else call.scope
        return messages.person_message(await self._store.person(request.name, scope))

    async def CreatePost(self, request: directory_pb2.CreatePostRequest, call: Call) -> directory_pb2.Post:
        """Create a post."""
        rules.require_roles(request.post.roles)
        return await self._store.create_post(call, request.post)

    async def ListPosts(self, request: directory_pb2.ListPostsRequest, call: Call) -> directory_pb2.ListPostsResponse:
        """List posts within reach."""
        page = page_of(request)
        rows = await self._store.posts(call, page, optional_id(request.unit, "units", "unit"))
        shown, following = page.cut(rows, "id")
        return directory_pb2.ListPostsResponse(posts=map(messages.post_message, shown), next_page_token=following)

    async def Appoint(self, request: directory_pb2.AppointRequest, call: Call) -> directory_pb2.Appointment:
        """Appoint a person to a post."""
        appointment = request.appointment
        end = optional_day(appointment, "end_date")
        term = TermOfOffice(day_of(appointment.start_date), end)
        rules.require_order(term, "appointment.end_date")
        return await self._store.appoint(call, appointment, term)

    async def EndAppointment(
        self, request: directory_pb2.EndAppointmentRequest, call: Call
    ) -> directory_pb2.Appointment:
        """End an appointment."""
        asked = optional_day(request, "end_date")
        return await self._store.end_appointment(call, request.name, asked)

    async def ListAppointments(
        self, request: directory_pb2.ListAppointmentsRequest, call: Call
    ) -> directory_pb2.ListAppointmentsResponse:
        """List appointments within reach, past ones included."""
        page = page_of(request)
        post_id = optional_id(request.post, "posts", "post")
        rows = await self._store.appointments(call, page, post_id, optional_id(request.person, "people", "person"))
        shown, following = page.cut(rows, "id")
        return directory_pb2.ListAppointmentsResponse(
            appointments=map(messages.appointment_message, shown), next_page_token=following
        )

    async def CreateSite(self, request: directory_pb2.CreateSiteRequest, call: Call) -> directory_pb2.Site:
        """Register a site."""
        rules.require_credit_code(request.site.credit_code, "site.credit_code")
        return await self._sites.create_site(call, request.site)

    async def UpdateSite(self, request: directory_pb2.UpdateSiteRequest, call: Call) -> directory_pb2.Site:
        """Change a site's display name, sector, colour or unit."""
        changes = changed_fields(request, "site", SITE_CHANGEABLE, required=("display_name",))
        return await self._sites.update_site(call, request.site, changes)

    async def ImportSites(
        self, requests: AsyncIterator[directory_pb2.ImportSitesRequest], call: Call
    ) -> kit_pb2.ImportReport:
        """Import a listing of sites."""
        source = await from_register(call, requests)
        if source.region_code and await self._store.region(source.region_code) is None:
            raise NotFound(source.region)
        return await run_import(self.database, call, source.messages, site_importer(call, source.region_code))

    async def GetSite(self, request: directory_pb2.GetSiteRequest, call: Call) -> directory_pb2.Site:
        """Read a site within reach."""
        return messages.site_message(await self._sites.site(request.name, call.scope))

    async def ListSites(self, request: directory_pb2.ListSitesRequest, call: Call) -> directory_pb2.ListSitesResponse:
        """List sites within reach."""
        page = page_of(request)
        region_code = optional_id(request.region, "regions", "region")
        rows = await self._sites.sites(call, page, region_code, request.sector, messages.COLOUR.given(request.colour))
        shown, following = page.cut(rows, "id")
        return directory_pb2.ListSitesResponse(sites=map(messages.site_message, shown), next_page_token=following)

    async def PublishHolidayNotice(
        self, request: directory_pb2.PublishHolidayNoticeRequest, call: Call
    ) -> directory_pb2.HolidayNotice:
        """Enter a notice; it holds nationwide, so only a nationwide operator may."""
        notice = request.notice
        year = id_of(notice.name, "holidayNotices", "notice.name")
        entered = rules.holiday_year(year, messages.dates(notice.off_dates), messages.dates(notice.work_dates))
        call.scope.require(notice.name, "")
        return await self._store.publish_notice(call, entered)

    async def ExplainDeadline(
        self, request: directory_pb2.ExplainDeadlineRequest, call: Call
    ) -> directory_pb2.ExplainDeadlineResponse:
        """Compute a deadline and say why."""
        question = messages.deadline_question(request)
        deadline = rules.answer_deadline(await self._store.calendar(), question)
        return messages.deadline_message(deadline, CLOCKS.get(request.clock), call.locale)

    async def ListStatutoryClocks(
        self, request: directory_pb2.ListStatutoryClocksRequest, call: Call
    ) -> directory_pb2.ListStatutoryClocksResponse:
        """List the catalogued clocks; they are public facts, open to whoever holds a post."""
        shown, following = page_of(request).part(list(CLOCKS.values()))
        return directory_pb2.ListStatutoryClocksResponse(
            clocks=(messages.statutory_clock_message(clock, call.locale) for clock in shown),
            next_page_token=following,
        )

    async def GetClock(self, request: directory_pb2.GetClockRequest, call: Call) -> directory_pb2.Clock:
        """Read business time."""
        return messages.clock_message(call.now, virtual=self._house.settings.virtual_time)

    async def AdvanceClock(self, request: directory_pb2.AdvanceClockRequest, call: Call) -> directory_pb2.Clock:
        """Move every running case forward, then business time; it is one for all, so nationwide reach is needed."""
        if not self._house.settings.virtual_time:
            raise Disabled(setting="virtual_time")
        call.scope.require("clock", "")
        stored = await self.database.stored_answer(call)
        if stored is not None:  # asked again: cases opened since must not be moved
            return directory_pb2.Clock.FromString(stored)
        time = time_of(request.time)
        if time < call.now:
            raise invalid("time", "in_the_past")
        await virtual.advance_all(self._house.temporal, self._house.settings.temporal_task_queue, time)
        return await self._store.advance_clock(call, time)

    async def BatchGetDisplayNames(
        self, request: directory_pb2.BatchGetDisplayNamesRequest, call: Call
    ) -> directory_pb2.BatchGetDisplayNamesResponse:
        """Answer what people call the resources that the caller may read."""
        response = directory_pb2.BatchGetDisplayNamesResponse()
        for row in await self._names.display_names(call, request.names):
            response.display_names.add(name=row["name"], display_name=row["display_name"])
        return response

    async def ResolveAccess(
        self, request: directory_pb2.ResolveAccessRequest, call: Call
    ) -> directory_pb2.ResolveAccessResponse:
        """Resolve what the posts held today grant."""
        person_id = id_of(request.person, "people", "person")
        return messages.access_message(await self._store.held_posts(person_id, beijing_date(call.now)))

    async def ResolveCalendar(
        self, request: directory_pb2.ResolveCalendarRequest, call: Call
    ) -> directory_pb2.ResolveCalendarResponse:
        """Answer the holiday notices entered."""
        rows = await self._store.notices()
        return directory_pb2.ResolveCalendarResponse(notices=map(messages.notice_message, rows))

    async def ResolveSites(
        self, request: directory_pb2.ResolveSitesRequest, call: Call
    ) -> directory_pb2.ResolveSitesResponse:
        """Find sites by legacy id, for the imports of the other services."""
        response = directory_pb2.ResolveSitesResponse()
        for row in await self._sites.sites_by_legacy_id(
            optional_id(request.source_region, "regions", "source_region"), list(request.legacy_ids)
        ):
            response.sites.add(
                legacy_id=row["legacy_id"],
                site=name_of("sites", row["id"]),
                region_code=row["region_code"],
                unit=name_of("units", row["unit_id"]),
                unit_path=row["unit_path"],
            )
        return response


def build(database: Database, house: House) -> DirectoryService:
    """Return the service over its database."""
    return DirectoryService(database, house)
