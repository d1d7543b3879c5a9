"""Importing a legacy hazard ledger: closed hazards as they are, open ones with a rectification case each."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import orjson
from google.type.date_pb2 import Date

from dutyloop.hazard.v1 import hazard_pb2
from services.hazard import messages
from services.kit.call import Call
from services.kit.dates import beijing_date, day_message, day_of, start_of
from services.kit.db import Connection
from services.kit.directory import TermEnd
from services.kit.errors import invalid
from services.kit.imports import BATCH_RESOURCES, IMPORT_SECONDS, Importer, Merged, Tell, portions
from services.kit.legacy_sites import Sites
from services.kit.registers import keeper_of
from workflows.payloads import rectification

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
    write_off_time text,
    known boolean NOT NULL DEFAULT false
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

# Each is looked up by its key (OFFSET 0 keeps it so): a join reads the whole register, until it has been analysed.
FIND_KNOWN = """
UPDATE import_row
SET known = true, faulty_column = CASE
    WHEN found.site <> import_row.site THEN 'site_legacy_id'
    WHEN found.open_time <> import_row.open_time::timestamptz THEN 'open_date'
    WHEN found.write_off_reason = 'LEGACY'
        AND found.write_off_time IS DISTINCT FROM import_row.write_off_time::timestamptz THEN 'write_off_date'
END
FROM import_row AS asked, LATERAL (
    SELECT hazard.site, hazard.open_time, hazard.write_off_time, hazard.write_off_reason
    FROM hazard
    WHERE hazard.source_region_code = $1 AND hazard.legacy_id = asked.legacy_id
    OFFSET 0
) AS found
WHERE asked.problem IS NULL AND import_row.position = asked.position
"""

REFUSE_CONTRADICTIONS = """
UPDATE import_row
SET problem = 'duplicate'
WHERE problem IS NULL AND known AND faulty_column IS NOT NULL
"""

LOCK_COUNTIES = """
SELECT pg_advisory_xact_lock_shared(hashtextextended('closures ' || county, 0))
FROM (SELECT DISTINCT left(region_code, 6) AS county FROM import_row WHERE problem IS NULL AND NOT known) AS counties
"""
"""No site of these counties is closed down until the import has committed, which takes long enough that all other
orders, and closures elsewhere, must not wait for it. A lock per site would fill the server's lock table."""

REFUSE_CLOSED_SITES = """
UPDATE import_row
SET problem = 'closed_down', faulty_column = 'site_legacy_id'
FROM site_order
WHERE import_row.problem IS NULL
    AND site_order.site = import_row.site AND site_order.kind = 'CLOSE_DOWN'
    AND (import_row.write_off_time IS NULL OR import_row.write_off_time::timestamptz > site_order.order_time)
    AND NOT known
"""

