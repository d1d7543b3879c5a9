"""The hazard service: the ledger, and the door to each hazard's rectification case."""

import functools
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from dutyloop.directory.v1 import directory_pb2
from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.kit.v1 import kit_pb2
from services.hazard import imports, messages, rules
from services.hazard.store import HazardStore, SitePlace
from services.hazard.visits import Visits
from services.kit.call import Call
from services.kit.cases import Action, Seen
from services.kit.dates import end_of, optional_day
from services.kit.db import Database, Row, outer_of
from services.kit.directory import Directory
from services.kit.errors import NotFound, invalid, require_etag
from services.kit.imports import run_import
from services.kit.legacy_sites import LegacySites
from services.kit.names import code_of, id_of
from services.kit.paging import page_of
from services.kit.registers import from_register
from services.kit.reprojection import recount_terms
from services.kit.serve import House
from workflows.payloads import rectification


class HazardService:
    """Serves dutyloop.hazard.v1.HazardService."""

    descriptor = hazard_pb2.DESCRIPTOR.services_by_name["HazardService"]

    def __init__(self, database: Database, house: House) -> None:
        self.database = database
        self._clients = house.clients
        self._directory = Directory(house.clients)
        self._visits = Visits(house.clients)
        self._store = HazardStore(database)
        self._cases = house.cases(database)
        self._read_clock = house.read_clock

    def background(self) -> Sequence[Callable[[], Any]]:
        """Keep delivering what cases must be told, and have terms counted anew when a notice comes."""
        recount = functools.partial(recount_terms, self._directory, self._read_clock, self._store.tell_provisional)
        return (self._cases.run_relay, recount)

    async def ReportHazard(self, request: hazard_pb2.ReportHazardRequest, call: Call) -> hazard_pb2.Hazard:
        """Enter a hazard."""
        rules.check_report(request.hazard)
        place = await self._place(request.hazard.site, "hazard.site")
        call.scope.require(request.hazard.site, place.region_code, place.unit_path)
        visitors = (
            await self._visits.inspectors(request.hazard.visit, request.hazard.site) if request.hazard.visit else ()
        )
        if request.hazard.disposition == hazard_pb2.DISPOSITION_ON_THE_SPOT:
            rules.check_visitor(call.principal, visitors)
            return await self._store.report(call, request.hazard, place, None, "")
        due = await self._directory.term_end(call.now, rectification.RectificationTerms().assign)
        fallback_unit = call.unit_reaching(place.region_code, place.unit_path)
        return await self._store.report(call, request.hazard, place, due, fallback_unit)

    async def AssignHazard(self, request: hazard_pb2.AssignHazardRequest, call: Call) -> hazard_pb2.Hazard:
        """Assign a hazard to a unit."""
        row = await self._hazard(request, call)
        # A unit elsewhere is answered like an absent one, and no work is handed to it.
        place = await self._directory.place(request.unit)
        call.scope.require(request.unit, place.region_code, place.path)
        action = {"unit": request.unit, "unit_path": place.path, "from_unit": row["unit"]}
        return await self._act(call, request, "assign", action)

    async def SubmitRectificationPlan(
        self, request: hazard_pb2.SubmitRectificationPlanRequest, call: Call
    ) -> hazard_pb2.Hazard:
        """Hand in the five-element plan."""
        row = await self._hazard(request, call)
        rules.check_own_unit(row["unit"], call.units)
        if request.plan.funds_fen < 0:
            raise invalid("plan.funds_fen", "out_of_range")
        person = request.plan.responsible
        # The caller was just seen to act through a post of the unit itself.
        if row["unit"] and person != call.principal and not await self._answers(person, row["unit_path"]):
            raise invalid("plan.responsible", "unknown_reference")
        action = {"unit": row["unit"], "plan": messages.plan_columns(request.plan)}
        return await self._act(call, request, "submit_plan", action)

    async def SubmitRectification(
        self, request: hazard_pb2.SubmitRectificationRequest, call: Call
    ) -> hazard_pb2.Hazard:
        """Report a hazard rectified."""
        row = await self._hazard(request, call)
        rules.check_own_unit(row["unit"], call.units)
        action = {"unit": row["unit"], "evidence": list(request.evidence)}
        return await self._act(call, request, "submit_rectification", action)

    async def RequestExtension(self, request: hazard_pb2.RequestExtensionRequest, call: Call) -> hazard_pb2.Hazard:
        """Ask for more time."""
        row = await self._hazard(request, call)
        rules.check_own_unit(row["unit"], call.units)
        asked = messages.extension_columns(request.extension)
        action = {"unit": row["unit"], "finish_date": asked["finish_date"], "reason": asked["reason"]}
        return await self._act(call, request, "request_extension", action)

    async def DecideExtension(self, request: hazard_pb2.DecideExtensionRequest, call: Call) -> hazard_pb2.Hazard:
        """Grant or refuse an extension."""
        action = {"verdict": messages.VERDICT.of(request.verdict)}
        return await self._judge(call, request, "decide_extension", action)

    async def Reinspect(self, request: hazard_pb2.ReinspectRequest, call: Call) -> hazard_pb2.Hazard:
        """Reinspect a rectified hazard."""
        action = {"verdict": messages.VERDICT.of(request.verdict), "remark": request.remark}
        return await self._judge(call, request, "reinspect", action)

    async def LookBack(self, request: hazard_pb2.LookBackRequest, call: Call) -> hazard_pb2.Hazard:
        """Visit again after write-off."""
        action = {"verdict": messages.VERDICT.of(request.verdict), "remark": request.remark}
        return await self._judge(call, request, "look_back", action)

    async def SuspendSite(self, request: hazard_pb2.SuspendSiteRequest, call: Call) -> hazard_pb2.SiteOrder:
        """Order a suspension."""
        return await self._store.order(call, "SUSPEND", request.site, request.hazard, request.instrument_number)

    async def ResumeSite(self, request: hazard_pb2.ResumeSiteRequest, call: Call) -> hazard_pb2.SiteOrder:
        """Consent to a resumption."""
        return await self._store.resume(call, request.name)

    async def CloseDownSite(self, request: hazard_pb2.CloseDownSiteRequest, call: Call) -> hazard_pb2.SiteOrder:
        """Close a site down."""
        return await self._store.order(call, "CLOSE_DOWN", request.site, request.hazard, request.instrument_number)

    async def GetHazard(self, request: hazard_pb2.GetHazardRequest, call: Call) -> hazard_pb2.Hazard:
        """Read one hazard."""
        return messages.hazard_message(await self._store.hazard(request.name, call.scope), call.now)

    async def ListHazards(self, request: hazard_pb2.ListHazardsRequest, call: Call) -> hazard_pb2.ListHazardsResponse:
        """List hazards, now or as of a day."""
        page = page_of(request)
        as_of_date = optional_day(request, "as_of_date")
        as_of = None if as_of_date is None else end_of(as_of_date)
        rows, hazards, sites = await self._store.list_hazards(call, request, as_of, page)
        shown, following = page.cut(rows, "open_time", "id")
        return hazard_pb2.ListHazardsResponse(
            hazards=(messages.listed_message(row, call.now, as_of) for row in shown),
            next_page_token=following,
            total_size=hazards,
            site_count=sites,
        )

    async def ImportHazards(
        self, requests: AsyncIterator[hazard_pb2.ImportHazardsRequest], call: Call
    ) -> kit_pb2.ImportReport:
        """Import a legacy hazard ledger."""
        source = await from_register(call, requests)
        sites = LegacySites(self._clients, call, source)
        due = await self._directory.term_end(call.now, rectification.RectificationTerms().assign)
        importer = imports.hazard_importer(call, source.region_code, sites.known, due)
        return await run_import(self.database, call, sites.messages(), importer)

    async def RecordHazardTransition(
        self, request: hazard_pb2.RecordHazardTransitionRequest, call: Call
    ) -> hazard_pb2.Hazard:
        """Record what the case decided."""
        return await self._store.record_transition(call, request, outer_of(request))

    async def _hazard(self, request: Action, call: Call) -> Row:
        """Return the hazard acted on. Raises NotFound and StaleEtag."""
        row = await self._store.hazard(request.name, call.scope)
        require_etag(request.name, request.etag, row["revision"])
        return row

    async def _judge(self, call: Call, request: Action, update: str, action: dict[str, Any]) -> hazard_pb2.Hazard:
        """Put a verdict to the case, with the units through whose posts the person judges."""
        row = await self._hazard(request, call)
        units = call.units_reaching(row["region_code"], row["unit_path"])
        unit_paths = [(await self._directory.place(unit)).path for unit in units]
        rules.check_judge(unit_paths, row["unit_path"])
        return await self._act(call, request, update, {**action, "unit": row["unit"], "unit_paths": unit_paths})

    async def _act(self, call: Call, request: Action, update: str, action: dict[str, Any]) -> hazard_pb2.Hazard:
        workflow_id = rectification.workflow_id(id_of(request.name, "hazards"))
        seen = Seen(request.etag, functools.partial(self._hazard, request, call))
        return await self._cases.act(call, workflow_id, update, action, hazard_pb2.Hazard, seen)

    async def _place(self, site: str, field: str) -> SitePlace:
        found = await self._clients.call(self._clients.directory.GetSite, directory_pb2.GetSiteRequest(name=site))
        unit_path = await self._unit_path(found.unit, field) if found.unit else ""
        return SitePlace(site, code_of(found.region), found.unit, unit_path)

    async def _unit_path(self, unit: str, field: str) -> str:
        try:
            return (await self._directory.place(unit)).path
        except NotFound:
            raise invalid(field, "unknown_reference") from None

    async def _answers(self, person: str, unit_path: str) -> bool:
        """Tell whether a person holds a post today in the unit of this path, in one below it or in one above it."""
        held = await self._clients.call(
            self._clients.directory.ResolveAccess, directory_pb2.ResolveAccessRequest(person=person)
        )
        paths = [await self._unit_path(unit, "plan.responsible") for unit in {grant.unit for grant in held.grants}]
        return any(rules.answers_for(path, unit_path) for path in paths)


def build(database: Database, house: House) -> HazardService:
    """Return the service over its database."""
    return HazardService(database, house)
