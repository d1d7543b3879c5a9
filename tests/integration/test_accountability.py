"""Supervision and accountability over the wire: who may be named, who may end a case, what exempts a person."""

import asyncio
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import asyncpg
import grpc
import pytest
from google.type.date_pb2 import Date

from dutyloop.accountability.v1 import accountability_pb2
from dutyloop.accountability.v1.accountability_pb2_grpc import AccountabilityServiceStub
from dutyloop.directory.v1 import directory_pb2
from dutyloop.duty.v1 import duty_pb2
from dutyloop.duty.v1.duty_pb2_grpc import DutyServiceStub
from dutyloop.kit.v1 import kit_pb2
from dutyloop.plan.v1 import plan_pb2
from dutyloop.plan.v1.plan_pb2_grpc import PlanServiceStub
from dutyloop.policy.v1 import policy_pb2
from tests.integration.house import Caller, Refusal
from tests.integration.people import City, appoint, register

EFFECTIVE, LATER = Date(year=2000, month=1, day=1), Date(year=2001, month=1, day=1)


def stub(city: City) -> Any:
    """Return accountability's stub."""
    return AccountabilityServiceStub(city.house.channel)


async def supervision(
    city: City, source: accountability_pb2.CaseSource.ValueType = accountability_pb2.CASE_SOURCE_MEETING, **about: Any
) -> accountability_pb2.SupervisionCase:
    """Have the supervisor at home open a supervision case; over the office unless ``about`` names a unit."""
    case = accountability_pb2.SupervisionCase(
        display_name="督办", source=source, matter="消除隐患", **{"unit": city.home.office, **about}
    )
    request = accountability_pb2.OpenSupervisionCaseRequest(supervision_case=case)
    return await city.supervisor.calls(stub(city).OpenSupervisionCase, request)


def accusation(
    city: City, subject: str, hazard: str, post: str = ""
) -> accountability_pb2.OpenAccountabilityCaseRequest:
    """Return the request that opens a case against a person over a hazard."""
    case = accountability_pb2.AccountabilityCase(
        subject=subject, unit=city.home.office, matter="逾期未整改", hazard=hazard, post=post
    )
    return accountability_pb2.OpenAccountabilityCaseRequest(accountability_case=case)


async def inquiry(city: City, subject: str, hazard: str) -> accountability_pb2.AccountabilityCase:
    """Open a case as a ladder's last rung does."""
    request = accusation(city, subject, hazard)
    request.business_time.FromDatetime(await city.house.now())
    return await city.house.worker().calls(stub(city).OpenAccountabilityCase, request)


async def with_facts(city: City, case: str) -> None:
    """Hand in the facts of a case, as the supervisor at home."""
    request = accountability_pb2.SubmitFactsRequest(name=case, facts="经查属实", evidence=["卷宗1"])
    await city.supervisor.calls(stub(city).SubmitFacts, request)


def decision(case: str) -> accountability_pb2.DecideAccountabilityCaseRequest:
    """Return the request that decides a case with a measure against which there is an appeal."""
    return accountability_pb2.DecideAccountabilityCaseRequest(
        name=case, decision=accountability_pb2.DECISION_DEMOTION, instrument_number=uuid.uuid4().hex, grounds="逾期"
    )


# Who may be named


async def test_only_who_serves_within_reach_is_named(city: City) -> None:
    """A county could open cases against people of its sibling, or learn who exists there."""
    hazard = (await city.reports()).name
    foreign = city.next_door.people[policy_pb2.ROLE_LEADER].name
    answers: list[Refusal] = []
    for person in (foreign, "people/unheard-of", city.postless.name):
        case = accountability_pb2.SupervisionCase(
            display_name="督办",
            source=accountability_pb2.CASE_SOURCE_MEETING,
            matter="消除隐患",
            unit=city.home.office,
            person=person,
        )
        request = accountability_pb2.OpenSupervisionCaseRequest(supervision_case=case)
        answers.append(await city.supervisor.refused(stub(city).OpenSupervisionCase, request))
        answers.append(
            await city.supervisor.refused(stub(city).OpenAccountabilityCase, accusation(city, person, hazard))
        )
    fields = ({"supervision_case.person": "unknown_reference"}, {"accountability_case.subject": "unknown_reference"})
    assert [answer.fields for answer in answers] == list(fields) * 3
    named = await supervision(city, person=city.responsible.name)
    assert named.person == city.responsible.name


