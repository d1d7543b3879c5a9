"""Rules of directory: codes, bodies, roles, terms of office, updates, notices and questions about deadlines."""

import random
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dutyloop.policy.v1 import policy_pb2
from services.directory import rules
from services.directory.rules import CREDIT_ALPHABET, DeadlineQuestion, TermOfOffice
from services.directory.statutory import CLOCKS
from services.kit.calendar import Unit
from services.kit.dates import BEIJING
from services.kit.errors import DomainError, InvalidFields
from services.kit.holidays import calendar_in_force
from tests.refusals import refusal

bodies = st.text(alphabet=CREDIT_ALPHABET, min_size=17, max_size=17)
days = st.dates(min_value=date(2000, 1, 1), max_value=date(2040, 12, 31))
terms = st.builds(
    lambda start, length: TermOfOffice(start, None if length is None else start + timedelta(length)),
    days,
    st.none() | st.integers(min_value=0, max_value=2_000),
)
TODAY = date(2026, 3, 10)
CALENDAR = calendar_in_force(())


def problem_of(refused: pytest.ExceptionInfo[InvalidFields]) -> tuple[str, str]:
    """Return the field and problem of the only violation."""
    (violation,) = refused.value.violations
    return violation.field, violation.problem


# Credit codes


@pytest.mark.parametrize("code", ["91350100M000100Y43", "91110000600037341L", "914403001922038216", ""])
def test_published_credit_codes_are_accepted(code: str) -> None:
    """Real enterprises, and sites without a code, could not be registered."""
    assert rules.credit_code_problem(code) is None


@given(bodies)
def test_a_computed_check_character_is_accepted(body: str) -> None:
    """Codes would be refused that GB 32100 calls right."""
    assert rules.credit_code_problem(body + rules.credit_check_character(body)) is None


@given(bodies, st.integers(min_value=0, max_value=17), st.sampled_from(CREDIT_ALPHABET))
def test_one_wrong_character_is_always_noticed(body: str, position: int, other: str) -> None:
    """A typing error would register a site under another enterprise's code."""
    code = body + rules.credit_check_character(body)
    wrong = code[:position] + other + code[position + 1 :]
    assert rules.credit_code_problem(wrong) == (None if wrong == code else "check_digit")


@given(bodies, st.integers(min_value=0, max_value=16))
def test_swapped_neighbours_are_noticed(body: str, position: int) -> None:
    """The commonest slip of a typist would pass."""
    code = body + rules.credit_check_character(body)
    swapped = code[:position] + code[position + 1] + code[position] + code[position + 2 :]
    assert (rules.credit_code_problem(swapped) is None) == (swapped == code)


@pytest.mark.parametrize("character", "IOSVZabcxyz 　-中\0１")
def test_characters_outside_the_alphabet_are_malformed(character: str) -> None:
    """Letters mistaken for digits would reach the check and fail with a misleading reason, or crash it."""
    assert rules.credit_code_problem(character + "1350100M000100Y43") == "malformed"
    assert rules.credit_code_problem("91350100M000100Y4" + character) == "malformed"


@pytest.mark.parametrize("code", ["9", "91350100M000100Y4", "91350100M000100Y433", "350100100012345"])
def test_other_lengths_are_malformed(code: str) -> None:
    """A registration number of the old kind would be stored as a credit code."""
    assert rules.credit_code_problem(code) == "malformed"


def test_the_refusal_names_field_and_reason() -> None:
    """A clerk would not learn which of the fields to correct."""
    with pytest.raises(InvalidFields) as refused:
        rules.require_credit_code("91350100M000100Y44", "site.credit_code")
    assert problem_of(refused) == ("site.credit_code", "check_digit")


# Region codes


@pytest.mark.parametrize(
    ("code", "parent"),
    [("51", ""), ("5108", "51"), ("510802", "5108"), ("510802001", "510802"), ("510802001001", "510802001")],
)
def test_every_level_hangs_below_the_one_above(code: str, parent: str) -> None:
    """Regions of a level could not be imported."""
    assert rules.region_violation(code, parent) is None


@pytest.mark.parametrize("length", sorted(set(range(1, 16)) - set(rules.PARENT_LENGTH)))
def test_lengths_that_are_no_level_are_malformed(length: int) -> None:
    """A region without a level would be stored and break every scope below it."""
    violation = rules.region_violation("1" * length, "")
    assert violation is not None and (violation.field, violation.problem) == ("code", "malformed")


@pytest.mark.parametrize("code", ["5x", "５１", "51\n", " 51", "-1", "٥١"])
def test_only_ascii_digits_make_a_code(code: str) -> None:
    """Full-width digits would make a second region of the same look."""
    violation = rules.region_violation(code, "")
    assert violation is not None and violation.problem == "malformed"


