"""Workflow histories as auditors read them: fetched, decrypted, told line by line, exported as JSON."""

import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from google.protobuf import json_format
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from services.kit.codec import CodecError, is_encrypted
from services.kit.dates import time_of
from services.kit.errors import CaseUnavailable, NotFound
from services.kit.virtual import OPENED_MEMO

CHUNK_BYTES = 256 * 1024
RPC_TIMEOUT = timedelta(seconds=10)
UNTOLD = frozenset(
    {
        EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
        EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED,
        EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED,
        EventType.EVENT_TYPE_TIMER_STARTED,
        EventType.EVENT_TYPE_TIMER_CANCELED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_OPTIONS_UPDATED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED,
    }
)
"""The engine's own bookkeeping; the export has it."""


@dataclass(frozen=True, slots=True)
class ToldEvent:
    """One event of a history. ``words`` are all strings of its payloads: how it is matched to the ledger."""

    run_id: str
    event_id: int
    kind: str
    name: str
    business_time: datetime
    recorded_time: datetime
    words: frozenset[str]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an exported history: first which run it is, then chunks of its JSON, last what to check them by."""

    run_id: str = ""
    continued_run_id: str = ""
    chunk: bytes = b""
    event_count: int = 0
    sha256: bytes = b""


def _unavailable(error: RPCError, workflow_id: str) -> Exception:
    if error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
        return NotFound(f"workflows/{workflow_id}")
    return CaseUnavailable()


class Histories:
    """Reads the histories of the namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def read(self, workflow_id: str) -> list[ToldEvent]:
        """Return the events of a case's latest run worth telling. Raises NotFound or CaseUnavailable."""
        handle, run_id = await self._described(workflow_id, "")
        opened: datetime | None = None
        started = datetime.now(UTC)
        told = []
        try:
            async for event in handle.fetch_history_events(rpc_timeout=RPC_TIMEOUT):
                at = time_of(event.event_time)
                if event.event_id == 1:
                    started = at
                    opened = await self._opened(event)
                if event.event_type not in UNTOLD:
                    told.append(await self._told(event, run_id, (opened or started) + (at - started), at))
        except RPCError as error:
            raise _unavailable(error, workflow_id) from error
        return told

    async def _described(self, workflow_id: str, run_id: str) -> tuple[WorkflowHandle[Any, Any], str]:
        """Pin the run, so that a run that starts meanwhile does not mix in."""
        handle = self._client.get_workflow_handle(workflow_id, run_id=run_id or None)
        try:
            description = await handle.describe(rpc_timeout=RPC_TIMEOUT)
        except (RPCError, RuntimeError) as error:
            raise (_unavailable(error, workflow_id) if isinstance(error, RPCError) else CaseUnavailable()) from error
        pinned = description.run_id
        return self._client.get_workflow_handle(workflow_id, run_id=pinned), pinned

    async def _opened(self, event: HistoryEvent) -> datetime | None:
        payload = event.workflow_execution_started_event_attributes.memo.fields.get(OPENED_MEMO)
        if payload is None:
            return None
        [value] = await self._client.data_converter.decode([payload], [str])
        return datetime.fromisoformat(value)

    async def _told(self, event: HistoryEvent, run_id: str, business: datetime, at: datetime) -> ToldEvent:
        kind = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_").lower()
        attributes = getattr(event, str(event.WhichOneof("attributes")))
        return ToldEvent(
            run_id, event.event_id, kind, _name_of(attributes), business, at, frozenset(await self._words(attributes))
        )

    async def _words(self, attributes: Message) -> set[str]:
        """Return the strings that the event's payloads contain; what is not encrypted or cannot be, contains none."""
        words: set[str] = set()
        codec = self._client.data_converter.payload_codec
        for payload in _payloads(attributes):
            if codec is None or not is_encrypted(payload):
                continue
            try:
                [opened] = await codec.decode([payload])
                words.update(_strings(orjson.loads(opened.data)))
            except Exception:  # noqa: BLE001, S112 (a payload of a lost key or another format: told without its words)
                continue
        return words

    async def export(self, workflow_id: str, run_id: str) -> AsyncIterator[Part]:
        """Yield which run it is first, then its history in chunks, and what to check them by last.

        The JSON is what a replayer with the plain converter takes: payloads and failures are decrypted. A
        payload whose key is lost stays as it is.
        """
        handle, pinned = await self._described(workflow_id, run_id)
        hasher = hashlib.sha256()
        chunk = bytearray(b'{"events":[')
        count = 0
        try:
            async for event in handle.fetch_history_events(rpc_timeout=RPC_TIMEOUT):
                if count == 0:
                    continued = event.workflow_execution_started_event_attributes.continued_execution_run_id
                    yield Part(run_id=pinned, continued_run_id=continued)
                await self._decrypt(event)
                chunk += (b"," if count else b"") + orjson.dumps(json_format.MessageToDict(event))
                count += 1
                while len(chunk) >= CHUNK_BYTES:
                    piece = bytes(chunk[:CHUNK_BYTES])
                    del chunk[:CHUNK_BYTES]
                    hasher.update(piece)
                    yield Part(chunk=piece)
        except RPCError as error:
            raise _unavailable(error, workflow_id) from error
        chunk += b"]}"
        hasher.update(chunk)
        yield Part(chunk=bytes(chunk))
        yield Part(event_count=count, sha256=hasher.digest())

    async def _decrypt(self, event: HistoryEvent) -> None:
        """Open every encrypted payload of an event in place, and put a failure's own words back where they belong."""
        codec = self._client.data_converter.payload_codec
        if codec is None:
            return
        for payload in filter(is_encrypted, _payloads(event)):
            try:
                [opened] = await codec.decode([payload])
            except CodecError:
                continue
            payload.CopyFrom(opened)
        for failure in _failures(event):
            _unwrap(failure)


def _name_of(attributes: Message) -> str:
    """Return the name of what an event calls or takes: an activity, an update, a signal, a marker."""
    for path in (("activity_type", "name"), ("accepted_request", "input", "name"), ("signal_name",), ("marker_name",)):
        value: Any = attributes
        for part in path:
            value = getattr(value, part, None)
        if isinstance(value, str) and value:
            return value
    return ""


def _unwrap(failure: Failure) -> None:
    """Undo what a failure converter with encoded attributes did: the message moved into a payload."""
    if not failure.HasField("encoded_attributes"):
        return
    try:
        attributes = orjson.loads(failure.encoded_attributes.data)
        failure.message, failure.stack_trace = attributes["message"], attributes["stack_trace"]
    except (ValueError, LookupError, TypeError):
        return  # still encrypted, or of another converter
    failure.ClearField("encoded_attributes")


def _parts(message: Message) -> Iterator[Message]:
    """Yield the messages that a message holds directly."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            yield from (each for each in value.values() if isinstance(each, Message))
        elif field.is_repeated:
            yield from value
        else:
            yield value


def _payloads(message: Message) -> Iterator[Payload]:
    """Yield every payload in a message, whatever holds it."""
    for each in _parts(message):
        if isinstance(each, Payload):
            yield each
        else:
            yield from _payloads(each)


def _failures(message: Message) -> Iterator[Failure]:
    """Yield every failure in a message, causes included."""
    for each in _parts(message):
        if isinstance(each, Failure):
            yield each
        yield from _failures(each)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)
