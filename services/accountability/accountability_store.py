"""Accountability cases in PostgreSQL, with the measures they decide."""

import dataclasses
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from dutyloop.accountability.v1 import accountability_pb2
from services.accountability import messages
from services.kit.access import Scope
from services.kit.call import Call
from services.kit.dates import optional_time
from services.kit.db import Database, Outer, Transaction, require_seen
from services.kit.directory import TermEnd, UnitPlace
from services.kit.ledger import Event
from services.kit.names import id_of, name_of
from services.kit.paging import Page
from services.kit.reprojection import reprojected, telling
from workflows.payloads import accountability

CASE_COLUMNS = """
    id, revision, subject, unit, unit_path, region_code, post, matter, measure, hazard, task, supervision_case,
    state, opener, open_time, due_time, awaited_notice, facts, evidence, handler, handlers, decider, decide_time,
    decision, instrument_number, influence_months, influence_end_time, grounds, exemption, appeal_due_time,
    appeal_basis, appeal_reason, appeal_time, close_time
"""


@dataclass(frozen=True, slots=True)
class CaseOpening:
    """What a case opens with beside its request. ``stood_in_for`` is the unknown person whom the subject replaces."""

    place: UnitPlace
    terms: accountability.AccountabilityTerms
    due: TermEnd
    stood_in_for: str = ""