INSERT_HAZARDS = """
WITH created AS (
    INSERT INTO hazard (id, site, grade, disposition, description, state, unit_path, region_code, reporter,
        open_time, due_time, awaited_notice, write_off_time, write_off_reason, legacy_id, source_region_code)
    SELECT new_id, site, grade, disposition, description,
        CASE WHEN write_off_time IS NULL THEN 'REPORTED' ELSE 'CLOSED' END,
        unit_path, region_code, $1, open_time::timestamptz,
        CASE WHEN write_off_time IS NULL THEN $2::timestamptz END,
        CASE WHEN write_off_time IS NULL THEN nullif($8::integer, 0) END,
        write_off_time::timestamptz,
        CASE WHEN write_off_time IS NULL THEN '' ELSE 'LEGACY' END,
        legacy_id, $6
    FROM import_row
    WHERE problem IS NULL AND NOT known
    ORDER BY position
    RETURNING id, legacy_id, site, grade, disposition, open_time, write_off_time, region_code, unit_path
), started AS (
    INSERT INTO case_message (kind, workflow_id, name, at, argument)
    SELECT 'start', 'rectification/' || created.id, $3, $4,
        convert_to(($5::jsonb || jsonb_build_object(
            'hazard', 'hazards/' || created.id, 'grade', created.grade, 'fallback_unit', import_row.unit
        ))::text, 'UTF8')
    FROM created
    JOIN import_row ON import_row.legacy_id = created.legacy_id AND import_row.problem IS NULL
    WHERE created.write_off_time IS NULL
), numbered AS (
    SELECT *, (row_number() OVER (PARTITION BY region_code, unit_path) - 1) / $7::bigint AS batch
    FROM created
)
SELECT region_code, unit_path, array_agg(id) AS ids, array_agg(legacy_id) AS legacy_id, array_agg(site) AS site,
    array_agg(grade) AS grade, array_agg(disposition) AS disposition,
    array_agg(((open_time AT TIME ZONE INTERVAL '8 hours')::date)::text) AS open_date,
    array_agg(((write_off_time AT TIME ZONE INTERVAL '8 hours')::date)::text) AS write_off_date
FROM numbered
GROUP BY region_code, unit_path, batch
ORDER BY region_code, unit_path, batch
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
REQUIRED = ("legacy_id", "site_legacy_id", "grade", "disposition", "description")


class _Days:
    """Beijing days as the text of their first instant; a ledger of years has few days and many rows."""

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}

    def add(self, day: Date) -> tuple[int, str]:
        """Return a number by which days are in order, and the text."""
        number = (day.year * 100 + day.month) * 100 + day.day
        text = self._texts.get(number)
        if text is None:
            text = self._texts[number] = start_of(day_of(day)).isoformat()
        return number, text


def hazard_importer(call: Call, register: str, sites: Sites, due: TermEnd) -> Importer[hazard_pb2.LegacyHazardRow]:
    """Return the importer; ``due`` is the end of the term in which an open hazard must be assigned.

    ``register`` is the code of the region whose register the ids come from. A hazard already imported stays as
    its case has made it; a row that contradicts it is refused, and so is one by which a site would have hazards
    after it was closed down.
    """
    days = _Days()
    today, _ = days.add(day_message(beijing_date(call.now)))

    def record_of(row: hazard_pb2.LegacyHazardRow) -> Sequence[Any]:
        legacy_id, description = row.legacy_id, row.description
        grade, disposition = messages.HAZARD_GRADE.of(row.grade), messages.DISPOSITION.of(row.disposition)
        if not (legacy_id and row.site_legacy_id and row.grade and row.disposition and description):
            raise invalid(next(field for field in REQUIRED if not getattr(row, field)), "required")
        if not row.HasField("open_date"):
            raise invalid("open_date", "required")
        opened, open_time = days.add(row.open_date)
        write_off_time = None
        if row.HasField("write_off_date"):
            written_off, write_off_time = days.add(row.write_off_date)
            if written_off < opened:
                raise invalid("write_off_date", "not_after_start")
        if opened > today:
            raise invalid("open_date", "in_the_future")
        if disposition == "ON_THE_SPOT" and write_off_time is None:
            raise invalid("write_off_date", "required")
        site = sites.get(row.site_legacy_id)
        if site is None:
            raise invalid("site_legacy_id", "unknown_reference")
        return (
            call.new_id(register, legacy_id),
            legacy_id,
            site.name,
            site.region_code,
            # Somebody must answer until the hazard is assigned.
            site.unit or call.unit_reaching(site.region_code, site.unit_path),
            site.unit_path,
            grade,
            disposition,
            description,
            open_time,
            write_off_time,
        )

    async def merge(connection: Connection, tell: Tell) -> Merged:
        await connection.execute(REFUSE_REPEATED, timeout=IMPORT_SECONDS)
        await connection.execute(FIND_KNOWN, register, timeout=IMPORT_SECONDS)
        await connection.execute(REFUSE_CONTRADICTIONS, timeout=IMPORT_SECONDS)
        await connection.execute(LOCK_COUNTIES, timeout=IMPORT_SECONDS)
        await connection.execute(REFUSE_CLOSED_SITES, timeout=IMPORT_SECONDS)
        start = rectification.RectificationStart("", call.now, due.time, "", "")
        inserted = portions(
            connection,
            INSERT_HAZARDS,
            call.principal,
            due.time,
            rectification.WORKFLOW,
            call.now,
            orjson.loads(orjson.dumps(dataclasses.asdict(start))),
            register,
            BATCH_RESOURCES,
            due.awaited_notice,
        )
        merged = Merged()
        async for rows in inserted:
            merged.created += sum(len(row["ids"]) for row in rows)
            await tell("hazards", rows)
        return merged

    return Importer(
        "hazard.register.imported",
        STAGE_HAZARDS,
        COLUMNS,
        record_of,
        merge,
        *keeper_of(call, register),
        register=register,
        batch_type="hazard.hazard.imported",
    )
