"""Importing a legacy inspection ledger: each row a visit; exact duplicates are reported, never doubled.

A row with a legacy id is the visit of that id. A row without one is the visit of its site, day, purpose and
inspector: the same four again, in the same file, are a duplicate. A visit imported before changes nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dutyloop.directory.v1 import directory_pb2
from dutyloop.inspection.v1 import inspection_pb2
from services.kit.call import Call
from services.kit.dates import beijing_date, day_of
from services.kit.db import Connection
from services.kit.errors import invalid
from services.kit.imports import IMPORT_SECONDS, Importer, Merged
from services.kit.names import derived_id

Sites = Mapping[str, directory_pb2.ResolvedSite | None]

STAGE_VISITS = """
CREATE TEMPORARY TABLE import_row (
    id text COLLATE "C" NOT NULL,
    legacy_id text COLLATE "C",
    site text COLLATE "C" NOT NULL,
    region_code text COLLATE "C" NOT NULL,
    unit_path text COLLATE "C" NOT NULL,
    visit_date text NOT NULL,
    purpose text NOT NULL,
    inspector text NOT NULL
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

REFUSE_CONTRADICTIONS = """
UPDATE import_row
SET problem = 'duplicate', faulty_column = CASE
    WHEN visit.target <> import_row.site THEN 'site_legacy_id'
    WHEN visit.visit_date <> import_row.visit_date::date THEN 'visit_date'
    WHEN visit.purpose <> import_row.purpose THEN 'purpose'
    ELSE 'inspector'
END
FROM visit
WHERE import_row.problem IS NULL
    AND visit.id = import_row.id
    AND (visit.target, visit.visit_date, visit.purpose, visit.legacy_inspector)
        <> (import_row.site, import_row.visit_date::date, import_row.purpose, import_row.inspector)
"""

INSERT_VISITS = """
WITH created AS (
    INSERT INTO visit (id, target, region_code, unit_path, visit_date, purpose, recorder, record_time, imported,
        legacy_id, legacy_inspector)
    SELECT id, site, region_code, unit_path, visit_date::date, purpose, $1, $2, true, legacy_id, inspector
    FROM import_row
    WHERE problem IS NULL AND NOT EXISTS (SELECT FROM visit WHERE visit.id = import_row.id)
    ORDER BY position
    RETURNING 1
)
SELECT count(*) FROM created
"""

COLUMNS = ("id", "legacy_id", "site", "region_code", "unit_path", "visit_date", "purpose", "inspector")


def visit_importer(call: Call, sites: Sites) -> Importer[inspection_pb2.LegacyVisitRow]:
    """Return the importer of visits to sites within the caller's reach."""
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
        if site is None or not call.scope.covers(site.region_code, site.unit_path):
            raise invalid("site_legacy_id", "unknown_reference")
        identity = (
            ("legacy_id", row.legacy_id)
            if row.legacy_id
            else ("content", site.site, day.isoformat(), row.purpose, row.inspector)
        )
        return (
            derived_id("imported_visit", *identity),
            row.legacy_id or None,
            site.site,
            site.region_code,
            site.unit_path,
            day.isoformat(),
            row.purpose,
            row.inspector,
        )

    async def merge(connection: Connection) -> Merged:
        await connection.execute(REFUSE_DUPLICATES, timeout=IMPORT_SECONDS)
        await connection.execute(REFUSE_CONTRADICTIONS, timeout=IMPORT_SECONDS)
        created = await connection.fetchval(INSERT_VISITS, call.principal, call.now, timeout=IMPORT_SECONDS)
        return Merged(created, 0)

    return Importer("inspection.visit.imported", STAGE_VISITS, COLUMNS, record_of, merge)