async def test_who_left_office_of_late_is_still_named(city: City) -> None:
    """Nobody could be held to account any more once he had resigned."""
    hazard = (await city.reports()).name
    leaver = await city.hires(policy_pb2.ROLE_LEADER)
    end = directory_pb2.EndAppointmentRequest(name=leaver.appointment)
    await city.house.operator.calls(city.house.directory.EndAppointment, end)
    opened = await city.supervisor.calls(stub(city).OpenAccountabilityCase, accusation(city, leaver.name, hazard))
    assert opened.subject == leaver.name


async def test_inquiry_against_nobody_known_goes_to_the_head_of_the_unit(city: City) -> None:
    """The last rung would be dropped because the rectification plan names somebody who does not exist."""
    case = await inquiry(city, "people/unheard-of", (await city.reports()).name)
    asked = directory_pb2.ListAppointmentsRequest(post=case.post)
    (held,) = (await city.house.operator.calls(city.house.directory.ListAppointments, asked)).appointments
    assert held.person == case.subject != "people/unheard-of"
    (entry,) = await city.house.fetch(
        "SELECT convert_from(payload, 'UTF8')::jsonb AS payload FROM ledger.entry"
        " WHERE type = 'accountability.accountability_case.opened' AND $1 = ANY (objects)",
        case.name,
    )
    assert '"stood_in_for": "people/unheard-of"' in entry["payload"]


# Who may end a supervision case


async def test_overdue_hazard_keeps_its_case_open(city: City) -> None:
    """A supervisor could stop the ladder while the hazard goes on being overdue."""
    hazard = (await city.reports()).name
    await city.house.advance(timedelta(days=10))
    case = await supervision(city, accountability_pb2.CASE_SOURCE_OVERDUE_HAZARD, hazard=hazard)
    other = await city.hires(policy_pb2.ROLE_SUPERVISOR)
    request = accountability_pb2.ConcludeSupervisionCaseRequest(name=case.name, conclusion="已督促")
    refusal = await other.refused(stub(city).ConcludeSupervisionCase, request)
    assert (refusal.reason, refusal.metadata) == ("RULE_NOT_MET", {"rule": "matter_is_settled"})
    free = await supervision(city, hazard=hazard)
    request = accountability_pb2.ConcludeSupervisionCaseRequest(name=free.name, conclusion="会议已结束")
    ended = await other.calls(stub(city).ConcludeSupervisionCase, request)
    assert ended.state == accountability_pb2.SUPERVISION_CASE_STATE_CONCLUDED


async def test_who_was_reminded_does_not_conclude(city: City) -> None:
    """Whom the ladder pressed could make it stop; the table would let him, should the case forget."""
    reminded = await city.hires(policy_pb2.ROLE_SUPERVISOR)
    case = await supervision(city, person=reminded.name)
    identifier = case.name.removeprefix("supervisionCases/")
    await rung_fired(city, case.name)
    request = accountability_pb2.ConcludeSupervisionCaseRequest(name=case.name, conclusion="已办结")
    assert (await reminded.refused(stub(city).ConcludeSupervisionCase, request)).reason == "SEPARATION_OF_DUTIES"
    with pytest.raises(asyncpg.CheckViolationError, match="who_is_addressed_never_concludes"):
        await city.house.fetch(
            "UPDATE accountability.supervision_case SET person = '', concluder = $2 WHERE id = $1",
            identifier,
            reminded.name,
        )


async def rung_fired(city: City, name: str) -> None:
    """Wait for the first rung of a case that is due at once."""
    request = accountability_pb2.GetSupervisionCaseRequest(name=name)
    for _ in range(300):
        if (await city.supervisor.calls(stub(city).GetSupervisionCase, request)).fired_rung_count:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"no rung of {name} fired")


