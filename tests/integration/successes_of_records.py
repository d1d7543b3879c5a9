"""Requests that succeed, of the directory, of duties, of tasks and of the ledger."""

import uuid
from collections.abc import Sequence
from datetime import timedelta

from google.protobuf.message import Message
from google.type.date_pb2 import Date

from dutyloop.audit.v1 import audit_pb2
from dutyloop.directory.v1 import directory_pb2
from dutyloop.duty.v1 import duty_pb2
from dutyloop.kit.v1 import kit_pb2
from dutyloop.plan.v1 import plan_pb2
from dutyloop.policy.v1 import policy_pb2
from tests.integration.house import Caller
from tests.integration.people import IN_OFFICE_SINCE, register
from tests.integration.stock import (
    LATER,
    Stock,
    duty_item,
    import_of,
)
from tests.integration.successes import Examples, header, timed

RECORDS = Examples()


# Directory


@RECORDS.of(directory_pb2.ImportRegionsRequest)
async def import_regions(at: Stock, by: Caller) -> Message:
    code = at.place.region.removeprefix("regions/")
    row = directory_pb2.RegionRow(row=1, code=f"{code}81", parent_code=code, display_name="新区")
    return directory_pb2.ImportRegionsRequest(header=header(), rows=[row])


@RECORDS.of(directory_pb2.ListRegionsRequest)
async def list_regions(at: Stock, by: Caller) -> Message:
    return directory_pb2.ListRegionsRequest(parent="regions/13")


@RECORDS.of(directory_pb2.CreateUnitRequest)
async def create_unit(at: Stock, by: Caller) -> Message:
    return directory_pb2.CreateUnitRequest(unit=_unit(at))


def _unit(at: Stock, name: str = "") -> directory_pb2.Unit:
    kind = directory_pb2.UNIT_KIND_DEPARTMENT
    return directory_pb2.Unit(name=name, display_name="科室", region=at.place.region, parent=at.office, kind=kind)


@RECORDS.of(directory_pb2.UpdateUnitRequest)
async def update_unit(at: Stock, by: Caller) -> Message:
    created = await at.does(at.house.operator, directory_pb2.CreateUnitRequest(unit=_unit(at)))
    return directory_pb2.UpdateUnitRequest(unit=_unit(at, created.name))


@RECORDS.of(directory_pb2.ListUnitsRequest)
async def list_units(at: Stock, by: Caller) -> Message:
    return directory_pb2.ListUnitsRequest(parent=at.office, region=at.place.region)


@RECORDS.of(directory_pb2.CreatePostRequest)
async def create_post(at: Stock, by: Caller) -> Message:
    post = directory_pb2.Post(
        unit=at.office,
        display_name="岗位",
        roles=[policy_pb2.ROLE_DUTY_HOLDER],
        reach=directory_pb2.POST_REACH_REGION,
    )
    return directory_pb2.CreatePostRequest(post=post)


@RECORDS.of(directory_pb2.ListPostsRequest)
async def list_posts(at: Stock, by: Caller) -> Message:
    return directory_pb2.ListPostsRequest(unit=at.office)


@RECORDS.of(directory_pb2.AppointRequest)
async def appoint(at: Stock, by: Caller) -> Message:
    person = await register(at.house, at.office)
    appointment = directory_pb2.Appointment(post=await at.post(), person=person.name, start_date=IN_OFFICE_SINCE)
    return directory_pb2.AppointRequest(appointment=appointment)


@RECORDS.of(directory_pb2.EndAppointmentRequest)
async def end_appointment(at: Stock, by: Caller) -> Message:
    appointed = await at.does(at.house.operator, await appoint(at, by))
    return directory_pb2.EndAppointmentRequest(name=appointed.name)


@RECORDS.of(directory_pb2.ListAppointmentsRequest)
async def list_appointments(at: Stock, by: Caller) -> Message:
    names = await at.names()
    return directory_pb2.ListAppointmentsRequest(post=names["dutyloop/Post"], person=names["dutyloop/Person"])


def _site(at: Stock, *, of: str | None = None, name: str = "") -> directory_pb2.Site:
    unit = at.enterprise if of is None else of
    return directory_pb2.Site(name=name, display_name="新厂", region=at.place.region, unit=unit)


@RECORDS.of(directory_pb2.CreateSiteRequest)
async def create_site(at: Stock, by: Caller) -> Sequence[Message]:
    listed = _site(at)
    listed.legacy_id, listed.source_region = uuid.uuid4().hex, at.place.region
    return [directory_pb2.CreateSiteRequest(site=site) for site in (_site(at, of=""), _site(at), listed)]


@RECORDS.of(directory_pb2.UpdateSiteRequest)
async def update_site(at: Stock, by: Caller) -> Sequence[Message]:
    listed = await at.legacy_site()
    listed.ClearField("etag")
    sites = (_site(at, name=await at.fresh_site()), listed)
    return [directory_pb2.UpdateSiteRequest(site=site) for site in sites]


