"""The audit service over the wire: what auditors may see, prove, follow, read as a story and replay."""

import asyncio
import base64
import hashlib
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from google.type.date_pb2 import Date
from temporalio import workflow
from temporalio.client import Client, WorkflowHistory, WorkflowQueryFailedError, WorkflowUpdateFailedError
from temporalio.worker import Replayer

from dutyloop.audit.v1 import audit_pb2
from dutyloop.audit.v1.audit_pb2_grpc import AuditServiceStub
from dutyloop.directory.v1 import directory_pb2
from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.inspection.v1 import inspection_pb2
from dutyloop.kit.v1 import kit_pb2
from dutyloop.policy.v1 import policy_pb2
from services.audit import checkpoints, merkle, verify
from services.kit.codec import data_converter
from services.kit.crypto import load_signing_key
from services.kit.imports import BATCH_RESOURCES
from tests.integration.house import Caller, Refusal, RunningHouse, rules_of
from tests.integration.people import COUNTY, SIBLING_COUNTY, City, create_unit, hire, new_hazard
from tests.integration.stock import Stock
from workflows.payloads import rectification
from workflows.payloads.tour import workflow_id as tour_workflow
from workflows.replay import replay_closed
from workflows.worker import WORKFLOWS

if TYPE_CHECKING:
    from dutyloop.audit.v1.audit_pb2_grpc import AuditServiceAsyncStub


DEPARTMENT = directory_pb2.UNIT_KIND_DEPARTMENT


@workflow.defn(name=rectification.WORKFLOW, sandboxed=False)
class Changed:
    """A rectification that goes another way."""

    @workflow.run
    async def run(self, start: Any) -> str:
        await workflow.sleep(1)
        return "changed"


@dataclass(frozen=True, slots=True)
class Office:
    """The auditors at home and next door, and a hazard that went through its whole loop."""

    city: City
    stub: "AuditServiceAsyncStub"
    auditor: Caller
    stranger: Caller
    hazard: str
    receipt: bytes

    @property
    def house(self) -> RunningHouse:
        """The house they work in."""
        return self.city.house

    @property
    def workflow_id(self) -> str:
        """The hazard's workflow."""
        return rectification.workflow_id(self.hazard.removeprefix("hazards/"))

    async def listed(self, **asked: Any) -> list[audit_pb2.LedgerEntry]:
        """List entries as the auditor at home sees them."""
        request = audit_pb2.ListLedgerEntriesRequest(page_size=1000, **asked)
        return list((await self.auditor.calls(self.stub.ListLedgerEntries, request)).ledger_entries)

    async def sequenced(self, found: Callable[[audit_pb2.LedgerEntry], bool]) -> audit_pb2.LedgerEntry:
        """Wait until an entry is sequenced and covered by a checkpoint."""
        for _ in range(200):
            match = next(filter(found, await self.listed()), None)
            if match is not None:
                head = await self.auditor.calls(self.stub.GetCheckpoint, audit_pb2.GetCheckpointRequest())
                if head.tree_size > match.position:
                    return match
            await asyncio.sleep(0.05)
        raise AssertionError("the entry was not sequenced in ten seconds")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def office(city: City) -> Office:
    """A hazard reported, assigned, planned, rectified, written off and looked back at."""
    house = city.house
    request = hazard_pb2.ReportHazardRequest()
    request.hazard.CopyFrom(new_hazard(city.home.site))
    request.request_id = "audit-report"
    reported, [receipt] = await city.inspector.receipts(house.hazard.ReportHazard, request)
    name = reported.name
    today = (await house.now()).date() + timedelta(days=5)
    plan = hazard_pb2.RectificationPlan(
        responsible=city.responsible.name,
        measures="固定",
        contingency="隔离",
        finish_date=Date(year=today.year, month=today.month, day=today.day),
    )
    stub = house.hazard
    await city.supervisor.calls(stub.AssignHazard, hazard_pb2.AssignHazardRequest(name=name, unit=city.home.enterprise))
    await city.responsible.calls(
        stub.SubmitRectificationPlan, hazard_pb2.SubmitRectificationPlanRequest(name=name, plan=plan)
    )
    await city.responsible.calls(
        stub.SubmitRectification, hazard_pb2.SubmitRectificationRequest(name=name, evidence=["doc-1"])
    )
    passed = kit_pb2.VERDICT_PASS
    await city.inspector.calls(stub.Reinspect, hazard_pb2.ReinspectRequest(name=name, verdict=passed))
    await city.inspector.calls(stub.LookBack, hazard_pb2.LookBackRequest(name=name, verdict=passed))
    return Office(
        city,
        AuditServiceStub(house.channel),
        city.home.people[policy_pb2.ROLE_AUDITOR],
        await hire(house, city.next_door.office, policy_pb2.ROLE_AUDITOR),
        name,
        receipt,
    )