async def test_progress_is_reported_by_the_unit_that_handles_the_matter(city: City) -> None:
    """The department above could report in the place of the enterprise that must act."""
    above = await city.hires(policy_pb2.ROLE_RESPONSIBLE_UNIT, unit=city.home.office)
    case = await supervision(city, unit=city.home.enterprise)
    request = accountability_pb2.ReportCaseProgressRequest(name=case.name, progress="正在整改")
    refusal = await above.refused(stub(city).ReportCaseProgress, request)
    assert refusal.metadata == {"rule": "a_case_is_reported_by_its_own_unit"}
    own = await city.hires(policy_pb2.ROLE_RESPONSIBLE_UNIT, unit=city.home.enterprise)
    assert (await own.calls(stub(city).ReportCaseProgress, request)).reporter == own.name


# Who may decide, and who may appeal


async def test_opener_does_not_decide(city: City) -> None:
    """Who brings a case against a person could judge it too."""
    subject = city.responsible.name
    request = accusation(city, subject, (await city.reports()).name)
    opened = await city.all_rounder.calls(stub(city).OpenAccountabilityCase, request)
    await with_facts(city, opened.name)
    refusal = await city.all_rounder.refused(stub(city).DecideAccountabilityCase, decision(opened.name))
    assert (refusal.reason, refusal.metadata["first"]) == ("SEPARATION_OF_DUTIES", "open")
    with pytest.raises(asyncpg.CheckViolationError, match="opener_never_decides"):
        await city.house.fetch(
            "UPDATE accountability.accountability_case SET state = 'DECIDED', decider = opener, decide_time = now(),"
            " decision = 'CIRCULAR', instrument_number = '1' WHERE id = $1",
            opened.name.removeprefix("accountabilityCases/"),
        )


async def test_a_post_elsewhere_makes_no_judge_of_a_subordinate(city: City) -> None:
    """A subordinate who also leads something in another city would decide over his own superior."""
    leader = city.home.people[policy_pb2.ROLE_LEADER].name
    case = await inquiry(city, leader, (await city.reports()).name)
    await with_facts(city, case.name)
    below = await city.hires(policy_pb2.ROLE_LEADER, unit=city.home.enterprise)
    await appoint(city.house, below, city.next_door.office, policy_pb2.ROLE_LEADER)
    refusal = await below.refused(stub(city).DecideAccountabilityCase, decision(case.name))
    assert refusal.metadata == {"rule": "decider_is_no_subordinate_of_the_subject"}


async def test_subject_without_a_post_reads_and_appeals(city: City) -> None:
    """Who lost his post by the very measure could not use the remedy that the law gives him."""
    subject, stranger = city.postless, await register(city.house, city.home.office)
    case = await inquiry(city, subject.name, (await city.reports()).name)
    await with_facts(city, case.name)
    await city.home.people[policy_pb2.ROLE_LEADER].calls(stub(city).DecideAccountabilityCase, decision(case.name))
    ask = accountability_pb2.GetAccountabilityCaseRequest(name=case.name)
    appeal = accountability_pb2.FileAppealRequest(name=case.name, reason="已尽职")
    foreigner = city.next_door.people[policy_pb2.ROLE_LEADER]
    for somebody in (stranger, foreigner):
        assert (await somebody.refused(stub(city).GetAccountabilityCase, ask)).code is grpc.StatusCode.NOT_FOUND
        assert (await somebody.refused(stub(city).FileAppeal, appeal)).code is grpc.StatusCode.NOT_FOUND
    assert (await subject.calls(stub(city).GetAccountabilityCase, ask)).subject == subject.name
    everything = accountability_pb2.ListAccountabilityCasesRequest()
    listed = (await subject.calls(stub(city).ListAccountabilityCases, everything)).accountability_cases
    assert case.name in {each.name for each in listed}
    assert {subject.name} == {each.subject for each in listed}
    assert not (await stranger.calls(stub(city).ListAccountabilityCases, everything)).accountability_cases
    assert (await subject.calls(stub(city).FileAppeal, appeal)).appeal.reason == "已尽职"


# What exempts a person


class Duties(NamedTuple):
    """A leader with a post of his own, its published list and that list's items by number."""

    holder: Caller
    post: str
    list: duty_pb2.ResponsibilityList
    items: dict[str, str]


