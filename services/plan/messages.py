"""Rows of the plan schema as protobuf messages. ``fill_task`` is a hot path: one unpacking, no objects per row."""

from typing import Any

from dutyloop.duty.v1 import duty_pb2
from dutyloop.plan.v1 import plan_pb2
from services.kit.db import Row
from services.kit.names import name_of
from services.kit.words_of import Words
from services.plan import rules

ANNUAL_TASK_LIST_STATE = Words(plan_pb2.AnnualTaskListState)
REMINDER_KIND = Words(plan_pb2.ReminderKind)
EVIDENCE_TYPE = Words(duty_pb2.EvidenceType)

STATES = rules.TASK_STATE.numbers
EVIDENCE = EVIDENCE_TYPE.numbers

TASK_COLUMNS = """
    'tasks/' || t.id, t.revision::text, 'annualTaskLists/' || t.annual_task_list_id, t.duty_item, t.title, t.unit,
    t.post, CASE t.region_code WHEN '' THEN '' ELSE 'regions/' || t.region_code END, t.scheduled_date, t.due_date,
    (t.due_date - DATE '1969-12-31') * 86400::bigint - 28800, t.expected_evidence, t.state, t.progress_percent,
    t.remark, t.evidence_types, t.evidence_references, t.submitter, t.submit_time, t.confirmer, t.done_time,
    t.reject_reason, t.supervision_case, t.region_code, t.unit_path
"""
"""In the order in which ``fill_task`` unpacks them; the last two are for the scope alone."""


def fill_task(row: Row, now: float, message: plan_pb2.Task) -> None:
    """Fill a message from a row of ``TASK_COLUMNS``; light and overdue are derived for ``now`` (epoch seconds)."""
    (
        message.name,
        message.etag,
        message.annual_task_list,
        message.duty_item,
        message.title,
        message.unit,
        message.post,
        message.region,
        scheduled,
        due_date,
        due,
        expected,
        state,
        progress_percent,
        remark,
        types,
        references,
        submitter,
        submit_time,
        confirmer,
        done_time,
        reject_reason,
        supervision_case,
        *_,
    ) = row.values()
    # Most tasks are open and untouched: what is empty is not set.
    if progress_percent:
        message.progress_percent = progress_percent
    if remark:
        message.remark = remark
    if submitter:
        message.submitter = submitter
    if confirmer:
        message.confirmer = confirmer
    if reject_reason:
        message.reject_reason = reject_reason
    if supervision_case:
        message.supervision_case = supervision_case
    day = message.scheduled_date
    day.year, day.month, day.day = scheduled.year, scheduled.month, scheduled.day
    day = message.due_date
    day.year, day.month, day.day = due_date.year, due_date.month, due_date.day
    message.due_time.seconds = due
    message.state = STATES[state]
    for word in expected:
        message.expected_evidence.append(EVIDENCE[word])
    if types:
        for word, reference in zip(types, references, strict=True):
            message.evidence.add(type=EVIDENCE[word], reference=reference)
    submitted = None
    if submit_time is not None:
        message.submit_time.FromDatetime(submit_time)
        submitted = submit_time.timestamp()
    if done_time is not None:
        message.done_time.FromDatetime(done_time)
    message.light = rules.light(state, due, submitted, now)
    message.overdue = rules.is_overdue(state, due, submitted, now)


def task_message(row: Row, now: float) -> plan_pb2.Task:
    """Return the message for a row of ``TASK_COLUMNS``."""
    message = plan_pb2.Task()
    fill_task(row, now, message)
    return message


def list_message(row: Row) -> plan_pb2.AnnualTaskList:
    """Return the message for a row of ``annual_task_list`` with its counts."""
    message = plan_pb2.AnnualTaskList()
    message.name = name_of("annualTaskLists", row["id"])
    message.etag = str(row["revision"])
    message.responsibility_list = row["responsibility_list"]
    message.list_version = row["list_version"]
    message.year = row["year"]
    message.unit = row["unit"]
    message.post = row["post"]
    message.region = name_of("regions", row["region_code"])
    message.state = ANNUAL_TASK_LIST_STATE.number(row["state"])
    message.editor = row["editor"]
    message.approver = row["approver"]
    message.generate_time.FromDatetime(row["generate_time"])
    if row["publish_time"] is not None:
        message.publish_time.FromDatetime(row["publish_time"])
    message.task_count = row["task_count"]
    message.open_count = row["open_count"]
    message.submitted_count = row["submitted_count"]
    message.done_count = row["done_count"]
    message.overdue_count = row["overdue_count"]
    return message


def item_of(item: duty_pb2.DutyItem) -> rules.Item:
    """Return what the schedule needs of a duty item."""
    return rules.Item(
        name=item.name,
        title=item.text,
        recurrence=item.recurrence,
        term_days=item.term_days,
        expected_evidence=[EVIDENCE_TYPE.of(each) for each in item.expected_evidence],
    )


def evidence_columns(evidence: Any) -> tuple[list[str], list[str]]:
    """Return types and references of evidence as they are stored."""
    return [EVIDENCE_TYPE.of(each.type) for each in evidence], [each.reference for each in evidence]
