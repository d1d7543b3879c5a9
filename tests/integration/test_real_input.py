"""A real legacy ledger through the command line, and what the ledger then says of every year's end."""

import asyncio
import csv
import gzip
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from google.type.date_pb2 import Date

from dutyloop.directory.v1 import directory_pb2
from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.inspection.v1 import inspection_pb2
from dutyloop.inspection.v1.inspection_pb2_grpc import InspectionServiceStub
from dutyloop.kit.v1 import kit_pb2
from tests.integration.house import RunningHouse
from tests.shared_data import DATA, needs_shared

RESULTS = DATA / "inspection_results.csv.gz"
REGIONS = DATA / "regions.csv.gz"
COUNTED_DAYS = (date(2011, 12, 31), date(2012, 12, 31), date(2013, 12, 31), date(2014, 6, 30))
PASSING = ("Pass", "Pass w/ Conditions")
IMPORT_SECONDS = 240.0
REGION = "1303"


@dataclass(slots=True)
class Expected:
    """The figures as this test computes them, site by site and with no code of the product."""

    visits_by_year: Counter[int] = field(default_factory=Counter)
    by_grade: Counter[str] = field(default_factory=Counter)
    written_off: int = 0
    spans: list[tuple[str, date, date | None]] = field(default_factory=list)

    def open_on(self, day: date) -> tuple[int, int]:
        """Return how many hazards were open at the end of a day, and on how many sites."""
        sites = [site for site, opened, closed in self.spans if opened <= day and (closed is None or closed > day)]
        return len(sites), len(set(sites))


def rows() -> Iterator[dict[str, str]]:
    """Yield the rows of the legacy file."""
    with gzip.open(RESULTS, "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def expected() -> Expected:
    """Compute the figures from the last row of each site back to its first: what passes next closes what failed."""
    figures = Expected()
    by_site: dict[str, list[dict[str, str]]] = {}
    for row in rows():
        by_site.setdefault(row["site"], []).append(row)
        figures.visits_by_year[int(row["inspection_date"][:4])] += 1
    for site, visits in by_site.items():
        next_pass: date | None = None
        days = sorted({date.fromisoformat(visit["inspection_date"]) for visit in visits}, reverse=True)
        for day in days:
            today = [visit for visit in visits if visit["inspection_date"] == day.isoformat()]
            for visit in today:
                if visit["result"] == "Fail":
                    figures.by_grade["MAJOR" if int(visit["critical"]) > 0 else "GENERAL"] += 1
                    figures.spans.append((site, day, next_pass))
                    figures.written_off += next_pass is not None
                elif visit["result"] == "Pass w/ Conditions":
                    figures.by_grade["GENERAL"] += 1
                    figures.spans.append((site, day, day))
                    figures.written_off += 1
            if any(visit["result"] in PASSING for visit in today):
                next_pass = day
    return figures


async def imports(house: RunningHouse, folder: Path, *arguments: str) -> dict[str, object]:
    """Run ``dutyloop import`` as an operator would and return its JSON report."""
    environment = {
        **os.environ,
        "DUTYLOOP_API_ADDRESS": house.settings.api_address,
        "DUTYLOOP_ISSUER_KEY_FILE": str(house.settings.issuer_key_file),
        "DUTYLOOP_DATA_DIR": str(folder),
        "DUTYLOOP_LOCALE": "en",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.cli.main",
        "import",
        *arguments,
        "--json",
        "--errors",
        str(folder / "errors.csv"),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), IMPORT_SECONDS)
    assert process.returncode == 0, err.decode()
    report: dict[str, object] = json.loads(out)
    return report


async def found_region(house: RunningHouse) -> None:
    """Make the region in which the ledger's sites lie."""
    rows = [
        directory_pb2.RegionRow(row=1, code=REGION[:2], display_name="某省"),
        directory_pb2.RegionRow(row=2, code=REGION, parent_code=REGION[:2], display_name="某市"),
    ]
    header = kit_pb2.ImportHeader(request_id="regions")
    await house.operator.sends(
        house.directory.ImportRegions, directory_pb2.ImportRegionsRequest(header=header, rows=rows)
    )