@RECORDS.of(directory_pb2.ImportSitesRequest)
async def import_sites(at: Stock, by: Caller) -> Sequence[Message]:
    sites = [_site(at, of=""), _site(at)]
    for site in sites:
        site.legacy_id = uuid.uuid4().hex
    rows = [directory_pb2.SiteRow(row=1, site=site) for site in sites]
    requests = [directory_pb2.ImportSitesRequest(header=header(), rows=[row]) for row in rows]
    listed = directory_pb2.ImportSitesRequest(header=header(at.place.region), rows=[rows[1]])
    listed.rows[0].site.legacy_id, listed.rows[0].site.source_region = uuid.uuid4().hex, at.place.region
    return [*requests, listed]


@RECORDS.of(directory_pb2.ListSitesRequest)
async def list_sites(at: Stock, by: Caller) -> Message:
    return directory_pb2.ListSitesRequest(region=at.place.region)


@RECORDS.of(directory_pb2.PublishHolidayNoticeRequest)
async def publish_holiday_notice(at: Stock, by: Caller) -> Message:
    notice = directory_pb2.HolidayNotice(name="holidayNotices/2031", off_dates=[Date(year=2031, month=10, day=1)])
    return directory_pb2.PublishHolidayNoticeRequest(notice=notice)


@RECORDS.of(directory_pb2.ExplainDeadlineRequest)
async def explain_deadline(at: Stock, by: Caller) -> Message:
    request = directory_pb2.ExplainDeadlineRequest(term=kit_pb2.Term(amount=1, unit=kit_pb2.TERM_UNIT_WORKING_DAYS))
    request.start_time.FromDatetime(await at.house.now())
    return request


@RECORDS.of(directory_pb2.AdvanceClockRequest)
async def advance_clock(at: Stock, by: Caller) -> Message:
    request = directory_pb2.AdvanceClockRequest()
    request.time.FromDatetime(await at.house.now())
    return request


# Duty


@RECORDS.of(duty_pb2.CreateResponsibilityListRequest)
async def create_responsibility_list(at: Stock, by: Caller) -> Message:
    post = await at.post()
    following = duty_pb2.ResponsibilityList(
        kind=duty_pb2.LIST_KIND_DUTY,
        display_name="职责清单",
        unit=at.office,
        post=post,
        effective_date=LATER,
        predecessor=await at.published(post),
    )
    return duty_pb2.CreateResponsibilityListRequest(responsibility_list=following)


@RECORDS.of(duty_pb2.UpdateResponsibilityListRequest)
async def update_responsibility_list(at: Stock, by: Caller) -> Message:
    post = await at.post()
    predecessor = await at.published(post)
    draft = duty_pb2.ResponsibilityList(
        name=await at.draft(post, predecessor),
        kind=duty_pb2.LIST_KIND_DUTY,
        display_name="新名",
        unit=at.office,
        post=post,
        effective_date=LATER,
        predecessor=predecessor,
    )
    return duty_pb2.UpdateResponsibilityListRequest(responsibility_list=draft)


@RECORDS.of(duty_pb2.ImportDutyItemsRequest)
async def import_duty_items(at: Stock, by: Caller) -> Message:
    return import_of(await at.draft(await at.post(), items=False), duty_item(area=at.place.region))


@RECORDS.of(duty_pb2.SubmitResponsibilityListRequest)
async def submit_responsibility_list(at: Stock, by: Caller) -> Message:
    return duty_pb2.SubmitResponsibilityListRequest(name=await at.draft(await at.post()))


@RECORDS.of(duty_pb2.ApproveResponsibilityListRequest)
async def approve_responsibility_list(at: Stock, by: Caller) -> Message:
    return duty_pb2.ApproveResponsibilityListRequest(name=await at.submitted(await at.post()))


@RECORDS.of(duty_pb2.ReturnResponsibilityListRequest)
async def return_responsibility_list(at: Stock, by: Caller) -> Message:
    return duty_pb2.ReturnResponsibilityListRequest(name=await at.submitted(await at.post()), reason="不完整")


@RECORDS.of(duty_pb2.SupersedeResponsibilityListRequest)
async def supersede_responsibility_list(at: Stock, by: Caller) -> Message:
    post = await at.post()
    name = await at.published(post)
    successor = await at.published(post, name)
    return duty_pb2.SupersedeResponsibilityListRequest(name=name, successor=successor)


@RECORDS.of(duty_pb2.ListResponsibilityListsRequest)
async def list_responsibility_lists(at: Stock, by: Caller) -> Message:
    return duty_pb2.ListResponsibilityListsRequest(unit=at.office, post=(await at.names())["dutyloop/Post"])


@RECORDS.of(duty_pb2.AcknowledgeResponsibilityListRequest)
async def acknowledge_responsibility_list(at: Stock, by: Caller) -> Message:
    return duty_pb2.AcknowledgeResponsibilityListRequest(name=(await at.desk(by)).responsibility_list)


