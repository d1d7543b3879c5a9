"""The rules of tours, draws, visits and letters, one by one."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from google.type.date_pb2 import Date

from dutyloop.inspection.v1 import inspection_pb2
from dutyloop.kit.v1 import kit_pb2
from services.inspection import draw, rules
from services.kit.access import Scope
from services.kit.errors import InvalidFields, RuleNotMet
from tests.refusals import refusal

NOW = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)
TODAY = date(2026, 3, 10)
PAIR = ("people/a", "people/b")


def day(value: date) -> Date:
    """Return a calendar day as protobuf."""
    return Date(year=value.year, month=value.month, day=value.day)


def tour(**changes: object) -> inspection_pb2.Tour:
    """Return a tour that may be planned, with changes."""
    fields: dict[str, object] = {
        "targets": ["sites/1", "sites/2"],
        "candidates": ["people/a", "people/b", "people/c"],
        "start_date": day(TODAY),
        "end_date": day(TODAY + timedelta(days=9)),
    }
    return inspection_pb2.Tour(**(fields | changes))  # type: ignore[arg-type]


def visit(**changes: object) -> inspection_pb2.Visit:
    """Return a visit that may be recorded, with changes."""
    fields: dict[str, object] = {
        "tour": "tours/t",
        "target": "sites/1",
        "inspectors": PAIR,
        "certificate_shown": True,
        "signatures": [inspection_pb2.Signature(inspector=each, reference="sha256:1") for each in PAIR],
        "target_signature": "sha256:2",
    }
    made = inspection_pb2.Visit(**(fields | changes))  # type: ignore[arg-type]
    if not made.HasField("check_in_time"):
        made.check_in_time.FromDatetime(NOW - timedelta(hours=1))
    return made


def field_refused(call: Callable[[], object]) -> tuple[str, str]:
    """Return the field at fault and the problem."""
    with pytest.raises(InvalidFields) as refused:
        call()
    return refused.value.violations[0].field, refused.value.violations[0].problem


def rule_refused(call: Callable[[], object]) -> str:
    """Return the rule that is not met."""
    with pytest.raises(RuleNotMet) as refused:
        call()
    return refused.value.metadata["rule"]


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"start_date": day(TODAY - timedelta(days=1))}, ("tour.start_date", "in_the_past")),
        ({"end_date": day(TODAY - timedelta(days=1))}, ("tour.end_date", "not_after_start")),
        ({"notice_date": day(TODAY - timedelta(days=1))}, ("tour.notice_date", "in_the_past")),
        ({"notice_date": day(TODAY + timedelta(days=1))}, ("tour.notice_date", "out_of_range")),
        ({"targets": ["sites/1", "units/1"]}, ("tour.targets[1]", "malformed")),
        ({"targets": ["people/1"]}, ("tour.targets[0]", "malformed")),
        ({"targets": ["sites/1", "sites/2", "sites/1"]}, ("tour.targets[2]", "duplicate")),
        ({"candidates": ["people/a", "people/b", "people/a"]}, ("tour.candidates[2]", "duplicate")),
        ({"inspectors_per_visit": 1}, ("tour.inspectors_per_visit", "out_of_range")),
        ({"inspectors_per_visit": 11}, ("tour.inspectors_per_visit", "out_of_range")),
        ({"inspectors_per_visit": -2}, ("tour.inspectors_per_visit", "out_of_range")),
    ],
)
def test_a_tour_that_cannot_be_carried_out_is_refused(changes: dict[str, object], refused: tuple[str, str]) -> None:
    """A supervisor must learn at the plan, not at the draw or the visit, that a tour cannot work."""
    assert field_refused(lambda: rules.check_tour(tour(**changes), TODAY)) == refused


def test_a_tour_of_one_day_with_notice_today_may_be_planned() -> None:
    """The bounds themselves are allowed."""
    rules.check_tour(tour(end_date=day(TODAY), notice_date=day(TODAY)), TODAY)
    assert rules.inspectors_per_visit(tour()) == 2


def test_a_pool_smaller_than_a_visit_needs_is_refused() -> None:
    """A tour that no draw can serve must not be planned."""
    planned = tour(inspectors_per_visit=4)
    assert rule_refused(lambda: rules.check_tour(planned, TODAY)) == "enough_inspectors_for_every_target"


SITE = rules.Target("sites/1", "1303", "units/works", "city/works/", enterprise=True)
LONE_SITE = rules.Target("sites/2", "1303", "", "", enterprise=True)
MEMBER = rules.Target("units/member", "1303", "units/member", "city/member/", enterprise=False)
INSPECTOR = rules.Inspector("people/a", "units/bureau", "city/bureau/", appointed=True)


def test_enterprises_need_an_enforcement_body() -> None:
    """An inspection of an enterprise by a coordination body is unlawful (国办发〔2024〕54号)."""
    rules.check_enforcement([MEMBER], "")
    rules.check_enforcement([SITE], "units/bureau")
    refused = rule_refused(lambda: rules.check_enforcement([MEMBER, SITE], ""))
    assert refused == "enterprises_are_inspected_by_an_enforcement_body"


@pytest.mark.parametrize(
    ("region_code", "reach", "known"),
    [
        ("1303", rules.NOWHERE, True),
        ("130302", rules.NOWHERE, True),
        ("1304", rules.NOWHERE, False),
        ("13", rules.NOWHERE, False),
        ("13", Scope(("13",), ()), True),
        ("1304", Scope(("1303",), ()), True),
        ("1304", Scope(("1304",), ()), False),
        ("1304", Scope((), ("city/works/",)), True),
        ("1304", Scope((), ("city/others/",)), False),
    ],
)
def test_inspectors_are_one_s_own_or_reach_the_target(region_code: str, reach: Scope, known: bool) -> None:
    """A planner could find out who serves next door, or could no longer call in the inspectors of the level above."""
    inspector = rules.Inspector("people/b", "u", "elsewhere/", True, region_code, reach)
    own = rules.Inspector("people/a", "units/bureau", "city/bureau/", True, "1303")

    def check() -> None:
        rules.check_known([own, inspector], [MEMBER, SITE], Scope(("1303",), ()), "tour.candidates")

    if known:
        check()
    else:
        assert field_refused(check) == ("tour.candidates[1]", "unknown_reference")


def test_a_target_elsewhere_looks_absent() -> None:
    """A planner who could tell foreign targets from absent ones could list another city's sites."""
    rules.check_reach([SITE], "13")
    rules.check_reach([SITE], "")
    refused = field_refused(lambda: rules.check_reach([SITE, MEMBER], "1304"))
    assert refused == ("tour.targets[0]", "unknown_reference")


