"""The hazard ledger in PostgreSQL."""

import dataclasses
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from dutyloop.hazard.v1 import hazard_pb2
from services.hazard import messages, rules
from services.kit.access import Scope
from services.kit.call import Call
from services.kit.dates import optional_time
from services.kit.db import Database, Outer, require_seen
from services.kit.errors import NotFound, RuleNotMet
from services.kit.gather import ASKED
from services.kit.ledger import Event
from services.kit.names import id_of, name_of
from services.kit.paging import Page
from workflows.payloads import rectification

HAZARD_COLUMNS = """
    id, revision, site, visit, grade, disposition, description, remedy, basis, state, unit, unit_path,
    region_code, reporter, rectifier, reinspector, look_backer, plan, extension, evidence, open_time, due_time,
    write_off_time, write_off_reason, reopen_count, site_order, legacy_id, source_region_code
"""


@dataclass(frozen=True, slots=True)
class Place:
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
        row = await self._database.row(self.SELECT_HAZARD, id_of(name, "hazards"))
        if row is None:
            raise NotFound(name)
        scope.require(name, row["region_code"], row["unit_path"])
        return row

    INSERT_HAZARD = (
        """
        INSERT INTO hazard (id, site, visit, grade, disposition, description, remedy, basis, state,
            unit_path, region_code, reporter, open_time, due_time, write_off_time, write_off_reason)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
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
        self, call: Call, hazard: hazard_pb2.Hazard, place: Place, due: datetime | None, fallback_unit: str
    ) -> hazard_pb2.Hazard:
        """Enter a hazard; one that needs time (``due`` set) gets its rectification case."""
        identifier = call.new_id()
        name = name_of("hazards", identifier)
        grade = hazard_pb2.HazardGrade.Name(hazard.grade).removeprefix("HAZARD_GRADE_")
        disposition = hazard_pb2.Disposition.Name(hazard.disposition).removeprefix("DISPOSITION_")
        on_the_spot = due is None
        async with self._database.command(call) as tx:
            await tx.execute(self.LOCK_SITE, place.site)
            if await tx.fetchrow(self.SITE_IS_CLOSED, place.site):
                raise RuleNotMet(rule="site_is_not_closed_down")
            row = await tx.fetchrow(
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
                due,
                call.now if on_the_spot else None,
                "ON_THE_SPOT" if on_the_spot else "",
            )
            assert row is not None  # noqa: S101 (INSERT … RETURNING gives the row or raises)
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
                start = rectification.RectificationStart(name, call.now, due, grade, place.unit or fallback_unit)
                tx.start_case(
                    rectification.WORKFLOW,
                    rectification.workflow_id(identifier),
                    call.now,
                    dataclasses.asdict(start),
                )
            return tx.answer(messages.hazard_message(row, call.now))

    LOCK_HAZARD = "SELECT " + HAZARD_COLUMNS + " FROM hazard WHERE id = $1 FOR UPDATE"
    APPLY_TRANSITION = (
        """
        UPDATE hazard SET revision = revision + 1, state = $2, grade = $3, unit = $4, unit_path = $5,
            rectifier = $6, reinspector = $7,
            rectifiers = CASE WHEN $6 = '' OR $6 = ANY (rectifiers) THEN rectifiers ELSE rectifiers || $6 END,
            planners = CASE
                WHEN $16::text[] <@ planners THEN planners
                ELSE ARRAY(SELECT DISTINCT person FROM unnest(planners || $16::text[]) AS person ORDER BY person)
            END,
            plan = $8, extension = $9, evidence = $10, due_time = $11,
            write_off_time = $12, write_off_reason = $13, reopen_count = $14,
            site_order = CASE WHEN $15 = '' THEN site_order ELSE $15 END, look_backer = $17
        WHERE id = $1
        RETURNING
        """
        + HAZARD_COLUMNS
    )
    SELECT_ORDERER = "SELECT orderer FROM site_order WHERE id = $1"
    INSERT_REOPENING = """
        INSERT INTO reopening (hazard_id, number, write_off_time, reopen_time) VALUES ($1, $2, $3, $4)
    """

    async def record_transition(
        self, call: Call, request: hazard_pb2.RecordHazardTransitionRequest, outer: Outer | None
    ) -> hazard_pb2.Hazard:
        """Record what the case decided."""
        identifier = id_of(request.name, "hazards")
        after = request.hazard
        async with self._database.command(call, outer) as tx:
            before = await tx.fetchrow(self.LOCK_HAZARD, identifier)
            if before is None:
                raise NotFound(request.name)
            require_seen(outer, request.name, before["revision"])
            if after.reopen_count > before["reopen_count"]:
                await tx.execute(
                    self.INSERT_REOPENING, identifier, after.reopen_count, before["write_off_time"], call.now
                )
            row = await tx.fetchrow(
                self.APPLY_TRANSITION,
                identifier,
                hazard_pb2.HazardState.Name(after.state).removeprefix("HAZARD_STATE_"),
                hazard_pb2.HazardGrade.Name(after.grade).removeprefix("HAZARD_GRADE_"),
                after.unit,
                request.unit_path or before["unit_path"],
                after.rectifier,
                after.reinspector,
                messages.plan_columns(after.plan) if after.HasField("plan") else None,
                messages.extension_columns(after.extension) if after.HasField("extension") else None,
                list(after.evidence),
                optional_time(after, "due_time"),
                optional_time(after, "write_off_time"),
                hazard_pb2.WriteOffReason.Name(after.write_off_reason).removeprefix("WRITE_OFF_REASON_")
                if after.write_off_reason
                else "",
                after.reopen_count,
                after.site_order.removeprefix("siteOrders/"),
                [outer.principal, after.plan.responsible] if outer and request.transition == "planned" else [],
                after.look_backer,
            )
            assert row is not None  # noqa: S101 (the row is locked above)
            ordered: dict[str, str] = {}
            if after.site_order:  # only a closure's snapshot names one
                order = await tx.fetchrow(self.SELECT_ORDERER, after.site_order.removeprefix("siteOrders/"))
                assert order is not None  # noqa: S101 (the case was told in the order's transaction)
                ordered = {"site_order": after.site_order, "orderer": order["orderer"]}
            tx.record(
                Event(
                    f"hazard.hazard.{request.transition}",
                    [name for name in (request.name, row["site"], row["unit"], after.site_order) if name],
                    {
                        "from": before["state"],
                        "state": row["state"],
                        "grade": row["grade"],
                        "disposition": row["disposition"],
                        "due_time": row["due_time"],
                        "write_off_reason": row["write_off_reason"],
                        "rectifier": row["rectifier"],
                        "reopen_count": row["reopen_count"],
                        "evidence": row["evidence"],
                        "plan": row["plan"],
                        "extension": row["extension"],
                        "remark": request.remark,
                        **ordered,
                    },
                    row["region_code"],
                    row["unit_path"],
                    workflow_id=rectification.workflow_id(identifier),
                )
            )
            return tx.answer(messages.hazard_message(row, call.now))

    INSERT_ORDER = """
        INSERT INTO site_order (id, site, region_code, unit_path, kind, unit, instrument_number, hazard_id, orderer,
            order_time)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        RETURNING id, revision, site, region_code, unit_path, kind, unit, instrument_number, hazard_id, orderer,
            order_time, resume_time, resumer
    """
    TIE_HAZARD = "UPDATE hazard SET revision = revision + 1, site_order = $2 WHERE id = $1"
    SELECT_UNDER_WAY = "SELECT id FROM hazard WHERE site = $1 AND state <> 'CLOSED' ORDER BY id FOR UPDATE"

    async def order(
        self, call: Call, kind: str, site: str, hazard_name: str, instrument_number: str
    ) -> hazard_pb2.SiteOrder:
        """Make an order on a site; a closure has the case of each hazard of the site end."""
        hazard_id = id_of(hazard_name, "hazards", "hazard")
        identifier = call.new_id()
        name = name_of("siteOrders", identifier)
        async with self._database.command(call) as tx:
            await tx.execute(self.LOCK_SITE, site)
            hazard = await tx.fetchrow(self.LOCK_HAZARD, hazard_id)
            if hazard is None:
                raise NotFound(hazard_name)
            call.scope.require(hazard_name, hazard["region_code"], hazard["unit_path"])
            unit = call.unit_reaching(hazard["region_code"], hazard["unit_path"])
            rules.check_order(
                rules.OrderedHazard(hazard_name, hazard["site"], hazard["disposition"], hazard["state"]),
                site,
                kind.lower(),
            )
            row = await tx.fetchrow(
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
            assert row is not None  # noqa: S101 (INSERT … RETURNING gives the row or raises)
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
            order = await tx.fetchrow(self.LOCK_ORDER, identifier)
            if order is None:
                raise NotFound(name)
            call.scope.require(name, order["region_code"], order["unit_path"])
            closed = await tx.fetchrow(self.SITE_IS_CLOSED, order["site"]) is not None
            rules.check_resumption(
                rules.InForce(order["kind"], order["resume_time"] is not None, closed, order["write_off_reason"])
            )
            row = await tx.fetchrow(self.RESUME, identifier, call.now, call.principal)
            assert row is not None  # noqa: S101 (the row is locked above)
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
            SELECT r.write_off_time FROM reopening r
            WHERE r.hazard_id = h.id AND r.write_off_time < $3 AND r.reopen_time >= $3
        ) AS span ON true
        WHERE (h.region_code ^@ ANY($1::text[]) OR h.unit_path ^@ ANY($2::text[]))
          AND ($3::timestamptz IS NULL OR h.open_time < $3)
          AND (
              $4 = ''
              OR ($4 = 'WRITTEN_OFF') = CASE
                  WHEN $3::timestamptz IS NULL THEN h.write_off_time IS NOT NULL
                  ELSE coalesce(h.write_off_time < $3, false) OR span.write_off_time IS NOT NULL
              END
          )
          AND ($5 = '' OR h.site = $5)
          AND ($6 = '' OR h.unit = $6)
          AND ($7 = '' OR h.grade = $7)
          AND ($8 = '' OR h.disposition = $8)
    """
    LIST_HAZARDS = (
        "SELECT h.*, span.write_off_time AS earlier_write_off_time"
        + LISTED
        + "AND (h.open_time, h.id) > ($9, $10) ORDER BY h.open_time, h.id LIMIT $11"
    )
    COUNT_HAZARDS = "SELECT count(*) AS hazards, count(DISTINCT h.site) AS sites" + LISTED

    async def list_hazards(
        self, call: Call, request: hazard_pb2.ListHazardsRequest, as_of: datetime | None, page: Page
    ) -> tuple[list[asyncpg.Record], asyncpg.Record | None]:
        """Return a page of rows and, for the first page, the counts of the whole list."""
        status = hazard_pb2.LedgerStatus.Name(request.status).removeprefix("LEDGER_STATUS_")
        grade = hazard_pb2.HazardGrade.Name(request.grade).removeprefix("HAZARD_GRADE_")
        disposition = hazard_pb2.Disposition.Name(request.disposition).removeprefix("DISPOSITION_")
        filters = (
            list(call.scope.regions),
            list(call.scope.unit_paths),
            as_of,
            "" if status == "UNSPECIFIED" else status,
            request.site,
            request.unit,
            "" if grade == "UNSPECIFIED" else grade,
            "" if disposition == "UNSPECIFIED" else disposition,
        )
        start = page.after_time(0)
        rows = await self._database.fetch(self.LIST_HAZARDS, *filters, start, page.after_key(1), page.limit)
        counts = None if page.after else await self._database.fetchrow(self.COUNT_HAZARDS, *filters)
        return rows, counts