async def test_a_receipt_leads_to_a_proof_that_verifies(office: Office) -> None:
    """Who was answered could not show that the answer is in the signed log."""
    entry = await office.sequenced(lambda each: each.leaf_hash == office.receipt)
    assert (entry.type, entry.actor, entry.request_id) == (
        "hazard.hazard.reported",
        office.city.inspector.name,
        "audit-report",
    )
    assert entry.objects[0] == office.hazard
    assert entry.region == "regions/1303"
    assert merkle.leaf_hash(entry.envelope) == entry.leaf_hash
    commitment = hashlib.sha256(entry.payload_salt + entry.payload_json.encode()).digest()
    assert commitment == entry.payload_commitment
    assert entry == await office.auditor.calls(
        office.stub.GetLedgerEntry, audit_pb2.GetLedgerEntryRequest(name=entry.name)
    )
    head = await office.auditor.calls(office.stub.GetCheckpoint, audit_pb2.GetCheckpointRequest())
    key_file = office.house.settings.checkpoint_key_file
    assert key_file is not None
    signed = checkpoints.verify(head.note, [load_signing_key(key_file).public_key()])
    assert (signed.tree_size, signed.root_hash) == (head.tree_size, head.root_hash)
    proof = await office.auditor.calls(
        office.stub.GetInclusionProof,
        audit_pb2.GetInclusionProofRequest(name=entry.name, tree_size=head.tree_size),
    )
    assert merkle.verify_inclusion(entry.leaf_hash, proof.position, head.tree_size, proof.hashes, head.root_hash)
    for smaller in range(1, min(head.tree_size, 14)):
        consistency = await office.auditor.calls(
            office.stub.GetConsistencyProof,
            audit_pb2.GetConsistencyProofRequest(first_tree_size=smaller, second_tree_size=head.tree_size),
        )
        old = merkle.Frontier()
        rows = await office.house.fetch(
            "SELECT leaf_hash FROM ledger.entry WHERE position < $1 ORDER BY position", smaller
        )
        old.extend([row["leaf_hash"] for row in rows])
        assert merkle.verify_consistency(smaller, head.tree_size, old.root(), head.root_hash, consistency.hashes)


async def test_nothing_outside_the_scope_is_shown(office: Office) -> None:
    """The auditor of the neighbouring city would read ours."""
    entry = await office.sequenced(lambda each: each.leaf_hash == office.receipt)
    stub, stranger = office.stub, office.stranger
    for refusal in (
        await stranger.refused(stub.GetLedgerEntry, audit_pb2.GetLedgerEntryRequest(name=entry.name)),
        await stranger.refused(stub.GetInclusionProof, audit_pb2.GetInclusionProofRequest(name=entry.name)),
        await stranger.refused(stub.GetCaseTimeline, audit_pb2.GetCaseTimelineRequest(case_name=office.hazard)),
        await stranger.refused(stub.GetCaseTimeline, audit_pb2.GetCaseTimelineRequest(workflow_id=office.workflow_id)),
    ):
        assert refusal.reason == "NOT_FOUND"
    page = await stranger.calls(stub.ListLedgerEntries, audit_pb2.ListLedgerEntriesRequest(object=office.hazard))
    assert not page.ledger_entries
    followed = [
        each
        async for answer in stub.FollowLedger(
            audit_pb2.FollowLedgerRequest(), timeout=1.5, metadata=stranger.metadata()
        )
        for each in answer.ledger_entries
    ]
    assert all(each.region == "regions/1304" for each in followed)


async def test_prying_into_a_case_does_not_open_it(office: Office) -> None:
    """Whoever tried to read a neighbour's hazard would give his own auditor its whole story: the refusal names it."""
    pry = hazard_pb2.GetHazardRequest(name=office.hazard)
    refusal = await office.stranger.refused(office.house.hazard.GetHazard, pry)
    assert refusal.reason == "NOT_FOUND" and await office.house.refusals_of(office.stranger.name)
    request = audit_pb2.GetCaseTimelineRequest(case_name=office.hazard)
    absent = audit_pb2.GetCaseTimelineRequest(case_name="hazards/absent")
    refusals = [await office.stranger.refused(office.stub.GetCaseTimeline, each) for each in (request, absent)]
    assert [refusal.message for refusal in refusals] == [
        f"{office.hazard} was not found",
        "hazards/absent was not found",
    ]
    told = await office.auditor.calls(office.stub.GetCaseTimeline, request)
    assert told.lines


