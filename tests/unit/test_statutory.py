"""The presets of statutory clocks and of the defaults that no law fixes."""

from datetime import date, datetime

import pytest

from services.directory import statutory
from services.directory.statutory import CLOCKS, SOURCES, Bound, StatutoryClock
from services.kit.calendar import RollRule, Term, Unit, describe_term, explain, explain_before
from services.kit.catalogue import Locale
from services.kit.dates import BEIJING
from services.kit.holidays import calendar_in_force

ALL = tuple(CLOCKS.values())
CALENDAR = calendar_in_force(())
DAYS, WORKING_DAYS = Unit.NATURAL_DAYS, Unit.WORKING_DAYS
HOURS, MONTHS, YEARS = Unit.HOURS, Unit.MONTHS, Unit.YEARS


def test_keys_are_unique_and_worded() -> None:
    """One clock would silently replace another, or words would stay without a clock."""
    assert len(statutory._ROWS) == len(CLOCKS)
    assert set(statutory._WORDS) == set(CLOCKS)


@pytest.mark.parametrize("clock", ALL, ids=lambda clock: clock.key)
def test_each_clock_says_whether_it_is_law_and_where_it_stands(clock: StatutoryClock) -> None:
    """A user would take a default for law, or could not look a clock up."""
    source = SOURCES[clock.law]
    assert clock.statutory == (source.kind != "practice") == bool(clock.article)
    assert (clock.region_code is not None) == (source.kind == "local_law")
    labels: tuple[tuple[Locale, str, str], ...] = (
        ("zh-CN", source.zh, "（法定）"),
        ("en", source.en, " (statutory)"),
    )
    for locale, name, label in labels:
        told = clock.introduction(locale)
        assert clock.matter(locale)
        assert told.startswith(clock.matter(locale))
        assert name in told
        assert told.endswith(label) == clock.statutory
    assert clock.matter("en").isascii()
    assert clock.extension is None or clock.bound is Bound.WITHIN


def test_law_names_are_given_in_both_languages() -> None:
    """A citation would show a code that only the authors know."""
    for source in SOURCES.values():
        assert source.en.isascii()
        assert not source.zh.isascii()
    laws = {key for key, source in SOURCES.items() if source.kind != "practice"}
    assert laws == {"SL", "493", "CM", "SD", "SE", "FR", "PN", "RC", "SV", "PT", "DS", "JC", "CS", "PI"}


