"""Tours from plan to close over the wire, draws that verify, visits that count, and the legacy ledger."""

import asyncio
import csv
import gzip
import hashlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import grpc
import orjson
import pytest
import pytest_asyncio
from google.type.date_pb2 import Date

from dutyloop.directory.v1 import directory_pb2
from dutyloop.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from dutyloop.inspection.v1 import inspection_pb2
from dutyloop.inspection.v1.inspection_pb2_grpc import InspectionServiceStub
from dutyloop.kit.v1 import kit_pb2
from dutyloop.policy.v1 import policy_pb2
from services.inspection import draw
from services.kit.rulebook import RULES
from tests.integration.house import Caller, RunningHouse
from tests.integration.people import SIBLING_COUNTY, City, create_site, create_unit, hire
from tests.shared_data import DATA, needs_shared

if TYPE_CHECKING:
    from dutyloop.inspection.v1.inspection_pb2_grpc import InspectionServiceAsyncStub

BEIJING = timezone(timedelta(hours=8))
BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Crew:
    """The city and its inspection service, with four inspectors in the pool."""

    city: City
    stub: "InspectionServiceAsyncStub"
    pool: tuple[Caller, ...]

    @property
    def house(self) -> RunningHouse:
        """The house they work in."""
        return self.city.house

    async def plans(
        self, targets: Sequence[str], *, days: int = 20, term: str = "2026", enforcement: bool = True, unit: str = ""
    ) -> inspection_pb2.Tour:
        """Plan a tour that starts today, of the office at home or of another unit."""
        today = (await self.house.now()).astimezone(BEIJING).date()
        tour = inspection_pb2.Tour(
            display_name="安全生产巡查",
            unit=unit or self.city.home.office,
            enforcement_unit=self.city.home.office if enforcement else "",
            targets=targets,
            coverage_term=term,
            start_date=day(today),
            end_date=day(today + timedelta(days=days)),
            candidates=[each.name for each in self.pool],
        )
        return await self.city.supervisor.calls(self.stub.CreateTour, inspection_pb2.CreateTourRequest(tour=tour))

    async def draws(self, tour: inspection_pb2.Tour, **asked: object) -> inspection_pb2.Draw:
        """Draw the inspectors and read the draw."""
        request = inspection_pb2.DrawInspectorsRequest(name=tour.name, **asked)  # type: ignore[arg-type]
        drawn = await self.city.supervisor.calls(self.stub.DrawInspectors, request)
        assert drawn.state == inspection_pb2.TOUR_STATE_DRAWN
        return await self.city.supervisor.calls(self.stub.GetDraw, inspection_pb2.GetDrawRequest(name=drawn.draw))

    async def starts(self, tour: inspection_pb2.Tour) -> inspection_pb2.Tour:
        """Start a drawn tour."""
        request = inspection_pb2.StartTourRequest(name=tour.name)
        return await self.city.supervisor.calls(self.stub.StartTour, request)

    async def visit_of(self, tour: str, target: str, inspectors: Sequence[str]) -> inspection_pb2.Visit:
        """Return a record as two inspectors would sign it now."""
        visit = inspection_pb2.Visit(
            tour=tour,
            target=target,
            inspectors=inspectors,
            purpose="巡查",
            certificate_shown=True,
            findings=[inspection_pb2.Finding(description="台账不全", basis="安全生产法第四十一条")],
            signatures=[inspection_pb2.Signature(inspector=each, reference="sha256:1") for each in inspectors],
            target_signature="sha256:2",
        )
        visit.check_in_time.FromDatetime(await self.house.arrival())
        return visit

    async def visits(self, tour: inspection_pb2.Tour, drawn: inspection_pb2.Draw, *targets: str) -> None:
        """Visit targets of the tour by the inspectors drawn for them."""
        for each in drawn.assignments:
            if each.target in targets:
                visit = await self.visit_of(tour.name, each.target, each.inspectors)
                recorder = self.house.person(each.inspectors[0])
                await recorder.calls(self.stub.RecordVisit, inspection_pb2.RecordVisitRequest(visit=visit))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def crew(city: City) -> Crew:
    """Four inspectors of the office at home."""
    pool = [await hire(city.house, city.home.office, policy_pb2.ROLE_INSPECTOR) for _ in range(4)]
    return Crew(city, InspectionServiceStub(city.house.channel), tuple(pool))


