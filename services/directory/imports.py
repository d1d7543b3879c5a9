"""Importing regions and sites: what is checked per row, what in bulk, and how the rows are merged."""

from collections.abc import Sequence
from typing import Any

from dutyloop.directory.v1 import directory_pb2
from services.directory import messages, rules
from services.kit.call import Call
from services.kit.db import Connection
from services.kit.errors import InvalidFields, invalid
from services.kit.imports import BATCH_RESOURCES, IMPORT_SECONDS, Importer, Merged, Tell, portions
from services.kit.names import id_of, name_of, optional_id
from services.kit.registers import keeper_of

STAGE_REGIONS = """
CREATE TEMPORARY TABLE import_row (
    code text COLLATE "C" NOT NULL,
    parent_code text COLLATE "C" NOT NULL,
    display_name text NOT NULL
) ON COMMIT DROP
"""

REFUSE_REPEATED_REGIONS = """
UPDATE import_row
SET faulty_column = 'code', problem = 'duplicate'
FROM (
    SELECT code, min(position) AS first
    FROM import_row
    GROUP BY code
    HAVING count(*) > 1
) AS repeated
WHERE import_row.code = repeated.code AND import_row.position > repeated.first
"""

REFUSE_ORPHANED_REGIONS = """
UPDATE import_row
SET faulty_column = 'parent_code', problem = 'unknown_reference'
FROM (
    SELECT DISTINCT parent_code AS code
    FROM import_row
    WHERE problem IS NULL AND parent_code <> ''
) AS parent
WHERE import_row.problem IS NULL
    AND import_row.parent_code = parent.code
    AND NOT EXISTS (SELECT FROM region WHERE region.code = parent.code)
    AND NOT EXISTS (SELECT FROM import_row AS other WHERE other.code = parent.code AND other.problem IS NULL)
"""

MERGE_REGIONS = """
WITH updated AS (
    UPDATE region
    SET display_name = import_row.display_name
    FROM import_row
    WHERE import_row.problem IS NULL
        AND region.code = import_row.code
        AND region.display_name <> import_row.display_name
    RETURNING 1
), created AS (
    INSERT INTO region (code, parent_code, display_name)
    SELECT code, parent_code, display_name
    FROM import_row
    WHERE problem IS NULL AND NOT EXISTS (SELECT FROM region WHERE region.code = import_row.code)
    ORDER BY code
    RETURNING 1
)
SELECT (SELECT count(*) FROM created) AS created, (SELECT count(*) FROM updated) AS updated
"""


def region_importer(call: Call) -> Importer[directory_pb2.RegionRow]:
    """Return the importer of regions: those within the caller's reach, parents in any order."""
    everywhere = "" in call.scope.regions

    def record_of(row: directory_pb2.RegionRow) -> Sequence[Any]:
        code, parent_code = row.code, row.parent_code
        if violation := rules.region_violation(code, parent_code):
            raise InvalidFields(violation)
        if not row.display_name:
            raise invalid("display_name", "required")
        if not everywhere and not call.scope.covers(code):
            raise invalid("code", "out_of_reach")
        return code, parent_code, row.display_name

    async def merge(connection: Connection, tell: Tell) -> Merged:
        await connection.execute(REFUSE_REPEATED_REGIONS, timeout=IMPORT_SECONDS)
        for _ in rules.PARENT_LENGTH:  # a refused parent orphans its children, level by level
            if await connection.execute(REFUSE_ORPHANED_REGIONS, timeout=IMPORT_SECONDS) == "UPDATE 0":
                break
        [counts] = await connection.fetch(MERGE_REGIONS, timeout=IMPORT_SECONDS)
        return Merged(counts["created"], counts["updated"])

    columns = ("code", "parent_code", "display_name")
    # The counts are of all that the caller reaches, so that they are for those who reach as far.
    reached = rules.region_above(call.scope.regions or (call.home_region_code,))
    return Importer("directory.region.imported", STAGE_REGIONS, columns, record_of, merge, reached)


STAGE_SITES = """
CREATE TEMPORARY TABLE import_row (
    new_id text COLLATE "C" NOT NULL,
    legacy_id text COLLATE "C" NOT NULL,
    credit_code text COLLATE "C" NOT NULL,
    display_name text NOT NULL,
    region_code text COLLATE "C" NOT NULL,
    unit_id text COLLATE "C" NOT NULL,
    sector text NOT NULL,
    colour text NOT NULL,
    unit_path text COLLATE "C" NOT NULL DEFAULT '',
    site_id text COLLATE "C"
) ON COMMIT DROP
"""

