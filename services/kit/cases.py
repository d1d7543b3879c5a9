"""Acting on running cases: RPC → Temporal update on the case's workflow → its recording → stored answer.

The workflow is the process authority; this module only carries the question and brings back the answer.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeVar

import orjson
from google.protobuf.message import Message
from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from services.kit import virtual
from services.kit.call import Call
from services.kit.db import CaseMessage, Database
from services.kit.errors import CaseUnavailable, DomainError, WrongState, from_reason
from services.kit.logs import logger
from services.kit.names import derived_id

ANSWER_MARGIN_SECONDS = 0.5
"""Kept back from the caller's deadline to answer UNAVAILABLE instead of letting the call run out."""
ANSWER_DELIVERY_SECONDS = 2.0
"""How long an answer waits for its cases to be told; the relay tells them otherwise."""
RELAY_DELIVERY_SECONDS = 5.0
REMINDER_SECONDS = 5.0
"""How long a repeated action waits for its case before it is given the answer on record."""
IN_FLIGHT = 20
RELAY_PAUSE_SECONDS = 1.0
RELAY_BATCH = 200
M = TypeVar("M", bound=Message)

SELECT_MESSAGES = """
SELECT kind, workflow_id, name, at, argument
FROM case_message
WHERE created_time < now() - interval '1 second'
ORDER BY attempts, created_time, workflow_id
LIMIT $1
"""
SELECT_WAITING = "SELECT EXISTS (SELECT FROM case_message WHERE workflow_id = $1 AND kind = 'start')"
COUNT_ATTEMPT = """
UPDATE case_message SET attempts = attempts + 1
WHERE workflow_id = $1 AND kind = $2 AND name = $3 AND argument = $4
"""
DELETE_MESSAGE = "DELETE FROM case_message WHERE workflow_id = $1 AND kind = $2 AND name = $3 AND argument = $4"


