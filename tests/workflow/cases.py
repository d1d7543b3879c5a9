"""What workflow tests share: fake activities under the real names, a worker, and the passing of time."""

import contextlib
import dataclasses
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import Replayer, Worker

from services.kit import virtual
from services.kit.cases import refusal_in
from services.kit.codec import data_converter
from services.kit.errors import DomainError
from workflows.accountability_case import AccountabilityCase
from workflows.activities.directory import ClockWindow, DueTime, StatutoryClock
from workflows.payloads import Outer, RunningTerm
from workflows.payloads.accountability import AccountabilitySnapshot, AccountabilityTimes, RecordAccountability
from workflows.payloads.supervision import (
    CLIMBING,
    Addressee,
    FindAddressee,
    OpenAccountability,
    RecordRung,
    RecordSupervision,
    SupervisionSnapshot,
    SupervisionTimes,
)
from workflows.supervision_case import SupervisionCase

OPENED = datetime(2026, 3, 2, 2, 0, tzinfo=UTC)
DAYS = {"NATURAL_DAYS": 1, "WORKING_DAYS": 1, "MONTHS": 30}
"""The fake calendar: a working day is a day and a month thirty; the real one has tests of its own."""


class FakeServices:
    """Fake activities under the real names; ``rungs`` and the snapshots are what the services would keep.

    ``days_moved`` is by how much the notice that has come moves the end of a term.
    ``supervision_times`` and ``accountability_times``, by transition, stand on record from an earlier try.
    """

    def __init__(self) -> None:
        self.rungs: list[RecordRung] = []
        self.openings: list[OpenAccountability] = []
        self.supervision: list[tuple[str, SupervisionSnapshot]] = []
        self.accountability: list[tuple[str, AccountabilitySnapshot]] = []
        self.steps: set[str] = set()
        self.days_moved = 0
        self.supervision_times: dict[str, SupervisionTimes] = {}
        self.accountability_times: dict[str, AccountabilityTimes] = {}
        self.unknown_addressees = False
        self.refuses_openings = False

    @activity.defn(name="explain_due_time")
    async def explain_due_time(self, asked: DueTime) -> datetime:
        """Count days without a calendar."""
        return asked.start + timedelta(days=asked.term.amount * DAYS[asked.term.unit])

    def end_of(self, running: RunningTerm) -> datetime:
        """Count the days of a term as the recording does."""
        moved = self.days_moved if running.notice else 0
        return running.start + timedelta(days=running.term.amount * DAYS[running.term.unit] + moved)

    @activity.defn(name="explain_statutory_clock")
    async def explain_statutory_clock(self, asked: StatutoryClock) -> ClockWindow:
        """Give every clock thirty days."""
        return ClockWindow(asked.start + timedelta(days=30), asked.clock)

    @activity.defn(name="find_addressee")
    async def find_addressee(self, asked: FindAddressee) -> Addressee:
        """Find a person named after the target, unless directory knows nobody."""
        if self.unknown_addressees:
            raise ApplicationError("NOT_FOUND", {}, type="NOT_FOUND", non_retryable=True)
        return Addressee(asked.unit, asked.post, f"people/{asked.target.lower()}")

    @activity.defn(name="record_rung")
    async def record_rung(self, record: RecordRung) -> str:
        """Keep what fired."""
        if record.step not in self.steps:
            self.steps.add(record.step)
            self.rungs.append(record)
        return f"measures/{record.number}"

    @activity.defn(name="open_accountability")
    async def open_accountability(self, opening: OpenAccountability) -> str:
        """Keep what was opened."""
        if self.refuses_openings:
            raise ApplicationError("INVALID_FIELD", {}, type="INVALID_FIELD", non_retryable=True)
        self.openings.append(opening)
        return "accountabilityCases/1"

    @activity.defn(name="record_supervision_transition")
    async def record_supervision(self, record: RecordSupervision) -> SupervisionTimes:
        """Keep a transition."""
        snapshot = record.snapshot
        if record.step not in self.steps:
            self.steps.add(record.step)
            self.supervision.append((record.transition, snapshot))
        times = SupervisionTimes(snapshot.next_rung_time, snapshot.conclude_time, snapshot.due_time)
        if record.term and snapshot.state == CLIMBING:
            times = replace(times, next_rung_time=self.end_of(record.term))
        elif record.term:
            times = replace(times, due_time=self.end_of(record.term))
        return self.supervision_times.get(record.transition, times)

    @activity.defn(name="record_accountability_transition")
    async def record_accountability(self, record: RecordAccountability) -> AccountabilityTimes:
        """Keep a transition."""
        snapshot = record.snapshot
        if record.step not in self.steps:
            self.steps.add(record.step)
            self.accountability.append((record.transition, snapshot))
        times = AccountabilityTimes(
            self.end_of(record.term) if record.term else snapshot.due_time,
            snapshot.decide_time,
            snapshot.influence_end_time,
            snapshot.appeal_due_time,
            snapshot.appeal.file_time if snapshot.appeal else None,
            snapshot.close_time,
        )
        return self.accountability_times.get(record.transition, times)

    @property
    def activities(self) -> Sequence[Any]:
        """Every fake, for a worker."""
        return (
            self.explain_due_time,
            self.explain_statutory_clock,
            self.find_addressee,
            self.record_rung,
            self.open_accountability,
            self.record_supervision,
            self.record_accountability,
        )


