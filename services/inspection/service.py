"""The inspection service: tours and the door to their cases, draws, visits, coverage."""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from dutyloop.inspection.v1 import inspection_pb2
from dutyloop.kit.v1 import kit_pb2
from services.inspection import draw, imports, messages, rules
from services.inspection.places import Places
from services.inspection.store import InspectionStore, Organiser
from services.kit.call import Call
from services.kit.cases import Action, Seen
from services.kit.dates import beijing_date
from services.kit.db import Database, Row, outer_of
from services.kit.errors import NotFound, UnfitReference, invalid, require_etag
from services.kit.imports import run_import
from services.kit.legacy_sites import LegacySites
from services.kit.names import code_of, id_of
from services.kit.paging import page_of
from services.kit.registers import from_register
from services.kit.serve import House
from workflows.payloads import tour as payloads

Look = Callable[[Any, Call], Awaitable[object]]
"""Reads what a request acts on. Raises StaleEtag when the person saw another revision."""


class InspectionService:
    """Serves dutyloop.inspection.v1.InspectionService."""

    descriptor = inspection_pb2.DESCRIPTOR.services_by_name["InspectionService"]

    def __init__(self, database: Database, house: House) -> None:
        self.database = database
        self._clients = house.clients
        self._store = InspectionStore(database)
        self._cases = house.cases(database)

    def background(self) -> Sequence[Callable[[], Any]]:
        """Keep delivering what cases must be told."""
        return (self._cases.run_relay,)

    async def CreateTour(self, request: inspection_pb2.CreateTourRequest, call: Call) -> inspection_pb2.Tour:
        """Plan a tour."""
        tour = request.tour
        places = Places(self._clients)
        organiser = await self._organiser(tour, places, call)
        rules.check_tour(tour, beijing_date(call.now))
        targets = await places.targets(tour.targets, "tour.targets")
        rules.check_reach(targets, organiser.region_code)
        rules.check_enforcement(targets, tour.enforcement_unit)
        candidates = await places.inspectors(tour.candidates, "tour.candidates")
        rules.check_known(candidates, targets, call.scope, "tour.candidates")
        return await self._store.plan_tour(call, tour, organiser, targets)

    async def DrawInspectors(self, request: inspection_pb2.DrawInspectorsRequest, call: Call) -> inspection_pb2.Tour:
        """Draw the inspectors of every target."""
        row = await self._tour(request, call, "draw_inspectors")
        rules.check_recusals(request.exclusions, row["candidates"], row["targets"])
        rules.check_drawer(call.principal, row["candidates"])
        pool = await self._pool(row, request.exclusions)
        rules.check_drawable(pool)
        action = {
            "pool_hash": draw.pool_hash(pool).hex(),
            "public_entropy": request.public_entropy,
            "recusals": [{"inspector": each.inspector, "target": each.target} for each in request.exclusions],
        }
        return await self._act(call, request, "draw_inspectors", action)

    async def GetDraw(self, request: inspection_pb2.GetDrawRequest, call: Call) -> inspection_pb2.Draw:
        """Read one draw."""
        return messages.draw_message(await self._store.draw(request.name, call.scope))

    async def VerifyDraw(
        self, request: inspection_pb2.VerifyDrawRequest, call: Call
    ) -> inspection_pb2.VerifyDrawResponse:
        """Recompute a draw from what is stored, and compare."""
        stored = messages.drawn_of(await self._store.draw(request.name, call.scope))
        rules.check_published(stored.algorithm)
        found = draw.verify(stored)
        response = inspection_pb2.VerifyDrawResponse(
            matches=found.matches, pool_hash=found.pool_hash, differing_targets=found.differing_targets
        )
        messages.fill_assignments(response.assignments, found.assignments)
        return response

    async def StartTour(self, request: inspection_pb2.StartTourRequest, call: Call) -> inspection_pb2.Tour:
        """Start a drawn tour."""
        await self._tour(request, call, "start_tour")
        return await self._act(call, request, "start_tour", {})

    async def RecordVisit(self, request: inspection_pb2.RecordVisitRequest, call: Call) -> inspection_pb2.Visit:
        """Record a visit."""
        visit = request.visit
        rules.check_target_kind(visit.target)
        if visit.tour:
            return await self._store.record_tour_visit(call, visit)
        places = Places(self._clients)
        target = await places.own_target(visit.target)
        call.scope.require(visit.target, target.region_code, target.unit_path)
        rules.check_record(visit, call.principal, call.now)
        if not visit.enforcement_unit:
            raise invalid("visit.enforcement_unit", "required")
        path = await self._enforcement_path(
            visit.enforcement_unit, target.region_code, places, call, "visit.enforcement_unit"
        )
        inspectors = await places.inspectors(visit.inspectors, "visit.inspectors")
        rules.check_known(inspectors, [target], call.scope, "visit.inspectors")
        rules.check_single_visit(visit, target, inspectors, path)
        return await self._store.record_single_visit(call, visit, target)

    async def ListVisits(
        self, request: inspection_pb2.ListVisitsRequest, call: Call
    ) -> inspection_pb2.ListVisitsResponse:
        """List visits, oldest first."""
        page = page_of(request)
        rows, visits, targets = await self._store.list_visits(call.scope, request, page)
        shown, following = page.cut(rows, "visit_date", "id")
        return inspection_pb2.ListVisitsResponse(
            visits=map(messages.visit_message, shown),
            next_page_token=following,
            total_size=visits,
            target_count=targets,
        )

    async def GetCoverage(
        self, request: inspection_pb2.GetCoverageRequest, call: Call
    ) -> inspection_pb2.GetCoverageResponse:
        """Read the coverage ledger of a unit's tours in a term."""
        page = page_of(request)
        await self._unit_in_scope(request.unit, call)
        rows, totals = await self._store.coverage(request.unit, request.coverage_term, page)
        shown, following = page.cut(rows, "target")
        return inspection_pb2.GetCoverageResponse(
            lines=map(messages.coverage_line, shown),
            next_page_token=following,
            target_count=totals["targets"],
            covered_count=totals["covered"],
        )

    async def IssueFeedbackLetter(
        self, request: inspection_pb2.IssueFeedbackLetterRequest, call: Call
    ) -> inspection_pb2.Tour:
        """Issue the feedback letter."""
        letter = request.letter
        await self._tour(request, call, "issue_feedback_letter")
        found = await self._store.addressees(request.name, letter.addressees)
        rules.check_letter(letter, {target: row["visited"] for target, row in found.items()})
        action = {
            "letter": {
                "number": letter.number,
                "summary": letter.summary,
                "addressees": [{"target": each, "unit": found[each]["unit"]} for each in letter.addressees],
                "term": messages.term_columns(letter.term) if letter.HasField("term") else None,
            }
        }
        return await self._act(call, request, "issue_letter", action)

    async def SubmitRectificationReport(
        self, request: inspection_pb2.SubmitRectificationReportRequest, call: Call
    ) -> inspection_pb2.Tour:
        """Hand in an addressee's report."""
        row = await self._addressee(request, call)
        rules.check_open(row["state"], "report_rectification")
        if len(request.document_hash) != rules.DOCUMENT_HASH_BYTES:
            raise invalid("document_hash", "malformed")
        report = {
            "target": request.target,
            "number": request.number,
            "document_hash": request.document_hash.hex(),
        }
        return await self._act(call, request, "submit_report", {"report": report}, self._addressee)

    async def CloseTour(self, request: inspection_pb2.CloseTourRequest, call: Call) -> inspection_pb2.Tour:
        """Close a tour whose rectification is reported."""
        await self._tour(request, call, "close_tour")
        return await self._act(call, request, "close_tour", {"conclusion": request.conclusion})

    async def GetTour(self, request: inspection_pb2.GetTourRequest, call: Call) -> inspection_pb2.Tour:
        """Read one tour."""
        return messages.tour_message(await self._store.readable_tour(request.name, call.scope), call.now)

    async def ListTours(self, request: inspection_pb2.ListToursRequest, call: Call) -> inspection_pb2.ListToursResponse:
        """List tours, oldest first."""
        page = page_of(request)
        shown, following = page.cut(await self._store.list_tours(call.scope, request, page), "create_time", "id")
        return inspection_pb2.ListToursResponse(
            tours=(messages.tour_message(row, call.now) for row in shown), next_page_token=following
        )

    async def RecordTourTransition(
        self, request: inspection_pb2.RecordTourTransitionRequest, call: Call
    ) -> inspection_pb2.Tour:
        """Record what the case decided; a draw is computed here, from the pool that was frozen."""
        drawn = None
        if request.HasField("draw_input"):
            asked = request.draw_input
            row = await self._store.tour(request.name, call.scope)
            pool = await self._pool(row, asked.exclusions)
            rules.check_frozen(draw.pool_hash(pool), asked.pool_hash)
            drawn = draw.draw(pool, asked.seed, asked.public_entropy)
        return await self._store.record_transition(call, request, drawn, outer_of(request))

    async def ImportVisits(
        self, requests: AsyncIterator[inspection_pb2.ImportVisitsRequest], call: Call
    ) -> kit_pb2.ImportReport:
        """Import a legacy inspection ledger."""
        source = await from_register(call, requests)
        sites = LegacySites(self._clients, call, source)
        importer = imports.visit_importer(call, source.region_code, sites.known)
        return await run_import(self.database, call, sites.messages(), importer)

    async def _tour(self, request: Action, call: Call, action: str) -> Row:
        """Return the tour acted on. Raises NotFound, StaleEtag and WrongState."""
        row = await self._organised(request, call)
        rules.check_open(row["state"], action)
        return row

    async def _organised(self, request: Action, call: Call) -> Row:
        """Return the tour for who organises it. Raises NotFound and StaleEtag."""
        row = await self._store.tour(request.name, call.scope)
        require_etag(request.name, request.etag, row["revision"])
        return row

    async def _addressee(self, request: inspection_pb2.SubmitRectificationReportRequest, call: Call) -> Row:
        """Return the target that reports, with its tour. Raises NotFound and StaleEtag."""
        row = (await self._store.addressees(request.name, [request.target])).get(request.target)
        if row is None:
            raise NotFound(request.name)
        # By the tour's name, as for a target that is none of it: a guessed pair is not confirmed.
        call.scope.require(request.name, row["region_code"], row["unit_path"])
        if not row["addressed"]:  # only the letter tells an addressee that there is a tour
            call.scope.require(request.name, row["tour_region_code"], row["tour_unit_path"])
        require_etag(request.name, request.etag, row["tour_revision"])
        return row

    async def _act(
        self, call: Call, request: Any, update: str, action: dict[str, Any], look: Look | None = None
    ) -> inspection_pb2.Tour:
        workflow_id = payloads.workflow_id(id_of(request.name, "tours"))
        seen = Seen(request.etag, functools.partial(look or self._organised, request, call))
        return await self._cases.act(call, workflow_id, update, action, inspection_pb2.Tour, seen)

    async def _pool(self, row: Row, recusals: Sequence[inspection_pb2.Exclusion]) -> draw.Pool:
        """Return the tour's pool as directory knows its candidates now."""
        return rules.freeze_pool(
            await self._store.targets(row["id"]),
            await Places(self._clients).inspectors(row["candidates"], "candidates"),
            [(each.inspector, each.target) for each in recusals],
            row["enforcement_path"],
            row["inspectors_per_visit"],
        )

    async def _organiser(self, tour: inspection_pb2.Tour, places: Places, call: Call) -> Organiser:
        unit = await places.own_unit(tour.unit)
        region_code = code_of(unit.region)
        call.scope.require(tour.unit, region_code, unit.path)
        path = ""
        if tour.enforcement_unit:
            path = await self._enforcement_path(
                tour.enforcement_unit, region_code, places, call, "tour.enforcement_unit"
            )
        return Organiser(tour.unit, unit.path, region_code, path)

    async def _enforcement_path(self, unit: str, region_code: str, places: Places, call: Call, field: str) -> str:
        """Return the path of an enforcement body within reach, or of one that has the region within its own."""
        found = await places.unit(unit, field)
        own_region = code_of(found.region)
        if not (region_code.startswith(own_region) or call.scope.covers(own_region, found.path)):
            raise invalid(field, "unknown_reference")
        if not found.enforcement:
            raise UnfitReference(field=field, resource=unit)
        path: str = found.path
        return path

    async def _unit_in_scope(self, name: str, call: Call) -> None:
        unit = await Places(self._clients).own_unit(name)
        call.scope.require(name, code_of(unit.region), unit.path)


def build(database: Database, house: House) -> InspectionService:
    """Return the service over its database."""
    return InspectionService(database, house)
