"""Policies and supervision cases in PostgreSQL, with the rungs that fired."""

import contextlib
import dataclasses
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from dutyloop.accountability.v1 import accountability_pb2
from services.accountability import messages, presets, rules
from services.kit.access import Scope
from services.kit.call import Call
from services.kit.dates import optional_time
from services.kit.db import Database, Outer, Repeated, require_seen
from services.kit.directory import TermEnd, UnitPlace
from services.kit.errors import NotFound, require_etag
from services.kit.ledger import Event
from services.kit.lights import YELLOW
from services.kit.names import code_of, id_of, name_of
from services.kit.own_calls import own_call
from services.kit.paging import Page
from services.kit.reprojection import reprojected, telling
from workflows.payloads import supervision

POLICY_COLUMNS = "id, code, version, display_name, region_code, rungs, source, statutory, creator, create_time"
SUPERVISION_COLUMNS = """
    id, revision, display_name, source, matter, unit, unit_path, region_code, post, person, policy_id,
    policy_version, term_amount, term_unit, task, hazard, tour, state, open_time, due_time, next_rung_time,
    awaited_notice, fired_rung_count, cycle, opener, progress, evidence, reporter, reporters, conclusion, concluder,
    conclude_time, accountability_case, addressed
"""
MEASURE_COLUMNS = """
    id, supervision_case_id, accountability_case_id, kind, decision, cycle, rung, label, target, target_unit,
    target_post, target_person, policy_id, measure_time, region_code, unit_path
"""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a supervision case opens with beside its request."""

    place: UnitPlace
    person: str
    policy: asyncpg.Record
    due: TermEnd


def _created(policy: asyncpg.Record) -> Event:
    """Return the entry of a policy's new version."""
    objects = [name_of("escalationPolicies", policy["id"])]
    if policy["region_code"]:
        objects.append(name_of("regions", policy["region_code"]))
    return Event(
        "accountability.escalation_policy.created",
        objects,
        {key: policy[key] for key in ("code", "version", "display_name", "rungs", "source", "statutory")},
        policy["region_code"],
    )


