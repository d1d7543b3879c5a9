"""Rules of the hazard ledger that need no case: what may be entered, which orders may be made."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.kit.v1 import kit_pb2
from services.kit.errors import RuleNotMet, UnfitReference, WrongState, invalid

BEIJING = timezone(timedelta(hours=8))
YELLOW = timedelta(days=5)
"""How long before the end of a term the light turns yellow (our default, not statutory)."""
CLOSED_STATES = ("WRITTEN_OFF", "CLOSED")


@dataclass(frozen=True, slots=True)
class OrderedHazard:
    """What an order on a site must know of the hazard it is made for."""

    name: str
    site: str
    disposition: str
    state: str


def check_report(hazard: hazard_pb2.Hazard) -> None:
    """A hazard rectified on the spot says how; a major one is never settled on the spot.

    Raises InvalidFields, or RuleNotMet: a major hazard must be entered, reported and pressed for
    removal (Work Safety Law, article 41).
    """
    if hazard.disposition == hazard_pb2.DISPOSITION_ON_THE_SPOT:
        if not hazard.remedy:
            raise invalid("hazard.remedy", "required")
        if hazard.grade == hazard_pb2.HAZARD_GRADE_MAJOR:
            raise RuleNotMet(rule="major_hazard_needs_a_case")


def check_order(hazard: OrderedHazard, site: str, action: str) -> None:
    """An order is made for an open hazard of the same site that needs time."""
    if hazard.site != site or hazard.disposition == "ON_THE_SPOT":
        raise UnfitReference(field="hazard", resource=hazard.name)
    if hazard.state in CLOSED_STATES:
        raise WrongState(state=hazard.state, action=action)


def check_resumption(order_kind: str, resumed: bool, hazard_state: str) -> None:
    """Only a suspension in force is lifted, and only once its hazard is written off (Work Safety Law, article 65)."""
    if order_kind != "SUSPEND" or resumed:
        raise WrongState(state="RESUMED" if resumed else order_kind, action="resume_site")
    if hazard_state not in CLOSED_STATES:
        raise RuleNotMet(rule="hazard_of_the_order_is_written_off")


def light(due: datetime | None, written_off: bool, now: datetime) -> kit_pb2.Light.ValueType:
    """Derive the traffic light; nothing is stored as overdue."""
    if due is None or written_off:
        return kit_pb2.LIGHT_UNSPECIFIED
    if now >= due:
        return kit_pb2.LIGHT_RED
    return kit_pb2.LIGHT_YELLOW if due - now <= YELLOW else kit_pb2.LIGHT_GREEN


def end_of(day: date) -> datetime:
    """Return the first instant after a Beijing calendar day."""
    return datetime.combine(day + timedelta(days=1), datetime.min.time(), tzinfo=BEIJING)
