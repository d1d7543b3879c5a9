"""Annual tasks over the wire: progress is noted once however often it is sent, and by its holder only."""

import asyncio
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg
import grpc
import pytest
import pytest_asyncio
from google.type.date_pb2 import Date

from dutyloop.directory.v1 import directory_pb2
from dutyloop.duty.v1 import duty_pb2
from dutyloop.duty.v1.duty_pb2_grpc import DutyServiceStub
from dutyloop.kit.v1 import kit_pb2
from dutyloop.plan.v1 import plan_pb2
from dutyloop.plan.v1.plan_pb2_grpc import PlanServiceStub
from dutyloop.policy.v1 import policy_pb2
from services.kit.dates import day_of, end_of, time_of
from tests.integration.house import Caller, Refusal, RunningHouse
from tests.integration.people import City

if TYPE_CHECKING:
    from dutyloop.plan.v1.plan_pb2_grpc import PlanServiceAsyncStub

AT_ONCE = 30


@dataclass(frozen=True, slots=True)
class Desk:
    """A duty holder with a published annual list of monthly tasks."""

    house: RunningHouse
    holder: Caller
    stub: "PlanServiceAsyncStub"
    task: str
    responsibility_list: str

    async def reports(self, percent: int, request_id: str = "", etag: str = "") -> plan_pb2.Task:
        """Report progress."""
        request = plan_pb2.ReportProgressRequest(
            request_id=request_id or uuid.uuid4().hex,
            name=self.task,
            progress_percent=percent,
            evidence=[plan_pb2.Evidence(type=duty_pb2.EVIDENCE_TYPE_RECORD, reference="doc-1")],
            etag=etag,
        )
        return await self.holder.calls(self.stub.ReportProgress, request)

    async def written(self, request_id: str) -> tuple[int, int]:
        """Return how many stored answers and ledger entries there are of a request."""
        (answers,) = await self.house.fetch("SELECT count(*) FROM plan.command WHERE request_id = $1", request_id)
        (entries,) = await self.house.fetch("SELECT count(*) FROM ledger.entry WHERE request_id = $1", request_id)
        return answers["count"], entries["count"]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def desk(house: RunningHouse, city: City) -> Desk:
    """Publish a holder's list and this year's tasks."""
    duty = DutyServiceStub(house.channel)
    people = city.home.people
    editor, approver = people[policy_pb2.ROLE_LIST_EDITOR], people[policy_pb2.ROLE_LIST_APPROVER]
    holder = await city.hires(policy_pb2.ROLE_DUTY_HOLDER)
    appointments = await house.operator.calls(
        house.directory.ListAppointments, directory_pb2.ListAppointmentsRequest(person=holder.name)
    )
    now = await house.now()
    draft = await editor.calls(
        duty.CreateResponsibilityList,
        duty_pb2.CreateResponsibilityListRequest(
            responsibility_list=duty_pb2.ResponsibilityList(
                kind=duty_pb2.LIST_KIND_DUTY,
                display_name="职责清单",
                unit=city.home.office,
                post=appointments.appointments[0].post,
                effective_date=Date(year=now.year, month=1, day=1),
            )
        ),
    )
    item = duty_pb2.DutyItem(
        number="1",
        text="每月检查",
        law="安全生产法",
        article="第六十二条",
        type=duty_pb2.DUTY_TYPE_SUPERVISORY,
        involvement=duty_pb2.INVOLVEMENT_LEAD,
        recurrence="FREQ=MONTHLY;BYMONTHDAY=10",
    )
    header = kit_pb2.ImportHeader(request_id=uuid.uuid4().hex)
    rows = [duty_pb2.DutyItemRow(row=1, item=item)]
    await editor.sends(
        duty.ImportDutyItems,
        duty_pb2.ImportDutyItemsRequest(header=header, responsibility_list=draft.name, rows=rows),
    )
    await editor.calls(duty.SubmitResponsibilityList, duty_pb2.SubmitResponsibilityListRequest(name=draft.name))
    await approver.calls(duty.ApproveResponsibilityList, duty_pb2.ApproveResponsibilityListRequest(name=draft.name))
    stub = PlanServiceStub(house.channel)
    request = plan_pb2.GenerateAnnualTaskListRequest(responsibility_list=draft.name, year=now.year)
    annual = await editor.calls(stub.GenerateAnnualTaskList, request)
    await approver.calls(stub.PublishAnnualTaskList, plan_pb2.PublishAnnualTaskListRequest(name=annual.name))
    tasks = await holder.calls(stub.ListTasks, plan_pb2.ListTasksRequest(annual_task_list=annual.name))
    return Desk(house, holder, stub, tasks.tasks[-1].name, draft.name)


