"""A case's story: ledger entries and history events joined into one, oldest first. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from dutyloop.audit.v1 import audit_pb2
from services.audit.histories import ToldEvent
from services.audit.words import BATCHES, tell_entry, tell_event
from services.kit.names import name_of

LEDGER = audit_pb2.TIMELINE_SOURCE_LEDGER
HISTORY = audit_pb2.TIMELINE_SOURCE_HISTORY
BOTH = audit_pb2.TIMELINE_SOURCE_BOTH
LOCAL_ACTIVITY = "core_local_activity"
"""The marker by which the engine keeps the answer of a local activity."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line, with the times it is sorted by."""

    business_time: datetime
    recorded_time: datetime
    message: audit_pb2.TimelineLine


def is_own(kind: str, objects: Sequence[str], name: str) -> bool:
    """Tell whether an entry is about a resource, which comes first there, or is in a batch; others only name it."""
    return name in (objects if kind in BATCHES else objects[:1])


def tell(
    entries: Sequence[Mapping[str, Any]], events: Sequence[ToldEvent], about: str = ""
) -> list[audit_pb2.TimelineLine]:
    """Join entries and events: an event that carries an entry's request id is the one that made it.

    Of a batch of resources, only what is said of the one that the story is about is told.
    """
    making: dict[str, ToldEvent] = {}
    requests = {entry["request_id"] for entry in entries}
    for event in events:
        for request in event.words & requests:
            making.setdefault(request, event)
    joined = {(event.run_id, event.event_id) for event in making.values()}
    lines = [_entry_line(entry, making.get(entry["request_id"]), about) for entry in entries]
    lines += [_event_line(event) for event in _alone(events, joined, requests)]
    lines.sort(key=lambda line: (line.business_time, line.recorded_time))
    return [line.message for line in lines]


def _alone(events: Sequence[ToldEvent], joined: set[tuple[str, int]], requests: set[str]) -> Iterator[ToldEvent]:
    """Yield the events that no entry tells: neither those that made one nor later echoes of the same request.

    A local activity's marker may have made an entry; alone it is the engine's bookkeeping.
    """
    for event in events:
        if event.name == LOCAL_ACTIVITY:
            continue
        if (event.run_id, event.event_id) not in joined and not event.words & requests:
            yield event


def _entry_line(entry: Mapping[str, Any], event: ToldEvent | None, about: str) -> Line:
    if entry["type"] in BATCHES:
        told = tell_entry(entry["type"], [about] if about in entry["objects"] else [], {})
    else:
        payload = orjson.loads(entry["payload"]) if entry["payload"] is not None else {}
        told = tell_entry(entry["type"], entry["objects"], payload if isinstance(payload, dict) else {})
    message = audit_pb2.TimelineLine(
        source=BOTH if event else LEDGER,
        type=entry["type"],
        actor=entry["actor"] if entry["actor"].startswith("people/") else "",
        text_zh=told.zh,
        text_en=told.en,
        ledger_entry=name_of("ledgerEntries", entry["id"]),
        event_id=event.event_id if event else 0,
        run_id=event.run_id if event else "",
    )
    message.business_time.FromDatetime(entry["business_time"])
    message.recorded_time.FromDatetime(entry["recorded_time"])
    return Line(entry["business_time"], entry["recorded_time"], message)


def _event_line(event: ToldEvent) -> Line:
    told = tell_event(event.kind, event.name)
    message = audit_pb2.TimelineLine(
        source=HISTORY,
        type=event.kind,
        text_zh=told.zh,
        text_en=told.en,
        event_id=event.event_id,
        run_id=event.run_id,
    )
    message.business_time.FromDatetime(event.business_time)
    message.recorded_time.FromDatetime(event.recorded_time)
    return Line(event.business_time, event.recorded_time, message)
