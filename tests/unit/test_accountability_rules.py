"""Rules of supervision and accountability: ladders, separation of duties, exemptions, appeal windows."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from dutyloop.accountability.v1 import accountability_pb2
from dutyloop.duty.v1 import duty_pb2
from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.kit.v1 import kit_pb2
from dutyloop.plan.v1 import plan_pb2
from services.accountability import messages, presets, rules
from services.accountability.references import version_of
from services.kit.dates import beijing_date, day_message
from tests.refusals import refusal
from workflows import rectification

NOW = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
SUBJECT, HANDLER, LEADER, OTHER = "people/subject", "people/handler", "people/leader", "people/other"
OPENER = "people/opener"
PARTIES = rules.Parties(SUBJECT, OPENER, ["people/first", HANDLER])
KINDS = accountability_pb2.MeasureKind


def policy(*kinds: str, wait: int | None = None) -> accountability_pb2.EscalationPolicy:
    """Return a policy with a rung of each kind."""
    made = accountability_pb2.EscalationPolicy()
    for kind in kinds:
        rung = made.rungs.add(kind=KINDS.Value(f"MEASURE_KIND_{kind}"), target=accountability_pb2.RUNG_TARGET_UNIT)
        if wait is not None:
            rung.wait.CopyFrom(kit_pb2.Term(amount=wait, unit=kit_pb2.TERM_UNIT_WORKING_DAYS))
    return made


@pytest.mark.parametrize(
    "kinds",
    [
        ("REMINDER",),
        ("SUPERVISION_NOTICE", "SUPERVISION_NOTICE", "SUPERVISION_NOTICE"),
        ("REMINDER", "SUPERVISION_NOTICE", "TALK", "CIRCULAR", "INQUIRY"),
        ("TALK", "INQUIRY"),
    ],
)
def test_ladder_that_climbs_is_accepted(kinds: Sequence[str]) -> None:
    """A city could not enter its own ladder, such as the one of three coloured notices."""
    assert refusal(lambda: rules.check_policy(policy(*kinds, wait=3))) is None


@pytest.mark.parametrize(
    ("kinds", "rule"),
    [
        (("TALK", "REMINDER"), "rungs_stand_mildest_first"),
        (("INQUIRY", "CIRCULAR"), "rungs_stand_mildest_first"),
        (("INQUIRY", "INQUIRY"), "inquiry_is_the_last_rung"),
    ],
)
def test_ladder_that_falls_is_refused(kinds: Sequence[str], rule: str) -> None:
    """An officeholder would be held to account before he was reminded, or twice for one matter."""
    assert refusal(lambda: rules.check_policy(policy(*kinds))) == rule


@pytest.mark.parametrize("amount", [-1, 0, 3_651])
def test_wait_out_of_range_is_refused(amount: int) -> None:
    """A ladder with a negative wait would fire all its rungs at once."""
    found = refusal(lambda: rules.check_policy(policy("REMINDER", wait=amount)))
    assert found == "escalation_policy.rungs[0].wait.amount out_of_range"


@pytest.mark.parametrize("preset", presets.PRESETS, ids=lambda preset: preset.id)
def test_presets_keep_the_rules_and_say_what_they_are(preset: presets.Preset) -> None:
    """People would be shown a default as if it were law, or a ladder that nobody could enter himself."""
    message = accountability_pb2.EscalationPolicy()
    for rung in preset.rungs:
        added = message.rungs.add(kind=KINDS.Value(f"MEASURE_KIND_{rung.kind}"))
        if rung.wait:
            added.wait.amount = rung.wait.amount
    rules.check_policy(message)
    assert len(preset.source) <= 300
    assert "非法定" in preset.source
    assert "not statutory" in preset.source


def test_first_preset_has_all_five_rungs_in_working_days() -> None:
    """The ladder that serves where no region made one would lack a measure or count days off."""
    five = presets.PRESETS[0]
    assert [rung.kind for rung in five.rungs] == ["REMINDER", "SUPERVISION_NOTICE", "TALK", "CIRCULAR", "INQUIRY"]
    assert five.rungs[0].wait is None
    assert {rung.wait.unit for rung in five.rungs[1:] if rung.wait} == {"WORKING_DAYS"}
    assert min(presets.PRESETS, key=lambda preset: preset.code) is five


def test_stored_rungs_come_back_as_they_were() -> None:
    """A case would climb another ladder than the one shown to people."""
    rungs = presets.PRESETS[0].rungs
    row = {"id": "p", "version": 1, "rungs": messages.rung_columns(rungs)}
    assert messages.pinned_policy(row).rungs == rungs  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("policy_region", "unit_region", "expected"),
    [("", "130302", True), ("1303", "130302", True), ("130302", "130302", True), ("130304", "130302", False)],
)
def test_policy_serves_its_region_and_those_below(policy_region: str, unit_region: str, expected: bool) -> None:
    """A county's cases would climb its neighbour's ladder."""
    assert rules.serves(policy_region, unit_region) is expected


@pytest.mark.parametrize(
    ("internal", "given", "refused"),
    [
        (False, False, None),
        (True, True, None),
        (False, True, "business_time for_workflows_only"),
        (True, False, "business_time required"),
    ],
)
def test_business_time_comes_from_workflows_only(internal: bool, given: bool, refused: str | None) -> None:
    """A person could backdate a case, or a workflow open one in 1970."""
    assert refusal(lambda: rules.check_business_time(internal=internal, given=given)) == refused


@pytest.mark.parametrize(
    ("state", "principal", "expected"),
    [
        ("HANDLE", OTHER, None),
        ("STUDY", OTHER, None),
        ("CONCLUDED", OTHER, "WRONG_STATE CONCLUDED conclude"),
        ("HANDLE", HANDLER, f"SEPARATION_OF_DUTIES {HANDLER} report_progress conclude"),
        ("HANDLE", SUBJECT, f"SEPARATION_OF_DUTIES {SUBJECT} answer conclude"),
        ("SUPERVISE", LEADER, f"SEPARATION_OF_DUTIES {LEADER} answer conclude"),
    ],
)
def test_conclusion_is_nobodys_own(state: str, principal: str, expected: str | None) -> None:
    """Who reported on a matter, answers for it, or was pressed for it, could declare it settled."""
    involved = rules.Involved(SUBJECT, ["people/first", HANDLER], ["people/reminded", LEADER])
    assert refusal(lambda: rules.check_conclusion(state, principal, involved)) == expected


@pytest.mark.parametrize(
    ("state", "unit", "expected"),
    [
        ("STUDY", "units/a", None),
        ("CONCLUDED", "units/a", "WRONG_STATE CONCLUDED report_progress"),
        ("STUDY", "units/c", "a_case_is_reported_by_its_own_unit"),
    ],
)
def test_progress_is_reported_by_the_case_s_own_unit(state: str, unit: str, expected: str | None) -> None:
    """Another unit in reach could end the study of a matter that it does not handle."""
    assert refusal(lambda: rules.check_progress(state, unit, ["units/a", "units/b"])) == expected


@pytest.mark.parametrize(
    ("state", "light", "matter", "settled"),
    [
        ("REPORTED", "RED", "assign", False),
        ("ASSIGNED", "RED", "assign", True),
        ("PLANNED", "RED", "rectify", False),
        ("PLANNED", "GREEN", "rectify", True),
        ("RECTIFIED", "RED", "rectify", True),
        ("RECTIFIED", "RED", "reinspect", False),
        ("ASSIGNED", "RED", "rectify", False),
        ("PLANNED", "RED", "what a supervisor wrote", False),
        ("WRITTEN_OFF", "UNSPECIFIED", "what a supervisor wrote", True),
        ("CLOSED", "UNSPECIFIED", "reinspect", True),
    ],
)
def test_overdue_hazard_is_settled_before_its_case(state: str, light: str, matter: str, settled: bool) -> None:
    """A supervisor could stop the ladder while the hazard that it is about goes on being overdue."""
    hazard = hazard_pb2.Hazard(
        state=hazard_pb2.HazardState.Value(f"HAZARD_STATE_{state}"), light=kit_pb2.Light.Value(f"LIGHT_{light}")
    )
    expected = None if settled else "matter_is_settled"
    assert refusal(lambda: rules.check_hazard_settled(hazard, matter)) == expected


def test_overdue_task_is_settled_before_its_case() -> None:
    """A supervisor could stop the ladder over a task that nobody has done."""
    for state in (plan_pb2.TASK_STATE_DONE, plan_pb2.TASK_STATE_SUBMITTED):
        assert refusal(partial(rules.check_task_settled, plan_pb2.Task(state=state))) is None
    for state in (plan_pb2.TASK_STATE_OPEN, plan_pb2.TASK_STATE_SUBMITTED):
        overdue = plan_pb2.Task(state=state, overdue=True)
        assert refusal(partial(rules.check_task_settled, overdue)) == "matter_is_settled"


def test_stages_of_a_hazard_s_case_are_those_of_its_workflow() -> None:
    """A case of a stage that the service does not know could never be concluded by a person."""
    words = {f"HAZARD_STATE_{state}": stage for state, stage in rectification.SUPERVISED.items()}
    known = {hazard_pb2.HazardState.Name(state): stage for stage, state in rules.HAZARD_STAGES.items()}
    assert known == words


def test_no_rung_fires_after_the_conclusion() -> None:
    """A settled unit would still be named in a circular."""
    assert refusal(lambda: rules.check_rung("SUPERVISE")) is None
    assert refusal(lambda: rules.check_rung("CONCLUDED")) == "WRONG_STATE CONCLUDED fire_rung"


def test_opening_needs_a_cause() -> None:
    """A case could be opened against a person for nothing that anybody can read up."""
    case = accountability_pb2.AccountabilityCase(subject=SUBJECT)
    assert refusal(lambda: rules.check_opening(case, OTHER)) == "accountability_case.measure required"
    for cause in ("measure", "hazard", "task", "supervision_case"):
        caused = accountability_pb2.AccountabilityCase(subject=SUBJECT, **{cause: "x/1"})  # type: ignore[arg-type]
        assert refusal(partial(rules.check_opening, caused, OTHER)) is None


def test_nobody_opens_a_case_against_himself() -> None:
    """A friendly case, opened by its own subject, would forestall the real one."""
    case = accountability_pb2.AccountabilityCase(subject=SUBJECT, hazard="hazards/1")
    assert refusal(lambda: rules.check_opening(case, SUBJECT)) == f"SEPARATION_OF_DUTIES {SUBJECT} answer open"


@pytest.mark.parametrize(
    ("state", "principal", "expected"),
    [
        ("OPENED", HANDLER, None),
        ("FACTS_SUBMITTED", HANDLER, None),
        ("DECIDED", HANDLER, "WRONG_STATE DECIDED submit_facts"),
        ("EXEMPTED", HANDLER, "WRONG_STATE EXEMPTED submit_facts"),
        ("OPENED", SUBJECT, f"SEPARATION_OF_DUTIES {SUBJECT} answer submit_facts"),
    ],
)
def test_facts_never_come_from_the_subject(state: str, principal: str, expected: str | None) -> None:
    """The subject could write the facts of his own case, or they could change after the decision."""
    assert refusal(lambda: rules.check_facts(state, principal, SUBJECT)) == expected


@pytest.mark.parametrize(
    ("state", "person", "paths", "expected"),
    [
        ("FACTS_SUBMITTED", LEADER, ["city/"], None),
        ("FACTS_SUBMITTED", LEADER, ["other/"], None),
        ("FACTS_SUBMITTED", LEADER, ["city/county/"], None),
        ("FACTS_SUBMITTED", LEADER, ["city/county/office/", "city/"], None),
        ("FACTS_SUBMITTED", LEADER, ["city/county/office/"], "decider_is_no_subordinate_of_the_subject"),
        ("OPENED", LEADER, ["city/"], "WRONG_STATE OPENED decide"),
        ("DECIDED", LEADER, ["city/"], "WRONG_STATE DECIDED decide"),
        ("FACTS_SUBMITTED", SUBJECT, ["city/"], f"SEPARATION_OF_DUTIES {SUBJECT} answer decide"),
        ("FACTS_SUBMITTED", HANDLER, ["city/"], f"SEPARATION_OF_DUTIES {HANDLER} submit_facts decide"),
        ("FACTS_SUBMITTED", OPENER, ["city/"], f"SEPARATION_OF_DUTIES {OPENER} open decide"),
    ],
)
def test_decider_is_a_leader_apart(state: str, person: str, paths: Sequence[str], expected: str | None) -> None:
    """A subject, a handler, an opener or a subordinate could decide what the subject answers for."""
    decider = rules.Decider(person, paths)
    assert refusal(lambda: rules.check_decider(state, decider, PARTIES, "city/county/")) == expected


@pytest.mark.parametrize(("months", "allowed"), [(0, True), (48, True), (-1, False), (49, False)])
def test_influence_is_capped(months: int, allowed: bool) -> None:
    """A measure could weigh on a person longer than several sanctions at once may."""
    expected = None if allowed else "influence_months out_of_range"
    assert refusal(lambda: rules.check_influence(months)) == expected


@pytest.mark.parametrize(
    ("decision", "clock"),
    [
        ("CIRCULAR", ""),
        ("ADMONITION", ""),
        ("SUSPENSION", ""),
        ("REASSIGNMENT", ""),
        ("ORDERED_RESIGNATION", ""),
        ("DEMOTION", "servant_review_request"),
        ("REMOVAL", "servant_review_request"),
        ("SANCTION", "sanction_review_request"),
    ],
)
def test_only_listed_measures_have_an_appeal_window(decision: str, clock: str) -> None:
    """A person would lose a remedy the law gives, or be promised one it does not."""
    assert rules.appeal_clock(decision) == clock


ITEMS = {"dutyItems/1": False, "dutyItems/2": False}
"""Two standing duties."""


def entry(
    actor: str = SUBJECT, on_behalf_of: str = "", type_: str = "hazard.hazard.planned", at: datetime = NOW
) -> rules.Evidence:
    """Return what the ledger says of an entry."""
    return rules.Evidence(type_, actor, on_behalf_of, at)


COMPLETED = rules.Completion(SUBJECT, NOW)


def task_entry(
    type_: str = "plan.task.submitted",
    actor: str = SUBJECT,
    item: str = "dutyItems/2",
    completion: rules.Completion | None = COMPLETED,
    at: datetime = NOW,
) -> rules.Evidence:
    """Return what the ledger says of an act on a task whose completion was confirmed."""
    return rules.Evidence(type_, actor, "", at, ("tasks/1", "annualTaskLists/1", item, "posts/1"), completion)


def exemption(
    shown: Sequence[tuple[str, Sequence[str]]],
    entries: dict[str, rules.Evidence],
    items: Mapping[str, bool] = ITEMS,
) -> None:
    """Check an exemption of the subject whose case was opened an hour after the entries."""
    rules.check_exemption([rules.ShownDuty(*duty) for duty in shown], items, entries, SUBJECT, NOW + timedelta(hours=1))


BOTH = (("dutyItems/1", ["ledgerEntries/a"]), ("dutyItems/2", ["ledgerEntries/b"]))


def test_exemption_with_every_duty_shown_is_accepted() -> None:
    """A person who did all on his list could not be exempted."""
    entries = {"ledgerEntries/a": entry(), "ledgerEntries/b": entry(OTHER, SUBJECT)}
    assert refusal(lambda: exemption(BOTH, entries)) is None


@pytest.mark.parametrize(
    "bad",
    [
        None,
        entry(OTHER),
        entry(type_="access.call.refused"),
        entry(type_="duty.list.acknowledged"),
        entry(type_="accountability.supervision_case.answered"),
        entry(at=NOW + timedelta(hours=1)),
        entry(at=NOW + timedelta(days=1)),
        rules.Evidence("plan.task.submitted", SUBJECT, "", NOW, ("tasks/1", "dutyItems/1")),
    ],
    ids=[
        "missing",
        "of another person",
        "a refusal",
        "an acknowledgement",
        "an answer",
        "at the opening",
        "after the opening",
        "of another duty",
    ],
)
def test_exemption_with_unfit_evidence_is_refused(bad: rules.Evidence | None) -> None:
    """A subject would go free on evidence that does not exist, is another's or was made afterwards."""
    entries = {"ledgerEntries/a": entry()} | ({"ledgerEntries/b": bad} if bad else {})
    expected = "UNFIT_REFERENCE exemption.duties[1].ledger_entries[0] ledgerEntries/b"
    assert refusal(lambda: exemption(BOTH, entries)) == expected


