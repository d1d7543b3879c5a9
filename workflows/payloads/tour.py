"""Payloads of the tour: one per inspection tour. A tour may have a thousand targets; no payload carries them."""

from dataclasses import dataclass
from datetime import date, datetime

from workflows.payloads import Asked, Outer, Term

WORKFLOW = "tour"


def workflow_id(tour_id: str) -> str:
    """Return the id of a tour's case."""
    return f"tour/{tour_id}"


@dataclass(frozen=True, slots=True)
class TourTerms:
    """The terms pinned when the tour is planned. No national figure exists for them: presets, not statute."""

    letter: Term = Term(10, "WORKING_DAYS")
    report: Term = Term(6, "MONTHS")
    close: Term = Term(10, "WORKING_DAYS")


@dataclass(frozen=True, slots=True)
class TourStart:
    """Opens the case. ``unit`` organises the tour; ``due_time`` ends the term to draw and to start."""

    tour: str
    opened: datetime
    due_time: datetime
    unit: str
    start_date: date
    end_date: date
    notice_date: date | None = None
    terms: TourTerms = TourTerms()


@dataclass(frozen=True, slots=True)
class Recusal:
    """Keeps a candidate from a target, or from all of them when ``target`` is empty."""

    inspector: str
    target: str


@dataclass(frozen=True, slots=True)
class DrawInspectors:
    """Asks for the draw. ``pool_hash`` (hex) fixes the pool before the case makes the seed."""

    pool_hash: str
    public_entropy: str
    recusals: tuple[Recusal, ...]
    outer: Outer


@dataclass(frozen=True, slots=True)
class StartTour:
    """Starts the tour."""

    outer: Outer


@dataclass(frozen=True, slots=True)
class Addressee:
    """A target that must report, and the unit that answers for it ('' when none does)."""

    target: str
    unit: str


@dataclass(frozen=True, slots=True)
class Letter:
    """The feedback letter; without a term the house default is taken."""

    number: str
    summary: str
    addressees: tuple[Addressee, ...]
    term: Term | None = None


@dataclass(frozen=True, slots=True)
class IssueLetter:
    """Issues the feedback letter."""

    letter: Letter
    outer: Outer


@dataclass(frozen=True, slots=True)
class Report:
    """An addressee's rectification report; ``document_hash`` is hex."""

    target: str
    number: str
    document_hash: str


@dataclass(frozen=True, slots=True)
class SubmitReport:
    """Hands in a report."""

    report: Report
    outer: Outer


@dataclass(frozen=True, slots=True)
class CloseTour:
    """Closes the tour."""

    conclusion: str
    outer: Outer


@dataclass(frozen=True, slots=True)
class TourSnapshot:
    """A tour as its case sees it; ``state`` is a proto name without prefix."""

    tour: str
    state: str
    due_time: datetime | None


@dataclass(frozen=True, slots=True)
class FrozenDraw:
    """What the draw is asked with: the frozen pool's hash and the seed made after it, both hex."""

    pool_hash: str
    seed: str
    public_entropy: str
    recusals: tuple[Recusal, ...]


@dataclass(frozen=True, slots=True)
class RecordTransition:
    """Asks the inspection service to record a transition; ``step`` makes the recording repeatable.

    ``draw``, ``letter``, ``report`` and ``conclusion`` come with the transition that brings them about, only;
    so does the ``term`` that begins with it, whose end becomes the due time.
    """

    step: str
    business_time: datetime
    transition: str
    snapshot: TourSnapshot
    asked: Asked | None = None
    draw: FrozenDraw | None = None
    letter: Letter | None = None
    report: Report | None = None
    conclusion: str = ""
    term: Term | None = None


@dataclass(frozen=True, slots=True)
class TourResult:
    """How the tour ended."""

    tour: str
    state: str
