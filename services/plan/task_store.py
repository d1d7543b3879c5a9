"""Tasks in PostgreSQL: their lists, what their holders report, and the reminders of them."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import date, datetime

import asyncpg

from dutyloop.plan.v1 import plan_pb2
from services.kit.access import Scope
from services.kit.call import Call
from services.kit.dates import beijing_date, start_of
from services.kit.db import Connection, Database, Transaction, at_once
from services.kit.errors import DomainError
from services.kit.gather import ASKED
from services.kit.ledger import Event
from services.kit.lights import YELLOW, YELLOW_DAYS
from services.kit.names import id_of, optional_id
from services.kit.paging import Page
from services.plan import messages, rules
from services.plan.messages import TASK_COLUMNS
from workflows.payloads import task_supervision

# The tasks of a list: $1-$5 scope, annual list, unit, post; $6-$9 the filter; $10-$12 the page.
IN_SCOPE = """
    (t.region_code ^@ ANY ($1::text[]) OR t.unit_path ^@ ANY ($2::text[]))
    AND $3::text || $4::text || $5::text = ''
"""
LISTS_IN_SCOPE = """
    (l.region_code ^@ ANY ($1::text[]) OR l.unit_path ^@ ANY ($2::text[]))
    AND ($3 = '' OR l.id = $3) AND ($4 = '' OR l.unit = $4) AND ($5 = '' OR l.post = $5)
"""
MATCHES = """
    AND t.state = ANY ($6::text[])
    AND t.due_date < $7
    AND (t.state <> 'OPEN' OR t.due_date >= $8)
    AND (
        t.state <> 'SUBMITTED' OR $9::boolean IS NULL
        OR $9 = (t.submit_time >= (t.due_date + 1)::timestamp AT TIME ZONE 'Asia/Shanghai')
    )
