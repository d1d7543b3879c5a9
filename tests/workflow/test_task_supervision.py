"""Task supervision on a real Temporal server in virtual time, with fake activities under the real names."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest_asyncio
from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, Worker

import workflows.task_supervision
from services.kit import virtual
from services.kit.codec import data_converter
from workflows.activities.accountability import ConcludeSupervision, OpenSupervision
from workflows.payloads.task_supervision import (
    WORKFLOW,
    Due,
    DueTask,
    Look,
    RecordReminders,
    Tally,
    TaskNews,
    TaskSupervisionStart,
    workflow_id,
)
from workflows.task_supervision import TaskSupervision

OPENED = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
SOON = timedelta(days=5)


@dataclass
class FakePlan:
    """One annual list: tasks with their due times, what was reminded of, and the supervision cases."""

    due: dict[str, datetime]
    states: dict[str, str] = field(default_factory=dict)
    reminded: dict[str, str] = field(default_factory=dict)
    looks: list[datetime] = field(default_factory=list)
    records: list[RecordReminders] = field(default_factory=list)
    opened: list[OpenSupervision] = field(default_factory=list)
    concluded: list[ConcludeSupervision] = field(default_factory=list)
    confirmed_while_opening: str = ""
    refuses: bool = False

    def state(self, task: str) -> str:
        """Return a task's state."""
        return self.states.get(task, "OPEN")

    @activity.defn(name="list_due_tasks")
    async def list_due_tasks(self, look: Look) -> Due:
        """Answer as plan does."""
        now = look.business_time
        self.looks.append(now)
        waiting = {task: due for task, due in self.due.items() if self.state(task) == "OPEN"}
        tasks: list[DueTask] = []
        points: list[datetime] = []
        for task, due in waiting.items():
            kind = self.reminded.get(task, "")
            if due <= now and kind != "OVERDUE":
                tasks.append(DueTask(task, "OVERDUE", "排查隐患", "units/u", "posts/p"))
            elif due - SOON <= now < due and kind == "":
                tasks.append(DueTask(task, "DUE_SOON", "排查隐患", "units/u", "posts/p"))
            points += [point for point in (due - SOON, due) if point > now]
        unfinished = any(self.state(task) != "DONE" for task in self.due)
        return Due(tuple(tasks), min(points, default=None), unfinished)

    @activity.defn(name="record_task_reminders")
    async def record_reminders(self, record: RecordReminders) -> tuple[str, ...]:
        """Keep reminders; return the tasks done."""
        self.records.append(record)
        for reminder in record.reminders:
            self.reminded[reminder.task] = reminder.kind
        return tuple(each.task for each in record.reminders if self.state(each.task) == "DONE")

    @activity.defn(name="open_supervision")
    async def open_supervision(self, opening: OpenSupervision) -> str:
        """Open a case, unless accountability refuses."""
        if self.refuses:
            raise ApplicationError("INVALID_FIELD", {}, type="INVALID_FIELD", non_retryable=True)
        self.opened.append(opening)
        if opening.task == self.confirmed_while_opening:
            self.states[opening.task] = "DONE"
        return f"supervisionCases/{opening.task.removeprefix('tasks/')}"

    @activity.defn(name="conclude_supervision")
    async def conclude_supervision(self, conclusion: ConcludeSupervision) -> None:
        """Keep what was concluded."""
        self.concluded.append(conclusion)

    @property
    def activities(self) -> list[Any]:
        """Every fake, for a worker."""
        return [self.list_due_tasks, self.record_reminders, self.open_supervision, self.conclude_supervision]


Handle = WorkflowHandle[Any, Any]


