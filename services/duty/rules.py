"""Rules of responsibility lists: what an item must say, who may approve, what may succeed what, who acknowledges."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from dutyloop.duty.v1 import duty_pb2
from services.kit.dates import beijing_date
from services.kit.errors import RuleNotMet, SeparationOfDuties, UnfitReference, WrongState, invalid
from services.kit.recurrence import is_recurrence

MAX_TERM_DAYS = 366
FIGURES = re.compile(r"\d+")
FIGURE_WIDTH = 20


@dataclass(frozen=True, slots=True)
class Version:
    """What the rules must know of a list. ``editors`` is everybody who changed it while it was a draft."""

    name: str
    kind: str
    unit: str
    post: str
    state: str
    effective_date: date
    predecessor: str
    editors: Sequence[str]
    submitter: str
    item_count: int = 0


def check_item(item: duty_pb2.DutyItem, kind: str) -> None:
    """A duty says of which type it is, whether the holder leads, and when it recurs; a prohibited act does not recur.

    Raises InvalidFields.
    """
    if not 0 <= item.term_days <= MAX_TERM_DAYS:
        raise invalid("item.term_days", "out_of_range")
    if len(set(item.expected_evidence)) < len(item.expected_evidence):
        raise invalid("item.expected_evidence", "duplicate")
    if duty_pb2.EVIDENCE_TYPE_UNSPECIFIED in item.expected_evidence:
        raise invalid("item.expected_evidence", "unknown_value")
    if kind == "NEGATIVE":
        for field in ("recurrence", "expected_evidence", "term_days"):
            if getattr(item, field):
                raise invalid(f"item.{field}", "not_applicable")
        return
    if not item.type:
        raise invalid("item.type", "required")
    if not item.involvement:
        raise invalid("item.involvement", "required")
    if item.recurrence and not is_recurrence(item.recurrence):
        raise invalid("item.recurrence")


def number_key(number: str) -> str:
    """Return a text by which numbers sort as people count: 3.2 before 3.10."""
    return FIGURES.sub(lambda figures: figures.group().zfill(FIGURE_WIDTH), number)


def check_predecessor(
    kind: str, unit: str, post: str, effective_date: date, predecessor: Version | None, *, has_published: bool
) -> None:
    """A version follows the published one of the same holder and kind, and takes effect after it."""
    if predecessor is None:
        if has_published:
            raise RuleNotMet(rule="a_further_version_names_its_predecessor")
        return
    if (predecessor.kind, predecessor.unit, predecessor.post) != (kind, unit, post) or predecessor.state != "PUBLISHED":
        raise UnfitReference(field="responsibility_list.predecessor", resource=predecessor.name)
    if effective_date <= predecessor.effective_date:
        raise invalid("responsibility_list.effective_date", "not_after_start")


def check_state(version: Version, expected: str, action: str) -> None:
    """Raise WrongState unless the list is in the state that the action starts from."""
    if version.state != expected:
        raise WrongState(state=version.state, action=action)


def check_submission(version: Version) -> None:
    """Only a draft with items is handed in."""
    check_state(version, "DRAFT", "submit_list")
    if version.item_count == 0:
        raise RuleNotMet(rule="a_list_has_items")


def check_judge(version: Version, person: str, action: str) -> None:
    """A submitted list is approved or returned by a person who neither edited nor submitted it."""
    check_state(version, "SUBMITTED", action)
    if person == version.submitter:
        raise SeparationOfDuties(person=person, first="submit_list", second=action)
    if person in version.editors:
        raise SeparationOfDuties(person=person, first="edit_list", second=action)


def check_supersession(version: Version, successor: Version, now: datetime) -> None:
    """A published list gives way to the published one that names it as predecessor, once that one is in force."""
    check_state(version, "PUBLISHED", "supersede_list")
    if successor.predecessor != version.name:
        raise UnfitReference(field="successor", resource=successor.name)
    check_state(successor, "PUBLISHED", "supersede_list")
    if successor.effective_date > beijing_date(now):
        raise RuleNotMet(rule="the_successor_is_in_force")


def check_holder(version: Version, posts: Sequence[str], units: Sequence[str]) -> None:
    """A published list is acknowledged by who holds its duties: the post's holder, or a duty holder of the unit."""
    check_state(version, "PUBLISHED", "acknowledge_list")
    if version.post not in posts if version.post else version.unit not in units:
        raise RuleNotMet(rule="a_list_is_acknowledged_by_its_holder")
