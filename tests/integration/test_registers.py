"""Registers of different regions stay apart, and what an import brought in can be counted again from the ledger."""

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import grpc
import orjson
import pytest
import pytest_asyncio
from google.type.date_pb2 import Date

from dutyloop.audit.v1 import audit_pb2
from dutyloop.audit.v1.audit_pb2_grpc import AuditServiceStub
from dutyloop.directory.v1 import directory_pb2
from dutyloop.duty.v1 import duty_pb2
from dutyloop.duty.v1.duty_pb2_grpc import DutyServiceStub
from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.inspection.v1 import inspection_pb2
from dutyloop.inspection.v1.inspection_pb2_grpc import InspectionServiceStub
from dutyloop.kit.v1 import kit_pb2
from dutyloop.policy.v1 import policy_pb2
from infra.embedded.postgres import OWNER
from services.audit import verify
from services.kit import imports
from services.kit.db import role_password
from services.kit.imports import BATCH_RESOURCES
from services.kit.settings import required
from tests.integration.examples import well_formed
from tests.integration.house import Caller, Refusal, RunningHouse, rules_of
from tests.integration.people import (
    COUNTY,
    HOME,
    IN_OFFICE_SINCE,
    NEXT_DOOR,
    SIBLING_COUNTY,
    City,
    appoint,
    hire,
    register,
)

if TYPE_CHECKING:
    from dutyloop.audit.v1.audit_pb2_grpc import AuditServiceAsyncStub
    from dutyloop.inspection.v1.inspection_pb2_grpc import InspectionServiceAsyncStub

CREDIT_CODE = "91350100M000100Y43"
"""The example of GB 32100."""
ROWS_PER_MESSAGE = 1_000
FIRST_DAY = date(2012, 1, 1)


@dataclass(frozen=True, slots=True)
class County:
    """A county whose operator moves its own ledgers."""

    house: RunningHouse
    region: str
    operator: Caller

    @property
    def inspection(self) -> "InspectionServiceAsyncStub":
        """The inspection ledger's stub."""
        return InspectionServiceStub(self.house.channel)

    async def sites(self, *sites: directory_pb2.Site, header: kit_pb2.ImportHeader | None = None) -> Any:
        """Import sites of the county."""
        rows = [directory_pb2.SiteRow(row=number, site=site) for number, site in enumerate(sites, 1)]
        for row in rows:
            row.site.region = row.site.region or self.region
        messages = [directory_pb2.ImportSitesRequest(header=header or new_header())]
        messages += [directory_pb2.ImportSitesRequest(rows=part) for part in parts(rows)]
        return await self.operator.sends(self.house.directory.ImportSites, *messages)

    async def hazards(self, *rows: hazard_pb2.LegacyHazardRow, header: kit_pb2.ImportHeader | None = None) -> Any:
        """Import hazards."""
        messages = [hazard_pb2.ImportHazardsRequest(header=header or new_header())]
        messages += [hazard_pb2.ImportHazardsRequest(rows=part) for part in parts(rows)]
        return await self.operator.sends(self.house.hazard.ImportHazards, *messages)

    async def visits(self, *rows: inspection_pb2.LegacyVisitRow, header: kit_pb2.ImportHeader | None = None) -> Any:
        """Import visits."""
        messages = [inspection_pb2.ImportVisitsRequest(header=header or new_header())]
        messages += [inspection_pb2.ImportVisitsRequest(rows=part) for part in parts(rows)]
        return await self.operator.sends(self.inspection.ImportVisits, *messages)

    async def has(self, source_region: str | None = None) -> dict[str, list[str]]:
        """List the legacy ids that the county sees of each kind."""
        stub = self.house.directory
        sites = (await self.operator.calls(stub.ListSites, directory_pb2.ListSitesRequest())).sites
        asked = hazard_pb2.ListHazardsRequest()
        hazards = (await self.operator.calls(self.house.hazard.ListHazards, asked)).hazards
        asked_visits = inspection_pb2.ListVisitsRequest()
        visits = (await self.operator.calls(self.inspection.ListVisits, asked_visits)).visits
        return {
            kind: sorted(
                each.legacy_id
                for each in found
                if each.legacy_id and (source_region is None or each.source_region == source_region)
            )
            for kind, found in (("sites", sites), ("hazards", hazards), ("visits", visits))
        }