@pytest.mark.parametrize(
    ("code", "parent", "field", "problem"),
    [
        ("", "", "code", "required"),
        ("5108", "", "parent_code", "required"),
        ("5108", "52", "parent_code", "not_the_parent"),
        ("510802", "51", "parent_code", "not_the_parent"),
        ("510802001001", "510802", "parent_code", "not_the_parent"),
        ("51", "5", "parent_code", "not_the_parent"),
        ("51", "51", "parent_code", "not_the_parent"),
        ("5108", "510802", "parent_code", "not_the_parent"),
    ],
)
def test_a_wrong_parent_is_refused(code: str, parent: str, field: str, problem: str) -> None:
    """A region would lie in one subtree by its code and in another by its parent."""
    violation = rules.region_violation(code, parent)
    assert violation is not None and (violation.field, violation.problem) == (field, problem)


# Units and posts


@pytest.mark.parametrize("kind", ["GOVERNMENT", "DEPARTMENT", "TOWNSHIP_OFFICE"])
def test_authorities_may_enforce(kind: str) -> None:
    """An enforcement body could not be marked as one and its inspections would be refused."""
    assert refusal(lambda: rules.require_enforcing_kind(kind, enforcement=True)) is None


@pytest.mark.parametrize("kind", ["COMMITTEE", "ENTERPRISE", "UNSPECIFIED"])
def test_others_may_not_enforce(kind: str) -> None:
    """A committee office would carry out administrative inspections, which 国办发〔2024〕54号 forbids."""
    assert refusal(lambda: rules.require_enforcing_kind(kind, enforcement=False)) is None
    refused = refusal(lambda: rules.require_enforcing_kind(kind, enforcement=True))
    assert refused == "unit_enforcement_needs_an_authority"


@pytest.mark.parametrize(("region", "parent"), [("51", ""), ("51", "51"), ("5108", "51"), ("510802001", "5108")])
def test_a_unit_lies_within_its_parents_region(region: str, parent: str) -> None:
    """A county office could not be placed below its city's department."""
    assert refusal(lambda: rules.require_within_parent(region, parent)) is None


@pytest.mark.parametrize(("region", "parent"), [("51", "5108"), ("52", "51"), ("5109", "5108"), ("", "51")])
def test_a_unit_outside_its_parents_region_is_refused(region: str, parent: str) -> None:
    """A department would answer for a unit that its own region does not hold."""
    with pytest.raises(InvalidFields) as refused:
        rules.require_within_parent(region, parent)
    assert problem_of(refused) == ("unit.parent", "outside_parent")


def test_all_roles_together_are_accepted() -> None:
    """A small township could not give one post several roles."""
    assert refusal(lambda: rules.require_roles([role for role in policy_pb2.Role.values() if role])) is None


@pytest.mark.parametrize(("roles", "index", "problem"), [([0], 0, "unknown_value"), ([1, 5, 1], 2, "duplicate")])
def test_unnamed_and_repeated_roles_are_refused(roles: list[int], index: int, problem: str) -> None:
    """A post would carry a role that means nothing."""
    with pytest.raises(InvalidFields) as refused:
        rules.require_roles(roles)
    assert problem_of(refused) == (f"post.roles[{index}]", problem)


# Codes in use


def test_a_code_in_use_is_refused_and_an_empty_one_is_not() -> None:
    """Two sites would share a credit code, or every site without one would clash with the next."""
    assert refusal(lambda: rules.require_unused("", [])) is None
    assert refusal(lambda: rules.require_unused("", ["", None])) is None
    assert refusal(lambda: rules.require_unused("A1", ["B2"])) is None
    assert refusal(lambda: rules.require_unused("A1", ["A1"])) == "ALREADY_EXISTS A1"


# Terms of office


def held_days(term: TermOfOffice) -> set[date]:
    """List the days of a term the slow way, within the range of the strategy."""
    end = term.end or date(2050, 1, 1)
    return {term.start + timedelta(n) for n in range((end - term.start).days)}


@given(terms, terms)
def test_terms_overlap_exactly_when_they_share_a_day(one: TermOfOffice, other: TermOfOffice) -> None:
    """Two people would hold one post, or a successor could not follow on the same day."""
    shared = bool(held_days(one) & held_days(other))
    assert one.overlaps(other) == other.overlaps(one) == shared


def test_a_successor_may_start_on_the_day_the_predecessor_ended() -> None:
    """A post would stand empty for a day at every change."""
    before = TermOfOffice(date(2026, 1, 1), TODAY)
    after = TermOfOffice(TODAY, None)
    assert refusal(lambda: rules.require_free_post(after, [before, TermOfOffice(TODAY, TODAY)])) is None
    too_early = TermOfOffice(TODAY - timedelta(1), None)
    assert refusal(lambda: rules.require_free_post(too_early, [before])) == "post_is_held_by_one_person_at_a_time"


