"""Rules of the hazard ledger that need no case: what may be entered, which orders may be made."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from dutyloop.hazard.v1 import hazard_pb2
from services.kit.errors import RuleNotMet, UnfitReference, WrongState, invalid
from services.kit.units import judges_itself

CLOSED_STATES = ("WRITTEN_OFF", "CLOSED")


@dataclass(frozen=True, slots=True)
class InForce:
    """What consenting to a resumption must know of the order and its site."""

    kind: str
    resumed: bool
    site_is_closed: bool
    write_off_reason: str


@dataclass(frozen=True, slots=True)
class OrderedHazard:
    """What an order on a site must know of the hazard it is made for."""

    name: str
    site: str
    disposition: str
    state: str


def check_report(hazard: hazard_pb2.Hazard) -> None:
    """A hazard rectified on the spot says in which visit, and how; a major one is never settled on the spot.

    Raises InvalidFields, or RuleNotMet: a major hazard must be entered, reported and pressed for
    removal (Work Safety Law, article 41).
    """
    if hazard.disposition == hazard_pb2.DISPOSITION_ON_THE_SPOT:
        if not hazard.remedy:
            raise invalid("hazard.remedy", "required")
        if not hazard.visit:
            raise invalid("hazard.visit", "required")
        if hazard.grade == hazard_pb2.HAZARD_GRADE_MAJOR:
            raise RuleNotMet(rule="major_hazard_needs_a_case")


def check_visitor(reporter: str, visitors: Collection[str]) -> None:
    """Nobody checks again what was settled on the spot: only who was at the visit vouches for it."""
    if reporter not in visitors:
        raise RuleNotMet(rule="on_the_spot_is_reported_by_an_inspector_of_the_visit")


def check_order(hazard: OrderedHazard, site: str, action: str) -> None:
    """An order is made for an open hazard of the same site that needs time."""
    if hazard.site != site or hazard.disposition == "ON_THE_SPOT":
        raise UnfitReference(field="hazard", resource=hazard.name)
    if hazard.state in CLOSED_STATES:
        raise WrongState(state=hazard.state, action=action)


def check_resumption(order: InForce) -> None:
    """Only a suspension in force is lifted, and only once its hazard stands written off by a reinspection.

    Work Safety Law, article 65: the dangers removed, upon examination. A closed site has nothing to resume.
    """
    if order.kind != "SUSPEND" or order.resumed:
        raise WrongState(state="RESUMED" if order.resumed else order.kind, action="resume_site")
    if order.site_is_closed:
        raise RuleNotMet(rule="site_is_not_closed_down")
    if order.write_off_reason != "REINSPECTED":
        raise RuleNotMet(rule="hazard_of_the_order_is_written_off")


def check_own_unit(hazard_unit: str, units: Sequence[str]) -> None:
    """The unit to which a hazard is assigned answers for it itself, through its own posts; nobody does so before."""
    if hazard_unit and hazard_unit not in units:
        raise RuleNotMet(rule="unit_answers_for_its_own_hazards")


def check_judge(unit_paths: Sequence[str], hazard_unit_path: str) -> None:
    """A unit neither prolongs its own term nor passes its own work, not even where nobody else inspects.

    A post outside it must do so, if only one of the body above.
    """
    if judges_itself(unit_paths, hazard_unit_path):
        raise RuleNotMet(rule="judged_from_outside_the_responsible_unit")


def answers_for(unit_path: str, hazard_unit_path: str) -> bool:
    """Tell whether a post in a unit can answer for a hazard: the hazard's unit, one below it or one above it."""
    return unit_path.startswith(hazard_unit_path) or hazard_unit_path.startswith(unit_path)