def parts(rows: Sequence[Any]) -> list[Sequence[Any]]:
    """Cut rows into messages."""
    return [rows[start : start + ROWS_PER_MESSAGE] for start in range(0, len(rows), ROWS_PER_MESSAGE)]


def new_header(source_region: str = "", *, dry_run: bool = False) -> kit_pb2.ImportHeader:
    """Return the header of a new import."""
    return kit_pb2.ImportHeader(request_id=uuid.uuid4().hex, source_region=source_region, dry_run=dry_run)


def to_day(day: date) -> Date:
    """Return a date message."""
    return Date(year=day.year, month=day.month, day=day.day)


def site(legacy_id: str, **more: Any) -> directory_pb2.Site:
    """Return a site of a register."""
    return directory_pb2.Site(display_name=f"企业{legacy_id}", legacy_id=legacy_id, **more)


def hazard(number: int, at: str, opened: date = FIRST_DAY, days: int | None = 30, **more: Any) -> Any:
    """Return a hazard of a register, written off after some days."""
    row = hazard_pb2.LegacyHazardRow(
        row=number,
        legacy_id=str(number),
        site_legacy_id=at,
        grade=more.get("grade", hazard_pb2.HAZARD_GRADE_GENERAL),
        disposition=hazard_pb2.DISPOSITION_TIME_LIMITED,
        description="通道堵塞",
        open_date=to_day(opened),
    )
    if days is not None:
        row.write_off_date.CopyFrom(to_day(opened + timedelta(days=days)))
    return row


def visit(number: int, at: str, on: date = FIRST_DAY) -> inspection_pb2.LegacyVisitRow:
    """Return a visit of a register."""
    return inspection_pb2.LegacyVisitRow(
        row=number, legacy_id=str(number), site_legacy_id=at, visit_date=to_day(on), purpose="例行"
    )


async def refused(importing: Any) -> Refusal:
    """Return how an import was refused."""
    try:
        report = await importing
    except grpc.aio.AioRpcError as error:
        return Refusal.of(error)
    raise AssertionError(f"not refused: {report}")


async def county_of(city: City, region: str) -> County:
    """Found a county's office with its operator."""
    unit = directory_pb2.Unit(display_name="区应急局", region=region, kind=directory_pb2.UNIT_KIND_DEPARTMENT)
    made = await city.house.operator.calls(city.house.directory.CreateUnit, directory_pb2.CreateUnitRequest(unit=unit))
    return County(city.house, region, await hire(city.house, made.name, policy_pb2.ROLE_OPERATOR))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def here(city: City) -> County:
    """A county."""
    return await county_of(city, COUNTY)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def there(city: City) -> County:
    """The county beside it."""
    return await county_of(city, SIBLING_COUNTY)


async def test_an_import_is_no_endless_stream(here: County, monkeypatch: pytest.MonkeyPatch) -> None:
    """One caller could fill the disk of everybody's service."""
    monkeypatch.setattr(imports, "MAX_ROWS", 2)
    trial = kit_pb2.ImportHeader(request_id=uuid.uuid4().hex, dry_run=True)
    assert (await here.sites(site("e1"), site("e2"), header=trial)).created == 2
    refusal = await refused(here.sites(site("e1"), site("e2"), site("e3"), header=trial))
    assert refusal.fields == {"rows": "too_many"}


async def test_two_counties_number_alike(here: County, there: County) -> None:
    """The county that comes second could not import its ledger, and would be told of the first one's."""
    reports = []
    for county in (here, there):
        brought = (
            await county.sites(site("1"), site("2")),
            await county.hazards(hazard(1, "1"), hazard(2, "2")),
            await county.visits(visit(1, "1"), visit(2, "2")),
        )
        reports.append([(report.created, report.rejected, len(report.errors)) for report in brought])
        assert await county.has(county.region) == {"sites": ["1", "2"], "hazards": ["1", "2"], "visits": ["1", "2"]}
    assert reports == [[(2, 0, 0)] * 3] * 2

    for county in (here, there):
        again = (
            await county.sites(site("1"), site("2")),
            await county.hazards(hazard(1, "1"), hazard(2, "2")),
            await county.visits(visit(1, "1"), visit(2, "2")),
        )
        assert [(report.created, report.unchanged, report.rejected) for report in again] == [(0, 2, 0)] * 3
        own = await county.house.fetch(
            "SELECT h.id FROM hazard.hazard h JOIN directory.site s ON h.site = 'sites/' || s.id"
            " WHERE h.source_region_code = $1 AND s.region_code = $1",
            county.region.removeprefix("regions/"),
        )
        assert len(own) == 2, "a hazard went to the other county's site"


