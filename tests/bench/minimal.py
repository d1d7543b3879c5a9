"""The least that a Temporal worker can do: as many updates and local activities as a rectification, all empty.

Run as ``python -m tests.bench.minimal``: a worker with the settings of ours, on the task queue of the settings.
"""

import asyncio
from datetime import timedelta

from temporalio import activity, workflow

with workflow.unsafe.imports_passed_through():
    import uvloop
    from temporalio.client import Client
    from temporalio.worker import Worker

    from services.kit.settings import Settings
    from services.kit.temporal import COMPRESSION
    from workflows.worker import CACHED_WORKFLOWS, workflow_runner

STEPS = (1, 1, 1, 1, 1, 1, 1)
"""Local activities of assign, plan, ask for more time, decide on it, rectify, reinspect and look back."""


@activity.defn
async def do_nothing() -> None:
    """Do nothing."""


@workflow.defn
class Loop:
    """As many updates as a rectification from report to close."""

    def __init__(self) -> None:
        self._taken = 0

    @workflow.run
    async def run(self) -> None:
        """End after the last step."""
        await workflow.wait_condition(lambda: self._taken == len(STEPS))
        await workflow.wait_condition(workflow.all_handlers_finished)

    @workflow.update
    async def step(self, activities: int) -> None:
        """Take one step."""
        for _ in range(activities):
            await workflow.execute_local_activity(do_nothing, start_to_close_timeout=timedelta(seconds=20))
        self._taken += 1


@workflow.defn
class Sleeper:
    """Sleeps."""

    @workflow.run
    async def run(self) -> None:
        """Sleep for a month."""
        await workflow.sleep(timedelta(days=30))


async def main() -> None:
    """Work until killed."""
    settings = Settings()
    client = await Client.connect(
        settings.temporal_address, namespace=settings.temporal_namespace, grpc_compression=COMPRESSION
    )
    async with Worker(
        client,
        task_queue=settings.temporal_task_queue,
        workflows=[Loop, Sleeper],
        activities=[do_nothing],
        workflow_runner=workflow_runner(),
        max_cached_workflows=CACHED_WORKFLOWS,
        max_concurrent_workflow_tasks=50,
        max_concurrent_activities=50,
        max_concurrent_local_activities=50,
    ):
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