def day(value: date) -> Date:
    """Return a calendar day as protobuf."""
    return Date(year=value.year, month=value.month, day=value.day)


async def test_a_tour_goes_from_plan_to_close(crew: Crew) -> None:
    """A city that cannot finish a tour, or whose letter, reports and coverage disagree, has no tours at all."""
    city, stub = crew.city, crew.stub
    members = [await create_unit(city.house, city.home.region, directory_pb2.UNIT_KIND_DEPARTMENT) for _ in range(3)]
    answerable = await hire(city.house, members[0], policy_pb2.ROLE_RESPONSIBLE_UNIT, policy_pb2.ROLE_SUPERVISOR)
    tour = await crew.plans(members, term="2026-units", enforcement=False)
    assert tour.state == inspection_pb2.TOUR_STATE_PLANNED and tour.inspectors_per_visit == 2
    drawn = await crew.draws(tour, public_entropy="彩票 26001期")
    started = await crew.starts(tour)
    assert started.state == inspection_pb2.TOUR_STATE_STARTED and started.light == kit_pb2.LIGHT_GREEN
    await crew.visits(tour, drawn, *members)
    covered = await city.supervisor.calls(
        stub.GetCoverage,
        inspection_pb2.GetCoverageRequest(unit=city.home.office, coverage_term="2026-units"),
    )
    assert (covered.target_count, covered.covered_count) == (3, 3)
    assert sorted(line.target for line in covered.lines) == sorted(members)

    letter = inspection_pb2.FeedbackLetter(number=uuid.uuid4().hex, summary="两处问题", addressees=members[:1])
    issued = await city.supervisor.calls(
        stub.IssueFeedbackLetter, inspection_pb2.IssueFeedbackLetterRequest(name=tour.name, letter=letter)
    )
    assert issued.state == inspection_pb2.TOUR_STATE_FEEDBACK and issued.letter.issuer == city.supervisor.name
    report = inspection_pb2.SubmitRectificationReportRequest(
        name=tour.name, target=members[0], number="整改〔2026〕1号", document_hash=hashlib.sha256(b"1").digest()
    )
    reported = await answerable.calls(stub.SubmitRectificationReport, report)
    assert reported.state == inspection_pb2.TOUR_STATE_REPORTED
    assert [(each.target, each.submitter) for each in reported.reports] == [(members[0], answerable.name)]
    assert await answerable.calls(stub.SubmitRectificationReport, report) == reported

    closing = inspection_pb2.CloseTourRequest(name=tour.name, conclusion="全部整改")
    refusal = await answerable.refused(stub.CloseTour, inspection_pb2.CloseTourRequest(name=tour.name, conclusion="完"))
    assert refusal.reason == "SEPARATION_OF_DUTIES"
    closed = await city.supervisor.calls(stub.CloseTour, closing)
    assert closed.state == inspection_pb2.TOUR_STATE_CLOSED and closed.closer == city.supervisor.name
    result = await city.house.temporal.get_workflow_handle("tour/" + tour.name.removeprefix("tours/")).result()
    assert result["state"] == "CLOSED"

    assert await city.supervisor.calls(stub.CloseTour, closing) == closed
    late = inspection_pb2.CloseTourRequest(name=tour.name, conclusion="再次")
    assert (await city.supervisor.refused(stub.CloseTour, late)).reason == "WRONG_STATE"
    report.request_id = ""
    assert (await answerable.refused(stub.SubmitRectificationReport, report)).reason == "WRONG_STATE"

    entries = await city.house.fetch(
        "SELECT type, convert_from(payload, 'UTF8') AS payload FROM ledger.entry"
        " WHERE $1 = ANY (objects) ORDER BY recorded_time",
        tour.name,
    )
    words = [entry["type"].removeprefix("inspection.") for entry in entries if entry["type"].startswith("inspection.")]
    assert words == [
        "tour.planned",
        "tour.drawn",
        "tour.started",
        *["visit.recorded"] * 3,
        "tour.letter_issued",
        "tour.rectification_reported",
        "tour.closed",
    ]
    recorded = [orjson.loads(entry["payload"]) for entry in entries if entry["type"] == "inspection.visit.recorded"]
    assert {each["target"] for each in recorded if each["tour"] == tour.name} == set(members)