class SupervisionStore:
    """Reads and writes of policies, supervision cases and measures."""

    def __init__(self, database: Database) -> None:
        self._database = database

    SELECT_POLICY = "SELECT " + POLICY_COLUMNS + " FROM escalation_policy WHERE id = $1"
    INSERT_PRESET = (
        """
        INSERT INTO escalation_policy (id, code, version, display_name, region_code, rungs, source, statutory,
            creator, create_time)
        VALUES ($1, $2, $3, $4, $5, $6, $7, false, '', $8)
        ON CONFLICT DO NOTHING
        RETURNING
        """
        + POLICY_COLUMNS
    )

    async def install_presets(self, now: datetime) -> None:
        """Install the presets that are not there yet."""
        for preset in presets.PRESETS:
            if await self._database.fetchrow(self.SELECT_POLICY, preset.id) is None:
                with contextlib.suppress(Repeated):  # another process was first
                    await self._install(own_call("accountability", "install_presets", now, preset.id), preset)

    async def _install(self, call: Call, preset: presets.Preset) -> None:
        async with self._database.command(call) as tx:
            row = await tx.fetchrow(
                self.INSERT_PRESET,
                preset.id,
                preset.code,
                preset.version,
                preset.display_name,
                presets.EVERY_REGION,
                messages.rung_columns(preset.rungs),
                preset.source,
                presets.PRESET_TIME,
            )
            if row is None:
                raise Repeated
            tx.record(_created(row))
            tx.answer(messages.policy_message(row))

    LOCK_CODE = "SELECT pg_advisory_xact_lock(hashtextextended($1, 7302117402))"
    INSERT_POLICY = (
        """
        INSERT INTO escalation_policy (id, code, version, display_name, region_code, rungs, source, statutory,
            creator, create_time)
        SELECT $1, $2, coalesce(max(version), 0) + 1, $4, $3, $5::jsonb, $6, $7, $8, $9
        FROM escalation_policy
        WHERE region_code = $3 AND code = $2
        RETURNING
        """
        + POLICY_COLUMNS
    )

    async def create_policy(
        self, call: Call, policy: accountability_pb2.EscalationPolicy
    ) -> accountability_pb2.EscalationPolicy:
        """Create the next version of the code in the region."""
        region_code = id_of(policy.region, "regions", "escalation_policy.region")
        identifier = call.new_id()
        async with self._database.command(call) as tx:
            # Versions of one code are counted one after another; other codes are not kept waiting.
            await tx.execute(self.LOCK_CODE, f"{region_code}/{policy.code}")
            row = await tx.fetchone(
                self.INSERT_POLICY,
                identifier,
                policy.code,
                region_code,
                policy.display_name,
                messages.rung_columns(messages.rungs_of(policy)),
                policy.source,
                policy.statutory,
                call.principal,
                call.now,
            )
            tx.record(_created(row))
            return tx.answer(messages.policy_message(row))

    async def policy(self, name: str, field: str = "name") -> asyncpg.Record:
        """Return one version of a policy. Raises NotFound."""
        row = await self._database.fetchrow(self.SELECT_POLICY, id_of(name, "escalationPolicies", field))
        if row is None:
            raise NotFound(name)
        return row

    NEAREST_POLICY = (
        "SELECT "
        + POLICY_COLUMNS
        + """
        FROM escalation_policy
        WHERE $1 ^@ region_code
        ORDER BY length(region_code) DESC, create_time DESC, code, version DESC
        LIMIT 1
        """
    )

    async def nearest_policy(self, region_code: str, now: datetime) -> asyncpg.Record:
        """Return the latest policy of the nearest region that has one; a preset where none has."""
        row = await self._database.fetchrow(self.NEAREST_POLICY, region_code)
        if row is None:
            await self.install_presets(now)
            row = await self._database.fetchone(self.NEAREST_POLICY, region_code)
        return row

    LIST_POLICIES = (
        "SELECT "
        + POLICY_COLUMNS
        + """
        FROM escalation_policy p
        WHERE (
              region_code ^@ ANY($1::text[])
              OR EXISTS (SELECT FROM unnest($2::text[]) AS own WHERE own ^@ region_code)
          )
          AND region_code ^@ $3
          AND ($4 = '' OR code = $4)
          AND (
              $5
              OR NOT EXISTS (
                  SELECT FROM escalation_policy later
                  WHERE later.region_code = p.region_code AND later.code = p.code AND later.version > p.version
              )
          )
          AND (region_code, code, version) > ($6, $7, $8::bigint)
        ORDER BY region_code, code, version
        LIMIT $9
        """
    )

    async def list_policies(
        self,
        own_regions: list[str],
        scope: Scope,
        request: accountability_pb2.ListEscalationPoliciesRequest,
        page: Page,
    ) -> list[asyncpg.Record]:
        """Return a page of the policies of the scope and of those that serve ``own_regions`` from above."""
        return await self._database.fetch(
            self.LIST_POLICIES,
            scope.regions,
            own_regions,
            code_of(request.region),
            request.code,
            request.all_versions,
            page.after_key(),
            page.after_key(1),
            page.after_number(2),
            page.limit,
        )

    SELECT_CASE = "SELECT " + SUPERVISION_COLUMNS + " FROM supervision_case WHERE id = $1"

    async def case(self, name: str, scope: Scope, field: str = "name") -> asyncpg.Record:
        """Return a supervision case's row. Raises NotFound, also for one outside the scope."""
        return scope.row(name, await self._database.fetchrow(self.SELECT_CASE, id_of(name, "supervisionCases", field)))

    INSERT_CASE = (
        """
        INSERT INTO supervision_case (id, display_name, source, matter, unit, unit_path, region_code, post, person,
            policy_id, policy_version, term_amount, term_unit, task, hazard, tour, state, open_time, due_time, opener,
            awaited_notice)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, 'STUDY', $17, $18, $19,
            nullif($20::integer, 0))
        RETURNING
        """
        + SUPERVISION_COLUMNS
    )

    async def open_case(
        self, call: Call, case: accountability_pb2.SupervisionCase, opening: Opening
    ) -> accountability_pb2.SupervisionCase:
        """Open a case with its policy pinned, and have its workflow started."""
        identifier = call.new_id()
        name = name_of("supervisionCases", identifier)
        term = messages.term_of(case.term) if case.HasField("term") else None
        policy = messages.pinned_policy(opening.policy)
        async with self._database.command(call) as tx:
            row = await tx.fetchone(
                self.INSERT_CASE,
                identifier,
                case.display_name,
                messages.CASE_SOURCE.given(case.source),
                case.matter,
                opening.place.unit,
                opening.place.path,
                opening.place.region_code,
                case.post,
                opening.person,
                opening.policy["id"],
                policy.version,
                term.amount if term else None,
                term.unit if term else None,
                case.task,
                case.hazard,
                case.tour,
                call.now,
                opening.due.time,
                "" if call.internal else call.principal,
                opening.due.awaited_notice,
            )
            tx.record(
                Event(
                    "accountability.supervision_case.opened",
                    [
                        name,
                        *filter(
                            None, (row["unit"], row["post"], row["person"], row["hazard"], row["task"], row["tour"])
                        ),
                    ],
                    {
                        "source": row["source"],
                        "state": row["state"],
                        "display_name": row["display_name"],
                        "matter": row["matter"],
                        "person": row["person"],
                        "due_time": row["due_time"],
                        "escalation_policy": policy.name,
                        "policy_version": policy.version,
                        "rungs": opening.policy["rungs"],
                    },
                    row["region_code"],
                    row["unit_path"],
                    workflow_id=supervision.workflow_id(identifier),
                    policy_version=f"{policy.name}@{policy.version}",
                )
            )
            start = supervision.SupervisionStart(
                name,
                call.now,
                opening.due.time,
                case.matter,
                row["unit"],
                policy,
                row["post"],
                row["person"],
                row["hazard"],
                row["task"],
                term,
            )
            tx.start_case(
                supervision.WORKFLOW, supervision.workflow_id(identifier), call.now, dataclasses.asdict(start)
            )
            return tx.answer(messages.supervision_message(row, call.now))

    LOCK_CASE = "SELECT " + SUPERVISION_COLUMNS + " FROM supervision_case WHERE id = $1 FOR UPDATE"

    async def settle(
        self, call: Call, request: accountability_pb2.ConcludeSupervisionCaseRequest
    ) -> accountability_pb2.SupervisionCase:
        """Have a case concluded by its workflow because its matter is settled; a concluded one stays as it is."""
        identifier = id_of(request.name, "supervisionCases")
        async with self._database.command(call) as tx:
            row = call.scope.row(request.name, await tx.fetchrow(self.LOCK_CASE, identifier))
            require_etag(request.name, request.etag, row["revision"])
            if row["state"] != "CONCLUDED":
                tx.tell_case(
                    supervision.workflow_id(identifier),
                    "settle",
                    dataclasses.asdict(supervision.Settle(request.conclusion)),
                )
            return tx.answer(messages.supervision_message(row, call.now))

    async def hand_on(
        self, call: Call, request: accountability_pb2.HandOnSupervisionCaseRequest
    ) -> accountability_pb2.SupervisionCase:
        """Have a case told which unit answers for its matter now; a concluded one stays as it is."""
        identifier = id_of(request.name, "supervisionCases")
        async with self._database.command(call) as tx:
            row = call.scope.row(request.name, await tx.fetchrow(self.LOCK_CASE, identifier))
            if row["state"] != "CONCLUDED":
                # With the step's name: the same unit may be told of twice, and both times count.
                told = supervision.HandOn(request.unit, call.request_id)
                tx.tell_case(supervision.workflow_id(identifier), "hand_on", dataclasses.asdict(told))
            return tx.answer(messages.supervision_message(row, call.now))

    APPLY_TRANSITION = (
        """
        UPDATE supervision_case SET revision = revision + 1, state = $2, due_time = $3, next_rung_time = $4,
            fired_rung_count = $5, cycle = $6, progress = $7, evidence = $8, reporter = $9,
            reporters = CASE WHEN $9 = '' OR $9 = ANY (reporters) THEN reporters ELSE array_append(reporters, $9) END,
            conclusion = $10, concluder = $11, conclude_time = $12, accountability_case = $13,
            unit = coalesce($14, unit), unit_path = coalesce($15, unit_path), region_code = coalesce($16, region_code),
            post = CASE WHEN $14 IS NULL OR $14 = unit THEN post ELSE '' END,
            person = CASE WHEN $14 IS NULL OR $14 = unit THEN person ELSE '' END,
            awaited_notice = CASE
                WHEN $2 = 'CONCLUDED' THEN NULL
                WHEN $17::integer IS NOT NULL THEN nullif($17, 0)
                WHEN due_time = $3 AND next_rung_time IS NOT DISTINCT FROM $4 THEN awaited_notice
            END
        WHERE id = $1
        RETURNING
        """
        + SUPERVISION_COLUMNS
    )

    async def record_transition(
        self,
        call: Call,
        request: accountability_pb2.RecordCaseTransitionRequest,
        place: UnitPlace | None,
        outer: Outer | None,
    ) -> accountability_pb2.RecordCaseTransitionResponse:
        """Record what the case's workflow decided; a person's outer command gets the case as its answer.

        ``place`` is where the unit is that answers from now on, None where the unit of before does.
        """
        identifier = id_of(request.name, "supervisionCases")
        after = request.supervision_case
        async with self._database.command(call, outer) as tx:
            before = call.scope.row(request.name, await tx.fetchrow(self.LOCK_CASE, identifier))
            require_seen(outer, request.name, before["revision"])
            row = await tx.fetchone(
                self.APPLY_TRANSITION,
                identifier,
                messages.SUPERVISION_CASE_STATE.given(after.state),
                optional_time(after, "due_time"),
                optional_time(after, "next_rung_time"),
                after.fired_rung_count,
                after.cycle,
                after.progress,
                list(after.evidence),
                after.reporter,
                after.conclusion,
                after.concluder,
                optional_time(after, "conclude_time"),
                after.accountability_case,
                place.unit if place else None,
                place.path if place else None,
                place.region_code if place else None,
                request.awaited_notice if request.HasField("awaited_notice") else None,
            )
            tx.record(
                Event(
                    f"accountability.supervision_case.{request.transition}",
                    [
                        request.name,
                        *filter(None, (row["unit"], row["hazard"], row["task"], row["accountability_case"])),
                    ],
                    {
                        "from": before["state"],
                        "state": row["state"],
                        "source": row["source"],
                        "unit": row["unit"],
                        "next_rung_time": row["next_rung_time"],
                        "fired_rung_count": row["fired_rung_count"],
                        "cycle": row["cycle"],
                        "progress": row["progress"],
                        "evidence": row["evidence"],
                        "reporter": row["reporter"],
                        "conclusion": row["conclusion"],
                        "concluder": row["concluder"],
                        "accountability_case": row["accountability_case"],
                        "awaited_notice": row["awaited_notice"],
                        **reprojected(request.notice, messages.present_end(before), messages.present_end(row)),
                    },
                    row["region_code"],
                    row["unit_path"],
                    workflow_id=supervision.workflow_id(identifier),
                )
            )
            case = messages.supervision_message(row, call.now)
            return tx.answer(accountability_pb2.RecordCaseTransitionResponse(supervision_case=case), outer=case)

    TELL_PROVISIONAL = telling("supervision_case", "supervision_case", "coalesce(next_rung_time, due_time)")

    async def tell_provisional(self, years: list[int], now: datetime, at_most: int) -> None:
        """Have the cases told whose term awaits a notice of these years; what falls due first comes first."""
        await self._database.execute(self.TELL_PROVISIONAL, years, now, at_most)

    INSERT_RUNG = (
        """
        INSERT INTO measure (id, supervision_case_id, kind, cycle, rung, label, target, target_unit, target_post,
            target_person, policy_id, measure_time, region_code, unit_path)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
        RETURNING
        """
        + MEASURE_COLUMNS
    )
    NOTE_ADDRESSED = """
        UPDATE supervision_case SET addressed = array_append(addressed, $2)
        WHERE id = $1 AND $2 <> '' AND NOT $2 = ANY (addressed)
    """
    SELECT_RUNG = (
        "SELECT " + MEASURE_COLUMNS + " FROM measure WHERE supervision_case_id = $1 AND cycle = $2 AND rung = $3"
    )

    async def record_rung(self, call: Call, measure: accountability_pb2.Measure) -> accountability_pb2.Measure:
        """Record a rung that fired; one recorded before is answered again and leaves no second entry.

        A rung that reaches the store after the case was concluded is refused with WrongState.
        """
        case_id = id_of(measure.supervision_case, "supervisionCases", "measure.supervision_case")
        identifier = call.new_id()
        async with self._database.command(call) as tx:
            case = call.scope.row(measure.supervision_case, await tx.fetchrow(self.LOCK_CASE, case_id))
            fired = await tx.fetchrow(self.SELECT_RUNG, case_id, measure.cycle, measure.rung)
            if fired is not None:
                return tx.answer(messages.measure_message(fired))
            rules.check_rung(case["state"])
            row = await tx.fetchone(
                self.INSERT_RUNG,
                identifier,
                case_id,
                messages.MEASURE_KIND.given(measure.kind),
                measure.cycle,
                measure.rung,
                measure.label,
                messages.RUNG_TARGET.of(measure.target),
                measure.target_unit,
                measure.target_post,
                measure.target_person,
                measure.escalation_policy.removeprefix("escalationPolicies/"),
                call.now,
                case["region_code"],
                case["unit_path"],
            )
            await tx.execute(self.NOTE_ADDRESSED, case_id, measure.target_person)
            name = name_of("measures", identifier)
            tx.record(
                Event(
                    "accountability.measure.taken",
                    [
                        name,
                        measure.supervision_case,
                        *filter(
                            None,
                            (
                                row["target_unit"],
                                row["target_post"],
                                row["target_person"],
                                case["hazard"],
                                case["task"],
                            ),
                        ),
                    ],
                    {
                        "supervision_case": measure.supervision_case,
                        "kind": row["kind"],
                        "cycle": row["cycle"],
                        "rung": row["rung"],
                        "label": row["label"],
                        "target": row["target"],
                        "target_unit": row["target_unit"],
                        "target_post": row["target_post"],
                        "target_person": row["target_person"],
                        "escalation_policy": measure.escalation_policy,
                    },
                    row["region_code"],
                    row["unit_path"],
                    workflow_id=supervision.workflow_id(case_id),
                    policy_version=f"{measure.escalation_policy}@{case['policy_version']}",
                )
            )
            return tx.answer(messages.measure_message(row))

    LISTED_CASES = """
        FROM supervision_case
        WHERE (region_code ^@ ANY($1::text[]) OR unit_path ^@ ANY($2::text[]))
          AND ($3 = '' OR unit = $3)
          AND ($4 = '' OR state = $4)
          AND ($5 = '' OR source = $5)
          AND ($6 = '' OR task = $6)
          AND ($7 = '' OR hazard = $7)
          AND (
              $8 = ''
              OR state <> 'CONCLUDED' AND $8 = CASE
                  WHEN due_time <= $9 THEN 'RED'
                  WHEN due_time <= $9 + $10::interval THEN 'YELLOW'
                  ELSE 'GREEN'
              END
          )
    """
    LIST_CASES = (
        "SELECT "
        + SUPERVISION_COLUMNS
        + LISTED_CASES
        + "AND (open_time, id) > ($11, $12) ORDER BY open_time, id LIMIT $13"
    )
    COUNT_CASES = "SELECT count(*)" + LISTED_CASES

    async def list_cases(
        self, call: Call, request: accountability_pb2.ListSupervisionCasesRequest, page: Page
    ) -> tuple[list[asyncpg.Record], int]:
        """Return a page of rows and, for the first page, the count of the whole list."""
        filters = (
            *call.scope.prefixes,
            request.unit,
            messages.SUPERVISION_CASE_STATE.given(request.state),
            messages.CASE_SOURCE.given(request.source),
            request.task,
            request.hazard,
            messages.LIGHT.given(request.light),
            call.now,
            YELLOW,
        )
        key = (page.after_time(), page.after_key(1), page.limit)
        rows = await self._database.fetch(self.LIST_CASES, *filters, *key)
        total = 0 if page.after else await self._database.fetchval(self.COUNT_CASES, *filters)
        return rows, total

    SELECT_MEASURE = "SELECT " + MEASURE_COLUMNS + " FROM measure WHERE id = $1"

    async def measure(self, name: str, scope: Scope, field: str) -> asyncpg.Record:
        """Return a measure's row. Raises NotFound, also for one outside the scope."""
        return scope.row(name, await self._database.fetchrow(self.SELECT_MEASURE, id_of(name, "measures", field)))

    LISTED_MEASURES = """
        FROM measure
        WHERE (region_code ^@ ANY($1::text[]) OR unit_path ^@ ANY($2::text[]))
          AND ($3 = '' OR supervision_case_id = $3)
          AND ($4 = '' OR accountability_case_id = $4)
          AND ($5 = '' OR target_unit = $5)
          AND ($6 = '' OR kind = $6)
    """
    LIST_MEASURES = (
        "SELECT "
        + MEASURE_COLUMNS
        + LISTED_MEASURES
        + "AND (measure_time, id) > ($7, $8) ORDER BY measure_time, id LIMIT $9"
    )
    COUNT_MEASURES = "SELECT count(*)" + LISTED_MEASURES

    async def list_measures(
        self, call: Call, request: accountability_pb2.ListMeasuresRequest, page: Page
    ) -> tuple[list[asyncpg.Record], int]:
        """Return a page of rows and, for the first page, the count of the whole list."""
        filters = (
            *call.scope.prefixes,
            request.supervision_case.removeprefix("supervisionCases/"),
            request.accountability_case.removeprefix("accountabilityCases/"),
            request.unit,
            messages.MEASURE_KIND.given(request.kind),
        )
        key = (page.after_time(), page.after_key(1), page.limit)
        rows = await self._database.fetch(self.LIST_MEASURES, *filters, *key)
        total = 0 if page.after else await self._database.fetchval(self.COUNT_MEASURES, *filters)
        return rows, total