@pytest.mark.parametrize("offset", [0, -1, -400])
def test_an_appointment_lasts_a_day_at_least(offset: int) -> None:
    """An appointment would be made that nobody ever holds."""
    with pytest.raises(InvalidFields) as refused:
        rules.require_order(TermOfOffice(TODAY, TODAY + timedelta(offset)), "appointment.end_date")
    assert problem_of(refused) == ("appointment.end_date", "not_after_start")
    rules.require_order(TermOfOffice(TODAY, TODAY + timedelta(1)), "appointment.end_date")
    rules.require_order(TermOfOffice(TODAY, None), "appointment.end_date")


@given(terms, st.none() | days)
def test_an_end_never_leaves_more_days_in_office_than_asked(term: TermOfOffice, asked: date | None) -> None:
    """Somebody removed from office would keep its roles, or the past would be rewritten."""
    try:
        end = rules.end_of_office(term, asked, TODAY)
    except DomainError as refusal:
        over = term.end is not None and (term.end <= TODAY or term.end <= term.start)
        assert over or (asked is not None and (asked < TODAY or asked <= term.start)), refusal
        return
    assert end >= term.start
    assert end >= TODAY
    if asked is None:
        assert TODAY not in held_days(TermOfOffice(term.start, end))
    else:
        assert end == asked


def test_ending_at_once_ends_today_even_on_the_first_day() -> None:
    """Roles given by mistake in the morning could not be taken back the same day."""
    assert rules.end_of_office(TermOfOffice(TODAY, None), None, TODAY) == TODAY
    assert rules.end_of_office(TermOfOffice(date(2020, 1, 1), date(2030, 1, 1)), None, TODAY) == TODAY


def test_an_appointment_not_begun_is_cancelled() -> None:
    """A future appointment would take effect although it was ended."""
    start = TODAY + timedelta(30)
    assert rules.end_of_office(TermOfOffice(start, None), None, TODAY) == start


@pytest.mark.parametrize("end", [date(2026, 3, 1), TODAY])
def test_what_is_over_cannot_end_again(end: date) -> None:
    """Who was in office on past days would change."""
    refused = refusal(lambda: rules.end_of_office(TermOfOffice(date(2026, 1, 1), end), None, TODAY))
    assert refused == "WRONG_STATE ENDED end_appointment"


@pytest.mark.parametrize(
    ("start", "asked", "problem"),
    [
        (date(2026, 1, 1), TODAY - timedelta(1), "in_the_past"),
        (TODAY, TODAY, "not_after_start"),
        (TODAY + timedelta(9), TODAY + timedelta(3), "not_after_start"),
    ],
)
def test_an_end_day_lies_ahead_and_after_the_start(start: date, asked: date, problem: str) -> None:
    """An end would be stored that contradicts the start or the past."""
    with pytest.raises(InvalidFields) as refused:
        rules.end_of_office(TermOfOffice(start, None), asked, TODAY)
    assert problem_of(refused) == ("end_date", problem)


# Holiday notices


def test_a_real_notice_is_accepted() -> None:
    """The notice for 2024, which reaches back to a Saturday in December, could not be entered."""
    notice = rules.holiday_year("2024", [date(2023, 12, 30), date(2024, 2, 10)], [date(2024, 2, 4)])
    assert (notice.year, len(notice.off), list(notice.work)) == (2024, 2, [date(2024, 2, 4)])


@pytest.mark.parametrize("year", ["1949", "2200", "24", "02024", "abcd", "２０２４", "", "-024"])
def test_years_outside_the_calendar_are_refused(year: str) -> None:
    """A notice would be stored that no calendar can be built from, and every deadline would fail."""
    with pytest.raises(InvalidFields) as refused:
        rules.holiday_year(year, [date(2024, 2, 10)], [])
    assert problem_of(refused) == ("notice.name", "out_of_range")


@pytest.mark.parametrize(
    ("off", "work", "field", "problem"),
    [
        ([date(2023, 11, 30)], [], "off_dates[0]", "out_of_range"),
        ([date(2024, 5, 1), date(2025, 2, 1)], [], "off_dates[1]", "out_of_range"),
        ([date(2024, 5, 1), date(2024, 5, 1)], [], "off_dates[1]", "duplicate"),
        ([date(2024, 5, 4)], [date(2024, 5, 4)], "work_dates[0]", "duplicate"),
        ([date(2024, 5, 1)], [date(2024, 5, 6)], "work_dates[0]", "out_of_range"),
    ],
)
def test_wrong_dates_of_a_notice_are_named(off: list[date], work: list[date], field: str, problem: str) -> None:
    """A mistyped notice would move deadlines nationwide."""
    with pytest.raises(InvalidFields) as refused:
        rules.holiday_year("2024", off, work)
    assert problem_of(refused) == (f"notice.{field}", problem)


