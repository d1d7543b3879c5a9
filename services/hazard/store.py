"""The hazard ledger in PostgreSQL."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from dutyloop.hazard.v1 import hazard_pb2
from services.hazard import messages, rules
from services.kit.access import Scope
from services.kit.call import Call
from services.kit.db import Database, Outer, require_seen
from services.kit.directory import TermEnd
from services.kit.errors import RuleNotMet, ServiceUnavailable
from services.kit.gather import ASKED
from services.kit.ledger import Event
from services.kit.names import id_of, name_of
from services.kit.paging import Page
from services.kit.recordings import record, recording
from services.kit.reprojection import reprojected, telling
from workflows.payloads import rectification

HAZARD_COLUMNS = """
    id, revision, site, visit, grade, disposition, description, remedy, basis, state, unit, unit_path,
    region_code, reporter, rectifier, reinspector, look_backer, plan, extension, evidence, open_time, due_time,
    awaited_notice, write_off_time, write_off_reason, reopen_count, site_order, legacy_id, source_region_code
"""
RECORD_ATTEMPTS = 5
"""A hazard is changed by its case, one step after the other, and by orders on its site."""


@dataclass(frozen=True, slots=True)
class SitePlace:
    """Where a hazard is, as directory tells it: the site, its region and the unit that answers for it."""

    site: str
    region_code: str
    unit: str
    unit_path: str


class HazardStore:
    """Reads and writes of the hazard schema."""

    def __init__(self, database: Database) -> None:
        self._database = database

    SELECT_HAZARD = "SELECT " + HAZARD_COLUMNS + ", asked.place FROM " + ASKED + " JOIN hazard USING (id)"

    async def hazard(self, name: str, scope: Scope) -> asyncpg.Record:
        """Return a hazard's row. Raises NotFound, also for one outside the scope."""
        return scope.row(name, await self._database.row(self.SELECT_HAZARD, id_of(name, "hazards")))

    INSERT_HAZARD = (
        """
        INSERT INTO hazard (id, site, visit, grade, disposition, description, remedy, basis, state,
            unit_path, region_code, reporter, open_time, due_time, awaited_notice, write_off_time, write_off_reason)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, nullif($15::integer, 0), $16, $17)
        RETURNING
        """
        + HAZARD_COLUMNS
    )
    SITE_IS_CLOSED = """
        SELECT true FROM site_order WHERE site = $1 AND kind = 'CLOSE_DOWN'
    """
    # One site's reports, orders and resumptions come one after the other: a closure misses no hazard.
    LOCK_SITE = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"

    async def report(
        self, call: Call, hazard: hazard_pb2.Hazard, place: SitePlace, due: TermEnd | None, fallback_unit: str
    ) -> hazard_pb2.Hazard:
        """Enter a hazard; one that needs time (``due`` set) gets its rectification case."""
        identifier = call.new_id()
        name = name_of("hazards", identifier)
        grade = messages.HAZARD_GRADE.of(hazard.grade)
        disposition = messages.DISPOSITION.of(hazard.disposition)
        on_the_spot = due is None
        async with self._database.command(call) as tx:
            await tx.execute(self.LOCK_SITE, place.site)
            if await tx.fetchrow(self.SITE_IS_CLOSED, place.site):
                raise RuleNotMet(rule="site_is_not_closed_down")
            row = await tx.fetchone(
                self.INSERT_HAZARD,
                identifier,
                place.site,
                hazard.visit,
                grade,
                disposition,
                hazard.description,
                hazard.remedy,
                hazard.basis,
                "CLOSED" if on_the_spot else "REPORTED",
                place.unit_path,
                place.region_code,
                call.principal,
                call.now,
                due.time if due else None,
                due.awaited_notice if due else 0,
                call.now if on_the_spot else None,
                "ON_THE_SPOT" if on_the_spot else "",
            )
            tx.record(
                Event(
                    "hazard.hazard.reported",
                    [name, place.site, *([hazard.visit] if hazard.visit else [])],
                    {
                        "grade": grade,
                        "disposition": disposition,
                        "state": row["state"],
                        "description": hazard.description,
                        "remedy": hazard.remedy,
                        "basis": hazard.basis,
                    },
                    place.region_code,
                    place.unit_path,
                    workflow_id="" if on_the_spot else rectification.workflow_id(identifier),
                )
            )
            if due is not None:
                start = rectification.RectificationStart(name, call.now, due.time, grade, place.unit or fallback_unit)
                tx.start_case(
                    rectification.WORKFLOW,
                    rectification.workflow_id(identifier),
                    call.now,
                    dataclasses.asdict(start),
                )
            return tx.answer(messages.hazard_message(row, call.now))

    RECORD_TRANSITION = recording(
        """
        changed AS (
            UPDATE hazard SET revision = revision + 1, state = $3, grade = $4, unit = $5, unit_path = $6,
                rectifier = $7, reinspector = $8,
                rectifiers = CASE WHEN $7 = '' OR $7 = ANY (rectifiers) THEN rectifiers ELSE rectifiers || $7 END,
                planners = CASE
                    WHEN $17::text[] <@ planners THEN planners
                    ELSE ARRAY(SELECT DISTINCT person FROM unnest(planners || $17::text[]) AS person ORDER BY person)
                END,
                plan = $9, extension = $10, evidence = $11, due_time = $12,
                write_off_time = $13, write_off_reason = $14, reopen_count = $15, site_order = $16, look_backer = $18,
                awaited_notice = $21
            WHERE id = $1 AND revision = $2::bigint
            RETURNING id
        ), reopened AS (
            INSERT INTO reopening (hazard_id, number, write_off_time, reopen_time)
            SELECT id, $15, $19::timestamptz, $20::timestamptz FROM changed WHERE $19::timestamptz IS NOT NULL
        )
        """,
        parameters=21,
    )
    SELECT_ORDERER = "SELECT orderer FROM site_order WHERE id = $1"

    async def record_transition(
        self, call: Call, request: hazard_pb2.RecordHazardTransitionRequest, outer: Outer | None
    ) -> hazard_pb2.Hazard:
        """Record what the case decided: without a lock, since little but the case itself changes a hazard."""
        identifier = id_of(request.name, "hazards")
        after = request.hazard
        planners = [outer.principal, after.plan.responsible] if outer and request.transition == "planned" else []
        for _ in range(RECORD_ATTEMPTS):
            before = call.scope.row(request.name, await self._database.row(self.SELECT_HAZARD, identifier))
            require_seen(outer, request.name, before["revision"])
            row = {**before, **messages.transition_columns(request, before)}
            reopens = after.reopen_count > before["reopen_count"]
            arguments = (
                identifier,
                before["revision"],
                row["state"],
                row["grade"],
                row["unit"],
                row["unit_path"],
                row["rectifier"],
                row["reinspector"],
                row["plan"],
                row["extension"],
                row["evidence"],
                row["due_time"],
                row["write_off_time"],
                row["write_off_reason"],
                row["reopen_count"],
                row["site_order"],
                planners,
                row["look_backer"],
                before["write_off_time"] if reopens else None,
                call.now,
                row["awaited_notice"],
            )
            told: dict[str, object] = {}
            if after.site_order:  # only a closure's snapshot names one
                orderer = await self._database.fetchval(self.SELECT_ORDERER, row["site_order"])
                told = {"site_order": after.site_order, "orderer": orderer}
            event = _transition_event(request, before, row, told)
            answer = messages.hazard_message(row, call.now)
            if await record(self._database, call, outer, self.RECORD_TRANSITION, arguments, event, answer):
                return answer
        raise ServiceUnavailable

    TELL_PROVISIONAL = telling("rectification", "hazard", "due_time")

    async def tell_provisional(self, years: list[int], now: datetime, at_most: int) -> None:
        """Have the cases told whose term awaits a notice of these years; what falls due first comes first."""
        await self._database.execute(self.TELL_PROVISIONAL, years, now, at_most)

    LOCK_HAZARD = "SELECT " + HAZARD_COLUMNS + " FROM hazard WHERE id = $1 FOR UPDATE"
    INSERT_ORDER = """
        INSERT INTO site_order (id, site, region_code, unit_path, kind, unit, instrument_number, hazard_id, orderer,
            order_time)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        RETURNING id, revision, site, region_code, unit_path, kind, unit, instrument_number, hazard_id, orderer,
            order_time, resume_time, resumer
    """
    TIE_HAZARD = "UPDATE hazard SET revision = revision + 1, site_order = $2 WHERE id = $1"
    # Before the site, so that its reports need not wait where the closure waits for an import; see imports.
    LOCK_COUNTY_OF_HAZARD = """
        SELECT pg_advisory_xact_lock(hashtextextended('closures ' || left(region_code, 6), 0)) FROM hazard WHERE id = $1
    """
    SELECT_UNDER_WAY = "SELECT id FROM hazard WHERE site = $1 AND state <> 'CLOSED' ORDER BY id FOR UPDATE"

    async def order(
        self, call: Call, kind: str, site: str, hazard_name: str, instrument_number: str
    ) -> hazard_pb2.SiteOrder:
        """Make an order on a site; a closure has the case of each hazard of the site end."""
        hazard_id = id_of(hazard_name, "hazards", "hazard")
        identifier = call.new_id()
        name = name_of("siteOrders", identifier)
        async with self._database.command(call) as tx:
            if kind == "CLOSE_DOWN":
                await tx.execute(self.LOCK_COUNTY_OF_HAZARD, hazard_id)
            await tx.execute(self.LOCK_SITE, site)
            hazard = call.scope.row(hazard_name, await tx.fetchrow(self.LOCK_HAZARD, hazard_id))
            unit = call.unit_reaching(hazard["region_code"], hazard["unit_path"])
            rules.check_order(
                rules.OrderedHazard(hazard_name, hazard["site"], hazard["disposition"], hazard["state"]),
                site,
                kind.lower(),
            )
            row = await tx.fetchone(
                self.INSERT_ORDER,
                identifier,
                site,
                hazard["region_code"],
                hazard["unit_path"],
                kind,
                unit,
                instrument_number,
                hazard_id,
                call.principal,
                call.now,
            )
            await tx.execute(self.TIE_HAZARD, hazard_id, identifier)
            if kind == "CLOSE_DOWN":
                for under_way in await tx.fetch(self.SELECT_UNDER_WAY, site):
                    tx.tell_case(
                        rectification.workflow_id(under_way["id"]),
                        "close_down",
                        dataclasses.asdict(rectification.CloseDown(name)),
                    )
            tx.record(
                Event(
                    "hazard.site.suspended" if kind == "SUSPEND" else "hazard.site.closed_down",
                    [name, site, hazard_name],
                    {"unit": unit, "instrument_number": instrument_number},
                    hazard["region_code"],
                    hazard["unit_path"],
                )
            )
            return tx.answer(messages.order_message(row))

    LOCK_SITE_OF_ORDER = """
        SELECT pg_advisory_xact_lock(hashtextextended(site, 0)) FROM site_order WHERE id = $1
    """
    LOCK_ORDER = """
        SELECT o.id, o.site, o.region_code, o.unit_path, o.kind, o.resume_time, o.hazard_id, h.write_off_reason
        FROM site_order o
        JOIN hazard h ON h.id = o.hazard_id
        WHERE o.id = $1
        FOR UPDATE OF o
    """
    RESUME = """
        UPDATE site_order SET revision = revision + 1, resume_time = $2, resumer = $3
        WHERE id = $1
        RETURNING id, revision, site, region_code, unit_path, kind, unit, instrument_number, hazard_id, orderer,
            order_time, resume_time, resumer
    """

    async def resume(self, call: Call, name: str) -> hazard_pb2.SiteOrder:
        """Consent to a resumption."""
        identifier = id_of(name, "siteOrders")
        async with self._database.command(call) as tx:
            await tx.execute(self.LOCK_SITE_OF_ORDER, identifier)
            order = call.scope.row(name, await tx.fetchrow(self.LOCK_ORDER, identifier))
            closed = await tx.fetchrow(self.SITE_IS_CLOSED, order["site"]) is not None
            rules.check_resumption(
                rules.InForce(order["kind"], order["resume_time"] is not None, closed, order["write_off_reason"])
            )
            row = await tx.fetchone(self.RESUME, identifier, call.now, call.principal)
            tx.record(
                Event(
                    "hazard.site.resumed",
                    [name, row["site"], name_of("hazards", row["hazard_id"])],
                    {"unit": row["unit"], "instrument_number": row["instrument_number"]},
                    row["region_code"],
                    row["unit_path"],
                )
            )
            return tx.answer(messages.order_message(row))

    LISTED = """
        FROM hazard h
        LEFT JOIN LATERAL (
            SELECT r.write_off_time AS earlier_write_off_time FROM reopening r
            WHERE r.hazard_id = h.id AND r.write_off_time < $3 AND r.reopen_time >= $3
        ) AS span ON true
        WHERE (h.region_code ^@ ANY($1::text[]) OR h.unit_path ^@ ANY($2::text[]))
          AND ($3::timestamptz IS NULL OR h.open_time < $3)
          AND (
              $4 = ''
              OR ($4 = 'WRITTEN_OFF') = CASE
                  WHEN $3::timestamptz IS NULL THEN h.write_off_time IS NOT NULL
                  ELSE coalesce(h.write_off_time < $3, false) OR span.earlier_write_off_time IS NOT NULL
              END
          )
          AND ($5 = '' OR h.site = $5)
          AND ($6 = '' OR h.unit = $6)
          AND ($7 = '' OR h.grade = $7)
          AND ($8 = '' OR h.disposition = $8)
    """
    LIST_HAZARDS = (
        "SELECT earlier_write_off_time, "
        + HAZARD_COLUMNS
        + LISTED
        + "AND (h.open_time, h.id) > ($9, $10) ORDER BY h.open_time, h.id LIMIT $11"
    )
    COUNT_HAZARDS = "SELECT count(*) AS hazards, count(DISTINCT h.site) AS sites" + LISTED

    async def list_hazards(
        self, call: Call, request: hazard_pb2.ListHazardsRequest, as_of: datetime | None, page: Page
    ) -> tuple[list[asyncpg.Record], int, int]:
        """Return a page of rows and, for the first page, how many hazards and sites the whole list has."""
        filters = (
            *call.scope.prefixes,
            as_of,
            messages.LEDGER_STATUS.given(request.status),
            request.site,
            request.unit,
            messages.HAZARD_GRADE.given(request.grade),
            messages.DISPOSITION.given(request.disposition),
        )
        key = (page.after_time(), page.after_key(1), page.limit)
        rows = await self._database.fetch(self.LIST_HAZARDS, *filters, *key)
        hazards, sites = (0, 0) if page.after else await self._database.fetchone(self.COUNT_HAZARDS, *filters)
        return rows, hazards, sites


def _transition_event(
    request: hazard_pb2.RecordHazardTransitionRequest,
    before: asyncpg.Record,
    row: Mapping[str, Any],
    told: Mapping[str, object],
) -> Event:
    return Event(
        f"hazard.hazard.{request.transition}",
        [name for name in (request.name, row["site"], row["unit"], request.hazard.site_order) if name],
        {
            "from": before["state"],
            "state": row["state"],
            "grade": row["grade"],
            "disposition": row["disposition"],
            "due_time": row["due_time"],
            "awaited_notice": row["awaited_notice"],
            "write_off_reason": row["write_off_reason"],
            "rectifier": row["rectifier"],
            "reopen_count": row["reopen_count"],
            "evidence": row["evidence"],
            "plan": row["plan"],
            "extension": row["extension"],
            "remark": request.remark,
            **told,
            **reprojected(request.notice, before["due_time"], row["due_time"]),
        },
        row["region_code"],
        row["unit_path"],
        workflow_id=rectification.workflow_id(row["id"]),
    )