async def test_a_draw_verifies_and_an_edited_one_does_not(crew: Crew) -> None:
    """A supervisor who could swap inspectors after the draw, or an auditor who could not see it, breaks the draw."""
    city, stub = crew.city, crew.stub
    sites = [await create_site(city.house, city.home.region, city.home.enterprise) for _ in range(6)]
    tour = await crew.plans(sites)
    recused = crew.pool[0].name
    exclusion = inspection_pb2.Exclusion(
        inspector=recused, target=sites[0], reason=inspection_pb2.EXCLUSION_REASON_RECUSAL
    )
    drawn = await crew.draws(tour, exclusions=[exclusion])
    pool = draw.Pool(
        tuple(drawn.targets),
        tuple(draw.Candidate(each.person, each.unit) for each in drawn.candidates),
        tuple(
            draw.Exclusion(
                each.inspector,
                each.target,
                inspection_pb2.ExclusionReason.Name(each.reason).removeprefix("EXCLUSION_REASON_"),
            )
            for each in drawn.exclusions
        ),
        drawn.inspectors_per_visit,
    )
    again = draw.draw(pool, drawn.seed, drawn.public_entropy)
    assert again.pool_hash == drawn.pool_hash
    assert [(each.target, list(each.inspectors)) for each in again.assignments] == [
        (each.target, list(each.inspectors)) for each in drawn.assignments
    ]
    assert all(recused not in each.inspectors for each in drawn.assignments if each.target == sites[0])
    request = inspection_pb2.VerifyDrawRequest(name=drawn.name)
    assert (await city.supervisor.calls(stub.VerifyDraw, request)).matches
    await city.house.fetch(
        "UPDATE inspection.assignment SET inspectors = ARRAY['people/friend', inspectors[2]] WHERE target = $1",
        sites[3],
    )
    found = await city.supervisor.calls(stub.VerifyDraw, request)
    assert (found.matches, list(found.differing_targets)) == (False, [sites[3]])


async def test_the_draw_keeps_out_who_must_not_inspect(crew: Crew) -> None:
    """A drawn inspector without a post, of another body, or of the inspected unit would void the inspection."""
    city, stub = crew.city, crew.stub
    office = city.home.office
    bureau = await create_unit(city.house, city.home.region, directory_pb2.UNIT_KIND_DEPARTMENT)
    own = await create_unit(city.house, city.home.region, directory_pb2.UNIT_KIND_DEPARTMENT, parent=office)
    stranger = await hire(city.house, bureau, policy_pb2.ROLE_INSPECTOR)
    deskman = await hire(city.house, office, policy_pb2.ROLE_DUTY_HOLDER)
    insider = await hire(city.house, own, policy_pb2.ROLE_INSPECTOR)
    site = await create_site(city.house, city.home.region, own)
    other = await create_site(city.house, city.home.region, city.home.enterprise)
    larger = Crew(city, stub, (*crew.pool, stranger, deskman, insider))
    tour = await larger.plans([site, other])
    drawn = await larger.draws(tour)
    reason = inspection_pb2.ExclusionReason
    assert {(each.inspector, each.target, each.reason) for each in drawn.exclusions} == {
        (stranger.name, "", reason.EXCLUSION_REASON_NOT_ENFORCEMENT),
        (deskman.name, "", reason.EXCLUSION_REASON_NOT_APPOINTED),
        (insider.name, site, reason.EXCLUSION_REASON_OWN_UNIT),
    }
    drawer = Crew(city, stub, (*crew.pool, city.supervisor))
    planned = await drawer.plans([site])
    refusal = await city.supervisor.refused(
        stub.DrawInspectors, inspection_pb2.DrawInspectorsRequest(name=planned.name)
    )
    assert refusal.reason == "SEPARATION_OF_DUTIES"


