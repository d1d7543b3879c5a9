"""Rules of supervision and accountability that need no case: ladders, openings, exemptions, appeal windows."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from dutyloop.accountability.v1 import accountability_pb2
from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.kit.v1 import kit_pb2
from dutyloop.plan.v1 import plan_pb2
from services.kit.dates import last_day_before
from services.kit.errors import RuleNotMet, SeparationOfDuties, UnfitReference, WindowClosed, WrongState, invalid

MAX_TERM_AMOUNT = 3_650
MAX_INFLUENCE_MONTHS = 48
"""Several sanctions at once are capped at 48 months (Law on Administrative Sanctions §15)."""
APPEAL_CLOCKS: Mapping[str, str] = {
    "SANCTION": "sanction_review_request",
    "DEMOTION": "servant_review_request",
    "REMOVAL": "servant_review_request",
}
"""Decision → catalogued clock of its appeal window: one month for a sanction (Supervision Law §56), 30 natural
days for demotion and removal (Civil Servants Law §95). The other measures are not among those §95 lists."""
ACTS = ("hazard.", "inspection.", "plan.")
"""Families of ledger entries that show work done. To have a list drafted or acknowledged, to be refused or to answer
in a case shows no duty performed."""
COMPLETIONS = ("plan.task.submitted", "plan.task.confirmed")
"""Ledger entries that show a recurring duty performed; a report of progress shows none."""


def check_business_time(*, internal: bool, given: bool) -> None:
    """A workflow says its business time; a person never does."""
    if given and not internal:
        raise invalid("business_time", "for_workflows_only")
    if internal and not given:
        raise invalid("business_time", "required")


def check_term(term: kit_pb2.Term, field: str) -> None:
    """A term is between one and some thousand units long."""
    if not 1 <= term.amount <= MAX_TERM_AMOUNT:
        raise invalid(f"{field}.amount", "out_of_range")


def check_policy(policy: accountability_pb2.EscalationPolicy) -> None:
    """Rungs stand mildest first; the inquiry opens an accountability case, so it is the last and only one."""
    previous = accountability_pb2.MEASURE_KIND_UNSPECIFIED
    for index, rung in enumerate(policy.rungs):
        if rung.HasField("wait"):
            check_term(rung.wait, f"escalation_policy.rungs[{index}].wait")
        if rung.kind < previous:
            raise RuleNotMet(rule="rungs_stand_mildest_first")
        if previous == accountability_pb2.MEASURE_KIND_INQUIRY:
            raise RuleNotMet(rule="inquiry_is_the_last_rung")
        previous = rung.kind


def serves(policy_region_code: str, unit_region_code: str) -> bool:
    """Tell whether a policy of a region serves a unit's cases: its own region and those below."""
    return unit_region_code.startswith(policy_region_code)


def check_progress(state: str, unit: str, units: Collection[str]) -> None:
    """Progress is reported on a case that runs, by a post of the unit that must handle it."""
    if unit not in units:
        raise RuleNotMet(rule="a_case_is_reported_by_its_own_unit")
    if state == "CONCLUDED":
        raise WrongState(state=state, action="report_progress")


@dataclass(frozen=True, slots=True)
class Involved:
    """Who had a part in a supervision case: who answers, who reported, and whom its rungs addressed."""

    person: str
    reporters: Collection[str]
    addressed: Collection[str]


def check_conclusion(state: str, principal: str, involved: Involved) -> None:
    """A case is concluded once, by a person who neither answers for it, reported on it nor was addressed by it."""
    if state == "CONCLUDED":
        raise WrongState(state=state, action="conclude")
    if principal in involved.reporters:
        raise SeparationOfDuties(person=principal, first="report_progress", second="conclude")
    if principal == involved.person or principal in involved.addressed:
        raise SeparationOfDuties(person=principal, first="answer", second="conclude")