async def test_a_row_names_sites_of_its_own_register_only(city: City, here: County) -> None:
    """A city's hazards would be entered on whatever site of a county happens to have the number."""
    await here.sites(site("only-here"))
    above = County(city.house, HOME, city.home.people[policy_pb2.ROLE_OPERATOR])
    for importing in (above.hazards(hazard(77, "only-here")), above.visits(visit(77, "only-here"))):
        report = await importing
        assert [(error.row, error.column) for error in report.errors] == [(77, "site_legacy_id")]
    report = await above.hazards(hazard(77, "only-here"), header=new_header(COUNTY))
    assert report.created == 1, "a register within reach can be named"
    assert "77" in (await here.has(COUNTY))["hazards"]


async def test_a_foreign_register_is_refused_like_an_absent_one(here: County, there: County) -> None:
    """Trying other counties' registers would tell which regions and which numbers are there."""
    answers = []
    for region in (there.region, HOME, NEXT_DOOR, "regions/990000"):
        header = new_header(region)
        for importing in (
            here.sites(site("1"), header=header),
            here.hazards(hazard(1, "1"), header=header),
            here.visits(visit(1, "1"), header=header),
        ):
            refusal = await refused(importing)
            assert refusal.metadata == {"resource": region}
            answers.append((refusal.code, refusal.reason, refusal.message.replace(region, "")))
        created = directory_pb2.CreateSiteRequest(site=site("9", region=here.region, source_region=region))
        refusal = await here.operator.refused(here.house.directory.CreateSite, created)
        answers.append((refusal.code, refusal.reason, refusal.message.replace(region, "")))
    assert len(set(answers)) == 1 and answers[0][:2] == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
    tried = {name for row in await here.house.refusals_of(here.operator.name) for name in row["objects"]}
    assert {there.region, HOME, NEXT_DOOR} <= tried, "nobody would learn of the attempts"


async def test_a_register_must_exist(city: City) -> None:
    """A wrong digit would found a register that no later file is compared with."""
    nowhere = County(city.house, COUNTY, city.house.operator)
    header = new_header("regions/990000")
    for importing in (
        nowhere.sites(site("1"), header=header),
        nowhere.hazards(hazard(1, "1"), header=header),
        nowhere.visits(visit(1, "1"), header=header),
    ):
        refusal = await refused(importing)
        assert (refusal.reason, refusal.metadata) == ("NOT_FOUND", {"resource": "regions/990000"})
    created = directory_pb2.CreateSiteRequest(site=site("9", region=COUNTY, source_region="regions/990000"))
    refusal = await city.house.operator.refused(city.house.directory.CreateSite, created)
    assert (refusal.reason, refusal.metadata) == ("NOT_FOUND", {"resource": "regions/990000"})


async def test_imports_without_legacy_ids_take_no_register(city: City) -> None:
    """Somebody would believe that his regions were kept apart by it."""
    header = new_header(HOME)
    regions = directory_pb2.ImportRegionsRequest(header=header)
    refusal = await refused(city.house.operator.sends(city.house.directory.ImportRegions, regions))
    assert refusal.fields == {"header.source_region": "not_applicable"}
    editor, duty = city.home.people[policy_pb2.ROLE_LIST_EDITOR], DutyServiceStub(city.house.channel)
    rule = rules_of()["/dutyloop.duty.v1.DutyService/CreateResponsibilityList"]
    draft = await editor.calls(duty.CreateResponsibilityList, well_formed(rule, {"dutyloop/Unit": city.home.office}))
    items = duty_pb2.ImportDutyItemsRequest(header=header, responsibility_list=draft.name)
    refusal = await refused(editor.sends(duty.ImportDutyItems, items))
    assert refusal.fields == {"header.source_region": "not_applicable"}


