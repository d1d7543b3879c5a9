"""The plan service: annual task lists and their tasks."""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

from dutyloop.duty.v1 import duty_pb2
from dutyloop.plan.v1 import plan_pb2
from services.kit.call import Call
from services.kit.dates import day_of, optional_day
from services.kit.db import Database
from services.kit.directory import Directory
from services.kit.errors import UnfitReference
from services.kit.paging import MAX_SIZE, page_of, pages
from services.kit.serve import House
from services.plan import messages, rules
from services.plan.store import AnnualListStore
from services.plan.task_store import TaskStore


class PlanService:
    """Serves dutyloop.plan.v1.PlanService."""

    descriptor = plan_pb2.DESCRIPTOR.services_by_name["PlanService"]

    def __init__(self, database: Database, house: House) -> None:
        self.database = database
        self._clients = house.clients
        self._directory = Directory(house.clients)
        self._lists = AnnualListStore(database)
        self._tasks = TaskStore(database)
        self._cases = house.cases(database)

    def background(self) -> Sequence[Callable[[], Any]]:
        """Keep delivering what cases must be told."""
        return (self._cases.run_relay,)

    async def GenerateAnnualTaskList(
        self, request: plan_pb2.GenerateAnnualTaskListRequest, call: Call
    ) -> plan_pb2.AnnualTaskList:
        """Generate a year's tasks."""
        of = await self._published_list(request.responsibility_list)
        place = await self._directory.place(of.unit)
        call.scope.require(of.name, place.region_code, place.path)
        rules.check_source(of, request.year, call.now)
        items = await self._items(of.name)
        schedule = rules.schedule(items, request.year, day_of(of.effective_date))
        return await self._lists.generate(call, of, place, request.year, schedule)

    async def PublishAnnualTaskList(
        self, request: plan_pb2.PublishAnnualTaskListRequest, call: Call
    ) -> plan_pb2.AnnualTaskList:
        """Publish a draft."""
        row = await self._lists.annual_list(request.name, call.scope, call.now)
        of = await self._published_list(row["responsibility_list"])
        if row["state"] == "DRAFT" and of.state != duty_pb2.LIST_STATE_PUBLISHED:
            raise UnfitReference(field="responsibility_list", resource=of.name)
        return await self._lists.publish(call, request.name, request.etag)

    async def GetAnnualTaskList(
        self, request: plan_pb2.GetAnnualTaskListRequest, call: Call
    ) -> plan_pb2.AnnualTaskList:
        """Read one annual task list."""
        return messages.list_message(await self._lists.annual_list(request.name, call.scope, call.now))

    async def ListAnnualTaskLists(
        self, request: plan_pb2.ListAnnualTaskListsRequest, call: Call
    ) -> plan_pb2.ListAnnualTaskListsResponse:
        """List annual task lists."""
        page = page_of(request)
        shown, following = page.cut(await self._lists.list_lists(call, request, page), "id")
        return plan_pb2.ListAnnualTaskListsResponse(
            annual_task_lists=map(messages.list_message, shown), next_page_token=following
        )

    async def GetTask(self, request: plan_pb2.GetTaskRequest, call: Call) -> plan_pb2.Task:
        """Read one task."""
        return messages.task_message(await self._tasks.task(request.name, call.scope), call.now.timestamp())

    async def ListTasks(self, request: plan_pb2.ListTasksRequest, call: Call) -> plan_pb2.ListTasksResponse:
        """List tasks, first due first."""
        page = page_of(request)
        before = optional_day(request, "due_before_date")
        state = rules.TASK_STATE.given(request.state)
        wanted = rules.task_filter(state, request.light, before, call.now, overdue=request.overdue)
        response = plan_pb2.ListTasksResponse()
        if wanted is None:
            return response
        rows, response.total_size = await self._tasks.list_tasks(call, request, wanted, page)
        now, tasks = call.now.timestamp(), response.tasks
        following = len(rows) > page.size
        for row in rows[: page.size] if following else rows:
            messages.fill_task(row, now, tasks.add())
        if following:
            response.next_page_token = page.token(*_key_of(tasks[-1]))
        return response

    async def ReportProgress(self, request: plan_pb2.ReportProgressRequest, call: Call) -> plan_pb2.Task:
        """Report how far a task has come."""
        rules.check_progress(request.progress_percent)
        return await self._tasks.report(call, request)

    async def SubmitCompletion(self, request: plan_pb2.SubmitCompletionRequest, call: Call) -> plan_pb2.Task:
        """Report a task completed."""
        return await self._tasks.submit(call, request)

    async def ConfirmCompletion(self, request: plan_pb2.ConfirmCompletionRequest, call: Call) -> plan_pb2.Task:
        """Confirm a completion."""
        return await self._tasks.confirm(call, request.name, request.etag)

    async def RejectCompletion(self, request: plan_pb2.RejectCompletionRequest, call: Call) -> plan_pb2.Task:
        """Reject a completion."""
        return await self._tasks.reject(call, request.name, request.reason, request.etag)

    async def ListDueTasks(self, request: plan_pb2.ListDueTasksRequest, call: Call) -> plan_pb2.ListDueTasksResponse:
        """List the tasks to remind of."""
        page = page_of(request)
        rows, following = await self._tasks.due_tasks(request.annual_task_list, call.now, page)
        response = plan_pb2.ListDueTasksResponse()
        for row in rows[: page.size]:
            due = response.due_tasks.add()
            messages.fill_task(row, call.now.timestamp(), due.task)
            due.kind = plan_pb2.REMINDER_KIND_OVERDUE if due.task.overdue else plan_pb2.REMINDER_KIND_DUE_SOON
        if len(rows) > page.size:
            response.next_page_token = page.token(*_key_of(response.due_tasks[-1].task))
        if following is not None:
            response.next_due_time.FromDatetime(following)
        return response

    async def RecordTaskReminder(self, request: plan_pb2.RecordTaskReminderRequest, call: Call) -> plan_pb2.Task:
        """Record a reminder."""
        return await self._tasks.remind(call, request)

    async def _published_list(self, name: str) -> duty_pb2.ResponsibilityList:
        request = duty_pb2.GetResponsibilityListRequest(name=name)
        found: duty_pb2.ResponsibilityList = await self._clients.call(self._clients.duty.GetResponsibilityList, request)
        return found

    async def _items(self, name: str) -> list[rules.Item]:
        request = duty_pb2.ListDutyItemsRequest(responsibility_list=name, page_size=MAX_SIZE)
        listed = pages(self._clients.call, self._clients.duty.ListDutyItems, request, "duty_items")
        return [messages.item_of(each) async for each in listed]


def _key_of(task: plan_pb2.Task) -> tuple[date, str]:
    return day_of(task.due_date), task.name.removeprefix("tasks/")


def build(database: Database, house: House) -> PlanService:
    """Return the service over its database."""
    return PlanService(database, house)