def test_exemption_with_a_duty_left_out_is_refused() -> None:
    """A subject would go free for the duties he chose to show."""
    found = refusal(lambda: exemption(BOTH[:1], {"ledgerEntries/a": entry()}))
    assert found == "every_duty_on_the_list_is_shown_performed"


def test_exemption_with_a_foreign_duty_is_refused() -> None:
    """Duties of somebody else's list would be counted."""
    shown = (*BOTH, ("dutyItems/3", ["ledgerEntries/c"]))
    found = refusal(lambda: exemption(shown, {f"ledgerEntries/{each}": entry() for each in "abc"}))
    assert found == "UNFIT_REFERENCE exemption.duties[2].duty_item dutyItems/3"


@pytest.mark.parametrize(
    "shown",
    [
        (*BOTH, ("dutyItems/2", ["ledgerEntries/c"])),
        (("dutyItems/1", ["ledgerEntries/a"]), ("dutyItems/2", ["ledgerEntries/a"])),
    ],
    ids=["duty twice", "entry for two duties"],
)
def test_exemption_counts_nothing_twice(shown: Sequence[tuple[str, Sequence[str]]]) -> None:
    """One act would pass for all duties on the list."""
    found = refusal(lambda: exemption(shown, {f"ledgerEntries/{each}": entry() for each in "abc"}))
    assert found is not None and found.endswith(" duplicate")