REFUSE_REPEATED_SITES = """
WITH numbered AS (
    SELECT position,
        legacy_id <> '' AND row_number() OVER (PARTITION BY legacy_id ORDER BY position) > 1 AS legacy_repeated,
        credit_code <> '' AND row_number() OVER (PARTITION BY credit_code ORDER BY position) > 1 AS credit_repeated
    FROM import_row
)
UPDATE import_row
SET problem = 'duplicate', faulty_column = CASE WHEN legacy_repeated THEN 'legacy_id' ELSE 'credit_code' END
FROM numbered
WHERE import_row.position = numbered.position AND (legacy_repeated OR credit_repeated)
"""

FIND_SITE_UNITS = """
UPDATE import_row
SET unit_path = unit.path
FROM unit
WHERE import_row.unit_id <> ''
    AND unit.id = import_row.unit_id
    AND (unit.region_code ^@ ANY($1::text[]) OR unit.path ^@ ANY($2::text[]))
"""

REFUSE_SITE_REFERENCES = """
UPDATE import_row
SET problem = 'unknown_reference',
    faulty_column = CASE WHEN unit_id <> '' AND unit_path = '' THEN 'unit' ELSE 'region' END
WHERE problem IS NULL
    AND ((unit_id <> '' AND unit_path = '')
        OR NOT EXISTS (SELECT FROM region WHERE region.code = import_row.region_code)
        OR NOT (region_code ^@ ANY($1::text[]) OR unit_path ^@ ANY($2::text[])))
"""

FIND_SITES_BY_LEGACY_ID = """
UPDATE import_row
SET site_id = site.id
FROM site
WHERE problem IS NULL
    AND import_row.legacy_id <> ''
    AND site.source_region_code = $1
    AND site.legacy_id = import_row.legacy_id
"""

FIND_SITES_BY_CREDIT_CODE = """
UPDATE import_row
SET site_id = site.id,
    problem = CASE WHEN import_row.site_id <> site.id THEN 'duplicate' END,
    faulty_column = CASE WHEN import_row.site_id <> site.id THEN 'credit_code' END
FROM site
WHERE problem IS NULL AND import_row.credit_code <> '' AND site.credit_code = import_row.credit_code
"""

REFUSE_SITES_OUT_OF_REACH = """
UPDATE import_row
SET problem = 'out_of_reach',
    faulty_column = CASE WHEN import_row.legacy_id <> '' THEN 'legacy_id' ELSE 'credit_code' END
FROM site
WHERE problem IS NULL
    AND site.id = import_row.site_id
    AND NOT (site.region_code ^@ ANY($1::text[]) OR site.unit_path ^@ ANY($2::text[]))
"""

# A site keeps the legacy id that it has, and the register of that id: it is in one register only.
REFUSE_CHANGED_IDENTITIES = """
UPDATE import_row
SET problem = 'not_in_mask',
    faulty_column = CASE
        WHEN site.region_code <> import_row.region_code THEN 'region'
        WHEN import_row.legacy_id <> ''
            AND site.legacy_id IS NOT NULL
            AND (site.source_region_code, site.legacy_id) <> ($1, import_row.legacy_id) THEN 'legacy_id'
        ELSE 'credit_code'
    END
FROM site
WHERE problem IS NULL
    AND site.id = import_row.site_id
    AND (site.region_code <> import_row.region_code
        OR (import_row.legacy_id <> ''
            AND site.legacy_id IS NOT NULL
            AND (site.source_region_code, site.legacy_id) <> ($1, import_row.legacy_id))
        OR (site.credit_code <> import_row.credit_code AND import_row.credit_code <> ''))
"""

REFUSE_SITES_NAMED_TWICE = """
UPDATE import_row
SET problem = 'duplicate', faulty_column = CASE WHEN legacy_id <> '' THEN 'legacy_id' ELSE 'credit_code' END
FROM (
    SELECT site_id AS id, min(position) AS first
    FROM import_row
    WHERE problem IS NULL AND site_id IS NOT NULL
    GROUP BY site_id
    HAVING count(*) > 1
) AS repeated
WHERE problem IS NULL AND import_row.site_id = repeated.id AND import_row.position > repeated.first
"""

