"""Requests that succeed, of tours, hazards, supervision and accountability."""

import uuid
from collections.abc import Sequence

from google.protobuf.message import Message
from google.type.date_pb2 import Date

from dutyloop.accountability.v1 import accountability_pb2
from dutyloop.duty.v1 import duty_pb2
from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.inspection.v1 import inspection_pb2
from dutyloop.kit.v1 import kit_pb2
from dutyloop.policy.v1 import policy_pb2
from tests.integration.house import Caller
from tests.integration.people import hire, new_hazard
from tests.integration.stock import (
    COVERAGE_TERM,
    Stock,
    decision,
)
from tests.integration.successes import Examples, header, timed

CASES = Examples()
OLD_DAY = Date(year=2013, month=5, day=6)


# Inspection


@CASES.of(inspection_pb2.CreateTourRequest)
async def create_tour(at: Stock, by: Caller) -> Message:
    return inspection_pb2.CreateTourRequest(tour=await at.planned_tour(2))


@CASES.of(inspection_pb2.DrawInspectorsRequest)
async def draw_inspectors(at: Stock, by: Caller) -> Message:
    tour = await at.tour("PLANNED", candidates=3)
    exclusion = inspection_pb2.Exclusion(
        inspector=tour.candidates[0], target=at.site, reason=inspection_pb2.EXCLUSION_REASON_RECUSAL
    )
    return inspection_pb2.DrawInspectorsRequest(name=tour.name, exclusions=[exclusion])


@CASES.of(inspection_pb2.StartTourRequest)
async def start_tour(at: Stock, by: Caller) -> Message:
    return inspection_pb2.StartTourRequest(name=(await at.tour("DRAWN")).name)


@CASES.of(inspection_pb2.RecordVisitRequest)
async def record_visit(at: Stock, by: Caller) -> Sequence[Message]:
    tour = (await at.tour("STARTED")).name
    records = (await at.visit_record(tour), await at.visit_record())
    return [inspection_pb2.RecordVisitRequest(visit=visit) for visit in records]


@CASES.of(inspection_pb2.ListVisitsRequest)
async def list_visits(at: Stock, by: Caller) -> Message:
    return inspection_pb2.ListVisitsRequest(tour=(await at.names())["dutyloop/Tour"], target=at.site)


@CASES.of(inspection_pb2.GetCoverageRequest)
async def get_coverage(at: Stock, by: Caller) -> Message:
    await at.names()
    return inspection_pb2.GetCoverageRequest(unit=at.office, coverage_term=COVERAGE_TERM)


@CASES.of(inspection_pb2.IssueFeedbackLetterRequest)
async def issue_feedback_letter(at: Stock, by: Caller) -> Message:
    tour = await at.tour("STARTED")
    await at.visit(tour.name)
    letter = inspection_pb2.FeedbackLetter(number=uuid.uuid4().hex, summary="两处问题", addressees=[at.site])
    return inspection_pb2.IssueFeedbackLetterRequest(name=tour.name, letter=letter)


@CASES.of(inspection_pb2.SubmitRectificationReportRequest)
async def submit_rectification_report(at: Stock, by: Caller) -> Message:
    return inspection_pb2.SubmitRectificationReportRequest(
        name=(await at.tour("FEEDBACK")).name, target=at.site, number="整改1号", document_hash=bytes(32)
    )


@CASES.of(inspection_pb2.CloseTourRequest)
async def close_tour(at: Stock, by: Caller) -> Message:
    return inspection_pb2.CloseTourRequest(name=(await at.tour("REPORTED")).name, conclusion="全部整改")


@CASES.of(inspection_pb2.ListToursRequest)
async def list_tours(at: Stock, by: Caller) -> Message:
    await at.names()
    return inspection_pb2.ListToursRequest(unit=at.office)


@CASES.of(inspection_pb2.RecordTourTransitionRequest)
async def record_tour_transition(at: Stock, by: Caller) -> Message:
    tour = await at.tour("PLANNED")
    request = inspection_pb2.RecordTourTransitionRequest(name=tour.name, transition="drawn", tour=tour)
    return await timed(at, at.house.worker(), request)