class AccountabilityStore:
    """Reads and writes of accountability cases."""

    def __init__(self, database: Database) -> None:
        self._database = database

    SELECT_CASE = "SELECT " + CASE_COLUMNS + " FROM accountability_case WHERE id = $1"

    async def case(self, name: str, scope: Scope, principal: str) -> asyncpg.Record:
        """Return a case's row; its subject reads it wherever his posts reach. Raises NotFound."""
        row = await self._database.fetchrow(self.SELECT_CASE, id_of(name, "accountabilityCases"))
        return row if row is not None and row["subject"] == principal else scope.row(name, row)

    INSERT_CASE = (
        """
        INSERT INTO accountability_case (id, subject, unit, unit_path, region_code, post, matter, measure, hazard,
            task, supervision_case, state, opener, open_time, due_time, awaited_notice)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'OPENED', $12, $13, $14, nullif($15::integer, 0))
        RETURNING
        """
        + CASE_COLUMNS
    )
    SELECT_OF_MEASURE = (
        "SELECT " + CASE_COLUMNS + " FROM accountability_case WHERE measure <> '' AND measure = $1 AND subject = $2"
    )

    async def open_case(
        self, call: Call, case: accountability_pb2.AccountabilityCase, opening: CaseOpening
    ) -> accountability_pb2.AccountabilityCase:
        """Open a case and have its workflow started; a workflow is answered the one its measure opened before."""
        identifier = call.new_id()
        name = name_of("accountabilityCases", identifier)
        place, opener = opening.place, "" if call.internal else call.principal
        async with self._database.command(call) as tx:
            if call.internal and (open_one := await tx.fetchrow(self.SELECT_OF_MEASURE, case.measure, case.subject)):
                return tx.answer(messages.accountability_message(open_one, call.now))
            row = await tx.fetchone(
                self.INSERT_CASE,
                identifier,
                case.subject,
                place.unit,
                place.path,
                place.region_code,
                case.post,
                case.matter,
                case.measure,
                case.hazard,
                case.task,
                case.supervision_case,
                opener,
                call.now,
                opening.due.time,
                opening.due.awaited_notice,
            )
            causes = (row["measure"], row["supervision_case"], row["hazard"], row["task"])
            tx.record(
                Event(
                    "accountability.accountability_case.opened",
                    [name, *filter(None, (row["subject"], row["unit"], row["post"], *causes))],
                    {
                        "state": row["state"],
                        "subject": row["subject"],
                        "matter": row["matter"],
                        "measure": row["measure"],
                        "supervision_case": row["supervision_case"],
                        "due_time": row["due_time"],
                        "stood_in_for": opening.stood_in_for,
                    },
                    row["region_code"],
                    row["unit_path"],
                    workflow_id=accountability.workflow_id(identifier),
                )
            )
            start = accountability.AccountabilityStart(
                name, call.now, opening.due.time, row["subject"], row["unit_path"], opening.terms, opener
            )
            tx.start_case(
                accountability.WORKFLOW, accountability.workflow_id(identifier), call.now, dataclasses.asdict(start)
            )
            return tx.answer(messages.accountability_message(row, call.now))

    LOCK_CASE = "SELECT " + CASE_COLUMNS + " FROM accountability_case WHERE id = $1 FOR UPDATE"
    APPLY_TRANSITION = (
        """
        UPDATE accountability_case SET revision = revision + 1, state = $2, due_time = $3, facts = $4,
            evidence = $5, handler = $6,
            handlers = CASE WHEN $6 = '' OR $6 = ANY (handlers) THEN handlers ELSE array_append(handlers, $6) END,
            decider = $7, decide_time = $8, decision = $9, instrument_number = $10, influence_months = $11,
            influence_end_time = $12, grounds = $13, exemption = $14, appeal_due_time = $15, appeal_basis = $16,
            appeal_reason = $17, appeal_time = $18, close_time = $19,
            awaited_notice = CASE
                WHEN $20::integer IS NOT NULL THEN nullif($20, 0)
                WHEN state = $2 AND due_time = $3 THEN awaited_notice
            END
        WHERE id = $1
        RETURNING
        """
        + CASE_COLUMNS
    )

    async def record_transition(
        self, call: Call, request: accountability_pb2.RecordCaseTransitionRequest, outer: Outer | None
    ) -> accountability_pb2.RecordCaseTransitionResponse:
        """Record what the case's workflow decided; a decision is kept as a measure too."""
        identifier = id_of(request.name, "accountabilityCases")
        after = request.accountability_case
        async with self._database.command(call, outer) as tx:
            before = call.scope.row(request.name, await tx.fetchrow(self.LOCK_CASE, identifier))
            require_seen(outer, request.name, before["revision"])
            row = await tx.fetchone(
                self.APPLY_TRANSITION,
                identifier,
                messages.ACCOUNTABILITY_CASE_STATE.given(after.state),
                optional_time(after, "due_time"),
                after.facts,
                list(after.evidence),
                after.handler,
                after.decider,
                optional_time(after, "decide_time"),
                messages.DECISION.of(after.decision),
                after.instrument_number,
                after.influence_months,
                optional_time(after, "influence_end_time"),
                after.grounds,
                messages.exemption_columns(after.exemption) if after.HasField("exemption") else None,
                optional_time(after, "appeal_due_time"),
                after.appeal_basis,
                after.appeal.reason,
                optional_time(after.appeal, "file_time"),
                optional_time(after, "close_time"),
                request.awaited_notice if request.HasField("awaited_notice") else None,
            )
            decides = row["decision"] != "UNSPECIFIED" and before["decision"] == "UNSPECIFIED"
            measure = await self._record_measure(tx, call, row) if decides else ""
            tx.record(
                Event(
                    f"accountability.accountability_case.{request.transition}",
                    [request.name, *filter(None, (row["subject"], row["unit"], measure, row["supervision_case"]))],
                    {
                        "from": before["state"],
                        "state": row["state"],
                        "subject": row["subject"],
                        "handler": row["handler"],
                        "facts": row["facts"],
                        "evidence": row["evidence"],
                        "decider": row["decider"],
                        "decision": row["decision"],
                        "measure": measure,
                        "instrument_number": row["instrument_number"],
                        "influence_months": row["influence_months"],
                        "influence_end_time": row["influence_end_time"],
                        "grounds": row["grounds"],
                        "exemption": row["exemption"],
                        "appeal_due_time": row["appeal_due_time"],
                        "appeal_basis": row["appeal_basis"],
                        "appeal_time": row["appeal_time"],
                        "awaited_notice": row["awaited_notice"],
                        **reprojected(request.notice, before["due_time"], row["due_time"]),
                    },
                    row["region_code"],
                    row["unit_path"],
                    workflow_id=accountability.workflow_id(identifier),
                )
            )
            case = messages.accountability_message(row, call.now)
            return tx.answer(accountability_pb2.RecordCaseTransitionResponse(accountability_case=case), outer=case)

    TELL_PROVISIONAL = telling("accountability_case", "accountability_case", "due_time")

    async def tell_provisional(self, years: list[int], now: datetime, at_most: int) -> None:
        """Have the cases told whose term awaits a notice of these years; what falls due first comes first."""
        await self._database.execute(self.TELL_PROVISIONAL, years, now, at_most)

    INSERT_MEASURE = """
        INSERT INTO measure (id, accountability_case_id, kind, decision, target, target_unit, target_post,
            target_person, measure_time, region_code, unit_path)
        VALUES ($1, $2, 'INQUIRY', $3, 'HOLDER', $4, $5, $6, $7, $8, $9)
    """

    async def _record_measure(self, tx: Transaction, call: Call, case: asyncpg.Record) -> str:
        identifier = call.new_id("measure")
        await tx.execute(
            self.INSERT_MEASURE,
            identifier,
            case["id"],
            case["decision"],
            case["unit"],
            case["post"],
            case["subject"],
            case["decide_time"],
            case["region_code"],
            case["unit_path"],
        )
        return name_of("measures", identifier)

    LISTED_CASES = """
        FROM accountability_case
        WHERE (region_code ^@ ANY($1::text[]) OR unit_path ^@ ANY($2::text[]) OR subject = $3)
          AND ($4 = '' OR unit = $4)
          AND ($5 = '' OR subject = $5)
          AND ($6 = '' OR state = $6)
    """
    LIST_CASES = (
        "SELECT " + CASE_COLUMNS + LISTED_CASES + "AND (open_time, id) > ($7, $8) ORDER BY open_time, id LIMIT $9"
    )
    COUNT_CASES = "SELECT count(*)" + LISTED_CASES

    async def list_cases(
        self, call: Call, request: accountability_pb2.ListAccountabilityCasesRequest, page: Page
    ) -> tuple[list[asyncpg.Record], int]:
        """Return a page of rows and, for the first page, the count of the whole list."""
        filters = (
            *call.scope.prefixes,
            call.principal,
            request.unit,
            request.subject,
            messages.ACCOUNTABILITY_CASE_STATE.given(request.state),
        )
        key = (page.after_time(), page.after_key(1), page.limit)
        rows = await self._database.fetch(self.LIST_CASES, *filters, *key)
        total = 0 if page.after else await self._database.fetchval(self.COUNT_CASES, *filters)
        return rows, total
