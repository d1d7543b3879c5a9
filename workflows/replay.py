"""Replays closed workflow histories against the present code: nothing that is decided may change afterwards."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter

from temporalio.client import Client, WorkflowHistory
from temporalio.service import RPCError
from temporalio.worker import Replayer

from workflows.worker import WORKFLOWS

CLOSED = "ExecutionStatus != 'Running'"
PAGE = 200
IN_FLIGHT = 8
"""Histories held at once."""
FETCH_ATTEMPTS = 5
MAX_FAILURES = 1_000

Progress = Callable[[int], None]
"""Called with the number of histories replayed so far."""


@dataclass(frozen=True, slots=True)
class ReplayFailure:
    """A history that the code no longer reproduces, or that could not be read."""

    workflow_id: str
    run_id: str
    workflow: str
    cause: str


@dataclass(slots=True)
class ReplayReport:
    """What was replayed, by workflow name."""

    replayed: int = 0
    events: int = 0
    by_workflow: dict[str, int] = field(default_factory=dict)
    workflow_ids: set[str] = field(default_factory=set, repr=False)
    failures: list[ReplayFailure] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Tell whether every history was reproduced."""
        return not self.failures


async def replay_closed(
    client: Client, workflows: Sequence[type] = WORKFLOWS, progress: Progress | None = None
) -> ReplayReport:
    """Replay every closed history of the client's namespace; the client's converter opens the payloads."""
    report = ReplayReport()
    started = perf_counter()
    replayer = Replayer(workflows=workflows, namespace=client.namespace, data_converter=client.data_converter)
    queue: asyncio.Queue[tuple[str, str, str] | None] = asyncio.Queue(IN_FLIGHT * 4)

    async def list_closed() -> None:
        async for execution in client.list_workflows(CLOSED, page_size=PAGE):
            await queue.put((execution.id, execution.run_id, execution.workflow_type))
        for _ in range(IN_FLIGHT):
            await queue.put(None)

    async def replay() -> None:
        while (found := await queue.get()) is not None:
            await _replay_one(client, replayer, *found, report)
            if progress:
                progress(report.replayed)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(list_closed())
        for _ in range(IN_FLIGHT):
            tasks.create_task(replay())
    report.seconds = perf_counter() - started
    return report


async def _replay_one(
    client: Client, replayer: Replayer, workflow_id: str, run_id: str, workflow: str, report: ReplayReport
) -> None:
    cause = ""
    try:
        history = await _fetch(client, workflow_id, run_id)
        report.events += len(history.events)
        result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
        if result.replay_failure is not None:
            cause = f"{type(result.replay_failure).__name__}: {result.replay_failure}"
    except Exception as error:  # noqa: BLE001 (one history that breaks must not hide the others)
        cause = f"{type(error).__name__}: {error}"
    report.replayed += 1
    report.workflow_ids.add(workflow_id)
    report.by_workflow[workflow] = report.by_workflow.get(workflow, 0) + 1
    if cause and len(report.failures) < MAX_FAILURES:
        report.failures.append(ReplayFailure(workflow_id, run_id, workflow, cause))


async def _fetch(client: Client, workflow_id: str, run_id: str) -> WorkflowHistory:
    for attempt in range(FETCH_ATTEMPTS):
        try:
            return await client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()
        except RPCError:
            if attempt == FETCH_ATTEMPTS - 1:
                raise
            await asyncio.sleep(0.2 * 2**attempt)
    raise AssertionError("unreachable: the last attempt raises")