async def test_coordination_bodies_inspect_no_enterprise(crew: Crew) -> None:
    """A committee office that inspects an enterprise breaks 国办发〔2024〕54号, and every order after it falls."""
    city, stub = crew.city, crew.stub
    committee = await create_unit(city.house, city.home.region, directory_pb2.UNIT_KIND_COMMITTEE)
    with pytest.raises(grpc.aio.AioRpcError, match=RULES["enterprises_are_inspected_by_an_enforcement_body"][1]):
        await crew.plans([city.home.site], enforcement=False)
    with pytest.raises(grpc.aio.AioRpcError, match=RULES["enterprises_are_inspected_by_an_enforcement_body"][1]):
        await crew.plans([city.home.enterprise], enforcement=False)
    today = (await city.house.now()).astimezone(BEIJING).date()
    tour = inspection_pb2.Tour(
        display_name="巡查",
        unit=committee,
        enforcement_unit=committee,
        targets=[city.home.site],
        coverage_term="2026",
        start_date=day(today),
        end_date=day(today),
        candidates=[each.name for each in crew.pool],
    )
    refusal = await city.supervisor.refused(stub.CreateTour, inspection_pb2.CreateTourRequest(tour=tour))
    assert refusal.reason == "UNFIT_REFERENCE" and refusal.metadata["field"] == "tour.enforcement_unit"
    tour.targets[:] = [city.next_door.site]
    tour.enforcement_unit = city.home.office
    refusal = await city.supervisor.refused(stub.CreateTour, inspection_pb2.CreateTourRequest(tour=tour))
    assert refusal.fields == {"tour.targets[0]": "unknown_reference"}


async def test_a_county_calls_in_the_city_s_body_and_nobody_from_next_door(crew: Crew) -> None:
    """A county could no longer be inspected by the city's experts, or would find out who serves in the city beside."""
    city, stub = crew.city, crew.stub
    county = await create_unit(city.house, SIBLING_COUNTY, directory_pb2.UNIT_KIND_DEPARTMENT)
    supervisor = await hire(city.house, county, policy_pb2.ROLE_SUPERVISOR)
    site = await create_site(city.house, SIBLING_COUNTY)
    today = (await city.house.now()).astimezone(BEIJING).date()
    tour = inspection_pb2.Tour(
        display_name="专家巡查",
        unit=county,
        enforcement_unit=city.home.office,
        targets=[site],
        coverage_term="2026-county",
        start_date=day(today),
        end_date=day(today),
        candidates=[each.name for each in crew.pool],
    )
    planned = await supervisor.calls(stub.CreateTour, inspection_pb2.CreateTourRequest(tour=tour))
    assert list(planned.candidates) == [each.name for each in crew.pool]
    foreign = city.next_door.people[policy_pb2.ROLE_INSPECTOR].name
    for person in (foreign, "people/unheard-of"):
        tour.candidates[1] = person
        refusal = await supervisor.refused(stub.CreateTour, inspection_pb2.CreateTourRequest(tour=tour))
        assert refusal.fields == {"tour.candidates[1]": "unknown_reference"}


async def test_a_visit_is_recorded_by_the_drawn_inspectors_only(crew: Crew) -> None:
    """A record by anybody else, before the start or of a foreign target would let coverage be made up."""
    city, stub = crew.city, crew.stub
    sites = [await create_site(city.house, city.home.region, city.home.enterprise) for _ in range(2)]
    elsewhere = await create_site(city.house, city.home.region, city.home.enterprise)
    tour = await crew.plans(sites)
    drawn = await crew.draws(tour)
    assigned = drawn.assignments[0]
    recorder = city.house.person(assigned.inspectors[0])
    undrawn = next(each for each in crew.pool if each.name not in assigned.inspectors)
    visit = await crew.visit_of(tour.name, sites[0], assigned.inspectors)

    async def refused(by: Caller, record: inspection_pb2.Visit) -> tuple[str, str]:
        refusal = await by.refused(stub.RecordVisit, inspection_pb2.RecordVisitRequest(visit=record))
        return refusal.reason, refusal.metadata.get("rule") or refusal.metadata.get("field", "")

    assert (await refused(recorder, visit))[0] == "WRONG_STATE"
    await crew.starts(tour)
    early = await crew.visit_of(tour.name, sites[0], assigned.inspectors)
    early.check_in_time.FromDatetime(await city.house.now() - timedelta(days=1))
    assert await refused(recorder, early) == ("RULE_NOT_MET", "visit_follows_the_start_of_its_tour")
    visit = await crew.visit_of(tour.name, sites[0], assigned.inspectors)
    assert await refused(undrawn, visit) == ("RULE_NOT_MET", "visit_is_recorded_by_an_inspector_of_it")
    others = await crew.visit_of(tour.name, sites[0], [assigned.inspectors[0], undrawn.name])
    assert await refused(recorder, others) == ("UNFIT_REFERENCE", "visit.inspectors[1]")
    foreign = await crew.visit_of(tour.name, elsewhere, assigned.inspectors)
    assert await refused(recorder, foreign) == ("UNFIT_REFERENCE", "visit.target")
    request = inspection_pb2.RecordVisitRequest(visit=visit)
    first = await recorder.calls(stub.RecordVisit, request)
    assert await recorder.calls(stub.RecordVisit, request) == first
    listed = await city.supervisor.calls(stub.ListVisits, inspection_pb2.ListVisitsRequest(tour=tour.name))
    assert (list(listed.visits), listed.total_size, listed.target_count) == ([first], 1, 1)
    shown = await city.supervisor.calls(stub.GetTour, inspection_pb2.GetTourRequest(name=tour.name))
    assert shown.visited_count == 1