@needs_shared
async def test_a_real_ledger_imports_to_the_figures_computed_from_the_file(house: RunningHouse, tmp_path: Path) -> None:
    """A county that migrates its ledger would otherwise start with wrong open hazards, site by site."""
    figures = expected()
    await found_region(house)
    arguments = ("hazards", str(RESULTS), "--layout", "inspection-results", "--region", REGION)
    first = await imports(house, tmp_path, *arguments)
    again = await imports(house, tmp_path, *arguments)
    assert first == again
    supervisor = house.operator
    inspection = InspectionServiceStub(house.channel)
    for year, visits in sorted(figures.visits_by_year.items()):
        listed = await supervisor.calls(
            inspection.ListVisits,
            inspection_pb2.ListVisitsRequest(
                page_size=1,
                from_date=Date(year=year, month=1, day=1),
                before_date=Date(year=year + 1, month=1, day=1),
            ),
        )
        assert (year, listed.total_size) == (year, visits)
    for grade in ("GENERAL", "MAJOR"):
        request = hazard_pb2.ListHazardsRequest(
            page_size=1, grade=hazard_pb2.HazardGrade.Value(f"HAZARD_GRADE_{grade}")
        )
        listed_hazards = await supervisor.calls(house.hazard.ListHazards, request)
        assert (grade, listed_hazards.total_size) == (grade, figures.by_grade[grade])
    off = hazard_pb2.ListHazardsRequest(page_size=1, status=hazard_pb2.LEDGER_STATUS_WRITTEN_OFF)
    assert (await supervisor.calls(house.hazard.ListHazards, off)).total_size == figures.written_off
    for day in COUNTED_DAYS:
        request = hazard_pb2.ListHazardsRequest(
            page_size=1,
            as_of_date=Date(year=day.year, month=day.month, day=day.day),
            status=hazard_pb2.LEDGER_STATUS_OPEN,
        )
        listed_hazards = await supervisor.calls(house.hazard.ListHazards, request)
        assert (day, listed_hazards.total_size, listed_hazards.site_count) == (day, *figures.open_on(day))
    await assert_recounted(house, figures)


@needs_shared
async def test_every_region_of_the_country_imports_into_its_place(house: RunningHouse, tmp_path: Path) -> None:
    """A province could not start, or a village would answer to a township that is not its own."""
    with gzip.open(REGIONS, "rt", encoding="utf-8", newline="") as file:
        country = {row["code"]: (row["parent_code"], row["name"]) for row in csv.DictReader(file)}
    await imports(house, tmp_path, "regions", str(REGIONS))
    stored = await house.fetch("SELECT code, parent_code, display_name FROM directory.region")
    assert {row["code"]: (row["parent_code"], row["display_name"]) for row in stored} == country
    assert len(country) == 665_276


async def assert_recounted(house: RunningHouse, figures: Expected) -> None:
    """Count visits, hazards and what is open once more, from nothing but ledger entries."""
    recounted = Expected()
    entries = await house.fetch("SELECT type, payload FROM ledger.entry WHERE type LIKE '%.imported'")
    for kind, payload in ((entry["type"], json.loads(entry["payload"])) for entry in entries):
        if kind == "inspection.visit.imported":
            recounted.visits_by_year.update(int(day[:4]) for day in payload["columns"]["visit_date"])
        elif kind == "hazard.hazard.imported":
            columns = payload["columns"]
            recounted.by_grade.update(columns["grade"])
            recounted.written_off += sum(day is not None for day in columns["write_off_date"])
            for site, opened, closed in zip(
                columns["site"], columns["open_date"], columns["write_off_date"], strict=True
            ):
                span = (site, date.fromisoformat(opened), date.fromisoformat(closed) if closed else None)
                recounted.spans.append(span)
    assert recounted.visits_by_year == figures.visits_by_year
    assert (recounted.by_grade, recounted.written_off) == (figures.by_grade, figures.written_off)
    assert [recounted.open_on(day) for day in COUNTED_DAYS] == [figures.open_on(day) for day in COUNTED_DAYS]
