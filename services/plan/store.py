"""Annual task lists in PostgreSQL: a holder's year from draft to publication, with all its tasks at once."""

import dataclasses
from datetime import datetime

import asyncpg

from dutyloop.duty.v1 import duty_pb2
from dutyloop.plan.v1 import plan_pb2
from services.kit.access import Scope
from services.kit.call import Call
from services.kit.db import Database, Transaction
from services.kit.directory import UnitPlace
from services.kit.errors import AlreadyExists, require_etag
from services.kit.ledger import Event
from services.kit.names import id_of
from services.kit.paging import Page
from services.plan import messages, rules
from workflows.payloads import task_supervision

LIST_COLUMNS = """
    l.id, l.revision, l.responsibility_list, l.list_version, l.year, l.unit, l.post, l.region_code, l.unit_path,
    l.state, l.editor, l.approver, l.generate_time, l.publish_time, l.task_count
"""
COUNTS = """
    count(*) FILTER (WHERE t.state = 'OPEN') AS open_count,
    count(*) FILTER (WHERE t.state = 'SUBMITTED') AS submitted_count,
    count(*) FILTER (WHERE t.state = 'DONE') AS done_count,
    count(*) FILTER (
        WHERE t.state <> 'DONE'
            AND coalesce(t.submit_time, $1) >= (t.due_date + 1)::timestamp AT TIME ZONE 'Asia/Shanghai'
    ) AS overdue_count
"""