@dataclasses.dataclass(frozen=True)
class CaseRoom:
    """A task queue of its own, with a worker and the fake services behind it."""

    client: Client
    task_queue: str
    services: FakeServices

    async def start(self, workflow: str, argument: Any) -> WorkflowHandle[Any, Any]:
        """Start a case that opened at OPENED."""
        return await self.client.start_workflow(
            workflow,
            argument,
            id=f"{workflow}/{uuid.uuid4().hex}",
            task_queue=self.task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            memo={virtual.OPENED_MEMO: OPENED.isoformat()},
        )

    async def reproject(self, handle: WorkflowHandle[Any, Any], days_moved: int, told_as: str) -> None:
        """Tell a case of a notice that moves the end of its term, under the id of one message."""
        self.services.days_moved = days_moved
        await handle.execute_update("reproject", {"notice": 2026}, id=told_as)

    async def pass_to(self, handle: WorkflowHandle[Any, Any], time: datetime) -> None:
        """Let business time pass for a case, its timers firing on the way."""
        await virtual.catch_up(self.client, handle.id, time)

    async def pass_days(self, handle: WorkflowHandle[Any, Any], days: float) -> None:
        """Let business time pass until so many days after OPENED."""
        await self.pass_to(handle, OPENED + timedelta(days=days))


@contextlib.asynccontextmanager
async def case_room(
    client: Client, services: FakeServices | None = None, task_queue: str = "", *, cached: int = 100
) -> AsyncIterator[CaseRoom]:
    """Work on a task queue; ``cached`` 0 makes the worker replay each case at every step."""
    room = CaseRoom(client, task_queue or f"cases-{uuid.uuid4().hex[:8]}", services or FakeServices())
    async with Worker(
        client,
        task_queue=room.task_queue,
        workflows=[SupervisionCase, AccountabilityCase],
        activities=room.services.activities,
        max_cached_workflows=cached,
    ):
        yield room


def outer(person: str) -> dict[str, str]:
    """Return the outer command of a person, as the services send it."""
    identity = Outer(person, "/dutyloop.test/Act", uuid.uuid4().hex, "00" * 32)
    return dataclasses.asdict(identity)


async def act(handle: WorkflowHandle[Any, Any], update: str, person: str, **action: Any) -> None:
    """Put a person's action to a case."""
    await handle.execute_update(update, {**action, "outer": outer(person)})


async def refused(handle: WorkflowHandle[Any, Any], update: str, person: str, **action: Any) -> DomainError:
    """Put an action to a case that must refuse it, and return the refusal as the caller gets it."""
    try:
        await act(handle, update, person, **action)
    except WorkflowUpdateFailedError as failure:
        return refusal_in(failure)
    raise AssertionError(f"{update} by {person} was not refused")


async def replays(handle: WorkflowHandle[Any, Any]) -> bool:
    """Replay the case's history against the code; raises where they do not match."""
    replayer = Replayer(workflows=[SupervisionCase, AccountabilityCase], data_converter=data_converter(None))
    await replayer.replay_workflow(await handle.fetch_history())
    return True