HAZARD_STAGES: Mapping[str, hazard_pb2.HazardState.ValueType] = {
    "assign": hazard_pb2.HAZARD_STATE_REPORTED,
    "plan": hazard_pb2.HAZARD_STATE_ASSIGNED,
    "rectify": hazard_pb2.HAZARD_STATE_PLANNED,
    "reinspect": hazard_pb2.HAZARD_STATE_RECTIFIED,
}
"""The matter of an overdue hazard's case → the state in which the hazard waits for just that."""


def check_hazard_settled(hazard: hazard_pb2.Hazard, matter: str) -> None:
    """The case of an overdue hazard is concluded once the hazard is past the stage, or overdue no more."""
    stage = HAZARD_STAGES.get(matter)
    passed = stage is not None and hazard.state > stage
    if not passed and hazard.light == kit_pb2.LIGHT_RED:
        raise RuleNotMet(rule="matter_is_settled")


def check_task_settled(task: plan_pb2.Task) -> None:
    """The case of an overdue task is concluded once the task is done; one submitted in time is not overdue."""
    if task.overdue:
        raise RuleNotMet(rule="matter_is_settled")


def check_rung(state: str) -> None:
    """No rung fires once the case is concluded, whatever a late workflow says."""
    if state == "CONCLUDED":
        raise WrongState(state=state, action="fire_rung")


def check_opening(case: accountability_pb2.AccountabilityCase, opener: str) -> None:
    """An accountability case names a cause, and nobody opens one against himself."""
    if not (case.measure or case.hazard or case.task or case.supervision_case):
        raise invalid("accountability_case.measure", "required")
    if case.subject == opener:
        raise SeparationOfDuties(person=opener, first="answer", second="open")


def check_facts(state: str, principal: str, subject: str) -> None:
    """Facts are handed in until the decision, never by the subject."""
    if state not in ("OPENED", "FACTS_SUBMITTED"):
        raise WrongState(state=state, action="submit_facts")
    if principal == subject:
        raise SeparationOfDuties(person=principal, first="answer", second="submit_facts")


@dataclass(frozen=True, slots=True)
class Decider:
    """Who would decide: the person, and the paths of the units in whose posts he is a leader who reaches the case."""

    person: str
    unit_paths: Sequence[str]


@dataclass(frozen=True, slots=True)
class Parties:
    """Who had a part in an accountability case before its decision."""

    subject: str
    opener: str = ""
    handlers: Collection[str] = ()


def check_decider(state: str, decider: Decider, parties: Parties, subject_path: str) -> None:
    """A case with facts is decided by a leader who is no party to it and not below the subject's unit.

    ``subject_path`` is the path of the unit in which the subject answers. Leaders of the very same unit are
    peers or superiors as far as posts tell; who leads only units below it is a subordinate.
    """
    if decider.person == parties.subject:
        raise SeparationOfDuties(person=decider.person, first="answer", second="decide")
    if decider.person == parties.opener:
        raise SeparationOfDuties(person=decider.person, first="open", second="decide")
    if decider.person in parties.handlers:
        raise SeparationOfDuties(person=decider.person, first="submit_facts", second="decide")
    if state != "FACTS_SUBMITTED":
        raise WrongState(state=state, action="decide")
    below = [path != subject_path and path.startswith(subject_path) for path in decider.unit_paths]
    if below and all(below):
        raise RuleNotMet(rule="decider_is_no_subordinate_of_the_subject")


def check_influence(months: int) -> None:
    """An influence period lasts at most 48 months."""
    if not 0 <= months <= MAX_INFLUENCE_MONTHS:
        raise invalid("influence_months", "out_of_range")


def appeal_clock(decision: str) -> str:
    """Return the catalogued clock of the decision's appeal window, '' where the law gives none."""
    return APPEAL_CLOCKS.get(decision, "")


@dataclass(frozen=True, slots=True)
class ShownDuty:
    """A duty item that an exemption names, and the ledger entries it points to."""

    duty_item: str
    ledger_entries: Sequence[str]


