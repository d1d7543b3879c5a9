"""Tours, draws, visits and coverage in PostgreSQL."""

import dataclasses
from collections.abc import Sequence

import asyncpg

from dutyloop.inspection.v1 import inspection_pb2
from services.inspection import draw, messages, rules
from services.kit.access import Scope
from services.kit.call import Call
from services.kit.dates import beijing_date, day_of, end_of, optional_day, optional_time, time_of
from services.kit.db import Database, Outer, Transaction, require_seen
from services.kit.errors import NotFound, UnfitReference
from services.kit.ledger import Event
from services.kit.names import id_of, name_of, optional_id
from services.kit.paging import Page
from workflows.payloads import tour as payloads

TOUR_COLUMNS = """
    id, revision, display_name, unit, unit_path, region_code, enforcement_unit, enforcement_path, coverage_term,
    start_date, end_date, notice_date, candidates, inspectors_per_visit, state, planner, due_time, letter,
    submitters, create_time, start_time, close_time, closer, conclusion,
    EXISTS (SELECT FROM draw WHERE draw.tour_id = tour.id) AS drawn,
    (SELECT count(DISTINCT target) FROM visit WHERE visit.tour_id = tour.id) AS visited_count,
    ARRAY (
        SELECT target FROM tour_target WHERE tour_target.tour_id = tour.id ORDER BY position
    ) AS targets,
    coalesce((
        SELECT jsonb_agg(
            jsonb_build_object(
                'target', target, 'number', number, 'document_hash', encode(document_hash, 'hex'),
                'submitter', submitter, 'submit_time', submit_time
            ) ORDER BY submit_time, target
        )
        FROM rectification_report
        WHERE rectification_report.tour_id = tour.id
    ), '[]') AS reports
"""
VISIT_COLUMNS = """
    id, tour_id, target, region_code, unit_path, enforcement_unit, visit_date, check_in_time, inspectors, purpose,
    place, content, certificate_shown, findings, signatures, target_signature, refusal_note, recorder,
    record_time, legacy_id, source_region_code, legacy_inspector
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Organiser:
    """The unit that organises a tour and the body that inspects, as directory tells of them ('' when none does)."""

    unit: str
    unit_path: str
    region_code: str
    enforcement_path: str


class InspectionStore:
    """Reads and writes of the inspection schema."""

    def __init__(self, database: Database) -> None:
        self._database = database

    SELECT_TOUR = "SELECT " + TOUR_COLUMNS + " FROM tour WHERE id = $1"
    ADDRESSED_IN_SCOPE = """
        SELECT true
        FROM tour_target
        WHERE tour_id = $1 AND addressed AND (region_code ^@ ANY($2::text[]) OR unit_path ^@ ANY($3::text[]))
        LIMIT 1
    """

    async def tour(self, name: str, scope: Scope) -> asyncpg.Record:
        """Return a tour's row, to its organiser. Raises NotFound, also for one outside the scope."""
        return scope.row(name, await self._database.fetchrow(self.SELECT_TOUR, id_of(name, "tours")))

    async def readable_tour(self, name: str, scope: Scope) -> asyncpg.Record:
        """Return a tour's row, to its organiser and to who answers for a target that its letter addresses."""
        identifier = id_of(name, "tours")
        row = await self._database.fetchrow(self.SELECT_TOUR, identifier)
        if row is None or scope.covers(row["region_code"], row["unit_path"]):
            return scope.row(name, row)
        if not await self._database.fetchval(self.ADDRESSED_IN_SCOPE, identifier, *scope.prefixes):
            raise NotFound(name, hidden=True)
        return row

    SELECT_TARGETS = """
        SELECT target, region_code, unit, unit_path
        FROM tour_target
        WHERE tour_id = $1
        ORDER BY position
    """

    async def targets(self, tour_id: str) -> list[rules.Target]:
        """Return a tour's targets in their order."""
        rows = await self._database.fetch(self.SELECT_TARGETS, tour_id)
        return [_target(row) for row in rows]

    SELECT_ADDRESSEES = """
        SELECT t.target, t.region_code, t.unit, t.unit_path, t.addressed, tour.state,
            tour.region_code AS tour_region_code, tour.unit_path AS tour_unit_path, tour.revision AS tour_revision,
            EXISTS (SELECT FROM visit v WHERE v.tour_id = t.tour_id AND v.target = t.target) AS visited
        FROM tour_target t
        JOIN tour ON tour.id = t.tour_id
        WHERE t.tour_id = $1 AND t.target = ANY($2::text[])
    """

    async def addressees(self, tour: str, targets: Sequence[str]) -> dict[str, asyncpg.Record]:
        """Return the tour's targets among those named, each with whether it was visited; and their tour's state."""
        rows = await self._database.fetch(self.SELECT_ADDRESSEES, id_of(tour, "tours"), list(targets))
        return {row["target"]: row for row in rows}

    INSERT_TOUR = """
        INSERT INTO tour (id, display_name, unit, unit_path, region_code, enforcement_unit, enforcement_path,
            coverage_term, start_date, end_date, notice_date, candidates, inspectors_per_visit, planner, due_time,
            create_time)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
    """
    INSERT_TARGETS = """
        INSERT INTO tour_target (tour_id, position, target, region_code, unit, unit_path)
        SELECT $1, position, target, region_code, unit, unit_path
        FROM unnest($2::text[], $3::text[], $4::text[], $5::text[])
            WITH ORDINALITY AS listed (target, region_code, unit, unit_path, position)
    """

    async def plan_tour(
        self, call: Call, tour: inspection_pb2.Tour, organiser: Organiser, targets: Sequence[rules.Target]
    ) -> inspection_pb2.Tour:
        """Enter a tour with its targets and start its case."""
        identifier = call.new_id()
        name = name_of("tours", identifier)
        start, end = day_of(tour.start_date), day_of(tour.end_date)
        notice = optional_day(tour, "notice_date")
        number = rules.inspectors_per_visit(tour)
        due = end_of(start)
        async with self._database.command(call) as tx:
            await tx.execute(
                self.INSERT_TOUR,
                identifier,
                tour.display_name,
                organiser.unit,
                organiser.unit_path,
                organiser.region_code,
                tour.enforcement_unit,
                organiser.enforcement_path,
                tour.coverage_term,
                start,
                end,
                notice,
                list(tour.candidates),
                number,
                call.principal,
                due,
                call.now,
            )
            await tx.execute(
                self.INSERT_TARGETS,
                identifier,
                [target.name for target in targets],
                [target.region_code for target in targets],
                [target.unit for target in targets],
                [target.unit_path for target in targets],
            )
            tx.record(
                Event(
                    "inspection.tour.planned",
                    [name, organiser.unit],
                    {
                        "display_name": tour.display_name,
                        "enforcement_unit": tour.enforcement_unit,
                        "targets": list(tour.targets),
                        "coverage_term": tour.coverage_term,
                        "start_date": start,
                        "end_date": end,
                        "notice_date": notice,
                        "candidates": list(tour.candidates),
                        "inspectors_per_visit": number,
                    },
                    organiser.region_code,
                    organiser.unit_path,
                    workflow_id=payloads.workflow_id(identifier),
                )
            )
            opening = payloads.TourStart(name, call.now, due, organiser.unit, start, end, notice)
            tx.start_case(payloads.WORKFLOW, payloads.workflow_id(identifier), call.now, dataclasses.asdict(opening))
            return tx.answer(messages.tour_message(await tx.fetchone(self.SELECT_TOUR, identifier), call.now))

    LOCK_TOUR = """
        SELECT id, revision, state, unit, region_code, unit_path, candidates FROM tour WHERE id = $1 FOR UPDATE
    """
    APPLY_TRANSITION = """
        UPDATE tour SET revision = revision + 1, state = $2, due_time = $3,
            letter_number = coalesce($4, letter_number),
            letter = coalesce($5, letter),
            submitters = submitters || $6::text[],
            start_time = CASE WHEN $2 = 'STARTED' THEN coalesce(start_time, $7) ELSE start_time END,
            close_time = CASE WHEN $2 = 'CLOSED' THEN $7 END,
            closer = $8,
            conclusion = $9
        WHERE id = $1
    """
    ADDRESS_TARGETS = """
        UPDATE tour_target SET addressed = true WHERE tour_id = $1 AND target = ANY($2::text[])
    """
    INSERT_REPORT = """
        INSERT INTO rectification_report (tour_id, target, number, document_hash, submitter, submit_time)
        VALUES ($1, $2, $3, $4, $5, $6)
    """

    async def record_transition(
        self,
        call: Call,
        request: inspection_pb2.RecordTourTransitionRequest,
        drawn: draw.Drawn | None,
        outer: Outer | None,
    ) -> inspection_pb2.Tour:
        """Record what the case decided; ``drawn`` comes with the transition that draws."""
        identifier = id_of(request.name, "tours")
        after = request.tour
        actor = outer.principal if outer else ""
        state = messages.TOUR_STATE.of(after.state)
        async with self._database.command(call, outer) as tx:
            before = call.scope.row(request.name, await tx.fetchrow(self.LOCK_TOUR, identifier))
            require_seen(outer, request.name, before["revision"])
            payload: dict[str, object] = {"from": before["state"], "state": state}
            objects = [request.name, before["unit"]]
            if drawn is not None:
                objects.append(name_of("draws", identifier))
                payload["draw"] = await self._keep_draw(tx, call, identifier, drawn, actor)
            letter = None
            if after.HasField("letter"):
                after.letter.issuer = actor
                letter = messages.letter_columns(after.letter, call.now)
                payload["letter"] = letter
            due = optional_time(after, "due_time")
            payload["due_time"] = due
            if after.conclusion:
                payload["conclusion"] = after.conclusion
            await tx.execute(
                self.APPLY_TRANSITION,
                identifier,
                state,
                due,
                letter["number"] if letter else None,
                letter,
                [actor for _ in after.reports],
                call.now,
                actor if state == "CLOSED" else "",
                after.conclusion,
            )
            if letter is not None:
                await tx.execute(self.ADDRESS_TARGETS, identifier, letter["addressees"])
            for report in after.reports:
                await tx.execute(
                    self.INSERT_REPORT,
                    identifier,
                    report.target,
                    report.number,
                    report.document_hash,
                    actor,
                    call.now,
                )
                objects.append(report.target)
                payload["report"] = {
                    "target": report.target,
                    "number": report.number,
                    "document_hash": report.document_hash.hex(),
                }
            row = await tx.fetchone(self.SELECT_TOUR, identifier)
            tx.record(
                Event(
                    f"inspection.tour.{request.transition}",
                    objects,
                    payload,
                    before["region_code"],
                    before["unit_path"],
                    workflow_id=payloads.workflow_id(identifier),
                )
            )
            return tx.answer(messages.tour_message(row, call.now))

    INSERT_DRAW = """
        INSERT INTO draw (tour_id, algorithm, seed, public_entropy, pool_hash, inspectors_per_visit, candidates,
            candidate_units, exclusions, drawer, draw_time)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    """
    INSERT_ASSIGNMENTS = """
        INSERT INTO assignment (tour_id, target, inspectors)
        SELECT $1, target, string_to_array(inspectors, ' ')
        FROM unnest($2::text[], $3::text[]) AS drawn (target, inspectors)
    """

    async def _keep_draw(
        self, tx: Transaction, call: Call, tour_id: str, drawn: draw.Drawn, drawer: str
    ) -> dict[str, object]:
        """Write a draw; return what the ledger keeps of it: all that it takes to recompute it."""
        pool = drawn.pool
        exclusions = [[each.inspector, each.target, each.reason] for each in pool.exclusions]
        await tx.execute(
            self.INSERT_DRAW,
            tour_id,
            drawn.algorithm,
            drawn.seed,
            drawn.public_entropy,
            drawn.pool_hash,
            pool.inspectors_per_visit,
            [each.person for each in pool.candidates],
            [each.unit for each in pool.candidates],
            exclusions,
            drawer,
            call.now,
        )
        # Arrays of arrays cannot be unnested by rows; resource names hold no blanks.
        await tx.execute(
            self.INSERT_ASSIGNMENTS,
            tour_id,
            [each.target for each in drawn.assignments],
            [" ".join(each.inspectors) for each in drawn.assignments],
        )
        return {
            "algorithm": drawn.algorithm,
            "seed": drawn.seed.hex(),
            "public_entropy": drawn.public_entropy,
            "pool_hash": drawn.pool_hash.hex(),
            "inspectors_per_visit": pool.inspectors_per_visit,
            "candidates": [[each.person, each.unit] for each in pool.candidates],
            "exclusions": exclusions,
            "assignments": {each.target: list(each.inspectors) for each in drawn.assignments},
        }

    SELECT_DRAW = """
        SELECT d.tour_id, d.algorithm, d.seed, d.public_entropy, d.pool_hash, d.inspectors_per_visit,
            d.candidates, d.candidate_units, d.exclusions, d.drawer, d.draw_time, t.region_code, t.unit_path,
            ARRAY (SELECT target FROM tour_target WHERE tour_id = d.tour_id ORDER BY position) AS targets,
            coalesce((
                SELECT jsonb_agg(jsonb_build_array(a.target, a.inspectors) ORDER BY p.position NULLS LAST, a.target)
                FROM assignment a
                LEFT JOIN tour_target p ON p.tour_id = a.tour_id AND p.target = a.target
                WHERE a.tour_id = d.tour_id
            ), '[]') AS assignments
        FROM draw d
        JOIN tour t ON t.id = d.tour_id
        WHERE d.tour_id = $1
    """

    async def draw(self, name: str, scope: Scope) -> asyncpg.Record:
        """Return a draw's row. Raises NotFound, also for one outside the scope."""
        return scope.row(name, await self._database.fetchrow(self.SELECT_DRAW, id_of(name, "draws")))

    LOCK_WINDOW = """
        SELECT state, end_date, start_time, enforcement_unit, region_code, unit_path
        FROM tour
        WHERE id = $1
        FOR SHARE
    """
    SELECT_ASSIGNED_TARGET = """
        SELECT p.target, p.region_code, p.unit, p.unit_path, a.inspectors
        FROM tour_target p
        LEFT JOIN assignment a ON a.tour_id = p.tour_id AND a.target = p.target
        WHERE p.tour_id = $1 AND p.target = $2
    """
    INSERT_VISIT = (
        """
        INSERT INTO visit (id, tour_id, target, region_code, unit_path, enforcement_unit, visit_date,
            check_in_time, inspectors, purpose, place, content, certificate_shown, findings, signatures,
            target_signature, refusal_note, recorder, record_time)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
        RETURNING
        """
        + VISIT_COLUMNS
    )

    async def record_tour_visit(self, call: Call, visit: inspection_pb2.Visit) -> inspection_pb2.Visit:
        """Enter a visit that covers a target of a started tour."""
        tour_id = id_of(visit.tour, "tours", "visit.tour")
        async with self._database.command(call) as tx:
            tour = await tx.fetchrow(self.LOCK_WINDOW, tour_id)
            if tour is None:
                raise NotFound(visit.tour)
            place = await tx.fetchrow(self.SELECT_ASSIGNED_TARGET, tour_id, visit.target)
            if place is None or not call.scope.covers(place["region_code"], place["unit_path"]):
                # Whether the target is one of the tour's is told only to who may know of the tour.
                call.scope.require(visit.tour, tour["region_code"], tour["unit_path"])
                raise UnfitReference(field="visit.target", resource=visit.target)
            rules.check_record(visit, call.principal, call.now)
            window = rules.TourWindow(tour["state"], tour["end_date"], tour["start_time"], tour["enforcement_unit"])
            rules.check_tour_visit(visit, window, place["inspectors"] or ())
            return await self._enter_visit(tx, call, visit, _target(place), tour_id, window.enforcement_unit)

    async def record_single_visit(
        self, call: Call, visit: inspection_pb2.Visit, target: rules.Target
    ) -> inspection_pb2.Visit:
        """Enter a visit to a site outside any tour."""
        async with self._database.command(call) as tx:
            return await self._enter_visit(tx, call, visit, target, None, visit.enforcement_unit)

    async def _enter_visit(
        self,
        tx: Transaction,
        call: Call,
        visit: inspection_pb2.Visit,
        target: rules.Target,
        tour_id: str | None,
        enforcement_unit: str,
    ) -> inspection_pb2.Visit:
        check_in = time_of(visit.check_in_time)
        row = await tx.fetchone(
            self.INSERT_VISIT,
            call.new_id(),
            tour_id,
            target.name,
            target.region_code,
            target.unit_path,
            enforcement_unit,
            beijing_date(check_in),
            check_in,
            list(visit.inspectors),
            visit.purpose,
            visit.place,
            visit.content,
            visit.certificate_shown,
            messages.finding_columns(visit),
            messages.signature_columns(visit),
            visit.target_signature,
            visit.refusal_note,
            call.principal,
            call.now,
        )
        tx.record(
            Event(
                "inspection.visit.recorded",
                [name_of("visits", row["id"]), target.name, *([visit.tour] if tour_id else [])],
                {
                    "tour": visit.tour,
                    "target": target.name,
                    "enforcement_unit": enforcement_unit,
                    "visit_date": row["visit_date"],
                    "check_in_time": check_in,
                    "inspectors": row["inspectors"],
                    "purpose": row["purpose"],
                    "place": row["place"],
                    "content": row["content"],
                    "certificate_shown": row["certificate_shown"],
                    "findings": row["findings"],
                    "signatures": row["signatures"],
                    "target_signature": row["target_signature"],
                    "refusal_note": row["refusal_note"],
                },
                target.region_code,
                target.unit_path,
                workflow_id=payloads.workflow_id(tour_id) if tour_id else "",
            )
        )
        return tx.answer(messages.visit_message(row))

    LISTED_VISITS = """
        FROM visit
        WHERE (region_code ^@ ANY($1::text[]) OR unit_path ^@ ANY($2::text[]))
          AND ($3 = '' OR tour_id = $3)
          AND ($4 = '' OR target = $4)
          AND ($5::date IS NULL OR visit_date >= $5)
          AND ($6::date IS NULL OR visit_date < $6)
    """
    LIST_VISITS = (
        "SELECT "
        + VISIT_COLUMNS
        + LISTED_VISITS
        + "AND (visit_date, id) > ($7::date, $8) ORDER BY visit_date, id LIMIT $9"
    )
    COUNT_VISITS = "SELECT count(*) AS visits, count(DISTINCT target) AS targets" + LISTED_VISITS

    async def list_visits(
        self, scope: Scope, request: inspection_pb2.ListVisitsRequest, page: Page
    ) -> tuple[list[asyncpg.Record], int, int]:
        """Return a page of rows and, for the first page, how many visits and targets the whole list has."""
        filters = (
            *scope.prefixes,
            optional_id(request.tour, "tours", "tour"),
            request.target,
            optional_day(request, "from_date"),
            optional_day(request, "before_date"),
        )
        rows = await self._database.fetch(self.LIST_VISITS, *filters, page.after_date(), page.after_key(1), page.limit)
        visits, targets = (0, 0) if page.after else await self._database.fetchone(self.COUNT_VISITS, *filters)
        return rows, visits, targets

    COVERED_TARGETS = """
        WITH tours AS (
            SELECT id FROM tour WHERE unit = $1 AND coverage_term = $2
        ), covered AS (
            SELECT target, count(*)::int AS visit_count, max(visit_date) AS last_visit_date
            FROM visit
            WHERE tour_id IN (SELECT id FROM tours)
            GROUP BY target
        ), listed AS (
            SELECT DISTINCT target FROM tour_target WHERE tour_id IN (SELECT id FROM tours)
        )
    """
    LIST_COVERAGE = (
        COVERED_TARGETS
        + """
        SELECT listed.target, coalesce(covered.visit_count, 0) AS visit_count, covered.last_visit_date
        FROM listed
        LEFT JOIN covered USING (target)
        WHERE listed.target > $3
        ORDER BY listed.target
        LIMIT $4
        """
    )
    COUNT_COVERAGE = (
        COVERED_TARGETS + "SELECT (SELECT count(*) FROM listed) AS targets, (SELECT count(*) FROM covered) AS covered"
    )

    async def coverage(self, unit: str, term: str, page: Page) -> tuple[list[asyncpg.Record], asyncpg.Record]:
        """Return a page of the coverage ledger and its totals."""
        rows = await self._database.fetch(self.LIST_COVERAGE, unit, term, page.after_key(), page.limit)
        return rows, await self._database.fetchone(self.COUNT_COVERAGE, unit, term)

    LIST_TOURS = (
        "SELECT "
        + TOUR_COLUMNS
        + """
        FROM tour
        WHERE (region_code ^@ ANY($1::text[]) OR unit_path ^@ ANY($2::text[]) OR EXISTS (
                SELECT FROM tour_target
                WHERE tour_target.tour_id = tour.id AND tour_target.addressed
                  AND (tour_target.region_code ^@ ANY($1::text[]) OR tour_target.unit_path ^@ ANY($2::text[]))
            ))
          AND ($3 = '' OR unit = $3)
          AND ($4 = '' OR coverage_term = $4)
          AND ($5 = '' OR state = $5)
          AND (create_time, id) > ($6::timestamptz, $7)
        ORDER BY create_time, id
        LIMIT $8
        """
    )

    async def list_tours(
        self, scope: Scope, request: inspection_pb2.ListToursRequest, page: Page
    ) -> list[asyncpg.Record]:
        """Return a page of tours."""
        state = messages.TOUR_STATE.given(request.state)
        filters = (*scope.prefixes, request.unit, request.coverage_term, state)
        return await self._database.fetch(self.LIST_TOURS, *filters, page.after_time(), page.after_key(1), page.limit)


def _target(row: asyncpg.Record) -> rules.Target:
    is_site = row["target"].startswith(rules.SITES)
    return rules.Target(row["target"], row["region_code"], row["unit"], row["unit_path"], enterprise=is_site)