async def test_a_site_is_created_into_a_register(here: County, there: County) -> None:
    """Sites entered by hand and imported later would exist twice, or meet another county's."""
    stub = here.house.directory
    for county in (here, there):
        request = directory_pb2.CreateSiteRequest(site=site("by-hand", region=county.region))
        made = await county.operator.calls(stub.CreateSite, request)
        assert (made.legacy_id, made.source_region) == ("by-hand", county.region)
        report = await county.sites(site("by-hand"))
        assert (report.created, report.unchanged) == (0, 1)
        again = directory_pb2.CreateSiteRequest(site=site("by-hand", region=county.region))
        refusal = await county.operator.refused(stub.CreateSite, again)
        assert (refusal.reason, refusal.metadata) == ("ALREADY_EXISTS", {"resource": "by-hand"})
    nameless = directory_pb2.Site(display_name="某厂", region=here.region, source_region=here.region)
    refusal = await here.operator.refused(stub.CreateSite, directory_pb2.CreateSiteRequest(site=nameless))
    assert refusal.fields == {"site.legacy_id": "required"}
    report = await here.sites(site("x", source_region=there.region), site("y", source_region=here.region))
    assert [(error.row, error.column) for error in report.errors] == [(1, "source_region")]


async def test_a_site_stays_in_its_register(here: County, city: City) -> None:
    """The same enterprise listed by city and county would lose the number by which its ledger finds it."""
    await here.sites(site("kept", credit_code="91310000775785552L"))
    above = County(city.house, COUNTY, city.home.people[policy_pb2.ROLE_OPERATOR])
    report = await above.sites(site("other", credit_code="91310000775785552L"))
    assert [(error.row, error.column) for error in report.errors] == [(1, "legacy_id")]
    assert "kept" in (await here.has(COUNTY))["sites"]


async def test_a_clash_of_credit_codes_tells_only_the_code(here: County, there: County) -> None:
    """The law makes the code unique nationwide; the answer must not tell where its bearer is supervised, or how."""
    stub = here.house.directory
    made = directory_pb2.Site(display_name="某厂", region=there.region, credit_code=CREDIT_CODE, legacy_id="secret")
    await there.operator.calls(stub.CreateSite, directory_pb2.CreateSiteRequest(site=made))
    answers = []
    for county in (here, there):
        again = directory_pb2.Site(display_name="别名", region=county.region, credit_code=CREDIT_CODE)
        refusal = await county.operator.refused(stub.CreateSite, directory_pb2.CreateSiteRequest(site=again))
        answers.append((refusal.code, refusal.reason, refusal.metadata, refusal.texts))
    assert answers[0] == answers[1], "the answer tells whether the other site is within reach"
    assert answers[0][2] == {"resource": CREDIT_CODE}
    report = await here.sites(directory_pb2.Site(display_name="别名", credit_code=CREDIT_CODE))
    (error,) = report.errors
    assert (error.column, report.created, report.updated) == ("credit_code", 0, 0)
    assert "secret" not in error.description and there.region not in error.description


async def operator_of_unit(city: City, person: Caller, region: str) -> directory_pb2.Unit:
    """Appoint somebody to a new unit's post that reaches this unit only."""
    unit = directory_pb2.Unit(display_name="园区", region=region, kind=directory_pb2.UNIT_KIND_DEPARTMENT)
    house = city.house
    made = await house.operator.calls(house.directory.CreateUnit, directory_pb2.CreateUnitRequest(unit=unit))
    post = directory_pb2.Post(
        unit=made.name,
        display_name="园区管理员",
        roles=[policy_pb2.ROLE_OPERATOR],
        reach=directory_pb2.POST_REACH_UNIT,
    )
    held = await house.operator.calls(house.directory.CreatePost, directory_pb2.CreatePostRequest(post=post))
    appointment = directory_pb2.Appointment(post=held.name, person=person.name, start_date=IN_OFFICE_SINCE)
    await house.operator.calls(house.directory.Appoint, directory_pb2.AppointRequest(appointment=appointment))
    return made


async def test_an_operator_of_a_unit_uses_its_region_s_register(city: City, here: County) -> None:
    """Who answers for one unit's sites only could no longer import them, or not read what he did."""
    person = await register(city.house, city.home.office)
    unit = await operator_of_unit(city, person, COUNTY)
    zone, header = County(city.house, COUNTY, person), new_header()
    assert (await zone.sites(site("zone-1", unit=unit.name), header=header)).created == 1
    assert (await zone.hazards(hazard(901, "zone-1"))).created == 1
    assert "zone-1" in (await here.has(COUNTY))["sites"]
    places = {entry[2:4] for entry in await entries_of(city.house, header.request_id)}
    assert places == {(COUNTY.removeprefix("regions/"), unit.path)}


