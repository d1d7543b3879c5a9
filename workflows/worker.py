"""The worker process: every workflow and every activity of the house on one task queue."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkflowRunner

from services.kit import logs, temporal
from services.kit.clients import Clients
from services.kit.directory import Directory
from services.kit.process import once_up, run_until_told
from services.kit.settings import Settings
from workflows.accountability_case import AccountabilityCase
from workflows.activities.accountability import AccountabilityActivities
from workflows.activities.directory import DirectoryActivities
from workflows.activities.hazard import HazardActivities
from workflows.activities.inspection import InspectionActivities
from workflows.activities.plan import PlanActivities
from workflows.rectification import Rectification
from workflows.supervision_case import SupervisionCase
from workflows.task_supervision import TaskSupervision
from workflows.tour import Tour

WORKFLOWS: Sequence[type] = (Rectification, SupervisionCase, AccountabilityCase, Tour, TaskSupervision)
CACHED_WORKFLOWS = 2_000
"""Some 60 KiB each: about 120 MiB at most."""
SHUTDOWN_GRACE = timedelta(seconds=30)


def activities_of(clients: Clients) -> list[Any]:
    """Return every activity, bound to the services' stubs."""
    known = Directory(clients)
    directory = DirectoryActivities(clients, known)
    hazard = HazardActivities(clients, known)
    accountability = AccountabilityActivities(clients, known)
    inspection = InspectionActivities(clients, known)
    plan = PlanActivities(clients)
    return [
        directory.explain_due_time,
        directory.explain_statutory_clock,
        directory.find_addressee,
        hazard.record_transition,
        inspection.make_seed,
        inspection.count_unvisited_targets,
        inspection.record_transition,
        plan.list_due_tasks,
        plan.record_reminders,
        accountability.open_supervision,
        accountability.conclude_supervision,
        accountability.hand_on_supervision,
        accountability.open_accountability,
        accountability.record_rung,
        accountability.record_supervision,
        accountability.record_accountability,
    ]


def workflow_runner() -> WorkflowRunner:
    """Return how the worker runs workflows: without a sandbox.

    The sandbox catches what is not deterministic while it is written: tests and replays run in the full one.
    At work it would enter and leave itself for every payload, a quarter of the worker's time.
    """
    return UnsandboxedWorkflowRunner()


def worker(client: Client, clients: Clients, task_queue: str) -> Worker:
    """Return the worker for a connected client."""
    return Worker(
        client,
        task_queue=task_queue,
        workflows=WORKFLOWS,
        activities=activities_of(clients),
        workflow_runner=workflow_runner(),
        max_cached_workflows=CACHED_WORKFLOWS,
        max_concurrent_workflow_tasks=50,
        max_concurrent_activities=50,
        max_concurrent_local_activities=50,
        graceful_shutdown_timeout=SHUTDOWN_GRACE,
    )


async def work(settings: Settings, stop: asyncio.Event) -> None:
    """Poll until ``stop`` is set; then let what is in flight finish."""
    clients = Clients(settings, "worker")
    client = await once_up(partial(temporal.connect, settings, lazy=False), RuntimeError)
    async with worker(client, clients, settings.temporal_task_queue):
        logs.logger().info("working", task_queue=settings.temporal_task_queue)
        await stop.wait()
    await clients.close()


def run() -> None:
    """Work until SIGTERM or SIGINT."""
    run_until_told(work)
