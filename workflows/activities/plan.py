"""Activities of the plan service: what is due on an annual list, and the reminders of it."""

from temporalio import activity

from dutyloop.plan.v1 import plan_pb2
from services.kit.clients import Clients
from services.kit.dates import time_of, timestamp
from services.kit.words_of import Words
from workflows.activities.calls import call
from workflows.payloads.task_supervision import Due, DueTask, Look, RecordReminders

REMINDER_KIND = Words(plan_pb2.ReminderKind)

PAGE_SIZE = 50
"""Keeps the answer well below the 64 KiB of a payload; the rest is due at the next look."""
MATTER_CHARACTERS = 100


class PlanActivities:
    """Calls plan."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    @activity.defn(name="list_due_tasks")
    async def list_due_tasks(self, look: Look) -> Due:
        """Return the first tasks to remind of; only where none is left to wait for, ask whether all are done."""
        stub = self._clients.plan
        answer: plan_pb2.ListDueTasksResponse = await call(
            self._clients,
            stub.ListDueTasks,
            plan_pb2.ListDueTasksRequest(
                page_size=PAGE_SIZE,
                annual_task_list=look.annual_task_list,
                business_time=timestamp(look.business_time),
            ),
        )
        tasks = tuple(
            DueTask(
                due.task.name,
                REMINDER_KIND.of(due.kind),
                due.task.title[:MATTER_CHARACTERS],
                due.task.unit,
                due.task.post,
            )
            for due in answer.due_tasks
        )
        if answer.HasField("next_due_time"):
            return Due(tasks, time_of(answer.next_due_time), True)
        if tasks:
            return Due(tasks, None, True)
        request = plan_pb2.GetAnnualTaskListRequest(name=look.annual_task_list)
        of: plan_pb2.AnnualTaskList = await call(self._clients, stub.GetAnnualTaskList, request)
        return Due((), None, bool(of.open_count or of.submitted_count))

    @activity.defn(name="record_task_reminders")
    async def record_reminders(self, record: RecordReminders) -> tuple[str, ...]:
        """Record reminders and return those tasks that were confirmed meanwhile."""
        done: list[str] = []
        for reminder in record.reminders:
            request = plan_pb2.RecordTaskReminderRequest(
                request_id=f"{record.step}:{reminder.task.rpartition('/')[2]}:{reminder.kind}",
                business_time=timestamp(record.business_time),
                task=reminder.task,
                kind=REMINDER_KIND.number(reminder.kind),
                supervision_case=reminder.supervision_case,
            )
            task: plan_pb2.Task = await call(self._clients, self._clients.plan.RecordTaskReminder, request)
            if task.state == plan_pb2.TASK_STATE_DONE:
                done.append(task.name)
        return tuple(done)