@dataclass(frozen=True, slots=True)
class Completion:
    """A task's confirmed completion: who submitted it, and when."""

    submitter: str
    submitted: datetime


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the ledger says of an entry; ``completion`` is that of the entry's task, None while unconfirmed."""

    type: str
    actor: str
    on_behalf_of: str
    business_time: datetime
    objects: Sequence[str] = ()
    completion: Completion | None = None


@dataclass(frozen=True, slots=True)
class ListVersion:
    """Since when a version of a list has been the one in force, and until when it was; None for never and for still.

    A version is in force once it is published and its effective date has come.
    """

    since: datetime | None
    until: datetime | None = None


def governed(version: ListVersion, at: datetime) -> bool:
    """Tell whether a list was the one in force at a time, whatever became of it since."""
    if version.since is None or version.since > at:
        return False
    return version.until is None or version.until >= at


def check_exemption(
    shown: Sequence[ShownDuty],
    list_items: Mapping[str, bool],
    entries: Mapping[str, Evidence],
    subject: str,
    opened: datetime,
) -> None:
    """Every duty on the subject's published lists is shown by the subject's own acts before the case opened.

    ``list_items`` are the items of those lists and whether each recurs, ``entries`` the named entries that
    exist. A duty that recurs is shown by a task of it that the subject completed and somebody confirmed; a
    standing duty has no tasks and is shown by any work of the subject. Each entry shows one duty only. Raises
    RuleNotMet, InvalidFields or UnfitReference naming what is at fault.
    """
    if not list_items:
        raise RuleNotMet(rule="subject_has_a_published_duty_list")
    used: set[str] = set()
    named: set[str] = set()
    for index, duty in enumerate(shown):
        field = f"exemption.duties[{index}]"
        if duty.duty_item not in list_items:
            raise UnfitReference(field=f"{field}.duty_item", resource=duty.duty_item)
        if duty.duty_item in named:
            raise invalid(f"{field}.duty_item", "duplicate")
        named.add(duty.duty_item)
        for number, name in enumerate(duty.ledger_entries):
            where = f"{field}.ledger_entries[{number}]"
            if name in used:
                raise invalid(where, "duplicate")
            used.add(name)
            entry = entries.get(name)
            shows = _shows_completion if list_items[duty.duty_item] else _shows_act
            if entry is None or entry.business_time >= opened or not shows(entry, duty.duty_item, subject, opened):
                raise UnfitReference(field=where, resource=name)
    if named != set(list_items):
        raise RuleNotMet(rule="every_duty_on_the_list_is_shown_performed")


def _shows_completion(entry: Evidence, duty_item: str, subject: str, opened: datetime) -> bool:
    done = entry.completion
    by_subject = done is not None and done.submitter == subject and done.submitted < opened
    return entry.type in COMPLETIONS and duty_item in entry.objects and by_subject


def _shows_act(entry: Evidence, duty_item: str, subject: str, opened: datetime) -> bool:
    about = [name for name in entry.objects if name.startswith("dutyItems/")]
    own = subject in (entry.actor, entry.on_behalf_of)
    return own and entry.type.startswith(ACTS) and (not about or duty_item in about)


def check_appeal(state: str, principal: str, subject: str, due: datetime | None, appealed: bool, now: datetime) -> None:
    """The subject alone appeals, once, while the window of a decided measure is open."""
    if principal != subject:
        raise RuleNotMet(rule="only_the_subject_appeals")
    if state not in ("DECIDED", "CLOSED"):
        raise WrongState(state=state, action="file_appeal")
    if due is None:
        raise RuleNotMet(rule="measure_has_an_appeal_window")
    if appealed:
        raise WrongState(state="APPEAL_FILED", action="file_appeal")
    if state == "CLOSED" or now >= due:
        raise WindowClosed(closed=last_day_before(due))