@CASES.of(inspection_pb2.ImportVisitsRequest)
async def import_visits(at: Stock, by: Caller) -> Sequence[Message]:
    site = await at.legacy_site()
    row = inspection_pb2.LegacyVisitRow(row=1, site_legacy_id=site.legacy_id, visit_date=OLD_DAY, purpose="检查")
    return [inspection_pb2.ImportVisitsRequest(header=each, rows=[row]) for each in (header(), header(at.place.region))]


# Hazard


@CASES.of(hazard_pb2.ReportHazardRequest)
async def report_hazard(at: Stock, by: Caller) -> Message:
    hazard = hazard_pb2.Hazard(
        site=at.site,
        visit=(await at.names())["dutyloop/Visit"],
        grade=hazard_pb2.HAZARD_GRADE_GENERAL,
        disposition=hazard_pb2.DISPOSITION_TIME_LIMITED,
        description="配电箱无漏电保护",
    )
    return hazard_pb2.ReportHazardRequest(hazard=hazard)


@CASES.of(hazard_pb2.AssignHazardRequest)
async def assign_hazard(at: Stock, by: Caller) -> Message:
    return hazard_pb2.AssignHazardRequest(name=(await at.hazard("REPORTED")).name, unit=at.enterprise)


@CASES.of(hazard_pb2.SubmitRectificationPlanRequest)
async def submit_rectification_plan(at: Stock, by: Caller) -> Message:
    hazard = await at.hazard("ASSIGNED")
    return hazard_pb2.SubmitRectificationPlanRequest(name=hazard.name, plan=await at.plan())


@CASES.of(hazard_pb2.SubmitRectificationRequest)
async def submit_rectification(at: Stock, by: Caller) -> Message:
    return hazard_pb2.SubmitRectificationRequest(name=(await at.hazard("PLANNED")).name, evidence=["sha256:00"])


@CASES.of(hazard_pb2.RequestExtensionRequest)
async def request_extension(at: Stock, by: Caller) -> Message:
    hazard = await at.hazard("PLANNED")
    return hazard_pb2.RequestExtensionRequest(name=hazard.name, extension=await at.extension())


@CASES.of(hazard_pb2.DecideExtensionRequest)
async def decide_extension(at: Stock, by: Caller) -> Message:
    request = await request_extension(at, by)
    asked = await at.does(await at.colleague(policy_pb2.ROLE_RESPONSIBLE_UNIT), request)
    return hazard_pb2.DecideExtensionRequest(name=asked.name, verdict=kit_pb2.VERDICT_PASS)


@CASES.of(hazard_pb2.ReinspectRequest)
async def reinspect(at: Stock, by: Caller) -> Message:
    return hazard_pb2.ReinspectRequest(name=(await at.hazard("RECTIFIED")).name, verdict=kit_pb2.VERDICT_PASS)


@CASES.of(hazard_pb2.LookBackRequest)
async def look_back(at: Stock, by: Caller) -> Message:
    return hazard_pb2.LookBackRequest(name=(await at.hazard("WRITTEN_OFF")).name, verdict=kit_pb2.VERDICT_PASS)


@CASES.of(hazard_pb2.SuspendSiteRequest)
async def suspend_site(at: Stock, by: Caller) -> Message:
    site = await at.fresh_site()
    hazard = await at.hazard("REPORTED", site)
    return hazard_pb2.SuspendSiteRequest(site=site, hazard=hazard.name, instrument_number=uuid.uuid4().hex)


@CASES.of(hazard_pb2.ResumeSiteRequest)
async def resume_site(at: Stock, by: Caller) -> Message:
    site = await at.fresh_site()
    hazard = await at.hazard("RECTIFIED", site)
    order = await at.order(hazard.name, site)
    passed = hazard_pb2.ReinspectRequest(name=hazard.name, verdict=kit_pb2.VERDICT_PASS)
    await at.does(await at.colleague(policy_pb2.ROLE_INSPECTOR), passed)
    return hazard_pb2.ResumeSiteRequest(name=order)


