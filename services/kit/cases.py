"""Acting on running cases: RPC → Temporal update on the case's workflow → its recording → stored answer.

The workflow is the process authority; this module only carries the question and brings back the answer.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

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
from services.kit.clock import ReadClock
from services.kit.db import CaseMessage, Database, update_id
from services.kit.errors import CaseUnavailable, DomainError, WrongState, from_reason
from services.kit.logs import logger

ANSWER_MARGIN_SECONDS = 0.5
"""Kept back from the caller's deadline to answer UNAVAILABLE instead of letting the call run out."""
ANSWER_DELIVERY_SECONDS = 2.0
"""How long an answer waits for its cases to be told; the relay tells them otherwise."""
RELAY_DELIVERY_SECONDS = 5.0
IN_FLIGHT = 20
RELAY_PAUSE_SECONDS = 1.0
RELAY_BATCH = 200
CLEARING_SECONDS = 10.0
"""How often messages that were kept long enough are deleted."""
M = TypeVar("M", bound=Message)
MessageKey = tuple[str, str]
"""Workflow id and message id."""

# A case that could not be told waits as a whole, so that it hears what happened in its order.
SELECT_MESSAGES = """
SELECT kind, workflow_id, name, at, argument, message_id
FROM case_message
WHERE delivered_time IS NULL AND created_time < greatest(now() - $2::interval, $3::timestamptz)
ORDER BY max(attempts) OVER (PARTITION BY workflow_id), created_time, workflow_id
LIMIT $1
"""
SELECT_MESSAGES_OF_CASE = """
SELECT kind, workflow_id, name, at, argument, message_id
FROM case_message
WHERE workflow_id = $1 AND created_time < coalesce($2::timestamptz, 'infinity')
ORDER BY created_time
"""
FRESH = timedelta(seconds=1.5)
"""Younger messages are being delivered by the process that wrote them."""
SELECT_WAITING = "SELECT EXISTS (SELECT FROM case_message WHERE workflow_id = $1 AND kind = 'start')"
COUNT_ATTEMPT = "UPDATE case_message SET attempts = attempts + 1 WHERE workflow_id = $1 AND message_id = $2"
MARK_DELIVERED = """
UPDATE case_message SET delivered_time = now()
FROM unnest($1::text[], $2::text[]) AS done (workflow_id, message_id)
WHERE case_message.workflow_id = done.workflow_id AND case_message.message_id = done.message_id
    AND delivered_time IS NULL
"""
DELIVER_AGAIN = "UPDATE case_message SET delivered_time = NULL WHERE delivered_time IS NOT NULL"
SELECT_NOW = "SELECT clock_timestamp()"
SELECT_BEHIND = "SELECT EXISTS (SELECT FROM case_message WHERE delivered_time IS NULL AND created_time < $1)"
# Long enough for what Temporal was told to have reached its disk: an operating system writes within half a minute.
KEPT = timedelta(seconds=60)
SELECT_LAST_KEPT = """
SELECT kind, workflow_id, message_id
FROM case_message
WHERE delivered_time < now() - $1::interval AND kind <> 'update'
ORDER BY delivered_time DESC, created_time DESC
LIMIT 1
"""
DELETE_KEPT = "DELETE FROM case_message WHERE delivered_time < now() - $1::interval"