async def test_a_site_is_visited_outside_any_tour(crew: Crew) -> None:
    """A spot check by two inspectors of the enforcement body must be recordable; one of a committee must not."""
    city, stub = crew.city, crew.stub
    pair = [each.name for each in crew.pool[:2]]
    visit = await crew.visit_of("", city.home.site, pair)
    refusal = await crew.pool[0].refused(stub.RecordVisit, inspection_pb2.RecordVisitRequest(visit=visit))
    assert refusal.fields == {"visit.enforcement_unit": "required"}
    visit.enforcement_unit = city.home.office
    recorded = await crew.pool[0].calls(stub.RecordVisit, inspection_pb2.RecordVisitRequest(visit=visit))
    assert (recorded.tour, recorded.target, recorded.recorder) == ("", city.home.site, pair[0])
    refusal = await crew.pool[1].refused(stub.RecordVisit, inspection_pb2.RecordVisitRequest(visit=visit))
    assert (refusal.reason, refusal.metadata["resource"]) == ("ALREADY_EXISTS", "visit_begins_once")
    visit.target = city.next_door.site
    refusal = await crew.pool[0].refused(stub.RecordVisit, inspection_pb2.RecordVisitRequest(visit=visit))
    assert refusal.code == grpc.StatusCode.NOT_FOUND


async def test_an_addressee_reads_the_tour_once_the_letter_is_out(crew: Crew) -> None:
    """A county that could read a tour before its letter would know when the inspectors come."""
    city, stub = crew.city, crew.stub
    county = await create_unit(city.house, "regions/130302", directory_pb2.UNIT_KIND_GOVERNMENT)
    answerable = await hire(city.house, county, policy_pb2.ROLE_RESPONSIBLE_UNIT)
    tour = await crew.plans([county], enforcement=False)
    drawn = await crew.draws(tour)
    await crew.starts(tour)
    await crew.visits(tour, drawn, county)
    request = inspection_pb2.GetTourRequest(name=tour.name)
    assert (await answerable.refused(stub.GetTour, request)).code == grpc.StatusCode.NOT_FOUND
    letter = inspection_pb2.FeedbackLetter(number=uuid.uuid4().hex, summary="问题", addressees=[county])
    await city.supervisor.calls(
        stub.IssueFeedbackLetter, inspection_pb2.IssueFeedbackLetterRequest(name=tour.name, letter=letter)
    )
    assert (await answerable.calls(stub.GetTour, request)).letter.number == letter.number
    listed = await answerable.calls(stub.ListTours, inspection_pb2.ListToursRequest())
    assert [each.name for each in listed.tours] == [tour.name]
    again = await crew.plans([county], enforcement=False)
    redrawn = await crew.draws(again)
    await crew.starts(again)
    await crew.visits(again, redrawn, county)
    refusal = await city.supervisor.refused(
        stub.IssueFeedbackLetter, inspection_pb2.IssueFeedbackLetterRequest(name=again.name, letter=letter)
    )
    assert (refusal.reason, refusal.metadata["resource"]) == ("ALREADY_EXISTS", "tour_letter_number_is_used_once")


