"""Rules of the hazard ledger: which suspensions may be lifted, and who answers for a hazard."""

import pytest

from dutyloop.hazard.v1 import hazard_pb2
from services.hazard import rules
from services.kit.errors import DomainError, InvalidFields, RuleNotMet, WrongState

LIFTABLE = rules.InForce("SUSPEND", resumed=False, site_is_closed=False, write_off_reason="REINSPECTED")


def test_a_suspension_is_lifted_once_its_hazard_passed_a_reinspection() -> None:
    """A safe site would stand still without a way back."""
    rules.check_resumption(LIFTABLE)


@pytest.mark.parametrize(
    ("order", "refusal"),
    [
        (rules.InForce("SUSPEND", False, False, ""), RuleNotMet),
        (rules.InForce("SUSPEND", False, False, "SITE_CLOSED_DOWN"), RuleNotMet),
        (rules.InForce("SUSPEND", False, True, "REINSPECTED"), RuleNotMet),
        (rules.InForce("SUSPEND", True, False, "REINSPECTED"), WrongState),
        (rules.InForce("CLOSE_DOWN", False, False, "REINSPECTED"), WrongState),
    ],
)
def test_no_other_order_is_lifted(order: rules.InForce, refusal: type[DomainError]) -> None:
    """A dangerous or a closed site would be told to go on working."""
    with pytest.raises(refusal):
        rules.check_resumption(order)


@pytest.mark.parametrize(
    ("path", "answers"), [("a/b/", True), ("a/b/c/", True), ("a/", True), ("a/bc/", False), ("x/", False)]
)
def test_who_answers_is_of_the_unit_below_or_above_it(path: str, answers: bool) -> None:
    """A stranger would have to answer for a hazard, or the leader above could not."""
    assert rules.answers_for(path, "a/b/") is answers


@pytest.mark.parametrize(
    ("paths", "hazard_path", "refused"),
    [
        (["a/b/"], "a/b/", True),
        (["a/b/c/", "a/b/"], "a/b/", True),
        (["a/b/", "a/"], "a/b/", False),
        (["a/bc/"], "a/b/", False),
        (["a/b/"], "", False),
    ],
)
def test_a_unit_does_not_judge_itself(paths: list[str], hazard_path: str, refused: bool) -> None:
    """In a small township the office that must rectify would inspect itself; or the body above it could not."""
    if not refused:
        return rules.check_judge(paths, hazard_path)
    with pytest.raises(RuleNotMet) as refusal:
        rules.check_judge(paths, hazard_path)
    assert refusal.value.metadata == {"rule": "judged_from_outside_the_responsible_unit"}
    return None


def test_on_the_spot_is_in_a_visit() -> None:
    """What nobody saw would be closed at a desk."""
    hazard = hazard_pb2.Hazard(disposition=hazard_pb2.DISPOSITION_ON_THE_SPOT, remedy="当场更换")
    with pytest.raises(InvalidFields) as refused:
        rules.check_report(hazard)
    assert [(each.field, each.problem) for each in refused.value.violations] == [("hazard.visit", "required")]
    hazard.visit = "visits/1"
    rules.check_report(hazard)
    rules.check_visitor("people/1", {"people/1", "people/2"})
    with pytest.raises(RuleNotMet):
        rules.check_visitor("people/3", {"people/1", "people/2"})