async def test_the_counts_of_an_import_are_for_those_whom_its_register_concerns(city: City) -> None:
    """Another unit that the sender works for would read what a county has; whoever reaches the county would not."""
    both = await register(city.house, city.home.office)
    await appoint(city.house, both, city.next_door.office, policy_pb2.ROLE_OPERATOR)
    await operator_of_unit(city, both, HOME)
    header = new_header(NEXT_DOOR)
    importing = County(city.house, NEXT_DOOR, both)
    assert (await importing.sites(site("of-next-door"), header=header)).created == 1
    summary = [entry[2:4] for entry in await entries_of(city.house, header.request_id) if "register" in entry[0]]
    assert summary == [("1304", "")]


async def test_the_counts_of_imported_regions_are_for_those_who_reach_all_of_them(city: City) -> None:
    """An operator of two cities would tell each of them how many regions the other has."""
    both = await register(city.house, city.home.office)
    await appoint(city.house, both, city.home.office, policy_pb2.ROLE_OPERATOR)
    await appoint(city.house, both, city.next_door.office, policy_pb2.ROLE_OPERATOR)
    for sender, place in ((both, "13"), (city.home.people[policy_pb2.ROLE_OPERATOR], "1303")):
        header = new_header()
        row = directory_pb2.RegionRow(code="130399", parent_code="1303", display_name="开发区")
        request = directory_pb2.ImportRegionsRequest(header=header, rows=[row])
        await sender.sends(city.house.directory.ImportRegions, request)
        assert [entry[2:4] for entry in await entries_of(city.house, header.request_id)] == [(place, "")]


async def test_counties_do_not_wait_for_each_other_s_imports(here: County, there: County) -> None:
    """One county's long import would stop every other's, and tell them of it."""
    settings = here.house.settings
    connection = await asyncpg.connect(
        required(settings.database_url, "database_url").get_secret_value(),
        user=OWNER,
        password=role_password(settings, OWNER),
    )
    try:
        async with connection.transaction():
            name = f"hazard.register.imported {here.region.removeprefix('regions/')}"
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", name)
            assert (await refused(here.hazards(hazard(1, "1")))).reason == "IMPORT_RUNNING"
            assert (await there.hazards(hazard(1, "1"))).rejected == 0
    finally:
        await connection.close()


# The ledger