async def test_each_unit_numbers_its_own_letters(crew: Crew) -> None:
    """The second of two units that number alike could not issue its letter, and would learn of the first one's."""
    city, number = crew.city, uuid.uuid4().hex
    county = await create_unit(city.house, "regions/130302", directory_pb2.UNIT_KIND_GOVERNMENT)
    for unit in (city.home.office, await create_unit(city.house, city.home.region, directory_pb2.UNIT_KIND_DEPARTMENT)):
        tour = await crew.plans([county], enforcement=False, unit=unit)
        drawn = await crew.draws(tour)
        await crew.starts(tour)
        await crew.visits(tour, drawn, county)
        letter = inspection_pb2.FeedbackLetter(number=number, summary="问题", addressees=[county])
        issued = await city.supervisor.calls(
            crew.stub.IssueFeedbackLetter, inspection_pb2.IssueFeedbackLetterRequest(name=tour.name, letter=letter)
        )
        assert (issued.unit, issued.letter.number) == (unit, number)


def read_rows(name: str) -> Iterator[dict[str, str]]:
    """Yield the rows of a data file."""
    with gzip.open(DATA / name, "rt", newline="") as file:
        yield from csv.DictReader(file)


async def import_sites(crew: Crew, legacy_ids: Sequence[str]) -> None:
    """Register sites under their legacy ids."""
    for start in range(0, len(legacy_ids), 20 * BATCH):
        requests = [directory_pb2.ImportSitesRequest(header=kit_pb2.ImportHeader(request_id=uuid.uuid4().hex))]
        part = legacy_ids[start : start + 20 * BATCH]
        for batch in batches(part):
            rows = [
                directory_pb2.SiteRow(
                    site=directory_pb2.Site(display_name=each, region=crew.city.home.region, legacy_id=each)
                )
                for each in batch
            ]
            requests.append(directory_pb2.ImportSitesRequest(rows=rows))
        await crew.house.operator.sends(DirectoryServiceStub(crew.house.channel).ImportSites, *requests)