@dataclass(frozen=True)
class Watch:
    """A supervision that runs over a fake plan."""

    client: Client
    plan: FakePlan
    handle: Handle

    async def pass_days(self, days: float) -> None:
        """Let business time pass until so many days after OPENED, over changes of run too."""
        for _ in range(50):
            if not await virtual.catch_up(self.client, self.handle.id, OPENED + timedelta(days=days)):
                return

    async def confirm(self, task: str) -> None:
        """Confirm a task, and tell the case as plan does."""
        self.plan.states[task] = "DONE"
        await self.tell(task, "confirmed")

    async def tell(self, task: str, happened: str) -> None:
        """Tell the case what happened to a task."""
        await self.handle.execute_update("note", TaskNews(task, happened, "2"))

    async def result(self) -> Tally:
        """Return how the supervision ended."""
        newest_run = self.client.get_workflow_handle(self.handle.id, result_type=Tally)
        tally: Tally = await asyncio.wait_for(newest_run.result(), 20)
        return tally

    async def replays(self) -> None:
        """Replay every run against the code; raises where they do not match."""
        replayer = Replayer(workflows=[TaskSupervision], data_converter=data_converter(None))
        async for run in self.client.list_workflows(f"WorkflowId = '{self.handle.id}'"):
            handle = self.client.get_workflow_handle(run.id, run_id=run.run_id)
            await replayer.replay_workflow(await handle.fetch_history())


@contextlib.asynccontextmanager
async def watching(client: Client, plan: FakePlan, **options: Any) -> AsyncIterator[Watch]:
    """Supervise a fake list that opens at OPENED."""
    queue = f"supervision-{uuid.uuid4().hex[:8]}"
    async with Worker(client, task_queue=queue, workflows=[TaskSupervision], activities=plan.activities, **options):
        handle = await client.start_workflow(
            WORKFLOW,
            TaskSupervisionStart("annualTaskLists/a", OPENED),
            id=workflow_id(uuid.uuid4().hex),
            task_queue=queue,
            memo={virtual.OPENED_MEMO: OPENED.isoformat()},
        )
        try:
            yield Watch(client, plan, handle)
        finally:
            with contextlib.suppress(Exception):  # most tests let it end by itself
                await handle.terminate()


@pytest_asyncio.fixture
async def client(temporal_client: Client) -> Client:
    """The session's client."""
    return temporal_client


def day(number: float) -> datetime:
    """Return a time so many days after OPENED."""
    return OPENED + timedelta(days=number)


async def test_a_list_is_reminded_of_supervised_and_ends(client: Client) -> None:
    """A holder would not be reminded, or an overdue task would be pressed for by nobody."""
    plan = FakePlan({"tasks/a": day(10), "tasks/b": day(40)})
    async with watching(client, plan) as watch:
        await watch.pass_days(12)
        assert plan.reminded == {"tasks/a": "OVERDUE"}
        assert [(each.task, each.source, each.post) for each in plan.opened] == [("tasks/a", "OVERDUE_TASK", "posts/p")]
        assert plan.records[-1].reminders[0].supervision_case == "supervisionCases/a"
        await watch.confirm("tasks/a")
        await watch.pass_days(36)
        assert [each.supervision_case for each in plan.concluded] == ["supervisionCases/a"]
        assert plan.reminded["tasks/b"] == "DUE_SOON"
        await watch.confirm("tasks/b")
        assert await watch.result() == Tally(reminded=2, overdue=1, concluded=1)
        await watch.replays()


async def test_reminders_come_at_their_point(client: Client) -> None:
    """A holder would hear of the end of a term too late to keep it."""
    plan = FakePlan({"tasks/a": day(10)})
    async with watching(client, plan) as watch:
        await watch.pass_days(4.9)
        assert plan.reminded == {}
        await watch.pass_days(5.1)
        assert plan.reminded == {"tasks/a": "DUE_SOON"}
        at = plan.records[0].business_time
        assert timedelta(0) <= at - day(5) < timedelta(seconds=5)


async def test_a_quiet_list_costs_next_to_nothing(client: Client) -> None:
    """Supervising a thousand tasks would cost a thousand timers, and no city could afford it."""
    plan = FakePlan({f"tasks/{number}": day(200) for number in range(1_000)})
    async with watching(client, plan) as watch:
        await watch.pass_days(190)
        assert len(plan.looks) == 1
        description = await watch.handle.describe()
        assert description.history_length < 20