async def test_a_visit_does_not_open_the_tour_of_the_city_above(office: Office) -> None:
    """The auditor of one county would read what the city's tour found in every other."""
    city, house = office.city, office.house
    counties = [await create_unit(house, county, DEPARTMENT) for county in (COUNTY, SIBLING_COUNTY)]
    stock = Stock(house, city.home)
    planned = await stock.planned_tour(2)
    planned.targets[:] = counties
    tour = await stock.does(city.supervisor, inspection_pb2.CreateTourRequest(tour=planned))
    await stock.does(city.supervisor, inspection_pb2.DrawInspectorsRequest(name=tour.name))
    await stock.does(city.supervisor, inspection_pb2.StartTourRequest(name=tour.name))
    visit = await stock.visit_record(tour.name)
    visit.target = counties[0]
    await stock.does(city.inspector, inspection_pb2.RecordVisitRequest(visit=visit))
    county = await hire(house, counties[0], policy_pb2.ROLE_AUDITOR)
    workflow_id = tour_workflow(tour.name.removeprefix("tours/"))
    request = audit_pb2.GetCaseTimelineRequest(workflow_id=workflow_id)
    assert (await county.refused(office.stub.GetCaseTimeline, request)).reason == "NOT_FOUND"
    rule = rules_of(("audit",))["/dutyloop.audit.v1.AuditService/ExportHistory"]
    export = audit_pb2.ExportHistoryRequest(workflow_id=workflow_id).SerializeToString()
    assert isinstance(await house.send(county, rule, [export]), Refusal)
    assert isinstance(await house.send(office.auditor, rule, [export]), bytes)
    assert (await office.auditor.calls(office.stub.GetCaseTimeline, request)).lines


async def test_lists_are_filtered_and_paged_by_position(office: Office) -> None:
    """An auditor would miss entries, or see them twice, while others are being written."""
    await office.sequenced(lambda each: each.type == "hazard.hazard.closed")
    whole = await office.listed()
    positions = [each.position for each in whole]
    assert positions == sorted(set(positions))
    paged: list[audit_pb2.LedgerEntry] = []
    token = ""
    while len(paged) < len(whole):
        request = audit_pb2.ListLedgerEntriesRequest(page_size=7, page_token=token)
        page = await office.auditor.calls(office.stub.ListLedgerEntries, request)
        paged += page.ledger_entries
        token = page.next_page_token
        if not token:
            break
    assert paged[: len(whole)] == whole
    assert {each.type for each in await office.listed(type_prefix="hazard.")} <= {each.type for each in whole}
    about = await office.listed(object=office.hazard)
    assert [each.type.rpartition(".")[2] for each in about][:3] == ["reported", "assigned", "planned"]
    assert about == await office.listed(workflow_id=office.workflow_id)
    by = office.city.responsible.name
    assert {each.actor for each in await office.listed(actor=by)} == {by}
    rest = await office.listed(after_position=positions[3])
    assert rest[: len(whole) - 4] == whole[4:]  # what others wrote meanwhile may follow
    later = await office.listed(start_time=about[-1].business_time, object=office.hazard)
    assert [each.name for each in later][-1] == about[-1].name
    assert await office.listed(end_time=about[0].business_time, object=office.hazard) == []


async def test_the_ledger_can_be_followed_and_resumed(office: Office) -> None:
    """A department's system would lose entries whenever its connection breaks."""
    whole = await office.listed()
    seen: list[audit_pb2.LedgerEntry] = []
    position: int | None = None
    request = audit_pb2.FollowLedgerRequest()
    async for answer in office.stub.FollowLedger(request, timeout=1.0, metadata=office.auditor.metadata()):
        seen += answer.ledger_entries
        position = answer.position
    assert seen[: len(whole)] == whole
    assert position is not None
    await office.city.reports()
    resumed = audit_pb2.FollowLedgerRequest(after_position=position, type_prefix="hazard.")
    fresh: list[str] = []
    async for answer in office.stub.FollowLedger(resumed, timeout=3.0, metadata=office.auditor.metadata()):
        fresh += [each.type for each in answer.ledger_entries]
    assert fresh == ["hazard.hazard.reported"]


async def followed(office: Office, system: Caller, seconds: float = 1.5, **request: Any) -> list[audit_pb2.LedgerEntry]:
    """Return what a follower is sent before the deadline."""
    stream = office.stub.FollowLedger(
        audit_pb2.FollowLedgerRequest(**request), timeout=seconds, metadata=system.metadata()
    )
    return [each async for answer in stream for each in answer.ledger_entries]


