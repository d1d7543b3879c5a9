"""Responsibility lists: what an item must say, who may judge a list, what may succeed it, who acknowledges it."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from dutyloop.duty.v1 import duty_pb2
from services.duty.rules import (
    Version,
    check_holder,
    check_item,
    check_judge,
    check_predecessor,
    check_state,
    check_submission,
    check_supersession,
    number_key,
)
from tests.refusals import refusal

EDITOR, SUBMITTER, APPROVER = "people/1", "people/2", "people/3"
FIRST = Version(
    name="responsibilityLists/a",
    kind="DUTY",
    unit="units/u",
    post="posts/p",
    state="SUBMITTED",
    effective_date=date(2025, 1, 1),
    predecessor="",
    editors=(EDITOR,),
    submitter=SUBMITTER,
    item_count=3,
)
IN_FORCE = replace(FIRST, state="PUBLISHED")
SUCCESSOR = replace(
    IN_FORCE, name="responsibilityLists/b", predecessor="responsibilityLists/a", effective_date=date(2026, 1, 1)
)


def item(**changes: Any) -> duty_pb2.DutyItem:
    """Return an item of a duty list on which nothing is wrong, with changes."""
    fields: dict[str, Any] = {
        "number": "1",
        "text": "组织制定应急预案",
        "law": "安全生产法",
        "article": "§21(6)",
        "type": duty_pb2.DUTY_TYPE_PRINCIPAL,
        "involvement": duty_pb2.INVOLVEMENT_LEAD,
    }
    return duty_pb2.DutyItem(**{**fields, **changes})


@pytest.mark.parametrize(
    "recurrence",
    [
        "",
        "FREQ=YEARLY",
        "FREQ=MONTHLY;BYMONTHDAY=-1",
        "FREQ=YEARLY;BYMONTH=3,6,9,12;BYMONTHDAY=-1",
        "FREQ=DAILY;COUNT=3",
    ],
)
def test_recurrences_of_real_duties_are_taken(recurrence: str) -> None:
    """A district's list could not be imported if its yearly, quarterly or standing duties were refused."""
    assert refusal(lambda: check_item(item(recurrence=recurrence), "DUTY")) is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"type": 0}, "item.type"),
        ({"involvement": 0}, "item.involvement"),
        ({"term_days": -1}, "item.term_days"),
        ({"term_days": 367}, "item.term_days"),
        ({"expected_evidence": [1, 1]}, "item.expected_evidence"),
        ({"expected_evidence": [0]}, "item.expected_evidence"),
        ({"recurrence": "monthly"}, "item.recurrence"),
        ({"recurrence": "FREQ=DAILY;UNTIL=20261231"}, "item.recurrence"),
    ],
)
def test_an_item_says_what_a_duty_must_say(changes: dict[str, Any], field: str) -> None:
    """A holder could not be held to a duty of no type, no part in it or no readable term."""
    refused = refusal(lambda: check_item(item(**changes), "DUTY"))
    assert refused is not None and refused.startswith(f"{field} ")


@pytest.mark.parametrize(
    "changes",
    [{"recurrence": "FREQ=YEARLY"}, {"expected_evidence": [1]}, {"term_days": 3}],
    ids=lambda each: next(iter(each)),
)
def test_a_prohibited_act_does_not_recur(changes: dict[str, Any]) -> None:
    """A negative list with terms would ask holders to show evidence of what they must never do."""
    assert refusal(lambda: check_item(item(type=0, involvement=0), "NEGATIVE")) is None
    refused = refusal(lambda: check_item(item(**changes), "NEGATIVE"))
    assert refused is not None and refused.endswith(" not_applicable")


def test_numbers_sort_as_people_count() -> None:
    """Readers of a list would find item 3.10 before 3.2."""
    numbers = ["3.10", "10", "3.2", "1", "3"]
    assert sorted(numbers, key=number_key) == ["1", "3", "3.2", "3.10", "10"]


def test_an_empty_list_is_not_handed_in() -> None:
    """An approver would sign a list that obliges nobody."""
    assert refusal(lambda: check_submission(replace(FIRST, state="DRAFT", item_count=0))) == "a_list_has_items"
    assert refusal(lambda: check_submission(replace(FIRST, state="DRAFT"))) is None


@pytest.mark.parametrize("state", ["SUBMITTED", "PUBLISHED", "SUPERSEDED"])
def test_a_version_does_not_change_once_handed_in(state: str) -> None:
    """Holders would be held to a text other than the one approved."""
    found = refusal(lambda: check_state(replace(FIRST, state=state), "DRAFT", "edit_list"))
    assert found == f"WRONG_STATE {state} edit_list"