# Questions about deadlines


def ask(**given: object) -> DeadlineQuestion:
    """Return a question that starts on 2024-02-08 and asks what is given."""
    values: dict[str, object] = {
        "start": datetime(2024, 2, 8, 9, tzinfo=BEIJING),
        "clock": "",
        "term": None,
        "pauses": [],
        "extensions": [],
        "roll_to_working_day": False,
    }
    return DeadlineQuestion(**(values | given))  # type: ignore[arg-type]


def test_a_term_is_counted_as_the_timers_count_it() -> None:
    """The explanation would name another day than the timer fires on."""
    found = rules.answer_deadline(CALENDAR, ask(term=(15, Unit.WORKING_DAYS)))
    assert found.due_date == date(2024, 3, 6)
    assert not found.provisional


def test_only_a_term_asked_to_roll_rolls() -> None:
    """A caller's own term would move, or stay, against what was asked."""
    three = (2, Unit.NATURAL_DAYS)
    assert rules.answer_deadline(CALENDAR, ask(term=three)).due_date == date(2024, 2, 10)
    rolled = rules.answer_deadline(CALENDAR, ask(term=three, roll_to_working_day=True))
    assert rolled.due_date == date(2024, 2, 18)


@pytest.mark.parametrize("key", CLOCKS)
def test_every_catalogued_clock_answers(key: str) -> None:
    """A clock of the catalogue would be shown that cannot be explained."""
    assert rules.answer_deadline(CALENDAR, ask(clock=key)).steps


MOMENT = datetime(2024, 3, 1, tzinfo=UTC)
EARLY = datetime(1900, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "field", "problem"),
    [
        ({}, "term", "required"),
        ({"clock": "nope"}, "clock", "unknown_reference"),
        ({"clock": "talk_reply", "term": (1, Unit.HOURS)}, "term", "excluded"),
        ({"term": (0, Unit.HOURS)}, "term.amount", "out_of_range"),
        ({"term": (-1, Unit.HOURS)}, "term.amount", "out_of_range"),
        ({"term": (101, Unit.YEARS)}, "term.amount", "out_of_range"),
        (
            {"clock": "talk_reply", "extensions": [(1, Unit.HOURS), (0, Unit.HOURS)]},
            "extensions[1].amount",
            "out_of_range",
        ),
        ({"term": (1, Unit.HOURS), "pauses": [(MOMENT, MOMENT)]}, "pauses[0].end_time", "not_after_start"),
        ({"term": (1, Unit.HOURS), "pauses": [(EARLY, MOMENT)]}, "pauses[0].start_time", "out_of_range"),
        ({"start": EARLY, "term": (1, Unit.HOURS)}, "start_time", "out_of_range"),
        ({"start": datetime(2150, 1, 1, tzinfo=UTC), "term": (100, Unit.YEARS)}, "start_time", "out_of_range"),
        ({"clock": "listing_extension_request", "pauses": [(MOMENT, MOMENT + timedelta(1))]}, "pauses", "excluded"),
        ({"clock": "listing_extension_request", "extensions": [(1, Unit.HOURS)]}, "extensions", "excluded"),
    ],
)
def test_questions_without_an_answer_name_the_field(given: dict[str, object], field: str, problem: str) -> None:
    """A caller would get INTERNAL, or a deadline computed from something else than was asked."""
    with pytest.raises(InvalidFields) as refused:
        rules.answer_deadline(CALENDAR, ask(**given))
    assert problem_of(refused) == (field, problem)


def test_random_real_shaped_codes_survive_a_round_of_ten_thousand() -> None:
    """The check would depend on a lucky choice of examples."""
    generator = random.Random(7)
    for _ in range(10_000):
        body = "".join(generator.choices(CREDIT_ALPHABET, k=17))
        total = sum(CREDIT_ALPHABET.index(body[i]) * 3**i for i in range(17))
        assert rules.credit_check_character(body) == CREDIT_ALPHABET[-total % 31]


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        (["130302"], "130302"),
        (["1303", "1304"], "13"),
        (["1303", "130302"], "1303"),
        (["130302001", "130302002"], "130302"),
        (["1303", "2101"], ""),
        (["13", ""], ""),
        ([""], ""),
    ],
)
def test_the_region_above_several_contains_them_all(codes: list[str], expected: str) -> None:
    """What is for those who reach all of them would be shown to one city about another."""
    assert rules.region_above(codes) == rules.region_above(codes[::-1]) == expected