@pytest.mark.parametrize(
    ("key", "amount", "unit", "law", "article"),
    [
        ("power_cut_notice", 24, HOURS, "SL", "70(2)"),
        ("coal_hazard_report", 3, MONTHS, "CM", "35(2)"),
        ("coal_acceptance", 20, DAYS, "CM", "48(2)"),
        ("coal_shutdown_notice", 5, WORKING_DAYS, "CM", "49"),
        ("coal_resumption_notice", 5, WORKING_DAYS, "CM", "49"),
        ("coal_design_review", 30, DAYS, "CM", "41"),
        ("closure_record_180_days", 180, DAYS, "SL", "113"),
        ("closure_record_1_year", 1, YEARS, "SL", "113"),
        ("coal_closure_record", 3, MONTHS, "CM", "70"),
        ("equipment_registration", 30, DAYS, "SE", "33"),
        ("equipment_inspection_request", 1, MONTHS, "SE", "40(1)"),
        ("fire_opening_check", 10, WORKING_DAYS, "FR", "15(3)"),
        ("incident_unit_report", 1, HOURS, "493", "9(1)"),
        ("incident_upward_report", 2, HOURS, "493", "11"),
        ("incident_direct_report_sd", 30, Unit.MINUTES, "SD", "65(2)"),
        ("incident_written_report_sd", 1, HOURS, "SD", "65(2)"),
        ("casualty_change", 30, DAYS, "493", "13(2)"),
        ("casualty_change_traffic_fire", 7, DAYS, "493", "13(2)"),
        ("investigation_report", 60, DAYS, "493", "29"),
        ("investigation_approval", 15, DAYS, "493", "32(1)"),
        ("investigation_approval_gravest", 30, DAYS, "493", "32(1)"),
        ("rectification_evaluation", 1, YEARS, "SL", "86(3)"),
        ("manager_ban", 5, YEARS, "SL", "94(3)"),
        ("registered_evidence_decision", 7, WORKING_DAYS, "PN", "56"),
        ("penalty_decision", 90, DAYS, "PN", "60"),
        ("penalty_service", 7, WORKING_DAYS, "PN", "61"),
        ("hearing_request", 5, WORKING_DAYS, "PN", "64"),
        ("hearing_notice", 7, WORKING_DAYS, "PN", "64"),
        ("fine_payment", 15, DAYS, "PN", "67(3)"),
        ("penalty_limitation", 2, YEARS, "PN", "36"),
        ("penalty_limitation_harm", 5, YEARS, "PN", "36"),
        ("penalty_publication", 7, WORKING_DAYS, "SL", "78(2)"),
        ("penalty_withdrawal", 3, WORKING_DAYS, "PN", "48(2)"),
        ("supervision_challenge", 30, DAYS, "SV", "17"),
        ("supervision_challenge_decision", 30, DAYS, "SV", "17"),
        ("sanction_warning", 6, MONTHS, "DS", "8"),
        ("sanction_demerit", 12, MONTHS, "DS", "8"),
        ("sanction_serious_demerit", 18, MONTHS, "DS", "8"),
        ("sanction_demotion", 24, MONTHS, "DS", "8"),
        ("sanction_cap", 48, MONTHS, "DS", "15"),
        ("sanction_formalities", 1, MONTHS, "DS", "54"),
        ("sanction_review_request", 1, MONTHS, "JC", "56"),
        ("sanction_review_decision", 1, MONTHS, "JC", "56"),
        ("sanction_second_review_request", 1, MONTHS, "JC", "56"),
        ("sanction_second_review_decision", 2, MONTHS, "JC", "56"),
        ("servant_review_request", 30, DAYS, "CS", "95"),
        ("servant_review_decision", 30, DAYS, "CS", "96"),
        ("servant_appeal_after_review", 15, DAYS, "CS", "95"),
        ("servant_appeal_direct", 30, DAYS, "CS", "95"),
        ("servant_appeal_decision", 60, DAYS, "CS", "96"),
        ("petition_register", 15, DAYS, "PT", "22"),
        ("petition_notify", 15, DAYS, "PT", "23"),
        ("petition_objection", 5, WORKING_DAYS, "PT", "23"),
        ("petition_conclude", 60, DAYS, "PT", "34"),
        ("petition_recheck_request", 30, DAYS, "PT", "35"),
        ("petition_recheck_opinion", 30, DAYS, "PT", "35"),
        ("petition_final_request", 30, DAYS, "PT", "36"),
        ("petition_final_opinion", 30, DAYS, "PT", "36"),
        ("reconsideration_apply", 60, DAYS, "RC", "20"),
        ("reconsideration_examine", 5, WORKING_DAYS, "RC", "30"),
        ("reconsideration_copy", 7, WORKING_DAYS, "RC", "48"),
        ("reconsideration_answer", 10, WORKING_DAYS, "RC", "48"),
        ("reconsideration_copy_simplified", 3, WORKING_DAYS, "RC", "54"),
        ("reconsideration_answer_simplified", 5, WORKING_DAYS, "RC", "54"),
        ("reconsideration_decide", 60, DAYS, "RC", "62"),
        ("reconsideration_decide_simplified", 30, DAYS, "RC", "62"),
        ("reconsideration_correction", 60, DAYS, "RC", "76"),
        ("record_retention", 3, YEARS, "PI", "56"),
    ],
)
def test_statutory_figures(key: str, amount: int, unit: Unit, law: str, article: str) -> None:
    """A figure, day type or article differing from the text would misstate the law to every user."""
    clock = CLOCKS[key]
    assert clock.statutory
    assert (Term(amount, unit), law, article) == (clock.term, clock.law, clock.article)


