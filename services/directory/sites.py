"""The rows of sites."""

from collections.abc import Sequence

import asyncpg

from dutyloop.directory.v1 import directory_pb2
from services.directory import messages, rules
from services.directory.store import require_unmoved
from services.kit.access import Scope
from services.kit.call import Call
from services.kit.db import Database
from services.kit.errors import NotFound, invalid, require_etag
from services.kit.ledger import Event
from services.kit.names import id_of, name_of, optional_id
from services.kit.paging import Page
from services.kit.registers import source_region_code


class SiteStore:
    """Reads and commands of sites."""

    def __init__(self, database: Database) -> None:
        self._database = database

    SELECT_SITE_REFERENCES = """
    SELECT EXISTS (SELECT FROM region WHERE code = $1) AS region_exists,
        unit.region_code AS unit_region_code,
        unit.path AS unit_path,
        EXISTS (SELECT FROM region WHERE code = $4) AS source_region_exists,
        ARRAY(SELECT credit_code FROM site WHERE credit_code = $3) AS credit_codes,
        ARRAY(SELECT legacy_id FROM site WHERE source_region_code = $4 AND legacy_id = $5) AS legacy_ids
    FROM (SELECT 1) AS always
    LEFT JOIN unit ON unit.id = $2
    """

    INSERT_SITE = """
    INSERT INTO site (id, display_name, credit_code, region_code, unit_id, unit_path, sector, colour, legacy_id,
        source_region_code)
    VALUES ($1, $2, nullif($3, ''), $4, nullif($5, ''), $6, $7, $8, nullif($9, ''), $10)
    RETURNING id, revision, display_name, credit_code, region_code, unit_id, sector, colour, legacy_id,
        source_region_code
    """

    async def create_site(self, call: Call, site: directory_pb2.Site) -> directory_pb2.Site:
        """Register a site in a region, or of a unit, within reach."""
        region_code = id_of(site.region, "regions", "site.region")
        unit_id = optional_id(site.unit, "units", "site.unit")
        if site.source_region and not site.legacy_id:
            raise invalid("site.legacy_id", "required")
        source = source_region_code(call, site.source_region, "site.source_region") if site.legacy_id else ""
        async with self._database.command(call) as tx:
            found = await tx.fetchone(
                self.SELECT_SITE_REFERENCES, region_code, unit_id, site.credit_code, source, site.legacy_id
            )
            unit_path = _path_within_reach(call, found, unit_id)
            call.scope.require(site.region, region_code, unit_path)
            if not found["region_exists"]:
                raise invalid("site.region", "unknown_reference")
            if source and not found["source_region_exists"]:
                raise NotFound(site.source_region)
            rules.require_unused(site.credit_code, found["credit_codes"])
            rules.require_unused(site.legacy_id, found["legacy_ids"])
            row = await tx.fetchone(
                self.INSERT_SITE,
                call.new_id(),
                site.display_name,
                site.credit_code,
                region_code,
                unit_id,
                unit_path,
                site.sector,
                messages.COLOUR.of(site.colour),
                site.legacy_id,
                source,
            )
            created = messages.site_message(row)
            payload = _site_payload(row)
            tx.record(Event("directory.site.registered", [created.name], payload, region_code, unit_path))
            return tx.answer(created)

    LOCK_SITE = """
    SELECT id, revision, display_name, credit_code, region_code, unit_id, unit_path, sector, colour, legacy_id,
        source_region_code
    FROM site
    WHERE id = $1
    FOR NO KEY UPDATE
    """

    UPDATE_SITE = """
    UPDATE site
    SET display_name = $2, sector = $3, colour = $4, unit_id = nullif($5, ''), unit_path = $6, revision = revision + 1
    WHERE id = $1
    RETURNING id, revision, display_name, credit_code, region_code, unit_id, sector, colour, legacy_id,
        source_region_code
    """

    async def update_site(self, call: Call, site: directory_pb2.Site, changes: frozenset[str]) -> directory_pb2.Site:
        """Change the named fields of a site. Raises StaleEtag, and InvalidFields on a moved region or register."""
        unit_id = optional_id(site.unit, "units", "site.unit")
        async with self._database.command(call) as tx:
            found = await tx.fetchrow(self.LOCK_SITE, id_of(site.name, "sites", "site.name"))
            row = call.scope.row(site.name, found)
            require_etag(site.name, site.etag, row["revision"])
            require_unmoved("site.region", site.region, name_of("regions", row["region_code"]))
            source_region = name_of("regions", row["source_region_code"])
            require_unmoved("site.source_region", site.source_region, source_region)
            if "unit" in changes:
                named = await tx.fetchone(self.SELECT_SITE_REFERENCES, row["region_code"], unit_id, "", "", "")
                unit = (unit_id, _path_within_reach(call, named, unit_id))
            else:
                unit = (row["unit_id"] or "", row["unit_path"])
            changed = await tx.fetchone(
                self.UPDATE_SITE,
                row["id"],
                site.display_name if "display_name" in changes else row["display_name"],
                site.sector if "sector" in changes else row["sector"],
                messages.COLOUR.of(site.colour) if "colour" in changes else row["colour"],
                *unit,
            )
            payload = {field: value for field, value in _site_payload(changed).items() if field in changes}
            tx.record(Event("directory.site.changed", [site.name], payload, row["region_code"], unit[1]))
            return tx.answer(messages.site_message(changed))

    SELECT_SITE = """
    SELECT id, revision, display_name, credit_code, region_code, unit_id, unit_path, sector, colour, legacy_id,
        source_region_code
    FROM site
    WHERE id = $1
    """

    async def site(self, name: str, scope: Scope) -> asyncpg.Record:
        """Return a site's row. Raises NotFound, also for one outside the scope."""
        return scope.row(name, await self._database.fetchrow(self.SELECT_SITE, id_of(name, "sites")))

    LIST_SITES = """
    SELECT id, revision, display_name, credit_code, region_code, unit_id, sector, colour, legacy_id, source_region_code
    FROM site
    WHERE (region_code ^@ ANY($1::text[]) OR unit_path ^@ ANY($2::text[]))
        AND region_code ^@ $3
        AND ($4 = '' OR sector = $4)
        AND ($5 = '' OR colour = $5)
        AND id > $6
    ORDER BY id
    LIMIT $7
    """

    async def sites(self, call: Call, page: Page, region_code: str, sector: str, colour: str) -> list[asyncpg.Record]:
        """List sites within reach: within a region, of a sector, of a colour."""
        return await self._database.fetch(
            self.LIST_SITES, *call.scope.prefixes, region_code, sector, colour, page.after_key(), page.limit
        )

    SITES_BY_LEGACY_ID = """
    SELECT legacy_id, id, region_code, unit_id, unit_path
    FROM site
    WHERE source_region_code = $1 AND legacy_id = ANY($2::text[])
    """

    async def sites_by_legacy_id(self, source: str, legacy_ids: Sequence[str]) -> list[asyncpg.Record]:
        """Return the sites that carry one of these legacy ids of a region's register."""
        return await self._database.fetch(self.SITES_BY_LEGACY_ID, source, legacy_ids)


def _path_within_reach(call: Call, found: asyncpg.Record, unit_id: str) -> str:
    if not unit_id:
        return ""
    path: str = found["unit_path"] or ""
    if not path or not call.scope.covers(found["unit_region_code"], path):
        raise invalid("site.unit", "unknown_reference")
    return path


def _site_payload(row: asyncpg.Record) -> dict[str, str]:
    return {
        "display_name": row["display_name"],
        "credit_code": row["credit_code"] or "",
        "unit": name_of("units", row["unit_id"]),
        "sector": row["sector"],
        "colour": row["colour"],
        "legacy_id": row["legacy_id"] or "",
        "source_region": name_of("regions", row["source_region_code"]),
    }
