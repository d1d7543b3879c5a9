"""Rows 4 and 6: a validated import against one COPY of the same rows, and the ledger's verification against hashing."""

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from google.type.date_pb2 import Date

from dutyloop.directory.v1 import directory_pb2
from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.kit.v1 import kit_pb2
from infra.embedded.postgres import AUDITOR, OWNER, SERVICE_ROLES
from services.audit.sequencer import Sequencer
from services.audit.verify import verify
from services.kit import db, ledger
from services.kit.access import EVERYWHERE
from services.kit.call import Call
from services.kit.imports import MAX_ROWS_PER_MESSAGE
from services.kit.migrate import migrate
from services.kit.policy import method_rules
from services.kit.settings import Settings, required
from tests.bench.city import Bench
from tests.bench.figures import Goal, Row, in_turns

ROWS = 30_000
SITES = 200
IMPORT_SECONDS = 120.0
IMPORT = Goal("import of hazards / one COPY into a table with the same indexes (rows per s)", "copy", 0.25)
ENTRIES = 200_000
SEQUENCED_AT_ONCE = 50_000
LEDGER = "bench_ledger"
VERIFY = Goal("ledger verification / raw SHA-256 (entries per s)", "hashing", 0.33)
COLUMNS = (
    *("id", "site", "grade", "disposition", "description", "state", "unit_path", "region_code", "reporter"),
    *("open_time", "write_off_time", "write_off_reason", "legacy_id"),
)
ENTRY_COLUMNS = re.findall(r"\w+", ledger.INSERT_ENTRY.partition("(")[2].partition(")")[0])
MAKE_TWIN = "CREATE TABLE hazard.copied (LIKE hazard.hazard INCLUDING ALL)"


async def measure(bench: Bench) -> list[Row]:
    """Measure both."""
    return [await _imports(bench), await _verification(bench)]


async def _imports(bench: Bench) -> Row:
    """Each round imports new rows: prepared messages into ours, prepared records into a twin of its table."""
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

    async def ours() -> float:
        messages = hazard_messages()

        async def stream() -> AsyncIterator[hazard_pb2.ImportHazardsRequest]:
            for message in messages:
                yield message

        method = house.hazard.ImportHazards
        started = time.perf_counter()
        report = await method(stream(), timeout=IMPORT_SECONDS, metadata=house.operator.metadata())
        seconds = time.perf_counter() - started
        assert report.created == ROWS, report
        return ROWS / seconds

    async def copy() -> float:
        records = hazard_records()
        started = time.perf_counter()
        await superuser.copy_records_to_table("copied", schema_name="hazard", records=records, columns=COLUMNS)
        return ROWS / (time.perf_counter() - started)

    try:
        return IMPORT.row(await in_turns({"ours": ours, "copy": copy}))
    finally:
        await superuser.close()


def hazard_messages() -> list[hazard_pb2.ImportHazardsRequest]:
    """Prepare the messages of one import: closed hazards, each with a new legacy id."""
    batch = uuid.uuid4().hex[:8]
    messages = [hazard_pb2.ImportHazardsRequest(header=kit_pb2.ImportHeader(request_id=batch))]
    for number in range(ROWS):
        if number % MAX_ROWS_PER_MESSAGE == 0:
            messages.append(hazard_pb2.ImportHazardsRequest())
        messages[-1].rows.add(
            row=number + 1,
            legacy_id=f"{batch}-{number}",
            site_legacy_id=f"S{number % SITES}",
            grade=hazard_pb2.HAZARD_GRADE_GENERAL,
            disposition=hazard_pb2.DISPOSITION_TIME_LIMITED,
            description=f"配电箱无漏电保护，第{number}处",
            open_date=Date(year=2013, month=1 + number % 12, day=1 + number % 28),
            write_off_date=Date(year=2014, month=1 + number % 12, day=1 + number % 28),
        )
    return messages


