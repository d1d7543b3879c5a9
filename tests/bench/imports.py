"""Row 4: a validated import of a CSV file against one COPY of the same rows."""

import asyncio
import csv
import time
import uuid
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

from dutyloop.directory.v1 import directory_pb2
from dutyloop.kit.v1 import kit_pb2
from services.cli.connection import Connection
from services.cli.import_runs import ImportRun, Source, carry_out, sender
from services.cli.layouts import HAZARDS, Place
from services.cli.sheets import sha256_of
from services.kit.dates import start_of
from services.kit.names import derived_id
from services.kit.settings import adopt
from tests.bench.city import Bench
from tests.bench.figures import Goal, Row, in_turns

ROWS = 60_000
SITES = 200
IMPORT = Goal("CSV import of hazards / COPY of a CSV into a table with the same indexes (rows per s)", "copy", 0.25)
HEADINGS = ("编号", "企业编号", "隐患等级", "处置方式", "隐患描述", "发现日期", "销号日期")
COLUMNS = (
    *("id", "site", "grade", "disposition", "description", "state", "unit_path", "region_code", "reporter"),
    *("open_time", "write_off_time", "write_off_reason", "legacy_id", "source_region_code"),
)
MAKE_TWIN = "CREATE TABLE hazard.copied (LIKE hazard.hazard INCLUDING ALL)"


async def measure(bench: Bench) -> Row:
    """Each round takes the rows of a new CSV file in: ours as ``dutyloop import hazards FILE --no-sites`` does.

    That is the command line's own code, in a thread of this process: it reads the file to tell its hash and its
    number of rows, maps it and streams it to the services, which are processes of their own. PostgreSQL's COPY is
    given the rows as they come to stand in the table: another CSV file, in the table's columns and words, with the
    ids made beforehand, into a twin of the table with all its indexes and checks. It looks nothing up, and writes
    neither ledger nor answer. Starting an interpreter and connecting are in neither time, the files are written
    beforehand.
    """
    city, house = bench.city, bench.city.house
    header = kit_pb2.ImportHeader(request_id=uuid.uuid4().hex)
    sites = [
        directory_pb2.SiteRow(
            site=directory_pb2.Site(
                display_name=f"企业{number}", region=city.home.region, unit=city.home.enterprise, legacy_id=f"S{number}"
            )
        )
        for number in range(SITES)
    ]
    report = await house.operator.sends(
        house.directory.ImportSites, directory_pb2.ImportSitesRequest(header=header, rows=sites)
    )
    assert report.created == SITES, report
    superuser = await bench.superuser()
    await superuser.execute(MAKE_TWIN)
    adopt({"DUTYLOOP_DATA_DIR": str(bench.folder)}, over=True)
    connection = Connection(house.operator.name)

    async def ours() -> float:
        batch = uuid.uuid4().hex[:8]
        file = written(bench.folder / "ledger.csv", [HEADINGS, *(ledger_row(batch, each) for each in range(ROWS))])
        started = time.perf_counter()
        await asyncio.to_thread(import_file, file, connection)
        return ROWS / (time.perf_counter() - started)

    async def copy() -> float:
        batch = uuid.uuid4().hex[:8]
        file = written(bench.folder / "table.csv", [table_row(batch, each) for each in range(ROWS)])
        started = time.perf_counter()
        await superuser.copy_to_table("copied", schema_name="hazard", source=file, format="csv", columns=COLUMNS)
        return ROWS / (time.perf_counter() - started)

    try:
        return IMPORT.row(await in_turns({"ours": ours, "copy": copy}))
    finally:
        await superuser.close()


def import_file(file: Path, connection: Connection) -> None:
    """Import a file as the command line does."""
    source = Source(file, HAZARDS)
    run = ImportRun("hazards/own", source, Place(), no_sites=True)
    columns, content = source.columns(), sha256_of(file)
    assert source.count() == ROWS
    outcome = carry_out(run, columns, run.key(content), sender(connection), lambda phase, rows: None)
    assert outcome.tallies["hazards"].created == ROWS, outcome


def written(file: Path, rows: Iterable[Sequence[str]]) -> Path:
    """Write a CSV file."""
    with file.open("w", encoding="utf-8", newline="") as text:
        csv.writer(text).writerows(rows)
    return file


def days_of(number: int) -> tuple[date, date]:
    """Return when a hazard was found and written off."""
    month, day = 1 + number % 12, 1 + number % 28
    return date(2013, month, day), date(2014, month, day)


def ledger_row(batch: str, number: int) -> Sequence[str]:
    """Return a hazard as it stands in an office's ledger: closed, with a new number."""
    found, written_off = (day.isoformat() for day in days_of(number))
    return (
        *(f"{batch}-{number}", f"S{number % SITES}", "一般", "限期整改"),
        *(f"配电箱无漏电保护，第{number}处", found, written_off),
    )


def table_row(batch: str, number: int) -> Sequence[str]:
    """Return the same hazard as it comes to stand in the table."""
    found, written_off = (start_of(day).isoformat() for day in days_of(number))
    return (
        *(derived_id(batch, str(number)), f"sites/{derived_id(str(number % SITES))}", "GENERAL", "TIME_LIMITED"),
        *(f"配电箱无漏电保护，第{number}处", "CLOSED", "u0000000000000000/", "1303", "people/operator"),
        *(found, written_off, "LEGACY", f"{batch}-{number}", "1303"),
    )