@pytest.mark.parametrize("action", ["approve_list", "return_list"])
@pytest.mark.parametrize(("person", "did"), [(EDITOR, "edit_list"), (SUBMITTER, "submit_list")])
def test_who_edited_or_submitted_does_not_judge(person: str, did: str, action: str) -> None:
    """One person could write and publish the duties of others alone."""
    assert refusal(lambda: check_judge(FIRST, person, action)) == f"SEPARATION_OF_DUTIES {person} {did} {action}"
    assert refusal(lambda: check_judge(FIRST, APPROVER, action)) is None


def test_only_a_submitted_list_is_judged() -> None:
    """A draft still being written could be published over its editor's head."""
    found = refusal(lambda: check_judge(replace(FIRST, state="DRAFT"), APPROVER, "approve_list"))
    assert found == "WRONG_STATE DRAFT approve_list"


def succession(start: date, predecessor: Version | None, *, has_published: bool) -> str | None:
    """Return what is refused of a further version that takes effect on a day."""
    return refusal(
        lambda: check_predecessor("DUTY", "units/u", "posts/p", start, predecessor, has_published=has_published)
    )


def test_a_further_version_follows_the_published_one() -> None:
    """Two lists of one holder would be in force at once, and nobody knew which."""
    assert succession(date(2025, 1, 1), None, has_published=False) is None
    refused = succession(date(2026, 1, 1), None, has_published=True)
    assert refused == "a_further_version_names_its_predecessor"
    assert succession(date(2026, 1, 1), IN_FORCE, has_published=True) is None


@pytest.mark.parametrize(
    "predecessor",
    [replace(IN_FORCE, post=""), replace(IN_FORCE, kind="NEGATIVE"), replace(IN_FORCE, unit="units/v"), FIRST],
    ids=["other post", "other kind", "other unit", "not published"],
)
def test_a_predecessor_is_the_holders_own_published_list(predecessor: Version) -> None:
    """A holder's list could take another holder's out of force."""
    refused = succession(date(2026, 1, 1), predecessor, has_published=True)
    assert refused == f"UNFIT_REFERENCE responsibility_list.predecessor {predecessor.name}"


def test_a_successor_takes_effect_later() -> None:
    """A version could rewrite duties of a time already lived through."""
    refused = succession(IN_FORCE.effective_date, IN_FORCE, has_published=True)
    assert refused == "responsibility_list.effective_date not_after_start"


def test_a_list_gives_way_once_its_successor_is_in_force() -> None:
    """Between the two versions a holder would have no duties at all."""
    eve = datetime(2025, 12, 31, 15, 59, tzinfo=UTC)
    assert refusal(lambda: check_supersession(IN_FORCE, SUCCESSOR, eve)) == "the_successor_is_in_force"
    midnight = datetime(2025, 12, 31, 16, 0, tzinfo=UTC)
    assert refusal(lambda: check_supersession(IN_FORCE, SUCCESSOR, midnight)) is None


@pytest.mark.parametrize(
    ("successor", "refused"),
    [
        (replace(SUCCESSOR, predecessor="responsibilityLists/x"), f"UNFIT_REFERENCE successor {SUCCESSOR.name}"),
        (replace(SUCCESSOR, state="SUBMITTED"), "WRONG_STATE SUBMITTED supersede_list"),
    ],
)
def test_a_list_gives_way_to_its_own_published_successor_only(successor: Version, refused: str) -> None:
    """Duties could be dropped in favour of a list nobody approved for that holder."""
    assert refusal(lambda: check_supersession(IN_FORCE, successor, datetime(2026, 6, 1, tzinfo=UTC))) == refused


@pytest.mark.parametrize(
    ("version", "posts", "units", "refused"),
    [
        (IN_FORCE, ["posts/p"], ["units/x"], None),
        (IN_FORCE, ["posts/q"], ["units/u"], "a_list_is_acknowledged_by_its_holder"),
        (replace(IN_FORCE, post=""), ["posts/q"], ["units/u"], None),
        (replace(IN_FORCE, post=""), ["posts/p"], ["units/x"], "a_list_is_acknowledged_by_its_holder"),
        (FIRST, ["posts/p"], ["units/u"], "WRONG_STATE SUBMITTED acknowledge_list"),
    ],
)
def test_a_list_is_acknowledged_by_its_holder(
    version: Version, posts: list[str], units: list[str], refused: str | None
) -> None:
    """Somebody else could take note in the holder's place, and the holder plead ignorance."""
    assert refusal(lambda: check_holder(version, posts, units)) == refused