@CASES.of(hazard_pb2.CloseDownSiteRequest)
async def close_down_site(at: Stock, by: Caller) -> Message:
    site = await at.fresh_site()
    hazard = await at.hazard("REPORTED", site)
    return hazard_pb2.CloseDownSiteRequest(site=site, hazard=hazard.name, instrument_number=uuid.uuid4().hex)


@CASES.of(hazard_pb2.ListHazardsRequest)
async def list_hazards(at: Stock, by: Caller) -> Message:
    await at.names()
    return hazard_pb2.ListHazardsRequest(site=at.site, unit=at.enterprise)


@CASES.of(hazard_pb2.ImportHazardsRequest)
async def import_hazards(at: Stock, by: Caller) -> Sequence[Message]:
    row = hazard_pb2.LegacyHazardRow(
        row=1,
        legacy_id=uuid.uuid4().hex,
        site_legacy_id=(await at.legacy_site()).legacy_id,
        grade=hazard_pb2.HAZARD_GRADE_GENERAL,
        disposition=hazard_pb2.DISPOSITION_TIME_LIMITED,
        description="配电箱无漏电保护",
        open_date=OLD_DAY,
        write_off_date=OLD_DAY,
    )
    return [hazard_pb2.ImportHazardsRequest(header=each, rows=[row]) for each in (header(), header(at.place.region))]


@CASES.of(hazard_pb2.RecordHazardTransitionRequest)
async def record_hazard_transition(at: Stock, by: Caller) -> Message:
    hazard = await at.hazard("REPORTED")
    request = hazard_pb2.RecordHazardTransitionRequest(name=hazard.name, transition="assigned", hazard=hazard)
    return await timed(at, at.house.worker(), request)


# Accountability


@CASES.of(accountability_pb2.CreateEscalationPolicyRequest)
async def create_escalation_policy(at: Stock, by: Caller) -> Message:
    return accountability_pb2.CreateEscalationPolicyRequest(escalation_policy=at.ladder())


@CASES.of(accountability_pb2.ListEscalationPoliciesRequest)
async def list_escalation_policies(at: Stock, by: Caller) -> Message:
    await at.names()
    return accountability_pb2.ListEscalationPoliciesRequest(region=at.place.region)


@CASES.of(accountability_pb2.OpenSupervisionCaseRequest)
async def open_supervision_case(at: Stock, by: Caller) -> Message:
    names = await at.names()
    case = accountability_pb2.SupervisionCase(
        display_name="督办",
        source=accountability_pb2.CASE_SOURCE_MEETING,
        matter="消除隐患",
        unit=at.office,
        post=names["dutyloop/Post"],
        person=names["dutyloop/Person"],
        escalation_policy=names["dutyloop/EscalationPolicy"],
        term=kit_pb2.Term(amount=1, unit=kit_pb2.TERM_UNIT_MONTHS),
        task=names["dutyloop/Task"],
        hazard=names["dutyloop/Hazard"],
        tour=names["dutyloop/Tour"],
    )
    return await timed(at, by, accountability_pb2.OpenSupervisionCaseRequest(supervision_case=case))


@CASES.of(accountability_pb2.ReportCaseProgressRequest)
async def report_case_progress(at: Stock, by: Caller) -> Message:
    return accountability_pb2.ReportCaseProgressRequest(name=(await at.supervision()).name, progress="正在整改")


@CASES.of(accountability_pb2.ConcludeSupervisionCaseRequest)
async def conclude_supervision_case(at: Stock, by: Caller) -> Message:
    name = (await at.supervision()).name
    return await timed(at, by, accountability_pb2.ConcludeSupervisionCaseRequest(name=name, conclusion="已办结"))


@CASES.of(accountability_pb2.ListSupervisionCasesRequest)
async def list_supervision_cases(at: Stock, by: Caller) -> Message:
    names = await at.names()
    return accountability_pb2.ListSupervisionCasesRequest(
        unit=at.office, task=names["dutyloop/Task"], hazard=names["dutyloop/Hazard"]
    )


