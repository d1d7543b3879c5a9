"""Lists that keep one unit's, or one person's, things find them by an index, however many others there are."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import pytest
import pytest_asyncio

from infra.embedded.postgres import EmbeddedPostgres
from services.accountability.accountability_store import AccountabilityStore
from services.audit.store import AuditStore
from services.duty.store import DutyStore
from services.hazard.store import HazardStore
from tests.integration.conftest import NewDatabase

EVERYWHERE = ([""], [""])
BEGINNING = datetime(1900, 1, 1, tzinfo=UTC)
FILL = """
SET session_replication_role = replica;
INSERT INTO hazard.hazard (id, site, grade, disposition, description, state, unit, region_code, reporter, open_time)
SELECT number, 'sites/s', 'GENERAL', 'TIME_LIMITED', '', 'ASSIGNED', 'units/' || number % 500, '1303', 'people/p',
    now() + number * interval '1 second'
FROM generate_series(1, 20000) AS number;
INSERT INTO duty.acknowledgement (id, list_id, version, person, acknowledge_time, region_code, unit_path)
SELECT number, number, 1, 'people/' || number % 500, now() + number * interval '1 second', '1303', ''
FROM generate_series(1, 20000) AS number;
INSERT INTO accountability.accountability_case (id, subject, unit, unit_path, region_code, matter, hazard, state,
    open_time)
SELECT number, 'people/p', 'units/' || number % 500, '', '1303', '', 'hazards/h', 'OPENED',
    now() + number * interval '1 second'
FROM generate_series(1, 20000) AS number;
INSERT INTO ledger.entry (id, position, type, actor, business_time, recorded_time, objects, region_code, unit_path,
    request_id, workflow_id, on_behalf_of, method, policy_version, envelope, leaf_hash)
SELECT number, number, 'a.b.c', 'people/' || number % 500, now(), now(), '{}', '1303', '', '', '', '', '', '', '',
    sha256(number::text::bytea)
FROM generate_series(1, 20000) AS number;
ANALYZE hazard.hazard, duty.acknowledgement, accountability.accountability_case, ledger.entry;
"""
LISTS = {
    "hazard_of_unit": (
        "hazard",
        HazardStore.LIST_HAZARDS,
        (*EVERYWHERE, None, "", "", "units/7", "", "", BEGINNING, "", 101),
    ),
    "acknowledgement_of_person": (
        "duty",
        DutyStore.LIST_ACKNOWLEDGEMENTS,
        (*EVERYWHERE, "", "people/7", BEGINNING, "", 101),
    ),
    "accountability_case_of_unit": (
        "accountability",
        AccountabilityStore.LIST_CASES,
        (*EVERYWHERE, "people/q", "units/7", "", "", BEGINNING, "", 101),
    ),
    "entry_of_actor": (
        "audit",
        AuditStore.LIST_ENTRIES,
        (-1, *EVERYWHERE, "", "", "people/7", "", None, None, 101, 2_000_000),
    ),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def filled(
    postgres: EmbeddedPostgres, new_database: NewDatabase
) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    """A database with things of five hundred units and people."""
    connection = await asyncpg.connect(
        await new_database(), user=postgres.superuser, password=postgres.superuser_password
    )
    try:
        await connection.execute(FILL)
        yield connection
    finally:
        await connection.close()


@pytest.mark.parametrize("index", LISTS)
async def test_a_filtered_list_is_read_by_its_index(filled: "asyncpg.Connection[asyncpg.Record]", index: str) -> None:
    """A unit that asks for its own hazards would read the whole country's, ever slower with the years."""
    schema, statement, arguments = LISTS[index]
    await filled.execute(f"SET search_path = {schema}")
    plan = "\n".join(row[0] for row in await filled.fetch("EXPLAIN " + statement, *arguments))
    assert index in plan, plan
