"""Importing a legacy inspection ledger: each row a visit; exact duplicates are reported, never doubled.

A row with a legacy id is the visit of that id in its register. A row without one is the visit of its site, day,
purpose and inspector: the same four again, in the same file, are a duplicate. A visit imported before changes
nothing.
"""

from collections.abc import Sequence
from typing import Any

from dutyloop.inspection.v1 import inspection_pb2
from services.kit.call import Call
from services.kit.dates import beijing_date, day_of
from services.kit.db import Connection
from services.kit.errors import invalid
from services.kit.imports import BATCH_RESOURCES, IMPORT_SECONDS, Importer, Merged, Tell, portions
from services.kit.legacy_sites import Sites
from services.kit.names import derived_id
from services.kit.registers import keeper_of

STAGE_VISITS = """
CREATE TEMPORARY TABLE import_row (
    id text COLLATE "C" NOT NULL,
    legacy_id text COLLATE "C",
    site text COLLATE "C" NOT NULL,
    region_code text COLLATE "C" NOT NULL,
    unit_path text COLLATE "C" NOT NULL,
    visit_date text NOT NULL,
    purpose text NOT NULL,
    inspector text NOT NULL,
    known boolean NOT NULL DEFAULT false
) ON COMMIT DROP
"""

REFUSE_DUPLICATES = """
UPDATE import_row
SET faulty_column = CASE WHEN legacy_id IS NULL THEN 'row' ELSE 'legacy_id' END, problem = 'duplicate'
FROM (
    SELECT id, min(position) AS first
    FROM import_row
    GROUP BY id
    HAVING count(*) > 1
) AS repeated
WHERE import_row.id = repeated.id AND import_row.position > repeated.first
"""

FIND_KNOWN = """
UPDATE import_row
SET known = true, faulty_column = CASE
    WHEN visit.target <> import_row.site THEN 'site_legacy_id'
    WHEN visit.visit_date <> import_row.visit_date::date THEN 'visit_date'
    WHEN visit.purpose <> import_row.purpose THEN 'purpose'
    WHEN visit.legacy_inspector <> import_row.inspector THEN 'inspector'
END
FROM visit
WHERE import_row.problem IS NULL AND visit.id = import_row.id
"""

REFUSE_CONTRADICTIONS = """
UPDATE import_row
SET problem = 'duplicate'
WHERE problem IS NULL AND known AND faulty_column IS NOT NULL
"""

INSERT_VISITS = """
WITH created AS (
    INSERT INTO visit (id, target, region_code, unit_path, visit_date, purpose, recorder, record_time, imported,
        legacy_id, source_region_code, legacy_inspector)
    SELECT id, site, region_code, unit_path, visit_date::date, purpose, $1, $2, true, legacy_id,
        CASE WHEN legacy_id IS NULL THEN '' ELSE $3 END, inspector
    FROM import_row
    WHERE problem IS NULL AND NOT known
    ORDER BY position
    RETURNING id, legacy_id, target, visit_date, region_code, unit_path
), numbered AS (
    SELECT *, (row_number() OVER (PARTITION BY region_code, unit_path) - 1) / $4::bigint AS batch
    FROM created
)
SELECT region_code, unit_path, array_agg(id) AS ids, array_agg(legacy_id) AS legacy_id, array_agg(target) AS target,
    array_agg(visit_date::text) AS visit_date
FROM numbered
GROUP BY region_code, unit_path, batch
ORDER BY region_code, unit_path, batch
"""

COLUMNS = ("id", "legacy_id", "site", "region_code", "unit_path", "visit_date", "purpose", "inspector")


def visit_importer(call: Call, register: str, sites: Sites) -> Importer[inspection_pb2.LegacyVisitRow]:
    """Return the importer of visits to sites within the caller's reach.

    ``register`` is the code of the region whose register the ids come from.
    """
    today = beijing_date(call.now)

    def record_of(row: inspection_pb2.LegacyVisitRow) -> Sequence[Any]:
        if not row.site_legacy_id:
            raise invalid("site_legacy_id", "required")
        if not row.HasField("visit_date"):
            raise invalid("visit_date", "required")
        day = day_of(row.visit_date)
        if day > today:
            raise invalid("visit_date", "in_the_future")
        site = sites.get(row.site_legacy_id)
        if site is None:
            raise invalid("site_legacy_id", "unknown_reference")
        identity = (
            ("legacy_id", register, row.legacy_id)
            if row.legacy_id
            else ("content", site.name, day.isoformat(), row.purpose, row.inspector)
        )
        return (
            derived_id("imported_visit", *identity),
            row.legacy_id or None,
            site.name,
            site.region_code,
            site.unit_path,
            day.isoformat(),
            row.purpose,
            row.inspector,
        )

    async def merge(connection: Connection, tell: Tell) -> Merged:
        await connection.execute(REFUSE_DUPLICATES, timeout=IMPORT_SECONDS)
        await connection.execute(FIND_KNOWN, timeout=IMPORT_SECONDS)
        await connection.execute(REFUSE_CONTRADICTIONS, timeout=IMPORT_SECONDS)
        merged = Merged()
        async for rows in portions(connection, INSERT_VISITS, call.principal, call.now, register, BATCH_RESOURCES):
            merged.created += sum(len(row["ids"]) for row in rows)
            await tell("visits", rows)
        return merged

    return Importer(
        "inspection.register.imported",
        STAGE_VISITS,
        COLUMNS,
        record_of,
        merge,
        *keeper_of(call, register),
        register=register,
        batch_type="inspection.visit.imported",
    )