class Cases:
    """The cases of one service."""

    def __init__(self, client: Client, database: Database, *, task_queue: str, virtual_time: bool) -> None:
        self._client = client
        self._database = database
        self._task_queue = task_queue
        self._virtual_time = virtual_time
        self._in_flight = asyncio.Semaphore(IN_FLIGHT)
        database.tell_cases = self.tell

    async def act(self, call: Call, workflow_id: str, update: str, action: dict[str, Any], answer: type[M]) -> M:
        """Put a person's action to the case and return the recorded answer.

        ``action`` must fit the update's argument; the outer command's identity is added to it as ``outer``.
        Raises the workflow's refusal as a DomainError, CaseUnavailable when nothing was decided in time.
        """
        stored = await self._database.stored_answer(call)
        if stored is not None:
            await self._remind(call, workflow_id, update, action)
        else:
            await self._update(call, workflow_id, update, action)
            stored = await self._database.stored_answer(call)
            if stored is None:
                raise CaseUnavailable
        return answer.FromString(stored)

    async def _remind(self, call: Call, workflow_id: str, update: str, action: dict[str, Any]) -> None:
        """Put an action that is on record to the case again, which forgot it if everything crashed just then.

        The update's id lets a case that knows of it answer at once; one that does not repeats its own step,
        which the record recognises. Whatever comes of it, the answer on record stands.
        """
        try:
            async with asyncio.timeout(REMINDER_SECONDS):
                await self._update(call, workflow_id, update, action)
        except (DomainError, TimeoutError) as error:
            logger().info("case_not_reminded", workflow_id=workflow_id, update=update, error=type(error).__name__)

    async def _update(self, call: Call, workflow_id: str, update: str, action: dict[str, Any]) -> None:
        outer = {
            "principal": call.principal,
            "on_behalf_of": call.on_behalf_of,
            "method": call.rule.path,
            "request_id": call.request_id,
            "body_hash": call.body_hash.hex(),
        }
        update_id = derived_id(call.principal, call.rule.path, call.request_id, call.body_hash.hex())
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(max(call.deadline - ANSWER_MARGIN_SECONDS, loop.time() + 0.05)):
                if self._virtual_time:
                    await virtual.catch_up(self._client, workflow_id, call.now)
                await self._client.get_workflow_handle(workflow_id).execute_update(
                    update, {**action, "outer": outer}, id=update_id
                )
        except WorkflowUpdateFailedError as failure:
            raise refusal_in(failure) from failure
        except (RPCError, WorkflowUpdateRPCTimeoutOrCancelledError, TimeoutError, RuntimeError) as error:
            # A RuntimeError is how a lazy client says that it could not make its first connection.
            if await self._is_over(workflow_id, error):
                raise WrongState(state="CLOSED", action=update) from error
            logger().warning("case_unreachable", workflow_id=workflow_id, update=update, error=type(error).__name__)
            raise CaseUnavailable from error

    async def _is_over(self, workflow_id: str, error: BaseException) -> bool:
        """Tell whether a case was not found because it has ended; one still to be started is not over."""
        if not isinstance(error, RPCError) or error.status is not RPCStatusCode.NOT_FOUND:
            return False
        if await self._database.fetchval(SELECT_WAITING, workflow_id):
            return False
        try:
            description = await self._client.get_workflow_handle(workflow_id).describe()
        except RPCError as again:
            return again.status is RPCStatusCode.NOT_FOUND
        return description.status is not WorkflowExecutionStatus.RUNNING

    async def tell(self, messages: Sequence[CaseMessage], seconds: float = ANSWER_DELIVERY_SECONDS) -> int:
        """Deliver what a committed transaction has for its cases; what fails now is left to the relay.

        Never raises: the transaction has committed, and its answer must reach the caller. Returns the
        number of messages left.
        """
        deliveries = (self._deliver(message, seconds) for message in messages)
        outcomes = await asyncio.gather(*deliveries, return_exceptions=True)
        failures = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        if failures:
            error = type(failures[0]).__name__
            logger().warning("case_messages_left_to_relay", count=len(failures), error=error)
        return len(failures)

    async def _deliver(self, message: CaseMessage, seconds: float) -> None:
        key = (message.workflow_id, message.kind, message.name, message.argument)
        try:
            # The wait for a place counts too: while Temporal hangs no answer may queue behind the relay.
            async with asyncio.timeout(seconds), self._in_flight:
                if message.kind == "start":
                    await self._start(message)
                else:
                    await self._tell(message)
        except Exception:  # whatever it was: counted, so that the relay tries others first, and raised again
            await self._database.execute(COUNT_ATTEMPT, *key)
            raise
        await self._database.execute(DELETE_MESSAGE, *key)

    async def _start(self, message: CaseMessage) -> None:
        try:
            await self._client.start_workflow(
                message.name,
                orjson.loads(message.argument),
                id=message.workflow_id,
                task_queue=self._task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                memo={virtual.OPENED_MEMO: message.at.isoformat()},
                rpc_timeout=timedelta(seconds=RELAY_DELIVERY_SECONDS),
            )
        except WorkflowAlreadyStartedError:
            logger().info("case_was_started", workflow_id=message.workflow_id)

    async def _tell(self, message: CaseMessage) -> None:
        if self._virtual_time:
            await virtual.catch_up(self._client, message.workflow_id, message.at)
        try:
            await self._client.get_workflow_handle(message.workflow_id).execute_update(
                message.name,
                orjson.loads(message.argument),
                id=derived_id(message.workflow_id, message.name, message.argument.hex()),
            )
        except WorkflowUpdateFailedError as failure:
            refusal = refusal_in(failure)
            if isinstance(refusal, CaseUnavailable):
                raise TimeoutError from failure
            logger().info("case_needed_no_telling", workflow_id=message.workflow_id, reason=refusal.reason)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            if not await self._is_over(message.workflow_id, error):
                raise TimeoutError from error  # its start is still to be delivered: the relay comes again
            logger().info("case_had_ended", workflow_id=message.workflow_id)

    async def run_relay(self) -> None:
        """Deliver, for ever, what a crash or an outage left undelivered."""
        while True:
            try:
                rows = await self._database.fetch(SELECT_MESSAGES, RELAY_BATCH)
                left = await self.tell([CaseMessage(*row.values()) for row in rows], RELAY_DELIVERY_SECONDS)
            except Exception as error:  # noqa: BLE001 (the loop must outlive any outage; the cause is logged)
                logger().warning("case_relay_failed", error=type(error).__name__)
                rows, left = [], 0
            if left or len(rows) < RELAY_BATCH:
                await asyncio.sleep(RELAY_PAUSE_SECONDS)


def refusal_in(failure: BaseException) -> DomainError:
    """Find the workflow's refusal in an update failure; anything else is an outage of the case."""
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, ApplicationError) and cause.type:
            metadata = cause.details[0] if cause.details else {}
            return from_reason(cause.type, metadata)
        cause = cause.__cause__
    return CaseUnavailable()
