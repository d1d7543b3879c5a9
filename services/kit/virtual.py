"""Virtual time: moves running cases along with the business clock by server-side time skipping.

A case's business time is ``opened + workflow time − workflow start``; ``opened`` stands in its memo.
Used only where the stack runs with virtual time; a production server has the feature switched off.
"""

import asyncio
import time
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Literal

from google.protobuf.field_mask_pb2 import FieldMask
from temporalio.api.common.v1 import FastForwardConfig, TimeSkippingConfig, WorkflowExecution
from temporalio.api.workflow.v1 import WorkflowExecutionOptions
from temporalio.api.workflowservice.v1 import (
    PollWorkflowExecutionTimeSkippingRequest,
    UpdateWorkflowExecutionOptionsRequest,
)
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from services.kit.errors import ServiceUnavailable

OPENED_MEMO = "opened"
CONCURRENT_CASES = 32
MAX_PASSES = 1_000
CLOSE_ENOUGH = timedelta(milliseconds=900)
"""A case this little behind is level: its own clock ticks while others are moved."""
POLL = timedelta(seconds=60)
BUSY_SECONDS, BUSY_PAUSE_SECONDS = 20.0, 0.05
"""How long cases that are level may take to finish the step they are at."""
Pace = Literal["behind", "busy", "level"]


async def catch_up(client: Client, workflow_id: str, business_now: datetime) -> bool:
    """Move one case up to business time, its timers firing on the way; True when it was behind."""
    return await _catch_up(client, workflow_id, business_now) == "behind"


async def _catch_up(client: Client, workflow_id: str, business_now: datetime) -> Pace:
    """Move one case; tell how it was found. A busy one is level, but what its last timer began is not recorded yet."""
    try:
        description = await client.get_workflow_handle(workflow_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return "level"
        raise
    if description.status is WorkflowExecutionStatus.CONTINUED_AS_NEW:  # looked at in the moment of its change of run
        return await _catch_up(client, workflow_id, business_now)
    if description.status is not WorkflowExecutionStatus.RUNNING:
        return "level"
    opened = datetime.fromisoformat(await description.memo_value(OPENED_MEMO))
    info = description.raw_description.workflow_extended_info.time_skipping_info
    skipped = info.HasField("current_time")
    case_clock = info.current_time.ToDatetime(tzinfo=UTC) if skipped else datetime.now(UTC)
    behind = business_now - (opened + (case_clock - description.start_time))
    if behind < CLOSE_ENOUGH:
        raw = description.raw_description
        return "busy" if raw.HasField("pending_workflow_task") or raw.pending_activities else "level"
    await _fast_forward(client, workflow_id, behind)
    return "behind"


async def _fast_forward(client: Client, workflow_id: str, duration: timedelta) -> None:
    identifier = uuid.uuid4().hex
    execution = WorkflowExecution(workflow_id=workflow_id)
    config = TimeSkippingConfig(enabled=True, fast_forward_config=FastForwardConfig(id=identifier))
    config.fast_forward_config.duration.FromTimedelta(duration)
    try:
        await client.workflow_service.update_workflow_execution_options(
            UpdateWorkflowExecutionOptionsRequest(
                namespace=client.namespace,
                workflow_execution=execution,
                workflow_execution_options=WorkflowExecutionOptions(time_skipping_config=config),
                update_mask=FieldMask(paths=["time_skipping_config"]),
            )
        )
        await client.workflow_service.poll_workflow_execution_time_skipping(
            PollWorkflowExecutionTimeSkippingRequest(
                namespace=client.namespace, workflow_execution=execution, fast_forward_id=identifier
            ),
            timeout=POLL,
        )
    except RPCError as error:
        if error.status not in (RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION):
            raise  # a case that ended meanwhile needs no more time


async def advance_all(client: Client, task_queue: str, business_now: datetime) -> int:
    """Move every running case of a task queue up to business time, those started on the way too; count the moves.

    What fell due by then is recorded when this returns, unless the worker is away for longer than a while.
    Raises ServiceUnavailable when Temporal is.
    """
    try:
        return await _advance_all(client, task_queue, business_now)
    except (RPCError, RuntimeError) as error:  # a RuntimeError is how a lazy client says that it never connected
        raise ServiceUnavailable from error


async def _advance_all(client: Client, task_queue: str, business_now: datetime) -> int:
    limit = asyncio.Semaphore(CONCURRENT_CASES)
    moves = 0
    patience = time.monotonic() + BUSY_SECONDS

    async def advance(workflow_id: str) -> Pace:
        async with limit:
            return await _catch_up(client, workflow_id, business_now)

    query = f"ExecutionStatus = 'Running' AND TaskQueue = '{task_queue}'"
    for _ in range(MAX_PASSES):
        running = [each.id async for each in client.list_workflows(query, page_size=1_000)]
        paces = Counter(await asyncio.gather(*map(advance, running)))
        moves += paces["behind"]
        if paces["behind"]:
            patience = time.monotonic() + BUSY_SECONDS
        elif not paces["busy"] or time.monotonic() > patience:
            break
        else:
            await asyncio.sleep(BUSY_PAUSE_SECONDS)
    return moves