def test_exemption_without_a_list_is_refused() -> None:
    """Who has no published duties would be exempted for having performed none."""
    assert refusal(lambda: exemption((), {}, {})) == "subject_has_a_published_duty_list"


RECURRING = {"dutyItems/1": False, "dutyItems/2": True}


@pytest.mark.parametrize(
    "shown", [task_entry(), task_entry("plan.task.confirmed", OTHER)], ids=["submitted", "confirmed by another person"]
)
def test_recurring_duty_is_shown_by_a_confirmed_completion(shown: rules.Evidence) -> None:
    """Who completed the tasks on his list could not be exempted."""
    entries = {"ledgerEntries/a": entry(), "ledgerEntries/b": shown}
    assert refusal(lambda: exemption(BOTH, entries, RECURRING)) is None


@pytest.mark.parametrize(
    "shown",
    [
        task_entry("plan.task.progressed"),
        task_entry("plan.task.rejected"),
        entry(type_="plan.task.submitted"),
        entry(),
        task_entry(item="dutyItems/1"),
        task_entry(completion=None),
        task_entry(completion=rules.Completion(OTHER, NOW)),
        task_entry("plan.task.confirmed", OTHER, completion=rules.Completion(OTHER, NOW)),
        task_entry("plan.task.confirmed", SUBJECT, completion=rules.Completion(OTHER, NOW)),
        task_entry(completion=rules.Completion(SUBJECT, NOW + timedelta(hours=1))),
        task_entry(at=NOW + timedelta(hours=1)),
    ],
    ids=[
        "progress",
        "rejection",
        "no duty named",
        "another kind of act",
        "of another duty",
        "unconfirmed",
        "submitted again by another person",
        "another person's",
        "another person's, confirmed by the subject",
        "submitted anew after the opening",
        "after the opening",
    ],
)
def test_recurring_duty_is_shown_by_nothing_less(shown: rules.Evidence) -> None:
    """A subject would go free who reported that he set to work, or handed in what nobody accepted."""
    entries = {"ledgerEntries/a": entry(), "ledgerEntries/b": shown}
    expected = "UNFIT_REFERENCE exemption.duties[1].ledger_entries[0] ledgerEntries/b"
    assert refusal(lambda: exemption(BOTH, entries, RECURRING)) == expected


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (None, None, False),
        (-1, None, True),
        (0, None, True),
        (1, None, False),
        (-2, -1, False),
        (-2, 0, True),
        (-2, 1, True),
    ],
)
def test_lists_are_those_of_the_opening(since: int | None, until: int | None, expected: bool) -> None:
    """A shorter list published once the case runs would exempt its subject."""
    times = [None if hours is None else NOW + timedelta(hours=hours) for hours in (since, until)]
    assert rules.governed(rules.ListVersion(*times), NOW) is expected


