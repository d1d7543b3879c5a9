"""Rules of annual task lists: which tasks a year holds, who may act on a task when, and what its light shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from dutyloop.duty.v1 import duty_pb2
from dutyloop.kit.v1 import kit_pb2
from dutyloop.plan.v1 import plan_pb2
from services.kit.dates import beijing_date
from services.kit.errors import (
    DomainError,
    RuleNotMet,
    SeparationOfDuties,
    StaleEtag,
    UnfitReference,
    WrongState,
    invalid,
)
from services.kit.lights import YELLOW, YELLOW_DAYS
from services.kit.recurrence import occurrences
from services.kit.words_of import Words

LIST_STATE = Words(duty_pb2.ListState)
TASK_STATE = Words(plan_pb2.TaskState)

DAY_SECONDS = 86_400
MAX_EVIDENCE = 200
MAX_TASKS = 200_000
"""Of one holder and year; 500 daily duties stay below it."""


@dataclass(frozen=True, slots=True)
class Item:
    """One duty of the list from which tasks are generated."""

    name: str
    title: str
    recurrence: str
    term_days: int
    expected_evidence: Sequence[str]


@dataclass(frozen=True, slots=True)
class Schedule:
    """A year's tasks in columns: the recurring items, the days of each distinct recurrence, and their number."""

    items: Sequence[Item]
    rule_days: Sequence[tuple[str, date]]
    task_count: int


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts on a task, and through which posts and units with the role that the action needs."""

    person: str
    posts: Sequence[str] = ()
    units: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class TaskStanding:
    """What must be known of a task to say why an action on it is refused."""

    name: str
    etag: str
    state: str
    list_state: str
    unit: str
    post: str
    submitters: Sequence[str]
    expected_evidence: Sequence[str]
    evidence_types: Sequence[str]


def check_source(of: duty_pb2.ResponsibilityList, year: int, now: datetime) -> None:
    """Tasks come from a published duty list, for a year about now in which it is in force."""
    if of.kind != duty_pb2.LIST_KIND_DUTY:
        raise UnfitReference(field="responsibility_list", resource=of.name)
    if of.state != duty_pb2.LIST_STATE_PUBLISHED:
        state = LIST_STATE.of(of.state)
        raise WrongState(state=state, action="generate_tasks")
    present = beijing_date(now).year
    if not present - 1 <= year <= present + 1:
        raise invalid("year", "out_of_range")
    if of.effective_date.year > year:
        raise UnfitReference(field="responsibility_list", resource=of.name)


def schedule(items: Sequence[Item], year: int, effective_date: date) -> Schedule:
    """Lay out a year: each recurring item on the days of its rule from the effective date on.

    Days are counted from January 1st whatever the effective date, so that a rule gives the same days in
    the year a list takes effect as in any other. Standing duties (no recurrence) give none. Raises RuleNotMet.
    """
    recurring = [item for item in items if item.recurrence]
    days = {
        rule: [day for day in occurrences(rule, year) if day >= effective_date]
        for rule in dict.fromkeys(item.recurrence for item in recurring)
    }
    task_count = sum(len(days[item.recurrence]) for item in recurring)
    if task_count > MAX_TASKS:
        raise RuleNotMet(rule="an_annual_list_has_at_most_200000_tasks")
    rule_days = [(rule, day) for rule, found in days.items() for day in found]
    return Schedule(recurring, rule_days, task_count)


def check_publication(state: str, editor: str, person: str) -> None:
    """A draft is published by a person other than who generated it."""
    if state != "DRAFT":
        raise WrongState(state=state, action="publish_annual_list")
    if person == editor:
        raise SeparationOfDuties(person=person, first="generate_tasks", second="publish_annual_list")


def check_progress(percent: int) -> None:
    """Progress is reported from 0 to 99 percent; the rest is the completion."""
    if not 0 <= percent <= 99:
        raise invalid("progress_percent", "out_of_range")


def holder_refusal(task: TaskStanding, actor: Actor, action: str, etag: str, shown: Sequence[str]) -> DomainError:
    """Say why a holder's action on a task had no effect; ``shown`` is the evidence of a completion."""
    held = task.post in actor.posts if task.post else task.unit in actor.units
    if not held:
        return RuleNotMet(rule="a_task_is_reported_by_its_holder")
    if task.list_state != "PUBLISHED":
        return WrongState(state=task.list_state, action=action)
    if task.state != "OPEN":
        return WrongState(state=task.state, action=action)
    if etag and etag != task.etag:
        return StaleEtag(resource=task.name)
    if action == "submit_completion" and not set(task.expected_evidence) <= {*task.evidence_types, *shown}:
        return RuleNotMet(rule="a_completion_shows_the_expected_evidence")
    return RuleNotMet(rule="task_evidence_has_a_type_each")