def batches(items: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut a sequence into batches."""
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


async def send_visits(crew: Crew, rows: Sequence[inspection_pb2.LegacyVisitRow]) -> kit_pb2.ImportReport:
    """Import rows as the operator."""
    requests = [inspection_pb2.ImportVisitsRequest(header=kit_pb2.ImportHeader(request_id=uuid.uuid4().hex))]
    requests += [
        inspection_pb2.ImportVisitsRequest(rows=rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)
    ]
    return await asyncio.wait_for(crew.house.operator.sends(crew.stub.ImportVisits, *requests), 60)


def legacy_row(number: int, site: str, day_text: str, purpose: str, **more: str) -> inspection_pb2.LegacyVisitRow:
    """Return a row of a legacy ledger."""
    return inspection_pb2.LegacyVisitRow(
        row=number, site_legacy_id=site, visit_date=day(date.fromisoformat(day_text)), purpose=purpose, **more
    )


async def test_import_reports_duplicates_and_contradictions(crew: Crew) -> None:
    """A migration that doubled visits, or silently changed one, would falsify every figure drawn from the ledger."""
    await import_sites(crew, ["L1", "L2"])
    rows = [
        legacy_row(1, "L1", "2011-01-04", "Canvass", inspector="blue"),
        legacy_row(2, "L1", "2011-01-04", "Canvass", inspector="blue"),
        legacy_row(3, "L1", "2011-01-04", "Canvass", inspector="red"),
        legacy_row(4, "L9", "2011-01-04", "Canvass", inspector="red"),
        legacy_row(5, "L2", "2011-01-05", "Canvass", legacy_id="V5"),
        legacy_row(6, "L2", "2011-01-05", "Canvass", legacy_id="V6"),
        legacy_row(7, "", "2011-01-05", "Canvass"),
        legacy_row(8, "L2", "2999-01-05", "Canvass"),
    ]
    report = await send_visits(crew, rows)
    assert (report.rows, report.created, report.unchanged, report.rejected) == (8, 4, 0, 4)
    assert [(each.row, each.column) for each in report.errors] == [
        (2, "row"),
        (4, "site_legacy_id"),
        (7, "site_legacy_id"),
        (8, "visit_date"),
    ]
    again = await send_visits(crew, [*rows, legacy_row(9, "L2", "2011-01-06", "Canvass", legacy_id="V5")])
    assert (again.created, again.unchanged, again.rejected) == (0, 4, 5)
    assert (again.errors[-1].row, again.errors[-1].column) == (9, "legacy_id")
    changed = await send_visits(crew, [legacy_row(1, "L2", "2011-01-06", "Canvass", legacy_id="V5")])
    assert (changed.rejected, changed.errors[0].column) == (1, "visit_date")


@needs_shared
async def test_the_real_ledgers_import_exactly(crew: Crew) -> None:
    """The city's real visits must come over one for one: its duplicates told, nothing lost, nothing twice."""
    visits, results = list(read_rows("inspections.csv.gz")), list(read_rows("inspection_results.csv.gz"))
    await import_sites(crew, sorted({row["site"] for row in visits} | {row["site"] for row in results}))
    exact = {(row["site"], row["inspection_date"], row["purpose"], row["inspector"]) for row in visits}
    by_content = [
        legacy_row(number, row["site"], row["inspection_date"], row["purpose"], inspector=row["inspector"])
        for number, row in enumerate(visits, 1)
    ]
    before = await counted(crew)
    report = await send_visits(crew, by_content)
    assert (report.rows, report.created, report.rejected) == (67_497, len(exact), 67_497 - len(exact))
    assert report.rejected == 214 and {each.column for each in report.errors} == {"row"}
    again = await send_visits(crew, by_content)
    assert (again.created, again.unchanged, again.rejected) == (0, len(exact), 214)

    by_id = [
        legacy_row(number, row["site"], row["inspection_date"], row["type"], legacy_id=row["inspection_id"])
        for number, row in enumerate(results, 1)
    ]
    report = await send_visits(crew, by_id)
    assert (report.rows, report.created, report.rejected) == (27_600, 27_600, 0)
    assert await counted(crew) == before + len(exact) + 27_600
    for year in (2011, 2012, 2013, 2014):
        expected = sum(each[1].startswith(str(year)) for each in exact)
        expected += sum(row["inspection_date"].startswith(str(year)) for row in results)
        assert await counted(crew, year) - YEARS_BEFORE.get(year, 0) == expected, year


YEARS_BEFORE = {2011: 4}
"""Visits that the small import above has left."""


async def counted(crew: Crew, year: int = 0) -> int:
    """Count the visits to legacy sites, of a year or of all."""
    request = inspection_pb2.ListVisitsRequest(page_size=1)
    if year:
        request.from_date.CopyFrom(day(date(year, 1, 1)))
        request.before_date.CopyFrom(day(date(year + 1, 1, 1)))
    return (await crew.city.supervisor.calls(crew.stub.ListVisits, request)).total_size


async def test_a_late_tour_is_supervised_until_somebody_acts(crew: Crew) -> None:
    """A tour nobody starts, or an addressee who never reports, must climb the ladder and come off it by acting."""
    city, stub = crew.city, crew.stub
    member = await create_unit(city.house, city.home.region, directory_pb2.UNIT_KIND_DEPARTMENT)
    tour = await crew.plans([member], enforcement=False, days=5)
    await crew.draws(tour)
    await city.house.advance(timedelta(days=2))
    case = city.house.temporal.get_workflow_handle("tour/" + tour.name.removeprefix("tours/"))
    state = await case.query("tour")
    assert state["state"] == "DRAWN"
    assert datetime.fromisoformat(state["due_time"]) <= datetime.now(UTC) + timedelta(days=2)
    shown = await city.supervisor.calls(stub.GetTour, inspection_pb2.GetTourRequest(name=tour.name))
    assert shown.light == kit_pb2.LIGHT_RED
    assert (await crew.starts(tour)).state == inspection_pb2.TOUR_STATE_STARTED
    await city.house.advance(timedelta(days=10))
    entries = await city.house.fetch("SELECT type FROM ledger.entry WHERE $1 = ANY (objects)", tour.name)
    assert "inspection.tour.visits_ended" in {entry["type"] for entry in entries}
    supervised = await city.house.fetch(
        "SELECT matter, state FROM accountability.supervision_case WHERE tour = $1 ORDER BY matter", tour.name
    )
    assert [(each["matter"], each["state"] == "CONCLUDED") for each in supervised] == [
        ("start", True),
        ("visit", False),
    ]
