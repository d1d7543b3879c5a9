"""Rules of tours, draws and visits: what may be planned, who may be drawn, which visit counts."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from dutyloop.inspection.v1 import inspection_pb2
from services.inspection import draw
from services.kit.access import Scope
from services.kit.dates import beijing_date, day_of, time_of
from services.kit.errors import RuleNotMet, SeparationOfDuties, UnfitReference, WindowClosed, WrongState, invalid
from services.kit.units import is_within

LATEST_RECORD = timedelta(days=30)
"""How long after a visit its record may be made (our default, not statutory)."""
MOST_INSPECTORS = 10
DOCUMENT_HASH_BYTES = 32
"""SHA-256."""
UNITS, SITES = "units/", "sites/"
NOWHERE = Scope(regions=(), unit_paths=())


@dataclass(frozen=True, slots=True)
class Target:
    """What is visited, as directory tells it; ``unit`` is the target itself, or answers for the site ('' when none)."""

    name: str
    region_code: str
    unit: str
    unit_path: str
    enterprise: bool


@dataclass(frozen=True, slots=True)
class Inspector:
    """A person as directory tells of him now.

    ``appointed`` means that he holds an inspector's post; ``reach`` is how far such posts of his reach.
    """

    person: str
    unit: str
    unit_path: str
    appointed: bool
    region_code: str = ""
    reach: Scope = NOWHERE


def check_known(inspectors: Sequence[Inspector], targets: Sequence[Target], scope: Scope, field: str) -> None:
    """Inspectors are of the caller's reach, or have a target in their own; any other is answered like an absent one.

    Inspectors of one county visit another (异地交叉检查) on a tour of the city above, which reaches both.
    """
    for index, each in enumerate(inspectors):
        known = scope.covers(each.region_code, each.unit_path)
        if not known and not any(each.reach.covers(target.region_code, target.unit_path) for target in targets):
            raise invalid(f"{field}[{index}]", "unknown_reference")


@dataclass(frozen=True, slots=True)
class TourWindow:
    """What a visit must know of its tour."""

    state: str
    end_date: date
    start_time: datetime | None
    enforcement_unit: str


def inspectors_per_visit(tour: inspection_pb2.Tour) -> int:
    """Return how many inspectors visit each target. Raises InvalidFields."""
    asked = tour.inspectors_per_visit or draw.LEAST_INSPECTORS
    if not draw.LEAST_INSPECTORS <= asked <= MOST_INSPECTORS:
        raise invalid("tour.inspectors_per_visit", "out_of_range")
    return asked


def check_tour(tour: inspection_pb2.Tour, today: date) -> None:
    """A tour lies ahead, visits units or sites but never both, and has a pool to draw from."""
    start, end = day_of(tour.start_date), day_of(tour.end_date)
    if start < today:
        raise invalid("tour.start_date", "in_the_past")
    if end < start:
        raise invalid("tour.end_date", "not_after_start")
    if tour.HasField("notice_date"):
        if day_of(tour.notice_date) < today:
            raise invalid("tour.notice_date", "in_the_past")
        if day_of(tour.notice_date) > start:
            raise invalid("tour.notice_date", "out_of_range")
    prefix = SITES if tour.targets[0].startswith(SITES) else UNITS
    for index, target in enumerate(tour.targets):
        if not target.startswith(prefix):
            raise invalid(f"tour.targets[{index}]", "malformed")
    _require_distinct(tour.targets, "tour.targets")
    _require_distinct(tour.candidates, "tour.candidates")
    if len(tour.candidates) < inspectors_per_visit(tour):
        raise RuleNotMet(rule="enough_inspectors_for_every_target")


def check_reach(targets: Sequence[Target], region_code: str) -> None:
    """A unit tours its own region; a target elsewhere is answered like an absent one."""
    for index, target in enumerate(targets):
        if not target.region_code.startswith(region_code):
            raise invalid(f"tour.targets[{index}]", "unknown_reference")


def check_enforcement(targets: Iterable[Target], enforcement_unit: str) -> None:
    """Enterprises are inspected by statutory enforcement bodies, never by a coordination body (国办发〔2024〕54号)."""
    if not enforcement_unit and any(target.enterprise for target in targets):
        raise RuleNotMet(rule="enterprises_are_inspected_by_an_enforcement_body")


def check_recusals(
    declared: Sequence[inspection_pb2.Exclusion], candidates: Collection[str], targets: Collection[str]
) -> None:
    """People declare recusals only, of candidates and from targets of the tour; the rest follows from the rules."""
    for index, each in enumerate(declared):
        if each.inspector not in candidates:
            raise invalid(f"exclusions[{index}].inspector", "unknown_reference")
        if each.target and each.target not in targets:
            raise invalid(f"exclusions[{index}].target", "unknown_reference")
        if each.reason != inspection_pb2.EXCLUSION_REASON_RECUSAL:
            raise invalid(f"exclusions[{index}].reason", "out_of_range")


def freeze_pool(
    targets: Sequence[Target],
    inspectors: Sequence[Inspector],
    recusals: Iterable[tuple[str, str]],
    enforcement_path: str,
    number: int,
) -> draw.Pool:
    """Return the pool with every exclusion and its reason; ``recusals`` are pairs of inspector and target."""
    declared = {draw.Exclusion(person, target, "RECUSAL") for person, target in recusals}
    exclusions = sorted(declared, key=lambda each: (each.inspector, each.target))
    for inspector in inspectors:
        if not inspector.appointed:
            exclusions.append(draw.Exclusion(inspector.person, "", "NOT_APPOINTED"))
        elif enforcement_path and not inspector.unit_path.startswith(enforcement_path):
            exclusions.append(draw.Exclusion(inspector.person, "", "NOT_ENFORCEMENT"))
        else:
            exclusions += [
                draw.Exclusion(inspector.person, target.name, "OWN_UNIT")
                for target in targets
                if is_own_unit(inspector, target)
            ]
    return draw.Pool(
        tuple(target.name for target in targets),
        tuple(draw.Candidate(each.person, each.unit) for each in inspectors),
        tuple(exclusions),
        number,
    )


def is_own_unit(inspector: Inspector, target: Target) -> bool:
    """Tell whether the inspector belongs to the target, to the unit that answers for it, or to one below."""
    return is_within(inspector.unit_path, target.unit_path)


def check_drawable(pool: draw.Pool) -> None:
    """Every target can be given its inspectors, whatever the seed will be."""
    everywhere = {each.inspector for each in pool.exclusions if not each.target}
    for target in pool.targets:
        kept = everywhere | {each.inspector for each in pool.exclusions if each.target == target}
        if sum(each.person not in kept for each in pool.candidates) < pool.inspectors_per_visit:
            raise RuleNotMet(rule="enough_inspectors_for_every_target", target=target)


def check_drawer(drawer: str, candidates: Collection[str]) -> None:
    """Nobody draws himself."""
    if drawer in candidates:
        raise SeparationOfDuties(person=drawer, first="draw_inspectors", second="inspect")


def check_frozen(pool_hash: bytes, frozen: bytes) -> None:
    """A draw is made from the pool whose hash was written down before the seed was made."""
    if pool_hash != frozen:
        raise RuleNotMet(rule="draw_is_from_the_frozen_pool")


def check_open(state: str, action: str) -> None:
    """A closed tour's case has ended and cannot be asked; nothing more is done on it."""
    if state == "CLOSED":
        raise WrongState(state=state, action=action)


