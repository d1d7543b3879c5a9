"""Payloads of the rectification case: one per hazard that needs time."""

from dataclasses import dataclass
from datetime import date, datetime

from workflows.payloads import Asked, Outer, RunningTerm, Term

WORKFLOW = "rectification"


def workflow_id(hazard_id: str) -> str:
    """Return the id of a hazard's case."""
    return f"rectification/{hazard_id}"


@dataclass(frozen=True, slots=True)
class RectificationTerms:
    """The terms pinned when the case opens. No national figure exists for them: presets, not statute."""

    assign: Term = Term(3, "WORKING_DAYS")
    plan: Term = Term(5, "WORKING_DAYS")
    reinspect: Term = Term(10, "WORKING_DAYS")
    rectify_again: Term = Term(5, "WORKING_DAYS")
    look_back: Term = Term(30, "NATURAL_DAYS")


@dataclass(frozen=True, slots=True)
class RectificationStart:
    """Opens the case. ``fallback_unit`` answers while nobody is assigned."""

    hazard: str
    opened: datetime
    due_time: datetime
    grade: str
    fallback_unit: str
    terms: RectificationTerms = RectificationTerms()


@dataclass(frozen=True, slots=True)
class Plan:
    """The five elements: responsible person, measures, funds, last day, contingency."""

    responsible: str
    measures: str
    funds_fen: int
    finish_date: date
    contingency: str


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension asked for; ``verdict`` is empty until decided."""

    finish_date: date
    reason: str
    requester: str
    verdict: str = ""
    decider: str = ""


@dataclass(frozen=True, slots=True)
class Assign:
    """Assigns the hazard to a unit, or, before that unit has a plan, to another; ``from_unit`` had it until now."""

    unit: str
    unit_path: str
    from_unit: str
    outer: Outer


@dataclass(frozen=True, slots=True)
class SubmitPlan:
    """Hands in the plan.

    ``unit`` is, here and below, the hazard's unit when the service let the person act: for it, or on what is its.
    """

    unit: str
    plan: Plan
    outer: Outer


@dataclass(frozen=True, slots=True)
class SubmitRectification:
    """Reports the hazard rectified."""

    unit: str
    evidence: tuple[str, ...]
    outer: Outer


@dataclass(frozen=True, slots=True)
class RequestExtension:
    """Asks for more time."""

    unit: str
    finish_date: date
    reason: str
    outer: Outer


@dataclass(frozen=True, slots=True)
class Judge:
    """Carries a verdict, PASS or FAIL: on an extension, a reinspection or a look-back.

    ``unit_paths`` are those of the units through whose posts the person judges.
    """

    unit: str
    verdict: str
    outer: Outer
    remark: str = ""
    unit_paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CloseDown:
    """Ends the case because its site was closed down."""

    site_order: str


@dataclass(frozen=True, slots=True)
class HazardSnapshot:
    """A hazard as its case sees it. States, grades and reasons are proto names without prefix."""

    hazard: str
    state: str
    grade: str
    due_time: datetime | None
    unit: str = ""
    plan: Plan | None = None
    extension: Extension | None = None
    rectifier: str = ""
    reinspector: str = ""
    look_backer: str = ""
    evidence: tuple[str, ...] = ()
    write_off_time: datetime | None = None
    write_off_reason: str = ""
    reopen_count: int = 0
    site_order: str = ""


@dataclass(frozen=True, slots=True)
class RecordTransition:
    """Asks the hazard service to record a transition; ``step`` makes the recording repeatable.

    The end of ``term``, where one is counted, becomes the due time; ``unit_path`` comes with an assignment.
    """

    step: str
    business_time: datetime
    transition: str
    snapshot: HazardSnapshot
    asked: Asked | None = None
    remark: str = ""
    term: RunningTerm | None = None
    unit_path: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The times on record after a transition. They bind the case: a step done over has the times it had."""

    due_time: datetime | None
    write_off_time: datetime | None


@dataclass(frozen=True, slots=True)
class RectificationResult:
    """How the case ended."""

    hazard: str
    state: str
    write_off_reason: str
    reopen_count: int
