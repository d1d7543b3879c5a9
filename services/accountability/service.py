"""The accountability service: ladders, and the doors to supervision and accountability cases."""

import asyncio
import functools
from collections.abc import Callable, Sequence
from typing import Any

from dutyloop.accountability.v1 import accountability_pb2
from services.accountability import messages, rules
from services.accountability.accountability_store import AccountabilityStore, CaseOpening
from services.accountability.references import References
from services.accountability.store import Opening, SupervisionStore
from services.kit.call import Call
from services.kit.cases import Action, Seen
from services.kit.clock import wall_clock
from services.kit.db import Database, Row, outer_of
from services.kit.directory import Directory, TermEnd, UnitPlace
from services.kit.errors import NotFound, UnfitReference, invalid, require_etag
from services.kit.logs import logger
from services.kit.names import id_of
from services.kit.paging import page_of
from services.kit.reprojection import recount_terms
from services.kit.serve import House
from workflows.payloads import accountability, supervision

PRESET_PAUSE_SECONDS = 5.0


class AccountabilityService:
    """Serves dutyloop.accountability.v1.AccountabilityService."""

    descriptor = accountability_pb2.DESCRIPTOR.services_by_name["AccountabilityService"]

    def __init__(self, database: Database, house: House) -> None:
        self.database = database
        self._directory = Directory(house.clients)
        self._references = References(house.clients, self._directory)
        self._supervision = SupervisionStore(database)
        self._accountability = AccountabilityStore(database)
        self._cases = house.cases(database)
        self._read_clock = house.read_clock

    def background(self) -> Sequence[Callable[[], Any]]:
        """Install the presets once; keep delivering what cases must be told, and have terms counted anew."""
        stores = (self._supervision, self._accountability)
        recounts = (
            functools.partial(recount_terms, self._directory, self._read_clock, store.tell_provisional)
            for store in stores
        )
        return (self._install_presets, self._cases.run_relay, *recounts)

    async def CreateEscalationPolicy(
        self, request: accountability_pb2.CreateEscalationPolicyRequest, call: Call
    ) -> accountability_pb2.EscalationPolicy:
        """Create a policy or its next version."""
        policy = request.escalation_policy
        region_code = id_of(policy.region, "regions", "escalation_policy.region")
        call.scope.require(policy.region, region_code)
        rules.check_policy(policy)
        await self._references.require_region(policy.region, "escalation_policy.region")
        return await self._supervision.create_policy(call, policy)

    async def GetEscalationPolicy(
        self, request: accountability_pb2.GetEscalationPolicyRequest, call: Call
    ) -> accountability_pb2.EscalationPolicy:
        """Read one version of a policy: one of the caller's scope, or one that serves it from above."""
        row = await self._supervision.policy(request.name)
        if not any(rules.serves(row["region_code"], own) for own in await self._own_regions(call)):
            call.scope.require(request.name, row["region_code"])
        return messages.policy_message(row)

    async def ListEscalationPolicies(
        self, request: accountability_pb2.ListEscalationPoliciesRequest, call: Call
    ) -> accountability_pb2.ListEscalationPoliciesResponse:
        """List policies of the caller's scope and those that serve it from above."""
        page = page_of(request)
        rows = await self._supervision.list_policies(await self._own_regions(call), call.scope, request, page)
        shown, following = page.cut(rows, "region_code", "code", "version")
        return accountability_pb2.ListEscalationPoliciesResponse(
            escalation_policies=map(messages.policy_message, shown), next_page_token=following
        )

    async def OpenSupervisionCase(
        self, request: accountability_pb2.OpenSupervisionCaseRequest, call: Call
    ) -> accountability_pb2.SupervisionCase:
        """Open a supervision case."""
        case = request.supervision_case
        place = await self._references.place_in_scope(call, case.unit)
        rules.check_business_time(internal=call.internal, given=request.HasField("business_time"))
        if case.HasField("term"):
            rules.check_term(case.term, "supervision_case.term")
        await self._check_references(call, case)
        person = case.person or (await self._references.holder_of(case.post, call.now) if case.post else "")
        policy = await self._policy_for(case.escalation_policy, place, call)
        due = TermEnd(call.now)
        if case.HasField("term"):
            due = await self._references.term_end(call.now, messages.term_of(case.term))
        return await self._supervision.open_case(call, case, Opening(place, person, policy, due))

    async def ReportCaseProgress(
        self, request: accountability_pb2.ReportCaseProgressRequest, call: Call
    ) -> accountability_pb2.SupervisionCase:
        """Report how the unit handles the matter."""
        row = await self._supervised(request, call)
        rules.check_progress(row["state"], row["unit"], call.units)
        action = {"unit": row["unit"], "progress": request.progress, "evidence": list(request.evidence)}
        return await self._act_on_supervision(call, request, "report_progress", action)

    async def ConcludeSupervisionCase(
        self, request: accountability_pb2.ConcludeSupervisionCaseRequest, call: Call
    ) -> accountability_pb2.SupervisionCase:
        """Conclude a case: by a person's decision, or told by the case whose matter is settled."""
        rules.check_business_time(internal=call.internal, given=request.HasField("business_time"))
        if call.internal:
            return await self._supervision.settle(call, request)
        row = await self._supervised(request, call)
        involved = rules.Involved(row["person"], row["reporters"], row["addressed"])
        rules.check_conclusion(row["state"], call.principal, involved)
        await self._references.require_settled(row["source"], row["matter"], row["hazard"], row["task"])
        action = {"unit": row["unit"], "conclusion": request.conclusion}
        return await self._act_on_supervision(call, request, "conclude", action)

    async def GetSupervisionCase(
        self, request: accountability_pb2.GetSupervisionCaseRequest, call: Call
    ) -> accountability_pb2.SupervisionCase:
        """Read one supervision case."""
        return messages.supervision_message(await self._supervision.case(request.name, call.scope), call.now)

    async def ListSupervisionCases(
        self, request: accountability_pb2.ListSupervisionCasesRequest, call: Call
    ) -> accountability_pb2.ListSupervisionCasesResponse:
        """List supervision cases."""
        page = page_of(request)
        rows, total = await self._supervision.list_cases(call, request, page)
        shown, following = page.cut(rows, "open_time", "id")
        return accountability_pb2.ListSupervisionCasesResponse(
            supervision_cases=(messages.supervision_message(row, call.now) for row in shown),
            next_page_token=following,
            total_size=total,
        )

    async def OpenAccountabilityCase(
        self, request: accountability_pb2.OpenAccountabilityCaseRequest, call: Call
    ) -> accountability_pb2.AccountabilityCase:
        """Open an accountability case against a person."""
        case = request.accountability_case
        place = await self._references.place_in_scope(call, case.unit)
        rules.check_business_time(internal=call.internal, given=request.HasField("business_time"))
        rules.check_opening(case, "" if call.internal else call.principal)
        named = case.subject
        await self._check_subject(call, case)
        if case.post:
            await self._references.require_post_of(case.unit, case.post, "accountability_case.post")
        await self._check_causes(call, case)
        terms = accountability.AccountabilityTerms()
        due = await self._references.term_end(call.now, terms.facts)
        stood_in_for = named if case.subject != named else ""
        return await self._accountability.open_case(call, case, CaseOpening(place, terms, due, stood_in_for))

    async def SubmitFacts(
        self, request: accountability_pb2.SubmitFactsRequest, call: Call
    ) -> accountability_pb2.AccountabilityCase:
        """Hand in the facts."""
        row = await self._answered(request, call)
        rules.check_facts(row["state"], call.principal, row["subject"])
        action = {"facts": request.facts, "evidence": list(request.evidence)}
        return await self._act_on_accountability(call, request, "submit_facts", action)

    async def DecideAccountabilityCase(
        self, request: accountability_pb2.DecideAccountabilityCaseRequest, call: Call
    ) -> accountability_pb2.AccountabilityCase:
        """Decide a case with a measure."""
        row = await self._answered(request, call)
        rules.check_influence(request.influence_months)
        unit_paths = await self._check_decider(call, row)
        decision = messages.DECISION.of(request.decision)
        action = {
            "decision": decision,
            "influence_months": request.influence_months,
            "instrument_number": request.instrument_number,
            "grounds": request.grounds,
            "appeal_clock": rules.appeal_clock(decision),
            "unit_paths": unit_paths,
        }
        return await self._act_on_accountability(call, request, "decide", action)

    async def ExemptSubject(
        self, request: accountability_pb2.ExemptSubjectRequest, call: Call
    ) -> accountability_pb2.AccountabilityCase:
        """Exempt a subject whose every duty is shown performed."""
        row = await self._answered(request, call)
        unit_paths = await self._check_decider(call, row)
        await self._check_exemption(request.exemption, row)
        action = {"exemption": messages.exemption_columns(request.exemption), "unit_paths": unit_paths}
        return await self._act_on_accountability(call, request, "exempt", action)

    async def FileAppeal(
        self, request: accountability_pb2.FileAppealRequest, call: Call
    ) -> accountability_pb2.AccountabilityCase:
        """File the subject's appeal."""
        row = await self._answered(request, call, call.principal)
        appealed = row["appeal_time"] is not None
        rules.check_appeal(row["state"], call.principal, row["subject"], row["appeal_due_time"], appealed, call.now)
        action = {"reason": request.reason}
        return await self._act_on_accountability(call, request, "file_appeal", action, call.principal)

    async def GetAccountabilityCase(
        self, request: accountability_pb2.GetAccountabilityCaseRequest, call: Call
    ) -> accountability_pb2.AccountabilityCase:
        """Read one accountability case; its subject always may."""
        row = await self._accountability.case(request.name, call.scope, call.principal)
        return messages.accountability_message(row, call.now)

    async def ListAccountabilityCases(
        self, request: accountability_pb2.ListAccountabilityCasesRequest, call: Call
    ) -> accountability_pb2.ListAccountabilityCasesResponse:
        """List accountability cases."""
        page = page_of(request)
        rows, total = await self._accountability.list_cases(call, request, page)
        shown, following = page.cut(rows, "open_time", "id")
        return accountability_pb2.ListAccountabilityCasesResponse(
            accountability_cases=(messages.accountability_message(row, call.now) for row in shown),
            next_page_token=following,
            total_size=total,
        )

    async def ListMeasures(
        self, request: accountability_pb2.ListMeasuresRequest, call: Call
    ) -> accountability_pb2.ListMeasuresResponse:
        """List measures."""
        page = page_of(request)
        rows, total = await self._supervision.list_measures(call, request, page)
        shown, following = page.cut(rows, "measure_time", "id")
        return accountability_pb2.ListMeasuresResponse(
            measures=map(messages.measure_message, shown), next_page_token=following, total_size=total
        )

    async def HandOnSupervisionCase(
        self, request: accountability_pb2.HandOnSupervisionCaseRequest, call: Call
    ) -> accountability_pb2.SupervisionCase:
        """Have a case follow its matter to another unit."""
        await self._references.place(request.unit, "unit")
        return await self._supervision.hand_on(call, request)

    async def RecordRung(self, request: accountability_pb2.RecordRungRequest, call: Call) -> accountability_pb2.Measure:
        """Record a rung that fired."""
        return await self._supervision.record_rung(call, request.measure)

    async def RecordCaseTransition(
        self, request: accountability_pb2.RecordCaseTransitionRequest, call: Call
    ) -> accountability_pb2.RecordCaseTransitionResponse:
        """Record what a case's workflow decided."""
        outer = outer_of(request)
        match request.WhichOneof("snapshot"):
            case "supervision_case":
                unit = request.supervision_case.unit
                place = await self._references.place(unit, "supervision_case.unit") if unit else None
                return await self._supervision.record_transition(call, request, place, outer)
            case "accountability_case":
                return await self._accountability.record_transition(call, request, outer)
            case _:
                raise invalid("supervision_case", "required")

    async def _install_presets(self) -> None:
        while True:
            try:
                return await self._supervision.install_presets(await wall_clock())
            except Exception as error:  # noqa: BLE001 (the loop must outlive any outage; the cause is logged)
                logger().warning("presets_not_installed", error=type(error).__name__)
                await asyncio.sleep(PRESET_PAUSE_SECONDS)

    async def _own_regions(self, call: Call) -> list[str]:
        """Return the region codes in which the caller's posts are: policies from above serve them."""
        units = sorted({grant.unit for grant in call.grants if grant.unit_path})
        places = [await self._references.place(unit, "name") for unit in units]
        return [*call.scope.regions, *(place.region_code for place in places)]

    async def _policy_for(self, name: str, place: UnitPlace, call: Call) -> Row:
        if not name:
            return await self._supervision.nearest_policy(place.region_code, call.now)
        field = "supervision_case.escalation_policy"
        try:
            row = await self._supervision.policy(name, field)
        except NotFound:
            raise invalid(field, "unknown_reference") from None
        if not rules.serves(row["region_code"], place.region_code):
            if not call.scope.covers(row["region_code"]):
                raise invalid(field, "unknown_reference")
            raise UnfitReference(field=field, resource=name)
        return row

    async def _check_references(self, call: Call, case: accountability_pb2.SupervisionCase) -> None:
        """Check what a person's request names; a workflow names what its own case is about."""
        if call.internal:
            return
        if case.post:
            await self._references.require_post_of(case.unit, case.post, "supervision_case.post")
        if case.person:
            await self._references.require_person(call, case.person, "supervision_case.person")
        if case.hazard:
            await self._references.require_hazard(call, case.hazard, "supervision_case.hazard")
        if case.task:
            await self._references.require_task(call, case.task, "supervision_case.task")
        if case.tour:
            await self._references.require_tour(call, case.tour, "supervision_case.tour")

    async def _check_subject(self, call: Call, case: accountability_pb2.AccountabilityCase) -> None:
        """Check whom a person names; where a workflow names nobody known, the unit's head answers instead."""
        field = "accountability_case.subject"
        if not call.internal:
            return await self._references.require_person(call, case.subject, field)
        if await self._references.is_known(case.subject):
            return None
        head = await self._references.head_of(case.unit, call.now)
        if head is None:
            raise invalid(field, "unknown_reference")
        case.subject, case.post = head.person, head.post
        return None

    async def _check_causes(self, call: Call, case: accountability_pb2.AccountabilityCase) -> None:
        try:
            if case.measure:
                await self._supervision.measure(case.measure, call.scope, "accountability_case.measure")
            if case.supervision_case:
                field = "accountability_case.supervision_case"
                await self._supervision.case(case.supervision_case, call.scope, field)
        except NotFound as error:
            at_fault = "measure" if error.metadata["resource"] == case.measure else "supervision_case"
            raise invalid(f"accountability_case.{at_fault}", "unknown_reference") from None
        if call.internal:
            return
        if case.hazard:
            await self._references.require_hazard(call, case.hazard, "accountability_case.hazard")
        if case.task:
            await self._references.require_task(call, case.task, "accountability_case.task")

    async def _check_decider(self, call: Call, row: Row) -> list[str]:
        """Check who decides; return the paths of the units for which the person does."""
        units = call.units_reaching(row["region_code"], row["unit_path"])
        decider = rules.Decider(call.principal, await self._references.unit_paths(units))
        parties = rules.Parties(row["subject"], row["opener"], row["handlers"])
        rules.check_decider(row["state"], decider, parties, row["unit_path"])
        return list(decider.unit_paths)

    async def _check_exemption(self, exemption: accountability_pb2.Exemption, row: Row) -> None:
        shown = [rules.ShownDuty(duty.duty_item, duty.ledger_entries) for duty in exemption.duties]
        items = await self._references.duty_items_of(row["subject"], row["unit"], row["post"], row["open_time"])
        entries = await self._references.evidence([name for duty in shown for name in duty.ledger_entries])
        rules.check_exemption(shown, items, entries, row["subject"], row["open_time"])

    async def _supervised(self, request: Action, call: Call) -> Row:
        """Return the supervision case acted on. Raises NotFound and StaleEtag."""
        row = await self._supervision.case(request.name, call.scope)
        require_etag(request.name, request.etag, row["revision"])
        return row

    async def _answered(self, request: Action, call: Call, subject: str = "") -> Row:
        """Return the accountability case acted on, by ``subject`` wherever it is. Raises NotFound and StaleEtag."""
        row = await self._accountability.case(request.name, call.scope, subject)
        require_etag(request.name, request.etag, row["revision"])
        return row

    async def _act_on_supervision(
        self, call: Call, request: Action, update: str, action: dict[str, Any]
    ) -> accountability_pb2.SupervisionCase:
        workflow_id = supervision.workflow_id(id_of(request.name, "supervisionCases"))
        seen = Seen(request.etag, functools.partial(self._supervised, request, call))
        return await self._cases.act(call, workflow_id, update, action, accountability_pb2.SupervisionCase, seen)

    async def _act_on_accountability(
        self, call: Call, request: Action, update: str, action: dict[str, Any], subject: str = ""
    ) -> accountability_pb2.AccountabilityCase:
        workflow_id = accountability.workflow_id(id_of(request.name, "accountabilityCases"))
        seen = Seen(request.etag, functools.partial(self._answered, request, call, subject))
        return await self._cases.act(call, workflow_id, update, action, accountability_pb2.AccountabilityCase, seen)


def build(database: Database, house: House) -> AccountabilityService:
    """Return the service over its database."""
    return AccountabilityService(database, house)