def check_published(algorithm: str) -> None:
    """Only a draw by a published algorithm can be recomputed."""
    if algorithm != draw.ALGORITHM:
        raise RuleNotMet(rule="draw_algorithm_is_published")


def check_target_kind(target: str) -> None:
    """Units and sites are visited, nothing else that has a name."""
    if not target.startswith((UNITS, SITES)):
        raise invalid("visit.target", "malformed")


def check_record(visit: inspection_pb2.Visit, recorder: str, now: datetime) -> None:
    """A record is made by an inspector of the visit, with certificates shown and every signature.

    Work Safety Law, articles 67 and 68; Administrative Penalty Law, article 42 for the two inspectors.
    """
    _require_distinct(visit.inspectors, "visit.inspectors")
    if len(visit.inspectors) < draw.LEAST_INSPECTORS:
        raise RuleNotMet(rule="two_inspectors_at_every_visit")
    if recorder not in visit.inspectors:
        raise RuleNotMet(rule="visit_is_recorded_by_an_inspector_of_it")
    if time_of(visit.check_in_time) > now:
        raise invalid("visit.check_in_time", "in_the_future")
    if now - time_of(visit.check_in_time) > LATEST_RECORD:
        raise RuleNotMet(rule="visit_is_recorded_within_30_days")
    if not visit.certificate_shown:
        raise RuleNotMet(rule="certificates_are_shown")
    signers = [signature.inspector for signature in visit.signatures]
    _require_distinct(signers, "visit.signatures")
    if set(signers) != set(visit.inspectors):
        raise RuleNotMet(rule="every_inspector_signs")
    if visit.target_signature and visit.refusal_note:
        raise invalid("visit.refusal_note", "excluded")
    if not visit.target_signature and not visit.refusal_note:
        raise invalid("visit.target_signature", "required")