@pytest.mark.parametrize(
    ("inspector", "path", "expected"),
    [
        (INSPECTOR, "city/bureau/", []),
        (rules.Inspector("people/a", "u", "city/bureau/team/", True), "city/bureau/", []),
        (rules.Inspector("people/a", "u", "city/bureau/", False), "city/bureau/", [("", "NOT_APPOINTED")]),
        (rules.Inspector("people/a", "u", "city/bureau2/", True), "city/bureau/", [("", "NOT_ENFORCEMENT")]),
        (rules.Inspector("people/a", "u", "city/bureau2/", True), "", []),
        (rules.Inspector("people/a", "u", "city/works/", True), "", [("sites/1", "OWN_UNIT")]),
        (rules.Inspector("people/a", "u", "city/works/shop/", True), "", [("sites/1", "OWN_UNIT")]),
        (rules.Inspector("people/a", "u", "city/member/", True), "", [("units/member", "OWN_UNIT")]),
        (rules.Inspector("people/a", "u", "city/", True), "", []),
    ],
)
def test_the_rules_exclude_with_their_reason(
    inspector: rules.Inspector, path: str, expected: list[tuple[str, str]]
) -> None:
    """An inspector kept out without a reason, or let in against one, makes the draw contestable."""
    pool = rules.freeze_pool([SITE, LONE_SITE, MEMBER], [inspector], [], path, 2)
    assert [(each.target, each.reason) for each in pool.exclusions] == expected


def test_recusals_are_frozen_with_the_pool_once_each() -> None:
    """A recusal that is lost, or counts twice, changes what was frozen."""
    declared = [("people/a", "sites/1"), ("people/a", "sites/1"), ("people/a", "")]
    pool = rules.freeze_pool([SITE], [INSPECTOR], declared, "", 2)
    assert pool.exclusions == (
        draw.Exclusion("people/a", "", "RECUSAL"),
        draw.Exclusion("people/a", "sites/1", "RECUSAL"),
    )


@pytest.mark.parametrize(
    ("exclusion", "refused"),
    [
        (("people/z", "", "RECUSAL"), ("exclusions[0].inspector", "unknown_reference")),
        (("people/a", "sites/9", "RECUSAL"), ("exclusions[0].target", "unknown_reference")),
        (("people/a", "sites/1", "NOT_APPOINTED"), ("exclusions[0].reason", "out_of_range")),
    ],
)
def test_only_recusals_are_declared(exclusion: tuple[str, str, str], refused: tuple[str, str]) -> None:
    """A supervisor who could declare somebody unappointed could pick the inspectors."""
    inspector, target, reason = exclusion
    declared = [
        inspection_pb2.Exclusion(
            inspector=inspector,
            target=target,
            reason=inspection_pb2.ExclusionReason.Value("EXCLUSION_REASON_" + reason),
        )
    ]
    assert field_refused(lambda: rules.check_recusals(declared, ["people/a"], ["sites/1"])) == refused