def hazard_records() -> list[tuple[Any, ...]]:
    """Prepare the same rows as records."""
    batch = uuid.uuid4().hex[:8]
    return [
        (
            *(f"{batch}{number:08}", f"sites/s{number % SITES:015}", "GENERAL", "TIME_LIMITED"),
            *(f"配电箱无漏电保护，第{number}处", "CLOSED", "u0000000000000000/", "1303", "people/operator"),
            datetime(2013, 1 + number % 12, 1 + number % 28, tzinfo=UTC),
            datetime(2014, 1 + number % 12, 1 + number % 28, tzinfo=UTC),
            *("LEGACY", f"{batch}-{number}"),
        )
        for number in range(ROWS)
    ]


@dataclass(frozen=True, slots=True)
class _Ledger:
    """A ledger of its own, sequenced and signed."""

    settings: Settings
    hashed: Sequence[bytes]
    """What verification has to hash at the least: envelopes, and salts with payloads."""


async def _verification(bench: Bench) -> Row:
    made = await _make_ledger(bench)

    async def ours() -> float:
        started = time.perf_counter()
        found = await verify(made.settings, processes=1)  # as many as hash
        assert found.ok and found.entries == ENTRIES, found.problems[:3]
        return ENTRIES / (time.perf_counter() - started)

    async def hashing() -> float:
        started = time.perf_counter()
        await asyncio.to_thread(_hash_all, made.hashed)
        return ENTRIES / (time.perf_counter() - started)

    return VERIFY.row(await in_turns({"ours": ours, "hashing": hashing}))


def _hash_all(hashed: Sequence[bytes]) -> None:
    for each in hashed:
        sha256(each).digest()


async def _make_ledger(bench: Bench) -> _Ledger:
    """Write entries as commands do, but in bulk, into a database of their own; then sequence and sign them."""
    superuser = await bench.superuser()
    await superuser.execute(f"CREATE DATABASE {LEDGER} OWNER {OWNER}")
    await superuser.execute(f"GRANT CONNECT, TEMPORARY ON DATABASE {LEDGER} TO {', '.join((*SERVICE_ROLES, AUDITOR))}")
    await superuser.close()
    url = required(bench.settings.database_url, "database_url").get_secret_value().replace("/dutyloop?", f"/{LEDGER}?")
    changes = {"database_url": url, "checkpoint_file": bench.folder / "bench-checkpoints.txt"}
    settings = Settings(**(bench.settings.model_dump() | changes))
    await migrate(settings)
    entries = [_entry(number) for number in range(ENTRIES)]
    superuser = await bench.superuser(LEDGER)
    await superuser.copy_records_to_table(
        "entry", schema_name="ledger", records=[each.columns for each in entries], columns=ENTRY_COLUMNS
    )
    await superuser.execute("ANALYZE ledger.entry")
    await superuser.close()
    audit = await db.connect(settings, "audit")
    sequencer = Sequencer.of(audit, settings)
    while (await sequencer.sequence(SEQUENCED_AT_ONCE)).entries:
        pass
    await sequencer.checkpoint()
    await audit.close()
    superuser = await bench.superuser(LEDGER)
    await superuser.execute("VACUUM ANALYZE ledger.entry")
    await superuser.close()
    at = ENTRY_COLUMNS.index
    hashed = [b"\x00" + each.columns[at("envelope")] for each in entries]
    hashed += [each.columns[at("salt")] + each.columns[at("payload")] for each in entries]
    return _Ledger(settings, hashed)


RULE = next(iter(method_rules(hazard_pb2.DESCRIPTOR.services_by_name["HazardService"])))


def _entry(number: int) -> ledger.Entry:
    call = Call(RULE, "people/p1", False, (), EVERYWHERE, datetime.now(UTC), "zh-CN", 0.0, f"request-{number:08}")
    objects = [f"tasks/t{number}", "annualTaskLists/abcdefghijklmnop", "dutyItems/abcdefghijklmnop", "posts/p1"]
    payload = {"overdue": False, "progress_percent": number % 100, "remark": "已开展检查", "evidence": ["doc-1"]}
    event = ledger.Event("plan.task.progressed", objects, payload, "130302", "root/abcdefghijklmnop/")
    return ledger.entry_of(
        call, event, actor=call.principal, on_behalf_of="", method=RULE.path, request_id=call.request_id
    )