"""
UNFINISHED = " AND t.state <> 'DONE'"
PAGE = " AND (t.due_date, t.id) > ($10, $11) ORDER BY t.due_date, t.id LIMIT $12"
# Tasks are never added to a list or removed, so all of them are counted by adding up, once per statement.
TOTAL = ", (SELECT sum(l.task_count)::bigint FROM annual_task_list l WHERE " + LISTS_IN_SCOPE + ") AS total"


def list_statement(*, of_lists: bool, unfinished: bool, total: bool) -> str:
    """Return the statement of a page in the form whose index fits.

    Of few lists, each gives its own page from its own index, and the pages are merged; that form is spelt
    out because the planner, left to itself, may search all tasks in due order for the few wanted. Otherwise
    tasks are read in due order. ``unfinished`` lets the partial index be used, ``total`` counts all tasks.
    """
    columns = "SELECT " + TASK_COLUMNS + (TOTAL if total else "")
    matches = MATCHES + (UNFINISHED if unfinished else "") + PAGE
    if not of_lists:
        return columns + " FROM task t WHERE " + IN_SCOPE + matches
    return (
        columns
        + " FROM annual_task_list l CROSS JOIN LATERAL (SELECT t.* FROM task t WHERE t.annual_task_list_id = l.id"
        + matches
        + ") AS t WHERE "
        + LISTS_IN_SCOPE
        + " ORDER BY t.due_date, t.id LIMIT $12"
    )


def count_statement(*, of_lists: bool, unfinished: bool) -> str:
    """Return the statement that counts a list."""
    tasks = " FROM annual_task_list l JOIN task t ON t.annual_task_list_id = l.id WHERE " + LISTS_IN_SCOPE
    source = tasks if of_lists else " FROM task t WHERE " + IN_SCOPE
    return "SELECT count(*)" + source + MATCHES + (UNFINISHED if unfinished else "")


LIST_TASKS = {
    (of_lists, unfinished, total): list_statement(of_lists=of_lists, unfinished=unfinished, total=total)
    for of_lists in (False, True)
    for unfinished in (False, True)
    for total in (False, True)
}
COUNT_TASKS = {
    (of_lists, unfinished): count_statement(of_lists=of_lists, unfinished=unfinished)
    for of_lists in (False, True)
    for unfinished in (False, True)
}


class TaskStore:
    """Reads and writes of tasks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    SELECT_TASK = "SELECT " + TASK_COLUMNS + ", asked.place FROM " + ASKED + " JOIN task t USING (id)"

    async def task(self, name: str, scope: Scope) -> asyncpg.Record:
        """Return a task's row. Raises NotFound, also for one outside the scope."""
        return scope.row(name, await self._database.row(self.SELECT_TASK, id_of(name, "tasks")))

    async def list_tasks(
        self, call: Call, request: plan_pb2.ListTasksRequest, wanted: rules.Filter, page: Page
    ) -> tuple[list[asyncpg.Record], int]:
        """Return a page of tasks, first due first, and on the first page the number of all that match."""
        list_id = optional_id(request.annual_task_list, "annualTaskLists", "annual_task_list")
        of = (*call.scope.prefixes, list_id, request.unit, request.post)
        conditions = (list(wanted.states), wanted.due_before, wanted.open_from, wanted.late)
        key = (page.after_date(default=wanted.due_from), page.after_key(1), page.limit)
        of_lists = bool(list_id or request.unit or request.post) or not call.scope.regions
        everything = wanted.matches_all and not page.after
        statement = LIST_TASKS[of_lists, wanted.unfinished, everything]
        rows = await self._database.fetch(statement, *of, *conditions, *key)
        if page.after:
            return rows, 0
        if everything:
            return rows, rows[0]["total"] if rows else 0
        if len(rows) <= page.size:
            return rows, len(rows)
        return rows, await self._database.fetchval(COUNT_TASKS[of_lists, wanted.unfinished], *of, *conditions)

    SELECT_REPORTED = (
        "SELECT "
        + TASK_COLUMNS
        + ", l.state AS list_state, asked.place FROM "
        + ASKED
        + " JOIN task t USING (id) JOIN annual_task_list l ON l.id = t.annual_task_list_id"
    )
    LOCK_REPORTED = SELECT_REPORTED + " FOR UPDATE OF t"
    REPORT = at_once(
        """
        UPDATE task
        SET revision = revision + 1, progress_percent = $3, remark = $4,
            evidence_types = evidence_types || $5::text[],
            evidence_references = evidence_references || $6::text[]
        WHERE id = $1 AND revision = $2::bigint AND state = 'OPEN'
        RETURNING id
        """,
        parameters=6,
    )

    async def report(self, call: Call, request: plan_pb2.ReportProgressRequest) -> plan_pb2.Task:
        """Note how far a task has come: as a rule without a lock, since this is done most often."""
        task_id = id_of(request.name, "tasks")
        row = await self._database.row(self.SELECT_REPORTED, task_id)
        async with self._database.connection() as connection:
            task = await self._report_as_read(connection, call, request, row)
            if task is None:  # several report on it at once: one after the other, then
                async with connection.transaction():
                    row = await connection.fetchrow(self.LOCK_REPORTED, [task_id])
                    task = await self._report_as_read(connection, call, request, row)
        assert task is not None  # noqa: S101 (nobody changes what is locked)
        return task

    async def _report_as_read(
        self, connection: Connection, call: Call, request: plan_pb2.ReportProgressRequest, row: asyncpg.Record | None
    ) -> plan_pb2.Task | None:
        """Decide on the task as it was read; None when it has changed since."""
        row = call.scope.row(request.name, row)
        types, references = messages.evidence_columns(request.evidence)
        task = messages.task_message(row, call.now.timestamp())
        actor = rules.Actor(call.principal, call.posts, call.units)
        refusal = rules.report_refusal(task, row["list_state"], actor, request.etag, len(types))
        if refusal is not None:
            raise refusal
        revision = int(task.etag)
        task.etag = str(revision + 1)
        task.progress_percent = request.progress_percent
        task.remark = request.remark
        task.evidence.extend(request.evidence)
        payload = {"progress_percent": request.progress_percent, "remark": request.remark, "evidence": references}
        event = self._task_event("progressed", task, row, payload)
        task_id = task.name.removeprefix("tasks/")
        arguments = (task_id, revision, request.progress_percent, request.remark, types, references)
        return task if await self._database.apply(connection, call, self.REPORT, arguments, event, task) else None

    SUBMIT = (
        """
        UPDATE task t
        SET revision = t.revision + 1, state = 'SUBMITTED', progress_percent = 100,
            remark = CASE $6 WHEN '' THEN t.remark ELSE $6 END,
            evidence_types = t.evidence_types || $7::text[],
            evidence_references = t.evidence_references || $8::text[],
            submitter = $10, submit_time = $11, confirmer = '', reject_reason = '',
            submitters = CASE WHEN $10 = ANY (t.submitters) THEN t.submitters ELSE t.submitters || $10::text END
        FROM annual_task_list l
        WHERE t.id = $1
          AND l.id = t.annual_task_list_id
          AND l.state = 'PUBLISHED'
          AND t.state = 'OPEN'
          AND (t.region_code ^@ ANY ($2::text[]) OR t.unit_path ^@ ANY ($3::text[]))
          AND CASE t.post WHEN '' THEN t.unit = ANY ($4::text[]) ELSE t.post = ANY ($5::text[]) END
          AND ($9 = '' OR t.revision::text = $9)
          AND t.expected_evidence <@ (t.evidence_types || $7::text[])
          AND cardinality(t.evidence_types) + cardinality($7::text[]) <= 200
        RETURNING
        """
        + TASK_COLUMNS
    )

    async def submit(self, call: Call, request: plan_pb2.SubmitCompletionRequest) -> plan_pb2.Task:
        """Take a completion, which waits for confirmation."""
        types, references = messages.evidence_columns(request.evidence)
        async with self._database.command(call) as tx:
            row = await tx.fetchrow(
                self.SUBMIT,
                id_of(request.name, "tasks"),
                *holder_of(call),
                request.remark,
                types,
                references,
                request.etag,
                call.principal,
                call.now,
            )
            if row is None:
                raise await self._holder_refusal(tx, call, request.name, "submit_completion", request.etag, types)
            payload = {"remark": request.remark, "evidence": references, "submitter": call.principal}
            return self._record_task(tx, call, "submitted", row, payload)

    CONFIRM = (
        """
        UPDATE task t
        SET revision = t.revision + 1, state = 'DONE', confirmer = $4, done_time = $5
        WHERE t.id = $1
          AND t.state = 'SUBMITTED'
          AND (t.region_code ^@ ANY ($2::text[]) OR t.unit_path ^@ ANY ($3::text[]))
          AND $4 <> ALL (t.submitters)
          AND ($6 = '' OR t.revision::text = $6)
        RETURNING
        """
        + TASK_COLUMNS
        + """,
            EXISTS (
                SELECT FROM task o
                WHERE o.annual_task_list_id = t.annual_task_list_id AND o.state <> 'DONE' AND o.id <> t.id
            ) AS others_wait
        """
    )

    async def confirm(self, call: Call, name: str, etag: str) -> plan_pb2.Task:
        """Confirm a completion; the list's supervision is told where it waits for that."""
        async with self._database.command(call) as tx:
            row = await tx.fetchrow(
                self.CONFIRM, id_of(name, "tasks"), *call.scope.prefixes, call.principal, call.now, etag
            )
            if row is None:
                raise await self._judge_refusal(tx, call, name, "confirm_completion", etag)
            task = self._record_task(tx, call, "confirmed", row, {"confirmer": call.principal})
            if task.supervision_case or not row["others_wait"]:
                self._tell(tx, task, "confirmed")
            return task

    REJECT = (
        """
        UPDATE task t
        SET revision = t.revision + 1, state = 'OPEN', progress_percent = 99, submitter = '', submit_time = NULL,
            confirmer = $4, reject_reason = $5
        WHERE t.id = $1
          AND t.state = 'SUBMITTED'
          AND (t.region_code ^@ ANY ($2::text[]) OR t.unit_path ^@ ANY ($3::text[]))
          AND $4 <> ALL (t.submitters)
          AND ($6 = '' OR t.revision::text = $6)
        RETURNING
        """
        + TASK_COLUMNS
        + ", t.reminder"
    )

    async def reject(self, call: Call, name: str, reason: str, etag: str) -> plan_pb2.Task:
        """Open a task again; its supervision is told when the term has passed meanwhile."""
        async with self._database.command(call) as tx:
            row = await tx.fetchrow(
                self.REJECT, id_of(name, "tasks"), *call.scope.prefixes, call.principal, reason, etag
            )
            if row is None:
                raise await self._judge_refusal(tx, call, name, "reject_completion", etag)
            payload = {"confirmer": call.principal, "reason": reason}
            task = self._record_task(tx, call, "rejected", row, payload)
            if task.overdue and row["reminder"] != "OVERDUE":
                self._tell(tx, task, "reopened")
            return task

    def _tell(self, tx: Transaction, task: plan_pb2.Task, happened: str) -> None:
        news = task_supervision.TaskNews(task.name, happened, task.etag, task.supervision_case)
        list_id = task.annual_task_list.removeprefix("annualTaskLists/")
        tx.tell_case(task_supervision.workflow_id(list_id), "note", dataclasses.asdict(news))

    def _record_task(
        self, tx: Transaction, call: Call, happened: str, row: asyncpg.Record, payload: Mapping[str, object]
    ) -> plan_pb2.Task:
        task = messages.task_message(row, call.now.timestamp())
        tx.record(self._task_event(happened, task, row, payload))
        return tx.answer(task)

    @staticmethod
    def _task_event(happened: str, task: plan_pb2.Task, row: asyncpg.Record, payload: Mapping[str, object]) -> Event:
        return Event(
            f"plan.task.{happened}",
            [each for each in (task.name, task.annual_task_list, task.duty_item, task.post or task.unit) if each],
            {"overdue": task.overdue, **payload},
            row["region_code"],
            row["unit_path"],
            workflow_id=task_supervision.workflow_id(task.annual_task_list.removeprefix("annualTaskLists/")),
        )

    SELECT_STANDING = """
        SELECT t.revision, t.state, l.state AS list_state, t.unit, t.post, t.submitters, t.expected_evidence,
            t.evidence_types, t.region_code, t.unit_path
        FROM task t
        JOIN annual_task_list l ON l.id = t.annual_task_list_id
        WHERE t.id = $1
    """

    async def _standing(self, tx: Transaction, call: Call, name: str) -> rules.TaskStanding:
        row = call.scope.row(name, await tx.fetchrow(self.SELECT_STANDING, id_of(name, "tasks")))
        return rules.TaskStanding(
            name=name,
            etag=str(row["revision"]),
            state=row["state"],
            list_state=row["list_state"],
            unit=row["unit"],
            post=row["post"],
            submitters=row["submitters"],
            expected_evidence=row["expected_evidence"],
            evidence_types=row["evidence_types"],
        )

    async def _holder_refusal(
        self, tx: Transaction, call: Call, name: str, action: str, etag: str, shown: Sequence[str]
    ) -> DomainError:
        actor = rules.Actor(call.principal, call.posts, call.units)
        return rules.holder_refusal(await self._standing(tx, call, name), actor, action, etag, shown)

    async def _judge_refusal(self, tx: Transaction, call: Call, name: str, action: str, etag: str) -> DomainError:
        actor = rules.Actor(call.principal)
        return rules.judge_refusal(await self._standing(tx, call, name), actor, action, etag)

    LIST_DUE = (
        "SELECT "
        + TASK_COLUMNS
        + """
        FROM task t
        WHERE t.annual_task_list_id = $1
          AND t.state = 'OPEN'
          AND t.reminder <> 'OVERDUE'
          AND t.due_date < $3
          AND (t.due_date < $2 OR t.reminder = '')
          AND (t.due_date, t.id) > ($4, $5)
        ORDER BY t.due_date, t.id
        LIMIT $6
        """
    )
    NEXT_DUE = """
        WITH waiting AS NOT MATERIALIZED (
            SELECT t.due_date FROM task t
            WHERE t.annual_task_list_id = $1 AND t.state = 'OPEN' AND t.reminder <> 'OVERDUE'
        )
        SELECT least(
            (SELECT min(due_date) + 1 FROM waiting WHERE due_date >= $2),
            (SELECT min(due_date) + 1 - $4::integer FROM waiting WHERE due_date >= $3)
        )
    """

    async def due_tasks(self, name: str, now: datetime, page: Page) -> tuple[list[asyncpg.Record], datetime | None]:
        """Return a page of the tasks to remind of at ``now``, and the first instant after it at which more are."""
        list_id = id_of(name, "annualTaskLists", "annual_task_list")
        today = beijing_date(now)
        soon = today + YELLOW
        rows = await self._database.fetch(
            self.LIST_DUE,
            list_id,
            today,
            soon,
            page.after_date(default=date.min),
            page.after_key(1),
            page.limit,
        )
        following: date | None = await self._database.fetchval(self.NEXT_DUE, list_id, today, soon, YELLOW_DAYS)
        if following is None:
            return rows, None
        return rows, start_of(following)

    REMIND = (
        """
        UPDATE task t
        SET revision = t.revision + 1, reminder = $2,
            supervision_case = CASE $3 WHEN '' THEN t.supervision_case ELSE $3 END
        WHERE t.id = $1 AND t.reminder NOT IN ($2, 'OVERDUE')
        RETURNING
        """
        + TASK_COLUMNS
    )

    async def remind(self, call: Call, request: plan_pb2.RecordTaskReminderRequest) -> plan_pb2.Task:
        """Record a reminder, once per task and kind."""
        kind = messages.REMINDER_KIND.of(request.kind)
        identifier = id_of(request.task, "tasks", "task")
        async with self._database.command(call) as tx:
            row = await tx.fetchrow(self.REMIND, identifier, kind, request.supervision_case)
            if row is None:
                row = call.scope.row(request.task, await tx.fetchrow(self.SELECT_TASK, [identifier]))
                return tx.answer(messages.task_message(row, call.now.timestamp()))
            happened = "overdue" if kind == "OVERDUE" else "reminded"
            return self._record_task(
                tx, call, happened, row, {"kind": kind, "supervision_case": request.supervision_case}
            )


def holder_of(call: Call) -> tuple[Sequence[str], ...]:
    """Return scope, units and posts of a duty holder as statement arguments."""
    return *call.scope.prefixes, call.units, call.posts