def test_a_pool_is_drawable_only_when_every_target_is() -> None:
    """The draw must be refused before the seed is made, and name the target."""
    candidates = tuple(draw.Candidate(f"people/{each}", "units/u") for each in "abc")
    kept = (draw.Exclusion("people/a", "", "RECUSAL"),)
    rules.check_drawable(draw.Pool(("sites/1", "sites/2"), candidates, kept, 2))
    more = (*kept, draw.Exclusion("people/b", "sites/2", "OWN_UNIT"))
    with pytest.raises(RuleNotMet) as refused:
        rules.check_drawable(draw.Pool(("sites/1", "sites/2"), candidates, more, 2))
    assert refused.value.metadata == {"rule": "enough_inspectors_for_every_target", "target": "sites/2"}


def test_nobody_draws_himself_or_from_another_pool() -> None:
    """A candidate at the wheel, or a pool swapped after the freeze, would make the draw a choice."""
    assert refusal(lambda: rules.check_drawer("people/z", PAIR)) is None
    refused = refusal(lambda: rules.check_drawer("people/a", PAIR))
    assert refused is not None and refused.startswith("SEPARATION_OF_DUTIES people/a ")
    rules.check_frozen(bytes(32), bytes(32))
    assert rule_refused(lambda: rules.check_frozen(bytes(32), b"1" * 32)) == "draw_is_from_the_frozen_pool"
    rules.check_published(draw.ALGORITHM)
    assert rule_refused(lambda: rules.check_published("x")) == "draw_algorithm_is_published"


def test_a_complete_record_is_taken_signed_or_refused_by_the_target() -> None:
    """A target that refuses to sign must not be able to undo the visit (Work Safety Law, article 68)."""
    assert refusal(lambda: rules.check_record(visit(), "people/a", NOW)) is None
    unsigned = visit(target_signature="", refusal_note="拒签")
    assert refusal(lambda: rules.check_record(unsigned, "people/b", NOW)) is None


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"inspectors": PAIR[:1], "signatures": []}, "two_inspectors_at_every_visit"),
        ({"certificate_shown": False}, "certificates_are_shown"),
        ({"signatures": [inspection_pb2.Signature(inspector="people/a", reference="1")]}, "every_inspector_signs"),
        (
            {"signatures": [inspection_pb2.Signature(inspector=f"people/{each}", reference="1") for each in "abc"]},
            "every_inspector_signs",
        ),
    ],
)
def test_an_incomplete_record_is_refused(changes: dict[str, object], refused: str) -> None:
    """A record with one inspector, no certificate or no signature proves nothing and covers nothing."""
    assert rule_refused(lambda: rules.check_record(visit(**changes), "people/a", NOW)) == refused


def test_only_an_inspector_of_the_visit_records_it() -> None:
    """Records written by others are hearsay."""
    refused = rule_refused(lambda: rules.check_record(visit(), "people/c", NOW))
    assert refused == "visit_is_recorded_by_an_inspector_of_it"


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"inspectors": ["people/a", "people/a"]}, ("visit.inspectors[1]", "duplicate")),
        ({"target_signature": ""}, ("visit.target_signature", "required")),
        ({"refusal_note": "拒签"}, ("visit.refusal_note", "excluded")),
        (
            {"signatures": [inspection_pb2.Signature(inspector="people/a", reference="1")] * 2},
            ("visit.signatures[1]", "duplicate"),
        ),
    ],
)
def test_a_contradictory_record_is_refused(changes: dict[str, object], refused: tuple[str, str]) -> None:
    """A record that says two things at once is none."""
    assert field_refused(lambda: rules.check_record(visit(**changes), "people/a", NOW)) == refused


def test_people_are_not_visited() -> None:
    """A record of a visit to a person, a task or a law covers nothing."""
    rules.check_target_kind("units/1")
    assert field_refused(lambda: rules.check_target_kind("people/1")) == ("visit.target", "malformed")


def test_a_visit_of_tomorrow_is_refused() -> None:
    """A visit recorded before it happened is invented."""
    ahead = visit()
    ahead.check_in_time.FromDatetime(NOW + timedelta(seconds=1))
    assert field_refused(lambda: rules.check_record(ahead, "people/a", NOW)) == ("visit.check_in_time", "in_the_future")


