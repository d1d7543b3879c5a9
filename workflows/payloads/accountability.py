"""Payloads of the accountability case: one per subject and matter."""

from dataclasses import dataclass
from datetime import datetime

from workflows.payloads import Asked, Outer, RunningTerm, Term

WORKFLOW = "accountability_case"


def workflow_id(case_id: str) -> str:
    """Return the id of an accountability case's workflow."""
    return f"accountability_case/{case_id}"


@dataclass(frozen=True, slots=True)
class AccountabilityTerms:
    """The terms pinned when the case opens. No national figure exists for them: presets, not statute."""

    facts: Term = Term(15, "WORKING_DAYS")
    decide: Term = Term(15, "WORKING_DAYS")


@dataclass(frozen=True, slots=True)
class AccountabilityStart:
    """Opens the case; ``due_time`` is the first instant after the term for the facts.

    ``unit_path`` is that of the unit in which the subject answers; ``opener`` is empty when a workflow opened it.
    """

    case: str
    opened: datetime
    due_time: datetime
    subject: str
    unit_path: str
    terms: AccountabilityTerms = AccountabilityTerms()
    opener: str = ""


@dataclass(frozen=True, slots=True)
class SubmitFacts:
    """Hands in the facts."""

    facts: str
    evidence: tuple[str, ...]
    outer: Outer


@dataclass(frozen=True, slots=True)
class Decide:
    """Decides with a measure. ``appeal_clock`` is the catalogued clock of its appeal window, '' where none is.

    ``unit_paths`` are, here and below, those of the units through whose posts the person decides.
    """

    decision: str
    influence_months: int
    instrument_number: str
    grounds: str
    appeal_clock: str
    unit_paths: tuple[str, ...]
    outer: Outer


@dataclass(frozen=True, slots=True)
class PerformedDuty:
    """A duty and the ledger entries that show it performed."""

    duty_item: str
    ledger_entries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Exemption:
    """The duties shown performed, and why the subject is exempted."""

    duties: tuple[PerformedDuty, ...]
    grounds: str


@dataclass(frozen=True, slots=True)
class Exempt:
    """Exempts the subject; the service has checked the evidence against list and ledger."""

    exemption: Exemption
    unit_paths: tuple[str, ...]
    outer: Outer


@dataclass(frozen=True, slots=True)
class FileAppeal:
    """Files the subject's appeal."""

    reason: str
    outer: Outer


@dataclass(frozen=True, slots=True)
class Appeal:
    """An appeal filed in time; it stands beside the case, which it does not suspend."""

    reason: str
    file_time: datetime


@dataclass(frozen=True, slots=True)
class AccountabilitySnapshot:
    """An accountability case as its workflow sees it. States and decisions are proto names without prefix."""

    case: str
    state: str
    due_time: datetime | None
    facts: str = ""
    evidence: tuple[str, ...] = ()
    handler: str = ""
    decider: str = ""
    decide_time: datetime | None = None
    decision: str = ""
    instrument_number: str = ""
    influence_months: int = 0
    influence_end_time: datetime | None = None
    grounds: str = ""
    exemption: Exemption | None = None
    appeal_due_time: datetime | None = None
    appeal_basis: str = ""
    appeal: Appeal | None = None
    close_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class RecordAccountability:
    """Asks for a transition to be recorded; ``step`` makes the recording repeatable.

    The end of ``term``, where one is counted, becomes the due time.
    """

    step: str
    business_time: datetime
    transition: str
    snapshot: AccountabilitySnapshot
    asked: Asked | None = None
    term: RunningTerm | None = None


@dataclass(frozen=True, slots=True)
class AccountabilityTimes:
    """The times on record after a transition. They bind the case: a step done over has the times it had."""

    due_time: datetime | None
    decide_time: datetime | None
    influence_end_time: datetime | None
    appeal_due_time: datetime | None
    appeal_time: datetime | None
    close_time: datetime | None


@dataclass(frozen=True, slots=True)
class AccountabilityResult:
    """How the case ended."""

    case: str
    state: str
    decision: str
    appealed: bool