def test_of_two_versions_one_is_in_force() -> None:
    """Between publication and supersession a subject would have to show the duties of both versions."""
    old, new = duty_pb2.ResponsibilityList(), duty_pb2.ResponsibilityList(predecessor="responsibilityLists/old")
    old.publish_time.FromDatetime(NOW - timedelta(days=9))
    new.publish_time.FromDatetime(NOW - timedelta(days=2))
    assert not rules.governed(version_of(new, old), NOW)
    old.supersede_time.FromDatetime(NOW - timedelta(days=1))
    in_force = [
        [rules.governed(each, NOW - timedelta(days=days)) for each in (version_of(old), version_of(new, old))]
        for days in (10, 3, 1.5, 0)
    ]
    assert in_force == [[False, False], [True, False], [True, False], [False, True]]


def test_a_list_is_in_force_once_its_day_has_come() -> None:
    """A subject would be exempted by a list that binds nobody yet, and held to the duties of one."""
    announced = duty_pb2.ResponsibilityList(effective_date=day_message(beijing_date(NOW) + timedelta(days=2)))
    announced.publish_time.FromDatetime(NOW - timedelta(days=9))
    days = [rules.governed(version_of(announced), NOW + timedelta(days=days)) for days in (-1, 0, 1, 2, 3)]
    assert days == [False, False, False, True, True]