async def test_a_list_in_force_takes_no_items(city: City, desk: Desk) -> None:
    """Whoever imports into it would be refused in a sentence with a hole, or change what people are held to."""
    header = kit_pb2.ImportHeader(request_id=uuid.uuid4().hex)
    request = duty_pb2.ImportDutyItemsRequest(header=header, responsibility_list=desk.responsibility_list)
    editor, stub = city.home.people[policy_pb2.ROLE_LIST_EDITOR], DutyServiceStub(city.house.channel)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await editor.sends(stub.ImportDutyItems, request, locale="zh-CN")
    refusal = Refusal.of(failure.value)
    assert (refusal.reason, refusal.metadata) == ("WRONG_STATE", {"state": "PUBLISHED", "action": "edit_list"})
    assert "编制清单" in refusal.words


async def test_progress_is_kept_with_its_evidence(desk: Desk) -> None:
    """A holder would report, and the supervisor would see nothing of it."""
    before = await desk.holder.calls(desk.stub.GetTask, plan_pb2.GetTaskRequest(name=desk.task))
    answer = await desk.reports(30)
    kept = await desk.holder.calls(desk.stub.GetTask, plan_pb2.GetTaskRequest(name=desk.task))
    assert kept == answer
    assert (kept.progress_percent, int(kept.etag)) == (30, int(before.etag) + 1)
    assert len(kept.evidence) == len(before.evidence) + 1


async def test_a_task_is_due_when_its_day_ends_in_beijing(desk: Desk) -> None:
    """Holders would be overdue eight hours too early or too late."""
    task = await desk.holder.calls(desk.stub.GetTask, plan_pb2.GetTaskRequest(name=desk.task))
    assert time_of(task.due_time) == end_of(day_of(task.due_date))


async def test_a_report_sent_again_is_noted_once(desk: Desk) -> None:
    """Each repeat after a lost answer would add the evidence once more and move the task's etag."""
    request_id = uuid.uuid4().hex
    first = await desk.reports(40, request_id)
    await desk.reports(45)
    assert await desk.reports(40, request_id) == first
    assert await desk.written(request_id) == (1, 1)


async def test_twenty_repeats_at_once_are_one_report(desk: Desk) -> None:
    """A client that retries in haste would report twenty times."""
    request_id = uuid.uuid4().hex
    answers = await asyncio.gather(*(desk.reports(50, request_id) for _ in range(20)))
    assert all(answer == answers[0] for answer in answers)
    assert await desk.written(request_id) == (1, 1)


async def test_everybody_who_reads_at_once_gets_what_he_asked_for(desk: Desk) -> None:
    """Reads are gathered: somebody would be shown another's task, or be told that his own does not exist."""
    mine = await desk.holder.calls(desk.stub.GetTask, plan_pb2.GetTaskRequest(name=desk.task))
    listed = plan_pb2.ListTasksRequest(annual_task_list=mine.annual_task_list)
    tasks = (await desk.holder.calls(desk.stub.ListTasks, listed)).tasks
    assert len(tasks) > 1
    wanted = [task.name for _ in range(10) for task in tasks]
    absent = plan_pb2.GetTaskRequest(name="tasks/absent")
    read, refusals = await asyncio.gather(
        asyncio.gather(*(desk.holder.calls(desk.stub.GetTask, plan_pb2.GetTaskRequest(name=name)) for name in wanted)),
        asyncio.gather(*(desk.holder.refused(desk.stub.GetTask, absent) for _ in range(10))),
    )
    assert [task.name for task in read] == wanted
    assert {refusal.reason for refusal in refusals} == {"NOT_FOUND"}