@RECORDS.of(duty_pb2.ListAcknowledgementsRequest)
async def list_acknowledgements(at: Stock, by: Caller) -> Message:
    names = await at.names()
    return duty_pb2.ListAcknowledgementsRequest(
        responsibility_list=names["dutyloop/ResponsibilityList"], person=names["dutyloop/Person"]
    )


# Plan


@RECORDS.of(plan_pb2.GenerateAnnualTaskListRequest)
async def generate_annual_task_list(at: Stock, by: Caller) -> Message:
    return plan_pb2.GenerateAnnualTaskListRequest(
        responsibility_list=await at.published(await at.post()), year=(await at.house.now()).year
    )


@RECORDS.of(plan_pb2.PublishAnnualTaskListRequest)
async def publish_annual_task_list(at: Stock, by: Caller) -> Message:
    draft = await at.annual(await at.published(await at.post()), publish=False)
    return plan_pb2.PublishAnnualTaskListRequest(name=draft)


@RECORDS.of(plan_pb2.ListAnnualTaskListsRequest)
async def list_annual_task_lists(at: Stock, by: Caller) -> Message:
    return plan_pb2.ListAnnualTaskListsRequest(unit=at.office, post=(await at.names())["dutyloop/Post"])


@RECORDS.of(plan_pb2.ListTasksRequest)
async def list_tasks(at: Stock, by: Caller) -> Message:
    names = await at.names()
    return plan_pb2.ListTasksRequest(
        annual_task_list=names["dutyloop/AnnualTaskList"], unit=at.office, post=names["dutyloop/Post"]
    )


@RECORDS.of(plan_pb2.ReportProgressRequest)
async def report_progress(at: Stock, by: Caller) -> Message:
    return plan_pb2.ReportProgressRequest(name=next((await at.desk(by)).tasks), progress_percent=50)


@RECORDS.of(plan_pb2.SubmitCompletionRequest)
async def submit_completion(at: Stock, by: Caller) -> Message:
    return plan_pb2.SubmitCompletionRequest(name=next((await at.desk(by)).tasks))


@RECORDS.of(plan_pb2.ConfirmCompletionRequest)
async def confirm_completion(at: Stock, by: Caller) -> Message:
    return plan_pb2.ConfirmCompletionRequest(name=await at.completed())


@RECORDS.of(plan_pb2.RejectCompletionRequest)
async def reject_completion(at: Stock, by: Caller) -> Message:
    return plan_pb2.RejectCompletionRequest(name=await at.completed(), reason="材料不全")


@RECORDS.of(plan_pb2.ListDueTasksRequest)
async def list_due_tasks(at: Stock, by: Caller) -> Message:
    request = plan_pb2.ListDueTasksRequest(annual_task_list=(await at.names())["dutyloop/AnnualTaskList"])
    request.business_time.FromDatetime(await at.house.now() + timedelta(days=730))
    return request


@RECORDS.of(plan_pb2.RecordTaskReminderRequest)
async def record_task_reminder(at: Stock, by: Caller) -> Message:
    names = await at.names()
    request = plan_pb2.RecordTaskReminderRequest(
        task=names["dutyloop/Task"],
        kind=plan_pb2.REMINDER_KIND_DUE_SOON,
        supervision_case=names["dutyloop/SupervisionCase"],
    )
    return await timed(at, at.house.worker(), request)


# Audit


@RECORDS.of(audit_pb2.ListLedgerEntriesRequest)
async def list_ledger_entries(at: Stock, by: Caller) -> Message:
    names = await at.names()
    actor = await at.colleague(policy_pb2.ROLE_SUPERVISOR)
    return audit_pb2.ListLedgerEntriesRequest(object=names["dutyloop/Hazard"], actor=actor.name)


@RECORDS.of(audit_pb2.GetConsistencyProofRequest)
async def get_consistency_proof(at: Stock, by: Caller) -> Message:
    await at.names()
    return audit_pb2.GetConsistencyProofRequest(first_tree_size=1)


@RECORDS.of(audit_pb2.GetCheckpointRequest)
async def get_checkpoint(at: Stock, by: Caller) -> Message:
    await at.names()
    return audit_pb2.GetCheckpointRequest()


@RECORDS.of(audit_pb2.GetCaseTimelineRequest)
async def get_case_timeline(at: Stock, by: Caller) -> Message:
    return audit_pb2.GetCaseTimelineRequest(case_name=(await at.names())["dutyloop/Hazard"])


@RECORDS.of(audit_pb2.ExportHistoryRequest)
async def export_history(at: Stock, by: Caller) -> Message:
    hazard = (await at.names())["dutyloop/Hazard"]
    return audit_pb2.ExportHistoryRequest(workflow_id=hazard.replace("hazards/", "rectification/"))