@pytest.mark.parametrize(
    ("key", "amount", "unit"),
    [
        ("tour_on_site", 10, DAYS),
        ("tour_results_publication", 20, WORKING_DAYS),
        ("rectification_plan", 30, WORKING_DAYS),
        ("rectification_report", 6, MONTHS),
        ("order_extension_request", 10, DAYS),
        ("order_extension_decision", 5, DAYS),
        ("talk_hold", 7, DAYS),
        ("talk_reply", 5, WORKING_DAYS),
        ("supervision_documents", 30, DAYS),
        ("supervision_minutes", 20, DAYS),
        ("supervision_urgent", 5, DAYS),
        ("supervision_normal", 15, DAYS),
        ("supervision_hard", 30, DAYS),
        ("listing_term", 1, YEARS),
        ("report_handling", 60, DAYS),
        ("hotline_return", 2, WORKING_DAYS),
    ],
)
def test_default_figures_are_labelled_not_statutory(key: str, amount: int, unit: Unit) -> None:
    """A local habit would be presented to a county as national law."""
    clock = CLOCKS[key]
    assert Term(amount, unit) == clock.term
    assert not clock.statutory
    assert clock.introduction("zh-CN").endswith("（非法定）")
    assert clock.introduction("en").endswith(" (not statutory)")


@pytest.mark.parametrize(
    ("key", "longest"),
    [
        ("investigation_report", Term(60, DAYS)),
        ("investigation_approval", None),
        ("investigation_approval_gravest", Term(30, DAYS)),
        ("servant_appeal_decision", Term(30, DAYS)),
        ("petition_conclude", Term(30, DAYS)),
        ("reconsideration_decide", Term(30, DAYS)),
        ("reconsideration_decide_simplified", None),
        ("sanction_formalities", Term(5, MONTHS)),
    ],
)
def test_longest_extensions(key: str, longest: Term | None) -> None:
    """An extension beyond what the text allows would be granted."""
    assert longest == CLOCKS[key].extension


def test_penalty_and_reconsideration_short_terms_are_working_days() -> None:
    """PN §85 and RC §88 make their short terms working days; natural days would end them early."""
    short = {"PN": {2, 3, 5, 7}, "RC": {3, 5, 7, 10}}
    for clock in ALL:
        if clock.law in short and clock.term.unit in (DAYS, WORKING_DAYS):
            assert (clock.term.amount in short[clock.law]) == (clock.term.unit is WORKING_DAYS), clock.key


def test_rolling_favours_persons_and_follows_civil_procedure_for_reconsideration() -> None:
    """A person would lose a right over a holiday, or a body gain a week on an incident report."""
    rolling = {clock.key for clock in ALL if clock.roll is RollRule.NEXT_WORKING_DAY}
    assert {clock.key for clock in ALL if clock.law == "RC"} <= rolling
    persons = {"supervision_challenge", "servant_review_request", "sanction_review_request", "fine_payment"}
    assert persons <= rolling
    assert not {clock.key for clock in ALL if clock.law in {"493", "SL", "CM", "SD"}} & rolling
    assert not {clock.key for clock in ALL if not clock.statutory} & rolling


def test_citations_read_like_citations() -> None:
    """A citation could not be pasted into a document."""
    clock = CLOCKS["rectification_evaluation"]
    assert clock.citation("zh-CN") == "《中华人民共和国安全生产法》第86条第3款"
    assert clock.citation("en") == "Work Safety Law §86(3)"
    assert CLOCKS["rectification_plan"].citation("zh-CN") == "系统默认值，国家未作规定"
    assert "《监察法》" not in CLOCKS["sanction_review_request"].citation("zh-CN")


@pytest.mark.parametrize("clock", ALL, ids=lambda clock: clock.key)
def test_every_clock_can_be_computed_and_worded(clock: StatutoryClock) -> None:
    """A preset would fail on the first case that uses it."""
    moment = datetime(2024, 2, 8, 9, 30, tzinfo=BEIJING)
    before = clock.bound in (Bound.AT_LEAST_BEFORE, Bound.ONLY_WITHIN_BEFORE, Bound.LOOKS_BACK)
    if before:
        assert explain_before(CALENDAR, moment, clock.term).due < moment
    else:
        extensions = [clock.extension] if clock.extension else []
        plain = explain(CALENDAR, moment, clock.term, roll=clock.roll)
        extended = explain(CALENDAR, moment, clock.term, roll=clock.roll, extensions=extensions)
        assert moment < plain.due <= extended.due
    assert describe_term(clock.term, "zh-CN")


def test_worked_example_of_a_remedy() -> None:
    """The one-month review of a sanction would be taken for 30 days."""
    clock = CLOCKS["sanction_review_request"]
    received = datetime(2024, 7, 31, 10, 0, tzinfo=BEIJING)
    assert date(2024, 9, 2) == explain(CALENDAR, received, clock.term, roll=clock.roll).due_date