async def entries_of(house: RunningHouse, request_id: str) -> list[tuple[str, list[str], str, str, Any]]:
    """Return type, objects, place and payload of the entries that an import wrote."""
    rows = await house.fetch(
        "SELECT type, objects, region_code, unit_path, payload FROM ledger.entry WHERE request_id = $1"
        " ORDER BY type, id",
        request_id,
    )
    return [
        (row["type"], row["objects"], row["region_code"], row["unit_path"], orjson.loads(row["payload"]))
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class Moved:
    """A county's ledger of more than one batch, imported."""

    county: County
    headers: dict[str, kit_pb2.ImportHeader]
    hazards: list[Any]
    visits: list[inspection_pb2.LegacyVisitRow]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def moved(city: City) -> Moved:
    """Two thousand five hundred visits and hazards of three sites, one of them of a unit; told of in two portions."""
    county = await county_of(city, "regions/1304")
    headers = {kind: new_header() for kind in ("sites", "hazards", "visits")}
    sites = [site("m1"), site("m2"), site("m3", unit=city.next_door.enterprise)]
    assert (await county.sites(*sites, header=headers["sites"])).created == 3
    hazards = [
        hazard(
            number,
            f"m{1 + number % 3}",
            FIRST_DAY + timedelta(days=number % 1_000),
            None if number % 97 == 0 else number % 60,
            grade=hazard_pb2.HAZARD_GRADE_MAJOR if number % 7 == 0 else hazard_pb2.HAZARD_GRADE_GENERAL,
        )
        for number in range(1, 2_501)
    ]
    visits = [
        visit(number, f"m{1 + number % 3}", FIRST_DAY + timedelta(days=number % 1_000)) for number in range(1, 2_501)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imports, "BATCHES_AT_ONCE", 2)
        assert (await county.hazards(*hazards, header=headers["hazards"])).created == len(hazards)
        assert (await county.visits(*visits, header=headers["visits"])).created == len(visits)
    return Moved(county, headers, hazards, visits)


async def test_imports_are_recounted_from_the_ledger_alone(moved: Moved) -> None:
    """After a loss of the tables nobody could say what had been brought in, or whether a row was changed since."""
    house = moved.county.house
    grades: Counter[str] = Counter()
    years: Counter[int] = Counter()
    written_off = 0
    for kind, objects, _, _, payload in await entries_of(house, moved.headers["hazards"].request_id):
        if kind == "hazard.hazard.imported":
            assert payload["source_region"] == "regions/1304"
            columns = payload["columns"]
            assert {len(values) for values in columns.values()} == {len(objects)} and len(objects) <= BATCH_RESOURCES
            grades.update(columns["grade"])
            written_off += sum(day is not None for day in columns["write_off_date"])
    for kind, objects, _, _, payload in await entries_of(house, moved.headers["visits"].request_id):
        if kind == "inspection.visit.imported":
            assert len(payload["columns"]["visit_date"]) == len(objects) <= BATCH_RESOURCES
            years.update(int(day[:4]) for day in payload["columns"]["visit_date"])
    tables = await house.fetch(
        "SELECT grade, count(*) AS all, count(write_off_time) AS off FROM hazard.hazard"
        " WHERE source_region_code = '1304' GROUP BY grade"
    )
    assert dict(grades) == {row["grade"]: row["all"] for row in tables}
    assert written_off == sum(row["off"] for row in tables)
    visited = await house.fetch(
        "SELECT extract(year FROM visit_date)::int AS year, count(*) AS all FROM inspection.visit"
        " WHERE source_region_code = '1304' GROUP BY 1"
    )
    assert dict(years) == {row["year"]: row["all"] for row in visited}
    assert (sum(grades.values()), sum(years.values())) == (2_500, 2_500)
    assert written_off == sum(row.HasField("write_off_date") for row in moved.hazards)


async def test_a_batch_says_of_each_resource_what_the_table_says(moved: Moved) -> None:
    """Columns out of step with the names would give one hazard the dates of another."""
    house = moved.county.house
    said = {}
    for kind, objects, region_code, unit_path, payload in await entries_of(house, moved.headers["hazards"].request_id):
        if kind == "hazard.hazard.imported":
            columns = payload["columns"]
            for index, name in enumerate(objects):
                said[name] = (
                    region_code,
                    unit_path,
                    *(columns[each][index] for each in ("legacy_id", "site", "grade", "disposition")),
                    *(columns[each][index] for each in ("open_date", "write_off_date")),
                )
    rows = await house.fetch(
        "SELECT id, region_code, unit_path, legacy_id, site, grade, disposition,"
        " (open_time AT TIME ZONE 'Asia/Shanghai')::date::text AS opened,"
        " (write_off_time AT TIME ZONE 'Asia/Shanghai')::date::text AS off"
        " FROM hazard.hazard WHERE source_region_code = '1304'"
    )
    assert said == {f"hazards/{row['id']}": tuple(row.values())[1:] for row in rows}
    opened = {row.legacy_id: (row.open_date.year, row.open_date.month, row.open_date.day) for row in moved.hazards}
    told = {values[2]: tuple(map(int, values[6].split("-"))) for values in said.values()}
    assert told == opened


async def test_the_whole_import_commits_to_its_batches(moved: Moved) -> None:
    """Leaving out a batch when counting would go unnoticed."""
    house = moved.county.house
    for kind, word in (("sites", "directory"), ("hazards", "hazard"), ("visits", "inspection")):
        entries = await entries_of(house, moved.headers[kind].request_id)
        (whole,) = [payload for name, *_, payload in entries if name == f"{word}.register.imported"]
        batches = [objects for name, objects, *_ in entries if name != f"{word}.register.imported"]
        assert (whole["batches"], whole["created"]) == (len(batches), sum(map(len, batches)))
        assert whole["source_region"] == "regions/1304"


async def test_an_imported_hazard_has_a_story(moved: Moved, city: City) -> None:
    """A hazard of the old ledger would seem to have come from nowhere, unless it was the first of its batch."""
    house = moved.county.house
    stub: AuditServiceAsyncStub = AuditServiceStub(house.channel)
    auditor = await hire(house, city.next_door.office, policy_pb2.ROLE_AUDITOR)
    stranger = city.home.people[policy_pb2.ROLE_AUDITOR]
    entries = await entries_of(house, moved.headers["hazards"].request_id)
    last = [objects[-1] for kind, objects, *_ in entries if kind == "hazard.hazard.imported"]
    assert len(last) > 2
    for name in last:
        request = audit_pb2.GetCaseTimelineRequest(case_name=name)
        first = (await auditor.calls(stub.GetCaseTimeline, request)).lines[0]
        assert (first.type, first.text_zh) == ("hazard.hazard.imported", f"隐患 {name} 已导入")
        assert first.text_en == f"The hazard {name} was imported"
        assert (await stranger.refused(stub.GetCaseTimeline, request)).reason == "NOT_FOUND"
    for kind in ("sites", "visits"):
        for _, objects, *_ in await entries_of(house, moved.headers[kind].request_id):
            for name in objects[-1:]:
                request = audit_pb2.GetCaseTimelineRequest(case_name=name)
                assert (await auditor.calls(stub.GetCaseTimeline, request)).lines[0].text_zh.endswith("已导入")


async def test_a_batch_lies_in_one_place(moved: Moved, city: City) -> None:
    """Who answers for one unit could read the whole county's import, or could not read his own site's."""
    house = moved.county.house
    unit = await house.operator.calls(
        house.directory.GetUnit, directory_pb2.GetUnitRequest(name=city.next_door.enterprise)
    )
    entries = await entries_of(house, moved.headers["hazards"].request_id)
    places = {
        (region_code, unit_path, *sorted(set(payload["columns"]["site"])))
        for kind, _, region_code, unit_path, payload in entries
        if kind == "hazard.hazard.imported"
    }
    assert len({place[:2] for place in places}) == 2
    assert {len(place) - 2 for place in places if place[1] == unit.path} == {1}, "one of the sites is of the unit"
    assert all(len(place) - 2 <= 2 for place in places if not place[1])


async def test_the_same_import_again_writes_no_batch(moved: Moved) -> None:
    """Figures counted from the ledger would double with every repetition."""
    house = moved.county.house
    before = await entries_of(house, moved.headers["hazards"].request_id)
    await moved.county.hazards(*moved.hazards, header=moved.headers["hazards"])
    assert await entries_of(house, moved.headers["hazards"].request_id) == before
    renewed, dry = new_header(), new_header(dry_run=True)
    report = await moved.county.hazards(*moved.hazards, header=renewed)
    assert (report.created, report.unchanged) == (0, len(moved.hazards))
    ((kind, _, _, _, whole),) = await entries_of(house, renewed.request_id)
    assert (kind, whole["batches"]) == ("hazard.register.imported", 0)
    fresh = [hazard(5_000 + number, "m1") for number in range(5)]
    assert (await moved.county.hazards(*fresh, header=dry)).created == 5
    assert await entries_of(house, dry.request_id) == []


async def test_the_ledger_of_an_import_verifies(moved: Moved) -> None:
    """An auditor's verification would stumble over entries that name a thousand resources."""
    result = await verify.verify(moved.county.house.settings)
    assert result.problems == [] and result.entries > 0


async def test_a_changed_site_is_recorded_as_changed(moved: Moved) -> None:
    """A site renamed by a second file would keep its old name in the ledger."""
    header = new_header()
    renamed = directory_pb2.Site(display_name="新名", legacy_id="m2")
    assert (await moved.county.sites(renamed, site("m4"), site("m1"), header=header)).updated == 1
    told: dict[str, tuple[bool, str]] = {}
    for kind, objects, _, _, payload in await entries_of(moved.county.house, header.request_id):
        if kind == "directory.site.imported":
            columns = payload["columns"]
            told |= dict(
                zip(columns["legacy_id"], zip(columns["created"], columns["display_name"], strict=True), strict=True)
            )
            assert len(objects) == len(columns["created"])
    assert told == {"m2": (False, "新名"), "m4": (True, "企业m4")}