# An empty cell keeps what is known: an import adds and corrects, it does not clear. The new values are
# written in terms of site itself, so that one changed meanwhile is judged as it then stands.
MERGE_SITES = """
WITH updated AS (
    UPDATE site
    SET display_name = import_row.display_name,
        credit_code = coalesce(nullif(import_row.credit_code, ''), site.credit_code),
        legacy_id = coalesce(nullif(import_row.legacy_id, ''), site.legacy_id),
        source_region_code = CASE WHEN import_row.legacy_id = '' THEN site.source_region_code ELSE $1 END,
        unit_id = coalesce(nullif(import_row.unit_id, ''), site.unit_id),
        unit_path = coalesce(nullif(import_row.unit_path, ''), site.unit_path),
        sector = coalesce(nullif(import_row.sector, ''), site.sector),
        colour = coalesce(nullif(import_row.colour, 'UNSPECIFIED'), site.colour),
        revision = site.revision + 1
    FROM import_row
    WHERE import_row.problem IS NULL
        AND site.id = import_row.site_id
        AND (site.display_name <> import_row.display_name
            OR site.credit_code IS DISTINCT FROM coalesce(nullif(import_row.credit_code, ''), site.credit_code)
            OR site.legacy_id IS DISTINCT FROM coalesce(nullif(import_row.legacy_id, ''), site.legacy_id)
            OR site.unit_id IS DISTINCT FROM coalesce(nullif(import_row.unit_id, ''), site.unit_id)
            OR site.sector <> coalesce(nullif(import_row.sector, ''), site.sector)
            OR site.colour <> coalesce(nullif(import_row.colour, 'UNSPECIFIED'), site.colour))
    RETURNING site.id, site.display_name, site.credit_code, site.region_code, site.unit_id, site.unit_path,
        site.sector, site.colour, site.legacy_id
), created AS (
    INSERT INTO site
        (id, display_name, credit_code, region_code, unit_id, unit_path, sector, colour, legacy_id,
        source_region_code)
    SELECT new_id, display_name, nullif(credit_code, ''), region_code, nullif(unit_id, ''), unit_path, sector,
        colour, nullif(legacy_id, ''), CASE WHEN legacy_id = '' THEN '' ELSE $1 END
    FROM import_row
    WHERE problem IS NULL AND site_id IS NULL
    RETURNING id, display_name, credit_code, region_code, unit_id, unit_path, sector, colour, legacy_id
), numbered AS (
    SELECT *, (row_number() OVER (PARTITION BY region_code, unit_path) - 1) / $2::bigint AS batch
    FROM (
        SELECT true AS created, * FROM created
        UNION ALL
        SELECT false AS created, * FROM updated
    ) AS written
)
SELECT region_code, unit_path, array_agg(id) AS ids, array_agg(created) AS created,
    array_agg(display_name) AS display_name, array_agg(credit_code) AS credit_code,
    array_agg('units/' || unit_id) AS unit, array_agg(sector) AS sector, array_agg(colour) AS colour,
    array_agg(legacy_id) AS legacy_id
FROM numbered
GROUP BY region_code, unit_path, batch
ORDER BY region_code, unit_path, batch
"""

SITE_COLUMNS = (
    "new_id",
    "legacy_id",
    "credit_code",
    "display_name",
    "region_code",
    "unit_id",
    "sector",
    "colour",
)


def site_importer(call: Call, register: str) -> Importer[directory_pb2.SiteRow]:
    """Return the importer of sites: a known legacy id or credit code names the site that the row updates.

    ``register`` is the code of the region whose register the legacy ids come from.
    """
    source_region = name_of("regions", register)
    scope = call.scope.prefixes

    def record_of(row: directory_pb2.SiteRow) -> Sequence[Any]:
        site = row.site
        rules.require_credit_code(site.credit_code, "credit_code")
        if not (site.legacy_id or site.credit_code):
            raise invalid("legacy_id", "required")
        if not site.region:
            raise invalid("region", "required")
        if site.source_region and site.source_region != source_region:
            raise invalid("source_region", "excluded")
        return (
            call.new_id(register, site.legacy_id, site.credit_code),
            site.legacy_id,
            site.credit_code,
            site.display_name,
            id_of(site.region, "regions", "region"),
            optional_id(site.unit, "units", "unit"),
            site.sector,
            messages.COLOUR.of(site.colour),
        )

    async def merge(connection: Connection, tell: Tell) -> Merged:
        await connection.execute(REFUSE_REPEATED_SITES, timeout=IMPORT_SECONDS)
        await connection.execute(FIND_SITE_UNITS, *scope, timeout=IMPORT_SECONDS)
        await connection.execute(REFUSE_SITE_REFERENCES, *scope, timeout=IMPORT_SECONDS)
        await connection.execute(FIND_SITES_BY_LEGACY_ID, register, timeout=IMPORT_SECONDS)
        await connection.execute(FIND_SITES_BY_CREDIT_CODE, timeout=IMPORT_SECONDS)
        await connection.execute(REFUSE_SITES_OUT_OF_REACH, *scope, timeout=IMPORT_SECONDS)
        await connection.execute(REFUSE_CHANGED_IDENTITIES, register, timeout=IMPORT_SECONDS)
        await connection.execute(REFUSE_SITES_NAMED_TWICE, timeout=IMPORT_SECONDS)
        merged = Merged()
        async for rows in portions(connection, MERGE_SITES, register, BATCH_RESOURCES):
            created = sum(sum(row["created"]) for row in rows)
            merged.created += created
            merged.updated += sum(len(row["ids"]) for row in rows) - created
            await tell("sites", rows)
        return merged

    return Importer(
        "directory.register.imported",
        STAGE_SITES,
        SITE_COLUMNS,
        record_of,
        merge,
        *keeper_of(call, register),
        register=register,
        batch_type="directory.site.imported",
    )