async def published(city: City, post: str, numbers: Sequence[str], predecessor: str = "") -> tuple[Any, dict[str, str]]:
    """Publish a list of a post: duty 1 recurs every month, every other one stands."""
    duties, people = DutyServiceStub(city.house.channel), city.home.people
    editor, approver = people[policy_pb2.ROLE_LIST_EDITOR], people[policy_pb2.ROLE_LIST_APPROVER]
    draft = duty_pb2.ResponsibilityList(
        kind=duty_pb2.LIST_KIND_DUTY,
        display_name="职责清单",
        unit=city.home.office,
        post=post,
        effective_date=LATER if predecessor else EFFECTIVE,
        predecessor=predecessor,
    )
    made = await editor.calls(
        duties.CreateResponsibilityList, duty_pb2.CreateResponsibilityListRequest(responsibility_list=draft)
    )
    rows = [
        duty_pb2.DutyItemRow(
            row=row,
            item=duty_pb2.DutyItem(
                number=number,
                text="职责",
                law="安全生产法",
                article="第九条",
                type=duty_pb2.DUTY_TYPE_LEADERSHIP,
                involvement=duty_pb2.INVOLVEMENT_LEAD,
                recurrence="FREQ=MONTHLY;BYMONTHDAY=15" if number == "1" else "",
            ),
        )
        for row, number in enumerate(numbers, 1)
    ]
    header = kit_pb2.ImportHeader(request_id=uuid.uuid4().hex)
    report = await editor.sends(
        duties.ImportDutyItems, duty_pb2.ImportDutyItemsRequest(header=header, responsibility_list=made.name, rows=rows)
    )
    assert not report.rejected, report
    await editor.calls(duties.SubmitResponsibilityList, duty_pb2.SubmitResponsibilityListRequest(name=made.name))
    await approver.calls(duties.ApproveResponsibilityList, duty_pb2.ApproveResponsibilityListRequest(name=made.name))
    listed = await editor.calls(duties.ListDutyItems, duty_pb2.ListDutyItemsRequest(responsibility_list=made.name))
    return made, {item.number: item.name for item in listed.duty_items}


async def duties_of_a_leader(city: City) -> Duties:
    """Hire a duty holder with a list of one recurring and one standing duty."""
    holder = await city.hires(policy_pb2.ROLE_DUTY_HOLDER, policy_pb2.ROLE_INSPECTOR)
    asked = directory_pb2.ListAppointmentsRequest(person=holder.name)
    (held,) = (await city.house.operator.calls(city.house.directory.ListAppointments, asked)).appointments
    made, items = await published(city, held.post, ["1", "2"])
    return Duties(holder, held.post, made, items)


async def entry_of(city: City, actor: str, kind: str) -> str:
    """Return the latest ledger entry of a kind by a person."""
    (row,) = await city.house.fetch(
        "SELECT id FROM ledger.entry WHERE actor = $1 AND type = $2 ORDER BY recorded_time DESC LIMIT 1", actor, kind
    )
    return f"ledgerEntries/{row['id']}"


def exemption(case: str, shown: dict[str, str]) -> accountability_pb2.ExemptSubjectRequest:
    """Return the request that exempts a subject by one ledger entry for each duty."""
    duties = [accountability_pb2.PerformedDuty(duty_item=item, ledger_entries=[entry]) for item, entry in shown.items()]
    return accountability_pb2.ExemptSubjectRequest(
        name=case, exemption=accountability_pb2.Exemption(duties=duties, grounds="依单免责")
    )