@pytest.mark.parametrize(
    ("state", "principal", "due", "appealed", "expected"),
    [
        ("DECIDED", SUBJECT, NOW + timedelta(seconds=1), False, None),
        ("DECIDED", SUBJECT, NOW, False, "WINDOW_CLOSED 2026-03-02"),
        ("CLOSED", SUBJECT, NOW - timedelta(days=1), False, "WINDOW_CLOSED 2026-03-01"),
        ("DECIDED", SUBJECT, NOW + timedelta(days=1), True, "WRONG_STATE APPEAL_FILED file_appeal"),
        ("DECIDED", OTHER, NOW + timedelta(days=1), False, "only_the_subject_appeals"),
        ("CLOSED", SUBJECT, None, False, "measure_has_an_appeal_window"),
        ("OPENED", SUBJECT, None, False, "WRONG_STATE OPENED file_appeal"),
        ("EXEMPTED", SUBJECT, None, False, "WRONG_STATE EXEMPTED file_appeal"),
    ],
)
def test_appeal_is_the_subjects_within_the_window(
    state: str, principal: str, due: datetime | None, appealed: bool, expected: str | None
) -> None:
    """A late or foreign appeal would be taken, or a subject in time turned away."""
    assert refusal(lambda: rules.check_appeal(state, principal, SUBJECT, due, appealed, NOW)) == expected