def test_a_record_is_made_while_the_visit_is_remembered() -> None:
    """Visits could be invented for years in which nobody went there."""
    late = visit()
    late.check_in_time.FromDatetime(NOW - timedelta(days=30))
    rules.check_record(late, "people/a", NOW)
    refused = rule_refused(lambda: rules.check_record(late, "people/a", NOW + timedelta(seconds=1)))
    assert refused == "visit_is_recorded_within_30_days"


def window(**changes: object) -> rules.TourWindow:
    """Return a started tour's window, with changes."""
    fields: dict[str, object] = {
        "state": "STARTED",
        "end_date": TODAY,
        "start_time": NOW - timedelta(days=1),
        "enforcement_unit": "units/bureau",
    }
    return rules.TourWindow(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("made", "tour_window", "drawn", "refused"),
    [
        (visit(), window(state="DRAWN", start_time=None), PAIR, "WRONG_STATE DRAWN record_visit"),
        (visit(), window(state="FEEDBACK"), PAIR, "WRONG_STATE FEEDBACK record_visit"),
        (visit(), window(start_time=NOW + timedelta(days=1)), PAIR, "visit_follows_the_start_of_its_tour"),
        (visit(), window(end_date=TODAY - timedelta(days=1)), PAIR, f"WINDOW_CLOSED {TODAY - timedelta(days=1)}"),
        (visit(), window(), ("people/a", "people/c"), "UNFIT_REFERENCE visit.inspectors[1] people/b"),
        (visit(), window(), (), "UNFIT_REFERENCE visit.inspectors[0] people/a"),
        (
            visit(enforcement_unit="units/other"),
            window(),
            PAIR,
            "UNFIT_REFERENCE visit.enforcement_unit units/other",
        ),
        # One drawn inspector who falls ill must not stop the visit, on the last day: two are what the law asks.
        (visit(enforcement_unit="units/bureau"), window(), (*PAIR, "people/c"), None),
    ],
)
def test_a_visit_covers_a_target_of_its_tour_or_is_refused(
    made: inspection_pb2.Visit, tour_window: rules.TourWindow, drawn: tuple[str, ...], refused: str | None
) -> None:
    """Coverage is worth what its weakest visit is: wrong time, wrong people or wrong body never count."""
    assert refusal(lambda: rules.check_tour_visit(made, tour_window, drawn)) == refused


@pytest.mark.parametrize(
    "inspector",
    [
        rules.Inspector("people/a", "u", "city/bureau/", appointed=False),
        rules.Inspector("people/a", "u", "city/office/", appointed=True),
        rules.Inspector("people/a", "u", "city/works/", appointed=True),
    ],
)
def test_a_visit_outside_a_tour_needs_inspectors_of_the_body(inspector: rules.Inspector) -> None:
    """A spot check by somebody without a post, of another body or of the site's own unit is void."""
    refused = refusal(lambda: rules.check_single_visit(visit(tour=""), SITE, [INSPECTOR, inspector], "city/bureau/"))
    assert refused == "UNFIT_REFERENCE visit.inspectors[1] people/a"


def test_only_sites_are_visited_outside_a_tour() -> None:
    """Units are inspected on tours, with a draw, or not at all."""
    of_site, of_unit = visit(tour=""), visit(tour="", target="units/member")
    assert refusal(lambda: rules.check_single_visit(of_site, SITE, [INSPECTOR], "city/bureau/")) is None
    refused = refusal(lambda: rules.check_single_visit(of_unit, MEMBER, [INSPECTOR], "city/bureau/"))
    assert refused == "UNFIT_REFERENCE visit.target units/member"


def test_a_letter_goes_to_visited_targets_once_each() -> None:
    """Who was not visited cannot be told what was found there, and nobody reports twice."""
    letter = inspection_pb2.FeedbackLetter(addressees=["sites/1", "sites/2"])
    rules.check_letter(letter, {"sites/1": True, "sites/2": True})
    assert rule_refused(lambda: rules.check_letter(letter, {"sites/1": True, "sites/2": False})) == (
        "addressee_was_visited"
    )
    refused = refusal(lambda: rules.check_letter(letter, {"sites/1": True}))
    assert refused == "UNFIT_REFERENCE letter.addressees[1] sites/2"
    letter.addressees.append("sites/1")
    assert field_refused(lambda: rules.check_letter(letter, {})) == ("letter.addressees[2]", "duplicate")
    untimely = inspection_pb2.FeedbackLetter(term=kit_pb2.Term(amount=0, unit=kit_pb2.TERM_UNIT_MONTHS))
    assert field_refused(lambda: rules.check_letter(untimely, {})) == ("letter.term.amount", "out_of_range")