async def test_exemption_rests_on_confirmed_completions_of_the_list_in_force(city: City) -> None:
    """A report of progress, or a shorter list published afterwards, would let a person off."""
    leader = city.home.people[policy_pb2.ROLE_LEADER]
    editor, approver = (city.home.people[role] for role in (policy_pb2.ROLE_LIST_EDITOR, policy_pb2.ROLE_LIST_APPROVER))
    duties, plans = await duties_of_a_leader(city), PlanServiceStub(city.house.channel)
    year = (await city.house.now()).year
    annual = await editor.calls(
        plans.GenerateAnnualTaskList,
        plan_pb2.GenerateAnnualTaskListRequest(responsibility_list=duties.list.name, year=year),
    )
    await approver.calls(plans.PublishAnnualTaskList, plan_pb2.PublishAnnualTaskListRequest(name=annual.name))
    tasks = (await duties.holder.calls(plans.ListTasks, plan_pb2.ListTasksRequest(annual_task_list=annual.name))).tasks
    await duties.holder.calls(
        DutyServiceStub(city.house.channel).AcknowledgeResponsibilityList,
        duty_pb2.AcknowledgeResponsibilityListRequest(name=duties.list.name),
    )
    acknowledged = await entry_of(city, duties.holder.name, "duty.list.acknowledged")
    await city.reports(duties.holder)
    standing = await entry_of(city, duties.holder.name, "hazard.hazard.reported")
    await duties.holder.calls(
        plans.ReportProgress, plan_pb2.ReportProgressRequest(name=tasks[0].name, progress_percent=50, remark="已部署")
    )
    progress = await entry_of(city, duties.holder.name, "plan.task.progressed")
    await duties.holder.calls(plans.SubmitCompletion, plan_pb2.SubmitCompletionRequest(name=tasks[0].name))
    submitted = await entry_of(city, duties.holder.name, "plan.task.submitted")
    await city.house.advance(timedelta(minutes=1))
    case = await inquiry(city, duties.holder.name, (await city.reports()).name)
    await with_facts(city, case.name)
    recurring, other = duties.items["1"], duties.items["2"]
    for unfit in (progress, submitted):  # the completion is not confirmed yet
        refusal = await leader.refused(
            stub(city).ExemptSubject, exemption(case.name, {recurring: unfit, other: standing})
        )
        assert (refusal.reason, refusal.metadata["resource"]) == ("UNFIT_REFERENCE", unfit)
    await city.supervisor.calls(plans.ConfirmCompletion, plan_pb2.ConfirmCompletionRequest(name=tasks[0].name))
    refusal = await leader.refused(
        stub(city).ExemptSubject, exemption(case.name, {recurring: progress, other: standing})
    )
    assert refusal.reason == "UNFIT_REFERENCE"
    refusal = await leader.refused(
        stub(city).ExemptSubject, exemption(case.name, {recurring: submitted, other: acknowledged})
    )
    assert (refusal.reason, refusal.metadata["resource"]) == ("UNFIT_REFERENCE", acknowledged)

    await city.house.advance(timedelta(minutes=1))
    shorter, items = await published(city, duties.post, ["2"], predecessor=duties.list.name)
    supersede = duty_pb2.SupersedeResponsibilityListRequest(name=duties.list.name, successor=shorter.name)
    superseded = await approver.calls(DutyServiceStub(city.house.channel).SupersedeResponsibilityList, supersede)
    assert superseded.supersede_time.ToDatetime() >= shorter.publish_time.ToDatetime()
    assert not shorter.HasField("supersede_time")
    with pytest.raises(asyncpg.CheckViolationError) as broken:
        await city.house.fetch(
            "UPDATE duty.responsibility_list SET state = 'PUBLISHED', successor_id = NULL, supersede_time = NULL "
            "WHERE id = $1",
            duties.list.name.removeprefix("responsibilityLists/"),
        )
    assert broken.value.constraint_name == "responsibility_list_states_follow_each_other"
    refusal = await leader.refused(stub(city).ExemptSubject, exemption(case.name, {items["2"]: standing}))
    assert refusal.metadata["resource"] == items["2"]
    exempted = await leader.calls(
        stub(city).ExemptSubject, exemption(case.name, {recurring: submitted, other: standing})
    )
    assert exempted.state == accountability_pb2.ACCOUNTABILITY_CASE_STATE_EXEMPTED


async def test_case_without_facts_shows_in_the_ledger(city: City) -> None:
    """A case that nobody attends to would lie silent for ever."""
    case = await inquiry(city, city.responsible.name, (await city.reports()).name)
    await city.house.advance(timedelta(days=40))
    sql = (
        "SELECT actor FROM ledger.entry WHERE $1 = ANY (objects)"
        " AND type = 'accountability.accountability_case.facts_overdue'"
    )
    for _ in range(300):
        if rows := await city.house.fetch(sql, case.name):
            break
        await asyncio.sleep(0.05)
    assert [row["actor"] for row in rows] == ["services/worker"]
