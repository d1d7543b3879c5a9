"""Payloads of task supervision: one case per published annual task list."""

from dataclasses import dataclass
from datetime import datetime

WORKFLOW = "task_supervision"


def workflow_id(annual_task_list_id: str) -> str:
    """Return the id of an annual list's supervision."""
    return f"task_supervision/{annual_task_list_id}"


@dataclass(frozen=True, slots=True)
class Supervised:
    """An overdue task and the supervision case that is open for it."""

    task: str
    supervision_case: str


@dataclass(frozen=True, slots=True)
class TaskNews:
    """What plan tells of a task: ``confirmed``, or ``reopened`` by a rejection after its term.

    ``etag`` tells apart what happens to one task twice.
    """

    task: str
    happened: str
    etag: str
    supervision_case: str = ""


@dataclass(frozen=True, slots=True)
class Tally:
    """What the supervision did so far."""

    reminded: int = 0
    overdue: int = 0
    concluded: int = 0


@dataclass(frozen=True, slots=True)
class TaskSupervisionStart:
    """Opens the supervision, or carries it on in the next run: ``opened`` is then the time of the change-over."""

    annual_task_list: str
    opened: datetime
    supervised: tuple[Supervised, ...] = ()
    news: tuple[TaskNews, ...] = ()
    tally: Tally = Tally()


@dataclass(frozen=True, slots=True)
class Look:
    """Asks what is due on a list at a business time."""

    annual_task_list: str
    business_time: datetime


@dataclass(frozen=True, slots=True)
class DueTask:
    """A task to remind of; ``kind`` is DUE_SOON or OVERDUE."""

    task: str
    kind: str
    matter: str
    unit: str
    post: str


@dataclass(frozen=True, slots=True)
class Due:
    """What is due now, when to look again, and whether any task still waits for somebody."""

    tasks: tuple[DueTask, ...]
    next_due_time: datetime | None
    unfinished: bool


@dataclass(frozen=True, slots=True)
class Reminder:
    """A reminder to record."""

    task: str
    kind: str
    supervision_case: str = ""


@dataclass(frozen=True, slots=True)
class RecordReminders:
    """Asks plan to record reminders; ``step`` makes each recording repeatable."""

    step: str
    business_time: datetime
    reminders: tuple[Reminder, ...]