class Action(Protocol):
    """A person's request to act on a case: the resource it names, and the revision of it that the person saw."""

    @property
    def name(self) -> str: ...

    @property
    def etag(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Seen:
    """The revision that a person saw, '' where he did not say, and a look whether it is still there.

    ``look`` raises StaleEtag when it is not.
    """

    etag: str
    look: Callable[[], Awaitable[object]]


class Cases:
    """The cases of one service.

    What a case must know stands in ``case_message`` from the business transaction on, and stays there a while
    after the case has it. Should everything crash and Temporal come back as it was before, the relay tells the
    cases again, each in its order; before that, nobody acts on them.
    """

    def __init__(
        self, client: Client, database: Database, *, task_queue: str, read_virtual_clock: ReadClock | None
    ) -> None:
        self._client = client
        self._database = database
        self._task_queue = task_queue
        self._read_virtual_clock = read_virtual_clock
        self._in_flight = asyncio.Semaphore(IN_FLIGHT)
        self._delivered: list[MessageKey] = []
        self._caught_up = False
        self._forgetful_until: datetime | None = None
        database.tell_cases = self.tell_at_once

    async def act(
        self, call: Call, workflow_id: str, update: str, action: dict[str, Any], answer: type[M], seen: Seen
    ) -> M:
        """Put a person's action to the case and return the recorded answer.

        ``action`` must fit the update's argument; the outer command's identity is added to it as ``outer``, with the
        etag that the person saw.
        Raises StaleEtag when what the person saw has changed, whatever else the workflow refuses it for, and else the
        workflow's refusal as a DomainError; CaseUnavailable when nothing was decided in time. The guard then answers
        what is on record from an earlier time, if anything is.
        """
        try:
            with self._database.awaited_answer(call) as recorded:
                await self._update(call, workflow_id, update, action, seen.etag)
                stored = await recorded()
        except CaseUnavailable:
            raise
        except DomainError:
            if seen.etag:
                await seen.look()
            raise
        if stored is None:
            raise CaseUnavailable
        return answer.FromString(stored)

    async def _update(self, call: Call, workflow_id: str, update: str, action: dict[str, Any], etag: str) -> None:
        outer = {
            "principal": call.principal,
            "on_behalf_of": call.on_behalf_of,
            "method": call.rule.path,
            "request_id": call.request_id,
            "body_hash": call.body_hash.hex(),
            "etag": etag,
        }
        identifier = update_id(call.principal, call.rule.path, call.request_id, call.body_hash)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(max(call.deadline - ANSWER_MARGIN_SECONDS, loop.time() + 0.05)):
                if not self._caught_up:
                    await self._remind(workflow_id)
                if self._read_virtual_clock is not None:
                    await virtual.catch_up(self._client, workflow_id, call.now)
                await self._client.get_workflow_handle(workflow_id).execute_update(
                    update, {**action, "outer": outer}, id=identifier
                )
        except WorkflowUpdateFailedError as failure:
            raise refusal_in(failure) from failure
        except (RPCError, WorkflowUpdateRPCTimeoutOrCancelledError, TimeoutError, RuntimeError) as error:
            # A RuntimeError is how a lazy client says that it could not make its first connection.
            if await self._is_over(workflow_id, error):
                raise WrongState(state="CLOSED", action=update) from error
            logger().warning("case_unreachable", workflow_id=workflow_id, update=update, error=type(error).__name__)
            raise CaseUnavailable from error
        self._delivered.append((workflow_id, identifier))

    async def _remind(self, workflow_id: str) -> None:
        """Tell a case what it may have forgotten, before anybody acts on it. Raises TimeoutError when it fails."""
        # What was written since is known to the case, or still under way there: it must not be waited for.
        rows = await self._database.fetch(SELECT_MESSAGES_OF_CASE, workflow_id, self._forgetful_until)
        if rows and await self._tell_cases([CaseMessage(*row.values()) for row in rows], RELAY_DELIVERY_SECONDS):
            raise TimeoutError

    async def _is_over(self, workflow_id: str, error: BaseException) -> bool:
        """Tell whether a case was not found because it has ended; one still to be started is not over."""
        if not isinstance(error, RPCError) or error.status is not RPCStatusCode.NOT_FOUND:
            return False
        try:
            description = await self._client.get_workflow_handle(workflow_id).describe()
        except RPCError as again:
            return again.status is RPCStatusCode.NOT_FOUND and not await self._database.fetchval(
                SELECT_WAITING, workflow_id
            )
        return description.status is not WorkflowExecutionStatus.RUNNING

    async def tell_at_once(self, messages: Sequence[CaseMessage]) -> None:
        """Deliver what a committed transaction has for its cases; what fails now is left to the relay.

        Never raises: the transaction has committed, and its answer must reach the caller.
        """
        # A case that may have forgotten something hears that first, from the relay; a new one has nothing to forget.
        at_once = messages if self._caught_up else [each for each in messages if each.kind == "start"]
        await self._tell_cases(at_once, ANSWER_DELIVERY_SECONDS)

    async def _tell_cases(self, messages: Sequence[CaseMessage], seconds: float) -> int:
        """Deliver messages, side by side but each case's in order; never raise, and return how many are left."""
        cases: dict[str, list[CaseMessage]] = {}
        for message in messages:
            cases.setdefault(message.workflow_id, []).append(message)
        outcomes = await asyncio.gather(*(self._tell_case(each, seconds) for each in cases.values()))
        failures = [(left, error) for left, error in outcomes if error is not None]
        if failures:
            count, error = sum(left for left, _ in failures), type(failures[0][1]).__name__
            logger().warning("case_messages_left_to_relay", count=count, error=error)
        return sum(left for left, _ in failures)

    async def _tell_case(self, messages: Sequence[CaseMessage], seconds: float) -> tuple[int, Exception | None]:
        """Deliver to one case in order, up to the first failure; return how many are left, and why."""
        for position, message in enumerate(messages):
            try:
                await self._deliver(message, seconds)
            except Exception as error:  # noqa: BLE001 (whatever it was, the relay comes again)
                return len(messages) - position, error
        return 0, None

    async def _deliver(self, message: CaseMessage, seconds: float) -> None:
        key = (message.workflow_id, message.message_id)
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
        self._delivered.append(key)

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
        if self._read_virtual_clock is not None:  # business time may have moved on since the case was to start
            now = await self._read_virtual_clock()
            if now - message.at > virtual.CLOSE_ENOUGH:
                await virtual.catch_up(self._client, message.workflow_id, now)

    async def _tell(self, message: CaseMessage) -> None:
        if self._read_virtual_clock is not None:
            await virtual.catch_up(self._client, message.workflow_id, message.at)
        try:
            await self._client.get_workflow_handle(message.workflow_id).execute_update(
                message.name,
                orjson.loads(message.argument),
                id=message.message_id,
            )
        except WorkflowUpdateFailedError as failure:
            refusal = refusal_in(failure)
            if isinstance(refusal, CaseUnavailable):
                raise TimeoutError from failure
            # A case that refuses what it did before stands behind its record for good: somebody must look at it.
            tell = logger().error if message.kind == "act" else logger().info
            tell("case_needed_no_telling", workflow_id=message.workflow_id, kind=message.kind, reason=refusal.reason)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            if not await self._is_over(message.workflow_id, error):
                raise TimeoutError from error  # its start is still to be delivered: the relay comes again
            logger().info("case_had_ended", workflow_id=message.workflow_id)

    async def run_relay(self) -> None:
        """Deliver, for ever, what a crash or an outage left undelivered, and clear away what was kept long enough."""
        clear_at = 0.0
        while True:
            rows, left = [], 0
            try:
                if self._forgetful_until is None:  # what was told before this process may have been forgotten since
                    await self._tell_all_again()
                await self._note_delivered()
                rows = await self._database.fetch(SELECT_MESSAGES, RELAY_BATCH, FRESH, self._forgetful_until)
                left = await self._tell_cases([CaseMessage(*row.values()) for row in rows], RELAY_DELIVERY_SECONDS)
                await self._note_delivered()
                if not self._caught_up:
                    behind = await self._database.fetchval(SELECT_BEHIND, self._forgetful_until)
                    self._caught_up = not behind
                if self._caught_up and time.monotonic() > clear_at:
                    await self._clear()
                    clear_at = time.monotonic() + CLEARING_SECONDS
            except Exception as error:  # noqa: BLE001 (the loop must outlive any outage; the cause is logged)
                logger().warning("case_relay_failed", error=type(error).__name__)
                rows, left = [], 0
            if left or len(rows) < RELAY_BATCH:
                await asyncio.sleep(RELAY_PAUSE_SECONDS)

    async def _tell_all_again(self) -> None:
        """Have everything kept so far delivered once more; until that is done, cases are reminded one by one."""
        self._caught_up = False
        until: datetime = await self._database.fetchval(SELECT_NOW)
        await self._database.execute(DELIVER_AGAIN)
        self._forgetful_until = until

    async def _note_delivered(self) -> None:
        """Mark what this process has delivered since, in one go."""
        delivered, self._delivered = self._delivered, []
        if not delivered:
            return
        try:
            await self._database.execute(MARK_DELIVERED, *map(list, zip(*delivered, strict=True)))
        except BaseException:
            self._delivered[:0] = delivered
            raise

    async def _clear(self) -> None:
        """Delete what was kept long enough, unless Temporal has forgotten the last of it; then tell it all again.

        Temporal keeps what it is told in order: where the last is known, nothing before it is missing.
        """
        last = await self._database.fetchrow(SELECT_LAST_KEPT, KEPT)
        if last is not None and not await self._is_known(last["kind"], last["workflow_id"], last["message_id"]):
            logger().error("cases_forgot_messages", workflow_id=last["workflow_id"])
            await self._tell_all_again()
            return
        await self._database.execute(DELETE_KEPT, KEPT)

    async def _is_known(self, kind: str, workflow_id: str, message_id: str) -> bool:
        handle = self._client.get_workflow_handle(workflow_id)
        try:
            if kind == "start":
                await handle.describe()
            else:
                await handle.get_update_handle(message_id).result(rpc_timeout=timedelta(seconds=RELAY_DELIVERY_SECONDS))
        except WorkflowUpdateFailedError:
            return True
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
        return True


def refusal_in(failure: BaseException) -> DomainError:
    """Find the workflow's refusal in an update failure; anything else is an outage of the case."""
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, ApplicationError) and cause.type:
            metadata = cause.details[0] if cause.details else {}
            return from_reason(cause.type, metadata)
        cause = cause.__cause__
    return CaseUnavailable()
