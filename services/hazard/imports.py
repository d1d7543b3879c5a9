"""Importing a legacy hazard ledger: closed hazards as they are, open ones with a rectification case each."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson

from dutyloop.directory.v1 import directory_pb2
from dutyloop.hazard.v1 import hazard_pb2
from services.kit.call import Call
from services.kit.dates import day_of, start_of
from services.kit.db import Connection
from services.kit.errors import invalid
from services.kit.imports import IMPORT_SECONDS, Importer, Merged
from workflows.payloads import rectification

Sites = Mapping[str, directory_pb2.ResolvedSite | None]

STAGE_HAZARDS = """
CREATE TEMPORARY TABLE import_row (
    new_id text COLLATE "C" NOT NULL,
    legacy_id text COLLATE "C" NOT NULL,
    site text COLLATE "C" NOT NULL,
    region_code text COLLATE "C" NOT NULL,
    unit text NOT NULL,
    unit_path text COLLATE "C" NOT NULL,
    grade text NOT NULL,
    disposition text NOT NULL,
    description text NOT NULL,
    open_time text NOT NULL,
    write_off_time text
) ON COMMIT DROP
"""

REFUSE_REPEATED = """
UPDATE import_row
SET faulty_column = 'legacy_id', problem = 'duplicate'
FROM (
    SELECT legacy_id, min(position) AS first
    FROM import_row
    GROUP BY legacy_id
    HAVING count(*) > 1
) AS repeated
WHERE import_row.legacy_id = repeated.legacy_id AND import_row.position > repeated.first
"""

REFUSE_CONTRADICTIONS = """
UPDATE import_row
SET problem = 'duplicate', faulty_column = CASE
    WHEN hazard.site <> import_row.site THEN 'site_legacy_id'
    WHEN hazard.open_time <> import_row.open_time::timestamptz THEN 'open_date'
    ELSE 'write_off_date'
END
FROM hazard
WHERE import_row.problem IS NULL
    AND hazard.legacy_id = import_row.legacy_id
    AND (hazard.site <> import_row.site
        OR hazard.open_time <> import_row.open_time::timestamptz
        OR hazard.write_off_reason = 'LEGACY'
            AND hazard.write_off_time IS DISTINCT FROM import_row.write_off_time::timestamptz)
"""

LOCK_ORDERS = "LOCK TABLE site_order IN SHARE MODE"
"""No order is made until the import has committed. A lock per site would fill the server's lock table."""

REFUSE_CLOSED_SITES = """
UPDATE import_row
SET problem = 'closed_down', faulty_column = 'site_legacy_id'
FROM site_order
WHERE import_row.problem IS NULL
    AND site_order.site = import_row.site AND site_order.kind = 'CLOSE_DOWN'
    AND (import_row.write_off_time IS NULL OR import_row.write_off_time::timestamptz > site_order.order_time)
    AND NOT EXISTS (SELECT FROM hazard WHERE hazard.legacy_id = import_row.legacy_id)
"""

INSERT_HAZARDS = """
WITH created AS (
    INSERT INTO hazard (id, site, grade, disposition, description, state, unit_path, region_code, reporter,
        open_time, due_time, write_off_time, write_off_reason, legacy_id)
    SELECT new_id, site, grade, disposition, description,
        CASE WHEN write_off_time IS NULL THEN 'REPORTED' ELSE 'CLOSED' END,
        unit_path, region_code, $1, open_time::timestamptz,
        CASE WHEN write_off_time IS NULL THEN $2::timestamptz END,
        write_off_time::timestamptz,
        CASE WHEN write_off_time IS NULL THEN '' ELSE 'LEGACY' END,
        legacy_id
    FROM import_row
    WHERE problem IS NULL AND NOT EXISTS (SELECT FROM hazard WHERE hazard.legacy_id = import_row.legacy_id)
    ORDER BY position
    RETURNING id, legacy_id, grade, write_off_time
), started AS (
    INSERT INTO case_message (kind, workflow_id, name, at, argument)
    SELECT 'start', 'rectification/' || created.id, $3, $4,
        convert_to(($5::jsonb || jsonb_build_object(
            'hazard', 'hazards/' || created.id, 'grade', created.grade, 'fallback_unit', import_row.unit
        ))::text, 'UTF8')
    FROM created
    JOIN import_row ON import_row.legacy_id = created.legacy_id AND import_row.problem IS NULL
    WHERE created.write_off_time IS NULL
)
SELECT count(*) FROM created
"""

COLUMNS = (
    "new_id",
    "legacy_id",
    "site",
    "region_code",
    "unit",
    "unit_path",
    "grade",
    "disposition",
    "description",
    "open_time",
    "write_off_time",
)
START_OF_DAY = timedelta(days=1)


def hazard_importer(call: Call, sites: Sites, due: datetime) -> Importer[hazard_pb2.LegacyHazardRow]:
    """Return the importer; ``due`` is the end of the term in which an open hazard must be assigned.

    A hazard already imported stays as its case has made it; a row that contradicts it is refused, and so is
    one by which a site would have hazards after it was closed down.
    """

    def record_of(row: hazard_pb2.LegacyHazardRow) -> Sequence[Any]:
        for field in ("legacy_id", "site_legacy_id", "grade", "disposition", "description"):
            if not getattr(row, field):
                raise invalid(field, "required")
        if not row.HasField("open_date"):
            raise invalid("open_date", "required")
        opened = start_of(day_of(row.open_date))
        written_off = None
        if row.HasField("write_off_date"):
            written_off = start_of(day_of(row.write_off_date))
            if written_off < opened:
                raise invalid("write_off_date", "not_after_start")
        if opened > call.now:
            raise invalid("open_date", "in_the_future")
        disposition = hazard_pb2.Disposition.Name(row.disposition).removeprefix("DISPOSITION_")
        if disposition == "ON_THE_SPOT" and written_off is None:
            raise invalid("write_off_date", "required")
        site = sites.get(row.site_legacy_id)
        if site is None or not call.scope.covers(site.region_code, site.unit_path):
            raise invalid("site_legacy_id", "unknown_reference")
        return (
            call.new_id(row.legacy_id),
            row.legacy_id,
            site.site,
            site.region_code,
            site.unit or call.units[0],  # somebody must answer until the hazard is assigned
            site.unit_path,
            hazard_pb2.HazardGrade.Name(row.grade).removeprefix("HAZARD_GRADE_"),
            disposition,
            row.description,
            opened.isoformat(),
            written_off.isoformat() if written_off else None,
        )

    async def merge(connection: Connection) -> Merged:
        await connection.execute(REFUSE_REPEATED, timeout=IMPORT_SECONDS)
        await connection.execute(REFUSE_CONTRADICTIONS, timeout=IMPORT_SECONDS)
        await connection.execute(LOCK_ORDERS)
        await connection.execute(REFUSE_CLOSED_SITES, timeout=IMPORT_SECONDS)
        start = rectification.RectificationStart("", call.now, due, "", "")
        created = await connection.fetchval(
            INSERT_HAZARDS,
            call.principal,
            due,
            rectification.WORKFLOW,
            call.now,
            orjson.loads(orjson.dumps(dataclasses.asdict(start))),
            timeout=IMPORT_SECONDS,
        )
        return Merged(created, 0)

    return Importer("hazard.hazard.imported", STAGE_HAZARDS, COLUMNS, record_of, merge)