def report_refusal(task: plan_pb2.Task, list_state: str, actor: Actor, etag: str, shown: int) -> DomainError | None:
    """Say why progress may not be reported on a task as it was read, None when it may; ``shown`` counts evidence."""
    held = task.post in actor.posts if task.post else task.unit in actor.units
    if not held:
        return RuleNotMet(rule="a_task_is_reported_by_its_holder")
    if list_state != "PUBLISHED":
        return WrongState(state=list_state, action="report_progress")
    if task.state != plan_pb2.TASK_STATE_OPEN:
        state = TASK_STATE.of(task.state)
        return WrongState(state=state, action="report_progress")
    if etag and etag != task.etag:
        return StaleEtag(resource=task.name)
    if len(task.evidence) + shown > MAX_EVIDENCE:
        return RuleNotMet(rule="task_evidence_has_a_type_each")
    return None


def judge_refusal(task: TaskStanding, actor: Actor, action: str, etag: str) -> DomainError:
    """Say why a confirmation or rejection had no effect."""
    if task.state != "SUBMITTED":
        return WrongState(state=task.state, action=action)
    if actor.person in task.submitters:
        return SeparationOfDuties(person=actor.person, first="submit_completion", second=action)
    return StaleEtag(resource=task.name) if etag else WrongState(state=task.state, action=action)


def is_overdue(state: str, due: float, submitted: float | None, now: float) -> bool:
    """Tell whether the term passed before the task was submitted; a task done is overdue no more. In seconds."""
    if state == "DONE":
        return False
    return due <= (now if submitted is None else submitted)


def light(state: str, due: float, submitted: float | None, now: float) -> kit_pb2.Light.ValueType:
    """Derive the traffic light; nothing is stored as overdue. A task submitted in time stays green. In seconds."""
    if state == "DONE":
        return kit_pb2.LIGHT_UNSPECIFIED
    if is_overdue(state, due, submitted, now):
        return kit_pb2.LIGHT_RED
    if state == "OPEN" and due - now <= YELLOW_DAYS * DAY_SECONDS:
        return kit_pb2.LIGHT_YELLOW
    return kit_pb2.LIGHT_GREEN


@dataclass(frozen=True, slots=True)
class Filter:
    """A list's conditions as its query needs them: states, a range of due days, submitted late or in time.

    ``due_from`` holds for every task, ``open_from`` for open ones; ``late`` holds for submitted ones only.
    """

    states: tuple[str, ...] = ("OPEN", "SUBMITTED", "DONE")
    due_from: date = date.min
    due_before: date = date.max
    open_from: date = date.min
    late: bool | None = None

    @property
    def unfinished(self) -> bool:
        """Tell whether no done task can match."""
        return "DONE" not in self.states

    @property
    def matches_all(self) -> bool:
        """Tell whether every task matches."""
        return self == Filter()


def task_filter(state: str, wanted: int, due_before: date | None, now: datetime, *, overdue: bool) -> Filter | None:
    """Return the conditions for a state ('' for any), a light and a day; None when no task can match."""
    today = beijing_date(now)
    states: tuple[str, ...] = (state,) if state else ("OPEN", "SUBMITTED", "DONE")
    due_from, before, open_from, late = date.min, due_before or date.max, date.min, None
    if overdue and wanted not in (kit_pb2.LIGHT_UNSPECIFIED, kit_pb2.LIGHT_RED):
        return None
    if overdue or wanted == kit_pb2.LIGHT_RED:
        states, before, late = without(states, "DONE"), min(before, today), True
    elif wanted == kit_pb2.LIGHT_YELLOW:
        states, due_from = without(states, "DONE", "SUBMITTED"), today
        before = min(before, today + YELLOW)
    elif wanted == kit_pb2.LIGHT_GREEN:
        states, late, open_from = without(states, "DONE"), False, today + YELLOW
    return Filter(states, due_from, before, open_from, late) if states and due_from < before else None


def without(states: tuple[str, ...], *unwanted: str) -> tuple[str, ...]:
    """Return the states but those unwanted."""
    return tuple(state for state in states if state not in unwanted)