async def test_tasks_overdue_at_once_are_supervised_once_each(client: Client) -> None:
    """A list published late would leave old tasks alone, or press twice for the same one."""
    plan = FakePlan({f"tasks/{number}": day(-number - 1) for number in range(5)})
    async with watching(client, plan) as watch:
        await watch.pass_days(40)
        assert sorted(each.task for each in plan.opened) == [f"tasks/{number}" for number in range(5)]
        assert len({each.step for each in plan.opened}) == 5


async def test_a_task_confirmed_while_its_case_opens_is_concluded(client: Client) -> None:
    """The ladder would climb to accountability for a task already done."""
    plan = FakePlan({"tasks/a": day(1)}, confirmed_while_opening="tasks/a")
    async with watching(client, plan) as watch:
        await watch.pass_days(2)
        assert await watch.result() == Tally(reminded=1, overdue=1, concluded=1)
        assert [each.because for each in plan.concluded] == ["tasks/a"]


async def test_a_rejection_after_the_term_is_acted_on_at_once(client: Client) -> None:
    """A holder could outrun every deadline by submitting nothing of worth in time."""
    plan = FakePlan({"tasks/a": day(10)}, {"tasks/a": "SUBMITTED"})
    async with watching(client, plan) as watch:
        await watch.pass_days(12)
        assert plan.opened == []
        plan.states["tasks/a"] = "OPEN"
        await watch.tell("tasks/a", "reopened")
        await watch.pass_days(12.5)
        assert [each.task for each in plan.opened] == ["tasks/a"]


async def test_a_refused_case_does_not_end_the_watch(client: Client) -> None:
    """One unfit reference would leave the rest of the year unsupervised."""
    plan = FakePlan({"tasks/a": day(1), "tasks/b": day(30)}, refuses=True)
    async with watching(client, plan) as watch:
        await watch.pass_days(2)
        plan.refuses = False
        await watch.pass_days(31)
        assert [each.task for each in plan.opened] == ["tasks/b"]
        assert plan.reminded == {"tasks/a": "OVERDUE", "tasks/b": "OVERDUE"}


async def test_lost_news_is_made_up_for(client: Client) -> None:
    """A supervision would wait for ever for word of the last confirmation."""
    plan = FakePlan({"tasks/a": day(1)}, {"tasks/a": "SUBMITTED"})
    async with watching(client, plan) as watch:
        await watch.pass_days(2)
        plan.states["tasks/a"] = "DONE"
        await watch.pass_days(40)
        assert await watch.result() == Tally()


async def test_the_next_run_carries_time_and_cases_on(client: Client, monkeypatch: Any) -> None:
    """After a change of run, business time would jump, and open supervision cases would never be concluded."""
    monkeypatch.setattr(workflows.task_supervision, "LOOKS_PER_RUN", 2)
    plan = FakePlan({f"tasks/{number}": day(10 + 10 * number) for number in range(4)})
    async with watching(client, plan, workflow_runner=UnsandboxedWorkflowRunner()) as watch:
        await watch.pass_days(60)
        assert [each.task for each in plan.opened] == [f"tasks/{number}" for number in range(4)]
        for opening, number in zip(plan.opened, range(4), strict=True):
            assert timedelta(0) <= opening.business_time - day(10 + 10 * number) < timedelta(minutes=1)
        first = await client.get_workflow_handle(watch.handle.id, run_id=watch.handle.first_execution_run_id).describe()
        assert first.status is not None
        assert first.status.name == "CONTINUED_AS_NEW"
        for number in range(4):
            await watch.confirm(f"tasks/{number}")
        assert await watch.result() == Tally(reminded=4, overdue=4, concluded=4)
        assert sorted(each.supervision_case for each in plan.concluded) == [
            f"supervisionCases/{number}" for number in range(4)
        ]
