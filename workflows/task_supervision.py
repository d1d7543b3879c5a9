"""Task supervision: watches one published annual task list until every task on it is done.

Sleeps until the list's next due point, asks plan what is due, reminds, and opens a supervision case for what
is overdue only. Plan tells of confirmations that matter here. So the cost grows with what happens, not with
what is listed.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from services.kit.names import derived_id
    from workflows.activities.accountability import AccountabilityActivities, ConcludeSupervision, OpenSupervision
    from workflows.activities.plan import PlanActivities
    from workflows.payloads.task_supervision import (
        WORKFLOW,
        Due,
        DueTask,
        Look,
        RecordReminders,
        Reminder,
        Supervised,
        Tally,
        TaskNews,
        TaskSupervisionStart,
    )

from workflows.case import SERVICE_CALL, SERVICE_CALL_TIMEOUT, CaseClock, step

LOOKS_PER_RUN = 500
"""A daily list gives some 730 due points a year, at about a dozen events each; Temporal suggests 4,096 events."""
IDLE_LOOK = timedelta(days=30)
"""How often to look when no due point is left and somebody must still submit or confirm: news may cross."""
SHORTEST_SLEEP = timedelta(seconds=1)


@workflow.defn(name=WORKFLOW)
class TaskSupervision:
    """Supervises one annual list."""

    @workflow.init
    def __init__(self, start: TaskSupervisionStart) -> None:
        self._list = start.annual_task_list
        self._clock = CaseClock(start.opened)
        self._supervised = {each.task: each.supervision_case for each in start.supervised}
        self._news = list(start.news)
        self._tally = start.tally
        self._looks = 0
        self._steps = 0

    @workflow.run
    async def run(self, start: TaskSupervisionStart) -> Tally:
        while True:
            await self._take_news()
            if self._looks >= LOOKS_PER_RUN or workflow.info().is_continue_as_new_suggested():
                await workflow.wait_condition(workflow.all_handlers_finished)
                self._continue()
            due = await self._look()
            if due.tasks:
                await self._remind(due.tasks)
            elif due.unfinished:
                await self._sleep(due)
            else:
                break
        for task in list(self._supervised):
            await self._conclude(task)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._tally

    @workflow.update
    def note(self, news: TaskNews) -> None:
        """Take note of what plan tells of a task; the run acts on it. No await: there is nothing to interleave."""
        self._news.append(news)

    @workflow.query
    def supervised(self) -> dict[str, str]:
        """Return the overdue tasks with their supervision cases."""
        return dict(self._supervised)

    async def _take_news(self) -> None:
        while self._news:
            news = self._news.pop(0)
            if news.happened == "confirmed" and news.task in self._supervised:
                await self._conclude(news.task)

    async def _look(self) -> Due:
        self._looks += 1
        return await workflow.execute_local_activity_method(
            PlanActivities.list_due_tasks,
            Look(self._list, self._clock.now()),
            start_to_close_timeout=SERVICE_CALL_TIMEOUT,
            retry_policy=SERVICE_CALL,
        )

    async def _sleep(self, due: Due) -> None:
        left = IDLE_LOOK if due.next_due_time is None else due.next_due_time - self._clock.now()
        try:
            await workflow.wait_condition(lambda: bool(self._news), timeout=max(left, SHORTEST_SLEEP))
        except TimeoutError:
            return

    async def _remind(self, tasks: tuple[DueTask, ...]) -> None:
        """Open supervision of what is overdue, and record that everything listed was reminded of."""
        cases = await asyncio.gather(*(self._open(task) for task in tasks))
        reminders = tuple(
            Reminder(task.task, task.kind, supervision_case)
            for task, supervision_case in zip(tasks, cases, strict=True)
        )
        done = await workflow.execute_local_activity_method(
            PlanActivities.record_reminders,
            RecordReminders(self._step(), self._clock.now(), reminders),
            start_to_close_timeout=SERVICE_CALL_TIMEOUT,
            retry_policy=SERVICE_CALL,
        )
        overdue = sum(task.kind == "OVERDUE" for task in tasks)
        self._tally = replace(
            self._tally, reminded=self._tally.reminded + len(tasks) - overdue, overdue=self._tally.overdue + overdue
        )
        self._supervised.update({each.task: each.supervision_case for each in reminders if each.supervision_case})
        for task in done:  # confirmed before plan knew of the case, so plan had nothing to tell
            if task in self._supervised:
                await self._conclude(task)

    async def _open(self, task: DueTask) -> str:
        """Open a supervision case and return its name; '' for what is not overdue, or when it is refused."""
        if task.kind != "OVERDUE":
            return ""
        try:
            return await workflow.execute_activity_method(
                AccountabilityActivities.open_supervision,
                OpenSupervision(
                    step=self._step(task.task),
                    business_time=self._clock.now(),
                    source="OVERDUE_TASK",
                    matter=task.matter,
                    unit=task.unit,
                    post=task.post,
                    task=task.task,
                ),
                start_to_close_timeout=SERVICE_CALL_TIMEOUT,
                retry_policy=SERVICE_CALL,
            )
        except ActivityError as error:
            # A refused opening must not end the watch over the other tasks; the red light and the log remain.
            workflow.logger.error("supervision_not_opened", extra={"cause": type(error.cause).__name__})
            return ""

    async def _conclude(self, task: str) -> None:
        supervision_case = self._supervised.pop(task)
        try:
            await workflow.execute_activity_method(
                AccountabilityActivities.conclude_supervision,
                ConcludeSupervision(self._step(task), self._clock.now(), supervision_case, task),
                start_to_close_timeout=SERVICE_CALL_TIMEOUT,
                retry_policy=SERVICE_CALL,
            )
        except ActivityError as error:
            workflow.logger.warning("supervision_not_concluded", extra={"cause": type(error.cause).__name__})
        self._tally = replace(self._tally, concluded=self._tally.concluded + 1)

    def _step(self, task: str = "") -> str:
        # What is due is asked anew after a crash: counted with its task, a step is never taken for another's.
        self._steps += 1
        return step(derived_id(workflow.info().run_id, str(self._steps), task))

    def _continue(self) -> None:
        """Carry on in a new run, whose business time opens now. Nothing is awaited here: no news can be lost."""
        now = self._clock.now()
        start = TaskSupervisionStart(
            self._list,
            now,
            tuple(Supervised(task, supervision_case) for task, supervision_case in self._supervised.items()),
            tuple(self._news),
            self._tally,
        )
        workflow.continue_as_new(start, memo={"opened": now.isoformat()})