def check_tour_visit(visit: inspection_pb2.Visit, tour: TourWindow, drawn: Collection[str]) -> None:
    """A visit covers a target of a started tour, within its days, by inspectors drawn for that target."""
    if tour.state != "STARTED" or tour.start_time is None:
        raise WrongState(state=tour.state, action="record_visit")
    day = beijing_date(time_of(visit.check_in_time))
    # By days: the instant of the start is the case's, which virtual time lets run ahead by seconds.
    if day < beijing_date(tour.start_time):
        raise RuleNotMet(rule="visit_follows_the_start_of_its_tour")
    if day > tour.end_date:
        raise WindowClosed(closed=tour.end_date.isoformat())
    for index, inspector in enumerate(visit.inspectors):
        if inspector not in drawn:
            raise UnfitReference(field=f"visit.inspectors[{index}]", resource=inspector)
    if visit.enforcement_unit and visit.enforcement_unit != tour.enforcement_unit:
        raise UnfitReference(field="visit.enforcement_unit", resource=visit.enforcement_unit)


def check_single_visit(
    visit: inspection_pb2.Visit, target: Target, inspectors: Sequence[Inspector], enforcement_path: str
) -> None:
    """A visit outside any tour is an enforcement body's, to a site, by its own inspectors, never to their own unit."""
    if not visit.target.startswith(SITES):
        raise UnfitReference(field="visit.target", resource=visit.target)
    for index, inspector in enumerate(inspectors):
        fit = inspector.appointed and inspector.unit_path.startswith(enforcement_path)
        if not fit or is_own_unit(inspector, target):
            raise UnfitReference(field=f"visit.inspectors[{index}]", resource=inspector.person)


def check_letter(letter: inspection_pb2.FeedbackLetter, visited: Mapping[str, bool]) -> None:
    """A letter is addressed to targets of the tour that were visited, each once.

    ``visited`` tells of each addressee that is a target whether it was.
    """
    _require_distinct(letter.addressees, "letter.addressees")
    for index, addressee in enumerate(letter.addressees):
        if addressee not in visited:
            raise UnfitReference(field=f"letter.addressees[{index}]", resource=addressee)
        if not visited[addressee]:
            raise RuleNotMet(rule="addressee_was_visited", target=addressee)
    if letter.HasField("term") and letter.term.amount < 1:
        raise invalid("letter.term.amount", "out_of_range")


def _require_distinct(names: Sequence[str], field: str) -> None:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            raise invalid(f"{field}[{index}]", "duplicate")
        seen.add(name)