async def test_a_department_s_system_follows_what_lies_in_its_scope(office: Office) -> None:
    """A department could not keep its own system up to date, or would be sent another department's affairs."""
    city = office.city
    system = city.home.people[policy_pb2.ROLE_DEPARTMENT_SYSTEM]
    neighbour = city.next_door.people[policy_pb2.ROLE_DEPARTMENT_SYSTEM]
    await system.refused(office.stub.ListLedgerEntries, audit_pb2.ListLedgerEntriesRequest())
    entry = await office.sequenced(lambda each: each.type == "hazard.hazard.closed")
    whole = [each for each in await office.listed() if not each.type.startswith("access.")]
    sent = await followed(office, system)
    assert sent[: len(whole)] == whole
    assert {each.region for each in sent} == {each.region for each in whole}
    resumed = await followed(office, system, after_position=entry.position - 1, type_prefix="hazard.")
    assert resumed[0] == entry
    next_door = await followed(office, neighbour)
    assert {each.region for each in next_door} == {city.next_door.region}


async def test_a_department_s_system_is_not_told_whom_the_house_refused(office: Office) -> None:
    """A department would learn which of its neighbours' people tried which doors; that is the auditors' matter."""
    both = await hire(office.house, office.city.home.office, policy_pb2.ROLE_AUDITOR, policy_pb2.ROLE_DEPARTMENT_SYSTEM)
    system = office.city.home.people[policy_pb2.ROLE_DEPARTMENT_SYSTEM]
    await system.refused(office.stub.GetCheckpoint, audit_pb2.GetCheckpointRequest())
    refused = await office.sequenced(lambda each: each.type == "access.call.refused" and each.actor == system.name)
    before = refused.position - 1
    assert await followed(office, system, after_position=before, type_prefix="access.") == []
    for auditor in (office.auditor, both):
        assert (await followed(office, auditor, after_position=before, type_prefix="access."))[0] == refused


async def test_a_payload_in_clear_moves_no_case(office: Office) -> None:
    """Whoever reaches Temporal's port could act in a case, or stop it for good, without any key or role."""
    house, supervisor = office.house, office.city.supervisor
    hazard = await office.city.reports()
    case = rectification.workflow_id(hazard.name.removeprefix("hazards/"))
    settings = house.settings
    intruder = await Client.connect(settings.temporal_address, namespace=settings.temporal_namespace)
    outer = {"principal": supervisor.name, "on_behalf_of": "", "method": "m", "request_id": "r", "body_hash": ""}
    action = {"unit": office.city.home.enterprise, "outer": outer}
    handle = intruder.get_workflow_handle(case)
    with pytest.raises(WorkflowUpdateFailedError):
        await handle.execute_update("assign", action)
    with pytest.raises(WorkflowQueryFailedError):
        await handle.query("hazard", action)
    await handle.signal("anything", action)
    unmoved = await supervisor.calls(house.hazard.GetHazard, hazard_pb2.GetHazardRequest(name=hazard.name))
    assert unmoved == hazard
    assigned = await supervisor.calls(
        house.hazard.AssignHazard, hazard_pb2.AssignHazardRequest(name=hazard.name, unit=office.city.home.enterprise)
    )
    assert assigned.state == hazard_pb2.HAZARD_STATE_ASSIGNED


async def test_a_case_is_told_from_ledger_and_history(office: Office) -> None:
    """Nobody but a programmer could say what happened in a case."""
    request = audit_pb2.GetCaseTimelineRequest(case_name=office.hazard)
    story = await office.auditor.calls(office.stub.GetCaseTimeline, request)
    assert (story.workflow_id, story.history_missing, story.next_page_token) == (office.workflow_id, False, "")
    told = [(line.type, line.source) for line in story.lines]
    both = audit_pb2.TIMELINE_SOURCE_BOTH
    assert [kind for kind, source in told if source == both] == [
        f"hazard.hazard.{happened}" for happened in ("assigned", "planned", "rectified", "written_off", "closed")
    ]
    assert ("hazard.hazard.reported", audit_pb2.TIMELINE_SOURCE_LEDGER) in told
    assert ("workflow_execution_started", audit_pb2.TIMELINE_SOURCE_HISTORY) in told
    assert ("workflow_execution_completed", audit_pb2.TIMELINE_SOURCE_HISTORY) in told
    bookkeeping = {"marker_recorded", "workflow_execution_time_skipping_transitioned", "timer_started"}
    assert not {kind for kind, _ in told} & bookkeeping
    texts = {line.type: (line.text_zh, line.text_en) for line in story.lines}
    assert texts["hazard.hazard.assigned"] == (
        f"隐患 {office.hazard} 已交办",
        f"The hazard {office.hazard} was assigned",
    )
    moments = [line.business_time.ToMicroseconds() for line in story.lines]
    assert moments == sorted(moments)
    by_workflow = audit_pb2.GetCaseTimelineRequest(workflow_id=office.workflow_id)
    assert (await office.auditor.calls(office.stub.GetCaseTimeline, by_workflow)).lines == story.lines
    first = await office.auditor.calls(
        office.stub.GetCaseTimeline, audit_pb2.GetCaseTimelineRequest(case_name=office.hazard, page_size=2)
    )
    second = await office.auditor.calls(
        office.stub.GetCaseTimeline,
        audit_pb2.GetCaseTimelineRequest(case_name=office.hazard, page_size=1000, page_token=first.next_page_token),
    )
    assert [*first.lines, *second.lines] == list(story.lines)
    neither = await office.auditor.refused(office.stub.GetCaseTimeline, audit_pb2.GetCaseTimelineRequest())
    assert neither.reason == "INVALID_FIELD"