class AnnualListStore:
    """Reads and writes of annual task lists."""

    def __init__(self, database: Database) -> None:
        self._database = database

    SELECT_LIST = (
        "SELECT "
        + LIST_COLUMNS
        + ", c.* FROM annual_task_list l CROSS JOIN LATERAL (SELECT "
        + COUNTS
        + " FROM task t WHERE t.annual_task_list_id = l.id) AS c WHERE l.id = $2"
    )

    async def annual_list(self, name: str, scope: Scope, now: datetime, field: str = "name") -> asyncpg.Record:
        """Return a list's row with its counts. Raises NotFound, also for one outside the scope."""
        row = await self._database.fetchrow(self.SELECT_LIST, now, id_of(name, "annualTaskLists", field))
        return scope.row(name, row)

    LIST_LISTS = (
        "SELECT "
        + LIST_COLUMNS
        + ", c.* FROM annual_task_list l CROSS JOIN LATERAL (SELECT "
        + COUNTS
        + """
         FROM task t WHERE t.annual_task_list_id = l.id) AS c
        WHERE (l.region_code ^@ ANY ($2::text[]) OR l.unit_path ^@ ANY ($3::text[]))
          AND ($4 = '' OR l.unit = $4)
          AND ($5 = '' OR l.post = $5)
          AND ($6 = 0 OR l.year = $6)
          AND ($7 = '' OR l.state = $7)
          AND l.id > $8
        ORDER BY l.id
        LIMIT $9
        """
    )

    async def list_lists(
        self, call: Call, request: plan_pb2.ListAnnualTaskListsRequest, page: Page
    ) -> list[asyncpg.Record]:
        """Return a page of annual lists, by id."""
        return await self._database.fetch(
            self.LIST_LISTS,
            call.now,
            *call.scope.prefixes,
            request.unit,
            request.post,
            request.year,
            messages.ANNUAL_TASK_LIST_STATE.given(request.state),
            page.after_key(),
            page.limit,
        )

    UPSERT_LIST = """
        INSERT INTO annual_task_list AS l (id, responsibility_list, list_version, year, unit, post, region_code,
            unit_path, editor, generate_time, task_count)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        ON CONFLICT ON CONSTRAINT annual_task_list_is_one_per_holder_and_year DO UPDATE
        SET revision = l.revision + 1, responsibility_list = excluded.responsibility_list,
            list_version = excluded.list_version, editor = excluded.editor, generate_time = excluded.generate_time,
            task_count = excluded.task_count
        WHERE l.state = 'DRAFT'
        RETURNING l.id, (xmax = 0) AS fresh
    """
    DELETE_TASKS = "DELETE FROM task WHERE annual_task_list_id = $1"
    INSERT_TASKS = """
        WITH item AS MATERIALIZED (
            SELECT i.id, 'dutyItems/' || i.id AS name, i.title, i.rule, i.term_days,
                string_to_array(nullif(i.evidence, ''), ',') AS evidence
            FROM unnest($6::text[], $7::text[], $8::text[], $9::integer[], $10::text[])
                AS i (id, title, rule, term_days, evidence)
        ), day AS MATERIALIZED (
            SELECT d.rule, d.day, '-' || d.day AS suffix
            FROM unnest($11::text[], $12::date[]) AS d (rule, day)
        )
        INSERT INTO task (id, annual_task_list_id, duty_item, title, unit, post, region_code, unit_path,
            scheduled_date, due_date, expected_evidence)
        SELECT item.id || day.suffix, $1, item.name, item.title, $2, $3, $4, $5, day.day, day.day + item.term_days,
            coalesce(item.evidence, '{}')
        FROM item
        JOIN day USING (rule)
    """

    async def generate(
        self,
        call: Call,
        of: duty_pb2.ResponsibilityList,
        place: UnitPlace,
        year: int,
        schedule: rules.Schedule,
    ) -> plan_pb2.AnnualTaskList:
        """Write the draft of a holder's year with all its tasks; an earlier draft of that year is replaced."""
        async with self._database.command(call) as tx:
            written = await tx.fetchrow(
                self.UPSERT_LIST,
                call.new_id(),
                of.name,
                of.version,
                year,
                of.unit,
                of.post,
                place.region_code,
                place.path,
                call.principal,
                call.now,
                schedule.task_count,
            )
            if written is None:
                raise AlreadyExists(resource="annual_task_list_is_one_per_holder_and_year")
            if not written["fresh"]:
                await tx.execute(self.DELETE_TASKS, written["id"])
            await tx.execute(
                self.INSERT_TASKS,
                written["id"],
                of.unit,
                of.post,
                place.region_code,
                place.path,
                [item.name.removeprefix("dutyItems/") for item in schedule.items],
                [item.title for item in schedule.items],
                [item.recurrence for item in schedule.items],
                [item.term_days for item in schedule.items],
                [",".join(item.expected_evidence) for item in schedule.items],
                [rule for rule, _ in schedule.rule_days],
                [day for _, day in schedule.rule_days],
            )
            return await self._record_list(tx, call, "generated", written["id"])

    async def _record_list(self, tx: Transaction, call: Call, happened: str, list_id: str) -> plan_pb2.AnnualTaskList:
        row = await tx.fetchone(self.SELECT_LIST, call.now, list_id)
        message = messages.list_message(row)
        tx.record(
            Event(
                f"plan.list.{happened}",
                [each for each in (message.name, message.responsibility_list, message.unit, message.post) if each],
                {
                    "year": message.year,
                    "list_version": message.list_version,
                    "tasks": message.task_count,
                    "editor": message.editor,
                },
                row["region_code"],
                row["unit_path"],
                workflow_id=task_supervision.workflow_id(list_id) if happened == "published" else "",
            )
        )
        return tx.answer(message)

    LOCK_LIST = "SELECT " + LIST_COLUMNS + " FROM annual_task_list l WHERE l.id = $1 FOR UPDATE"
    PUBLISH = """
        UPDATE annual_task_list
        SET revision = revision + 1, state = 'PUBLISHED', approver = $2, publish_time = $3
        WHERE id = $1
    """

    async def publish(self, call: Call, name: str, etag: str) -> plan_pb2.AnnualTaskList:
        """Publish a draft and have its supervision started."""
        async with self._database.command(call) as tx:
            before = call.scope.row(name, await tx.fetchrow(self.LOCK_LIST, id_of(name, "annualTaskLists")))
            rules.check_publication(before["state"], before["editor"], call.principal)
            require_etag(name, etag, before["revision"])
            await tx.execute(self.PUBLISH, before["id"], call.principal, call.now)
            tx.start_case(
                task_supervision.WORKFLOW,
                task_supervision.workflow_id(before["id"]),
                call.now,
                dataclasses.asdict(task_supervision.TaskSupervisionStart(name, call.now)),
            )
            return await self._record_list(tx, call, "published", before["id"])
