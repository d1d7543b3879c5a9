"""Payloads of the supervision case: one per tracked matter."""

from dataclasses import dataclass
from datetime import datetime

from workflows.payloads import Asked, Outer, RunningTerm, Term

WORKFLOW = "supervision_case"
CLIMBING = "SUPERVISE"
"""The state in which the ladder climbs; before it the case's own term runs."""


def workflow_id(case_id: str) -> str:
    """Return the id of a supervision case's workflow."""
    return f"supervision_case/{case_id}"


@dataclass(frozen=True, slots=True)
class Rung:
    """One rung of a pinned ladder. Kinds and targets are proto names without prefix; no ``wait`` fires at once."""

    kind: str
    target: str
    wait: Term | None = None
    label: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """The pinned version of a ladder; the case never looks at a later one."""

    name: str
    version: int
    rungs: tuple[Rung, ...]


@dataclass(frozen=True, slots=True)
class SupervisionStart:
    """Opens the case. ``due_time`` is the first instant after the term; without a term it is ``opened``."""

    case: str
    opened: datetime
    due_time: datetime
    matter: str
    unit: str
    policy: Policy
    post: str = ""
    person: str = ""
    hazard: str = ""
    task: str = ""
    term: Term | None = None


@dataclass(frozen=True, slots=True)
class ReportProgress:
    """Reports how the matter is handled.

    ``unit`` is, here and below, the unit that answered when the service let the person act: for it, or over it.
    """

    unit: str
    progress: str
    evidence: tuple[str, ...]
    outer: Outer


@dataclass(frozen=True, slots=True)
class Conclude:
    """Concludes the case by a person's decision."""

    unit: str
    conclusion: str
    outer: Outer


@dataclass(frozen=True, slots=True)
class Settle:
    """Concludes the case because its hazard or task is settled; ``because`` names it."""

    because: str


@dataclass(frozen=True, slots=True)
class HandOn:
    """Has the case follow its matter to another unit; ``step`` tells apart what happens twice."""

    unit: str
    step: str


@dataclass(frozen=True, slots=True)
class SupervisionSnapshot:
    """A supervision case as its workflow sees it. States are proto names without prefix.

    ``unit`` is empty while the unit with which the case opened answers.
    """

    case: str
    state: str
    due_time: datetime
    next_rung_time: datetime | None = None
    fired_rung_count: int = 0
    cycle: int = 1
    progress: str = ""
    evidence: tuple[str, ...] = ()
    reporter: str = ""
    conclusion: str = ""
    concluder: str = ""
    conclude_time: datetime | None = None
    accountability_case: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Addressee:
    """Whom a measure addresses; ``unit`` is always set, so that no rung falls silent."""

    unit: str
    post: str = ""
    person: str = ""


@dataclass(frozen=True, slots=True)
class FindAddressee:
    """Asks whom a rung addresses on a day; ``person`` and ``post`` are those the case names."""

    business_time: datetime
    target: str
    unit: str
    post: str = ""
    person: str = ""


@dataclass(frozen=True, slots=True)
class RecordRung:
    """Asks for a fired rung to be recorded: once per case, cycle and rung, whatever the step."""

    step: str
    business_time: datetime
    case: str
    cycle: int
    number: int
    rung: Rung
    policy: str
    addressee: Addressee


@dataclass(frozen=True, slots=True)
class OpenAccountability:
    """Asks for an accountability case against the subject whom a rung of inquiry addresses."""

    step: str
    business_time: datetime
    subject: Addressee
    unit: str
    matter: str
    measure: str
    supervision_case: str
    hazard: str = ""
    task: str = ""


@dataclass(frozen=True, slots=True)
class RecordSupervision:
    """Asks for a transition to be recorded; ``step`` makes the recording repeatable.

    The end of ``term``, where one is counted, becomes the due time, or the next rung's once the ladder climbs.
    """

    step: str
    business_time: datetime
    transition: str
    snapshot: SupervisionSnapshot
    asked: Asked | None = None
    term: RunningTerm | None = None


@dataclass(frozen=True, slots=True)
class SupervisionTimes:
    """The times on record after a transition. They bind the case: a step done over has the times it had."""

    next_rung_time: datetime | None
    conclude_time: datetime | None
    due_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class SupervisionResult:
    """How the case ended."""

    case: str
    fired_rung_count: int
    accountability_case: str