async def test_what_was_reported_is_read_however_many_read(desk: Desk) -> None:
    """A holder who looks at the task after his report would be shown what it was before, and report again."""
    over = False

    async def keep_reading() -> None:
        while not over:
            await desk.holder.calls(desk.stub.GetTask, plan_pb2.GetTaskRequest(name=desk.task))

    others = [asyncio.create_task(keep_reading()) for _ in range(8)]
    for percent in range(10, 40):
        await desk.reports(percent)
        read = await desk.holder.calls(desk.stub.GetTask, plan_pb2.GetTaskRequest(name=desk.task))
        assert read.progress_percent == percent
    over = True
    await asyncio.gather(*others)


async def test_reports_at_once_are_all_kept(desk: Desk) -> None:
    """Of reports decided on the same reading, one would overwrite another's evidence, or most would be refused."""
    before = await desk.holder.calls(desk.stub.GetTask, plan_pb2.GetTaskRequest(name=desk.task))
    await asyncio.gather(*(desk.reports(60) for _ in range(AT_ONCE)))
    after = await desk.holder.calls(desk.stub.GetTask, plan_pb2.GetTaskRequest(name=desk.task))
    assert len(after.evidence) == len(before.evidence) + AT_ONCE
    assert int(after.etag) == int(before.etag) + AT_ONCE


async def test_a_stale_report_is_refused(desk: Desk) -> None:
    """A report written on an old view would undo what was reported since."""
    try:
        await desk.reports(70, etag="1")
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.ABORTED
    else:
        raise AssertionError("a stale etag was accepted")


async def test_a_colleague_may_not_report(desk: Desk, city: City) -> None:
    """Duties would be shown performed by whoever likes to, not by who holds them."""
    colleague = await city.hires(policy_pb2.ROLE_DUTY_HOLDER)
    request = plan_pb2.ReportProgressRequest(name=desk.task, progress_percent=80)
    refusal = await colleague.refused(desk.stub.ReportProgress, request)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "RULE_NOT_MET")


async def test_a_list_is_published_once_whatever_the_code_does(desk: Desk, city: City) -> None:
    """A second publication would put another name under it, and start its supervision anew."""
    approver = city.home.people[policy_pb2.ROLE_LIST_APPROVER]
    task = await desk.holder.calls(desk.stub.GetTask, plan_pb2.GetTaskRequest(name=desk.task))
    again = plan_pb2.PublishAnnualTaskListRequest(name=task.annual_task_list)
    assert (await approver.refused(desk.stub.PublishAnnualTaskList, again)).reason == "WRONG_STATE"
    for change in ("SET approver = 'people/another'", "SET state = 'DRAFT', approver = '', publish_time = NULL"):
        with pytest.raises(asyncpg.CheckViolationError) as broken:
            await desk.house.fetch(
                f"UPDATE plan.annual_task_list {change} WHERE id = $1",
                task.annual_task_list.removeprefix("annualTaskLists/"),
            )
        assert broken.value.constraint_name == "annual_task_list_is_published_once"


async def test_nobody_acts_on_a_draft_whatever_the_code_does(desk: Desk, city: City) -> None:
    """Progress on a draft would be lost when it is generated anew, and nobody had agreed to its tasks."""
    editor = city.home.people[policy_pb2.ROLE_LIST_EDITOR]
    next_year = (await desk.house.now()).year + 1
    request = plan_pb2.GenerateAnnualTaskListRequest(responsibility_list=desk.responsibility_list, year=next_year)
    draft = await editor.calls(desk.stub.GenerateAnnualTaskList, request)
    listed = await editor.calls(desk.stub.ListTasks, plan_pb2.ListTasksRequest(annual_task_list=draft.name))
    report = plan_pb2.ReportProgressRequest(name=listed.tasks[0].name, progress_percent=10)
    refusal = await desk.holder.refused(desk.stub.ReportProgress, report)
    assert (refusal.reason, refusal.metadata["state"]) == ("WRONG_STATE", "DRAFT")
    with pytest.raises(asyncpg.CheckViolationError) as broken:
        await desk.house.fetch(
            "UPDATE plan.task SET progress_percent = 10 WHERE id = $1", listed.tasks[0].name.removeprefix("tasks/")
        )
    assert broken.value.constraint_name == "task_of_a_draft_list_is_not_acted_on"