async def test_an_exported_history_replays(office: Office) -> None:
    """The record of a case would be lost with the engine that made it."""
    run_id, data, count, digest = "", b"", 0, b""
    request = audit_pb2.ExportHistoryRequest(workflow_id=office.workflow_id)
    async for part in office.stub.ExportHistory(request, timeout=10, metadata=office.auditor.metadata()):
        run_id = run_id or part.run_id
        data += part.chunk
        count, digest = part.event_count or count, part.sha256 or digest
    assert hashlib.sha256(data).digest() == digest
    history = WorkflowHistory.from_json(office.workflow_id, data.decode())
    assert len(history.events) == count == len(json.loads(data)["events"])
    assert history.run_id == run_id
    # Payloads are open: the plain converter replays it, and the evidence is there to be read.
    replayer = Replayer(workflows=WORKFLOWS, data_converter=data_converter(None))
    assert (await replayer.replay_workflow(history)).replay_failure is None
    assert base64.b64encode(b"binary/encrypted") not in data


async def test_closed_histories_replay_and_changed_code_is_caught(office: Office) -> None:
    """A change of a workflow could decide old cases anew without anyone noticing."""
    progress: list[int] = []
    report = await replay_closed(office.house.temporal, WORKFLOWS, progress.append)
    assert report.failures == []
    assert report.by_workflow[rectification.WORKFLOW] >= 1
    assert sorted(progress) == progress

    others = [each for each in WORKFLOWS if each.__name__ != "Rectification"]
    changed = await replay_closed(office.house.temporal, [*others, Changed])
    assert office.workflow_id in {failure.workflow_id for failure in changed.failures}


async def test_the_ledger_of_a_living_house_verifies(office: Office) -> None:
    """The verifier would cry wolf about what services really write."""
    result = await verify.verify(office.house.settings)
    assert result.problems == []
    assert result.entries > 0
    assert result.receipts > 0


# Last, for what it imports lies in every list


async def test_a_large_import_does_not_cut_a_follower_off(office: Office) -> None:
    """The entries that tell of a ledger moved in would exceed what a client takes, each time it comes back for them."""
    city, house, batches = office.city, office.house, 8
    rows = [
        directory_pb2.SiteRow(
            row=row, site=directory_pb2.Site(display_name="厂" * 200, region=city.home.region, legacy_id=f"large-{row}")
        )
        for row in range(1, batches * BATCH_RESOURCES + 1)
    ]
    header = kit_pb2.ImportHeader(request_id=uuid.uuid4().hex)
    starts = range(0, len(rows), BATCH_RESOURCES)
    parts = [directory_pb2.ImportSitesRequest(rows=rows[start : start + BATCH_RESOURCES]) for start in starts]
    opening = directory_pb2.ImportSitesRequest(header=header)
    operator = city.home.people[policy_pb2.ROLE_OPERATOR]
    await operator.sends(house.directory.ImportSites, opening, *parts)
    imported = "directory.site.imported"
    whole = "SELECT count(position) = count(*) AS sequenced FROM ledger.entry WHERE request_id = $1"
    deadline = time.monotonic() + 30
    while not (await house.fetch(whole, header.request_id))[0]["sequenced"]:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    sent = await followed(office, office.auditor, 5, type_prefix=imported)
    assert len([each for each in sent if each.objects]) == batches
    assert [each.position for each in sent] == sorted({each.position for each in sent})
