"""Rules of the hazard ledger: what may be reported, which orders are made and lifted, and who answers for a hazard."""

from dataclasses import replace
from typing import Any

import pytest

from dutyloop.hazard.v1 import hazard_pb2
from services.hazard import rules
from tests.refusals import refusal


@pytest.mark.parametrize(
    ("order", "refused"),
    [
        (rules.InForce("SUSPEND", False, False, "REINSPECTED"), None),
        (rules.InForce("SUSPEND", False, False, ""), "hazard_of_the_order_is_written_off"),
        (rules.InForce("SUSPEND", False, False, "SITE_CLOSED_DOWN"), "hazard_of_the_order_is_written_off"),
        (rules.InForce("SUSPEND", False, True, "REINSPECTED"), "site_is_not_closed_down"),
        (rules.InForce("SUSPEND", True, False, "REINSPECTED"), "WRONG_STATE RESUMED resume_site"),
        (rules.InForce("CLOSE_DOWN", False, False, "REINSPECTED"), "WRONG_STATE CLOSE_DOWN resume_site"),
    ],
)
def test_a_suspension_is_lifted_once_its_hazard_is_reinspected(order: rules.InForce, refused: str | None) -> None:
    """A safe site would stand still without a way back, or a dangerous or closed one be told to go on working."""
    assert refusal(lambda: rules.check_resumption(order)) == refused


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({}, None),
        ({"site": "sites/2"}, "UNFIT_REFERENCE hazard hazards/1"),
        ({"disposition": "ON_THE_SPOT"}, "UNFIT_REFERENCE hazard hazards/1"),
        ({"state": "WRITTEN_OFF"}, "WRONG_STATE WRITTEN_OFF close_down"),
        ({"state": "CLOSED"}, "WRONG_STATE CLOSED close_down"),
    ],
)
def test_an_order_is_made_for_an_open_hazard_of_the_site(changes: dict[str, str], refused: str | None) -> None:
    """A site would be closed over another's hazard, or over one long put right."""
    hazard = replace(rules.OrderedHazard("hazards/1", "sites/1", "TIME_LIMITED", "ASSIGNED"), **changes)
    assert refusal(lambda: rules.check_order(hazard, "sites/1", "close_down")) == refused


@pytest.mark.parametrize(
    ("unit", "refused"),
    [("units/1", None), ("units/2", None), ("", None), ("units/3", "unit_answers_for_its_own_hazards")],
)
def test_a_unit_answers_for_its_own_hazards(unit: str, refused: str | None) -> None:
    """A unit with nothing to do with a hazard could plan it, report it rectified or ask for more time."""
    assert refusal(lambda: rules.check_own_unit(unit, ["units/1", "units/2"])) == refused


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
    rule = "judged_from_outside_the_responsible_unit" if refused else None
    assert refusal(lambda: rules.check_judge(paths, hazard_path)) == rule


def test_who_settles_on_the_spot_was_there() -> None:
    """What nobody saw would be closed at a desk."""
    present = {"people/1", "people/2"}
    assert refusal(lambda: rules.check_visitor("people/1", present)) is None
    refused = refusal(lambda: rules.check_visitor("people/3", present))
    assert refused == "on_the_spot_is_reported_by_an_inspector_of_the_visit"


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"disposition": hazard_pb2.DISPOSITION_TIME_LIMITED, "grade": hazard_pb2.HAZARD_GRADE_MAJOR}, None),
        ({"remedy": "当场更换"}, None),
        ({"remedy": "当场更换", "visit": ""}, "hazard.visit required"),
        ({}, "hazard.remedy required"),
        ({"remedy": "当场更换", "grade": hazard_pb2.HAZARD_GRADE_MAJOR}, "major_hazard_needs_a_case"),
    ],
)
def test_what_is_settled_on_the_spot_is_minor_and_says_how(changes: dict[str, Any], refused: str | None) -> None:
    """A major hazard would be gone from the ledger on the day it was found, or nobody know how one was removed."""
    found = hazard_pb2.Hazard(
        **{"disposition": hazard_pb2.DISPOSITION_ON_THE_SPOT, "visit": "visits/1", "remedy": "", **changes}
    )
    assert refusal(lambda: rules.check_report(found)) == refused