@CASES.of(accountability_pb2.OpenAccountabilityCaseRequest)
async def open_accountability_case(at: Stock, by: Caller) -> Message:
    names = await at.names()
    case = accountability_pb2.AccountabilityCase(
        subject=names["dutyloop/Person"],
        unit=at.office,
        post=names["dutyloop/Post"],
        matter="逾期未整改",
        measure=(await at.measure((await at.supervision()).name)).name,
        hazard=names["dutyloop/Hazard"],
        task=names["dutyloop/Task"],
        supervision_case=names["dutyloop/SupervisionCase"],
    )
    return await timed(at, by, accountability_pb2.OpenAccountabilityCaseRequest(accountability_case=case))


@CASES.of(accountability_pb2.SubmitFactsRequest)
async def submit_facts(at: Stock, by: Caller) -> Message:
    case = await at.accountability((await at.names())["dutyloop/Person"])
    return accountability_pb2.SubmitFactsRequest(name=case.name, facts="经查属实")


@CASES.of(accountability_pb2.DecideAccountabilityCaseRequest)
async def decide_accountability_case(at: Stock, by: Caller) -> Message:
    return decision((await at.accountability((await at.names())["dutyloop/Person"], "FACTS_SUBMITTED")).name)


@CASES.of(accountability_pb2.ExemptSubjectRequest)
async def exempt_subject(at: Stock, by: Caller) -> Message:
    subject = await hire(at.house, at.office, policy_pb2.ROLE_DUTY_HOLDER, policy_pb2.ROLE_INSPECTOR)
    standing = await at.published(await at.post_of(subject), recurring=False)
    (item,) = (await at.does(subject, duty_pb2.ListDutyItemsRequest(responsibility_list=standing))).duty_items
    await at.does(subject, hazard_pb2.ReportHazardRequest(hazard=new_hazard(at.site)))
    entry = await at.entry(actor=subject.name, type_prefix="hazard.hazard.reported")
    await at.later()  # what is done at the very moment of the opening shows nothing
    case = await at.accountability(subject.name, "FACTS_SUBMITTED")
    shown = accountability_pb2.PerformedDuty(duty_item=item.name, ledger_entries=[entry])
    exemption = accountability_pb2.Exemption(duties=[shown], grounds="依单免责")
    return accountability_pb2.ExemptSubjectRequest(name=case.name, exemption=exemption)


@CASES.of(accountability_pb2.FileAppealRequest)
async def file_appeal(at: Stock, by: Caller) -> Message:
    case = await at.accountability(by.name, "DECIDED")
    return accountability_pb2.FileAppealRequest(name=case.name, reason="已尽职")


@CASES.of(accountability_pb2.ListAccountabilityCasesRequest)
async def list_accountability_cases(at: Stock, by: Caller) -> Message:
    subject = (await at.names())["dutyloop/Person"]
    return accountability_pb2.ListAccountabilityCasesRequest(unit=at.office, subject=subject)


@CASES.of(accountability_pb2.ListMeasuresRequest)
async def list_measures(at: Stock, by: Caller) -> Sequence[Message]:
    names = await at.names()
    supervision, accountability = names["dutyloop/SupervisionCase"], names["dutyloop/AccountabilityCase"]
    return [
        accountability_pb2.ListMeasuresRequest(supervision_case=supervision, unit=at.office),
        accountability_pb2.ListMeasuresRequest(accountability_case=accountability),
    ]


@CASES.of(accountability_pb2.HandOnSupervisionCaseRequest)
async def hand_on_supervision_case(at: Stock, by: Caller) -> Message:
    case = await at.supervision()
    request = accountability_pb2.HandOnSupervisionCaseRequest(name=case.name, unit=at.office)
    return await timed(at, at.house.worker(), request)


@CASES.of(accountability_pb2.RecordRungRequest)
async def record_rung(at: Stock, by: Caller) -> Message:
    return await at.rung((await at.supervision()).name)


@CASES.of(accountability_pb2.RecordCaseTransitionRequest)
async def record_case_transition(at: Stock, by: Caller) -> Message:
    case = await at.supervision()
    request = accountability_pb2.RecordCaseTransitionRequest(
        name=case.name, transition="reported", supervision_case=case
    )
    return await timed(at, at.house.worker(), request)
