"""Rows 5 and 7: the whole rectification loop and an open case's memory, against the least that Temporal can do."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import psutil
from google.type.date_pb2 import Date
from temporalio.client import Client

from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.kit.v1 import kit_pb2
from infra.embedded.process import Child, while_alive
from services.kit import temporal
from tests.bench.city import Bench
from tests.bench.figures import Goal, Row, in_turns
from tests.bench.minimal import STEPS, Loop, Sleeper
from workflows.payloads import rectification

LOOPS = 40
"""Of each measurement, this many at once:"""
AT_ONCE = 10
OPENED = 150
"""Cases of each measurement of memory; with the warm-up all fit into the worker's cache."""
SETTLE_SECONDS = 1.0
TIMEOUT = 600.0
MINIMAL_QUEUE, MEMORY_QUEUE, SLEEPERS_QUEUE = "bench-minimal", "bench-memory", "bench-sleepers"
RATE = Goal("rectification loop / minimal workflow with as many updates and local activities (per s)", "minimal", 0.80)
MEMORY = Goal("worker memory of an open case / of a sleeping workflow (KiB)", "sleeping", 1.5, at_most=True)
COUNT_CLOSED = "SELECT count(*) FROM hazard.hazard WHERE state = 'CLOSED'"
COUNT_STEPS = "SELECT count(*) FROM ledger.entry WHERE type LIKE 'hazard.hazard.%'"
STEPS_OF_LOOP = 8


async def measure(bench: Bench) -> list[Row]:
    """Measure both."""
    address, namespace = bench.settings.temporal_address, bench.settings.temporal_namespace
    plain = await Client.connect(address, namespace=namespace, grpc_compression=temporal.COMPRESSION)
    return [await _loops(bench, plain), await _memory(bench, plain)]


async def _loops(bench: Bench, plain: Client) -> Row:
    async def minimal() -> None:
        handle = await plain.start_workflow(Loop.run, id=uuid.uuid4().hex, task_queue=MINIMAL_QUEUE)
        for activities in STEPS:
            await handle.execute_update(Loop.step, activities)
        await handle.result()

    async def ours() -> float:
        closed, steps = await bench.fetchval(COUNT_CLOSED), await bench.fetchval(COUNT_STEPS)
        rate = await _many(lambda: rectify(bench))
        assert await bench.fetchval(COUNT_CLOSED) == closed + LOOPS
        assert await bench.fetchval(COUNT_STEPS) == steps + LOOPS * STEPS_OF_LOOP
        return rate

    async def against() -> float:
        return await _many(minimal)

    queue = {"DUTYLOOP_TEMPORAL_TASK_QUEUE": MINIMAL_QUEUE}
    async with (
        bench.process("worker", "services.cli.main", "worker", **bench.workers_own) as worker,
        bench.process("minimal", "tests.bench.minimal", **queue) as least,
    ):
        measured = in_turns({"ours": ours, "minimal": against})
        return RATE.row(await while_alive([worker, least], measured, timeout=TIMEOUT, purpose="the loops"))


async def _many(loop: Callable[[], Awaitable[None]]) -> float:
    """Go through loops, some at once; return how many a second."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        async with gate:
            await loop()

    started = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(LOOPS)))
    return LOOPS / (time.perf_counter() - started)


async def rectify(bench: Bench) -> None:
    """Take one hazard through every action, from report to close, each by who must take it."""
    city, stub = bench.city, bench.city.house.hazard
    name = (await city.reports()).name
    await city.supervisor.calls(stub.AssignHazard, hazard_pb2.AssignHazardRequest(name=name, unit=city.home.enterprise))
    plan = hazard_pb2.RectificationPlan(
        responsible=city.responsible.name,
        measures="更换配电箱",
        funds_fen=120_000,
        finish_date=day(10),
        contingency="停用该回路",
    )
    handed_in = hazard_pb2.SubmitRectificationPlanRequest(name=name, plan=plan)
    await city.responsible.calls(stub.SubmitRectificationPlan, handed_in)
    extension = hazard_pb2.Extension(finish_date=day(20), reason="配件未到")
    asked = hazard_pb2.RequestExtensionRequest(name=name, extension=extension)
    await city.responsible.calls(stub.RequestExtension, asked)
    passed = kit_pb2.VERDICT_PASS
    await city.supervisor.calls(stub.DecideExtension, hazard_pb2.DecideExtensionRequest(name=name, verdict=passed))
    rectified = hazard_pb2.SubmitRectificationRequest(name=name, evidence=["sha256:00"])
    await city.responsible.calls(stub.SubmitRectification, rectified)
    await city.inspector.calls(
        stub.Reinspect, hazard_pb2.ReinspectRequest(name=name, verdict=passed, remark="现场复查")
    )
    closed = await city.inspector.calls(stub.LookBack, hazard_pb2.LookBackRequest(name=name, verdict=passed))
    assert closed.state == hazard_pb2.HAZARD_STATE_CLOSED


def day(days: int) -> Date:
    """Return a day to come."""
    then = datetime.now(UTC).date() + timedelta(days=days)
    return Date(year=then.year, month=then.month, day=then.day)


async def _memory(bench: Bench, plain: Client) -> Row:
    """Open cases in workers of their own and see each worker grow; none is evicted, each waits for its term."""
    encrypted = await temporal.connect(bench.settings, lazy=False)

    async def open_case() -> None:
        now, hazard = datetime.now(UTC), uuid.uuid4().hex[:16]
        start = rectification.RectificationStart(
            f"hazards/{hazard}", now, now + timedelta(days=3), "GENERAL", bench.city.home.office
        )
        name, queue = rectification.workflow_id(hazard), MEMORY_QUEUE
        await encrypted.start_workflow(rectification.WORKFLOW, start, id=name, task_queue=queue)

    async def fall_asleep() -> None:
        await plain.start_workflow(Sleeper.run, id=uuid.uuid4().hex, task_queue=SLEEPERS_QUEUE)

    cases = {"DUTYLOOP_TEMPORAL_TASK_QUEUE": MEMORY_QUEUE, **bench.workers_own}
    sleepers = {"DUTYLOOP_TEMPORAL_TASK_QUEUE": SLEEPERS_QUEUE}
    async with (
        bench.process("case-worker", "services.cli.main", "worker", **cases) as ours,
        bench.process("sleeper-worker", "tests.bench.minimal", **sleepers) as against,
    ):
        measured = in_turns({"ours": _growth(ours, open_case), "sleeping": _growth(against, fall_asleep)})
        return MEMORY.row(await while_alive([ours, against], measured, timeout=TIMEOUT, purpose="opening cases"))


def _growth(worker: Child, open_one: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[float]]:
    """Return what measures the KiB by which a worker grows with each workflow opened."""
    process = psutil.Process(worker.pid)

    async def measured() -> float:
        before = process.memory_info().rss
        gate = asyncio.Semaphore(AT_ONCE)

        async def one() -> None:
            async with gate:
                await open_one()

        await asyncio.gather(*(one() for _ in range(OPENED)))
        busy = -1.0
        while (now := sum(process.cpu_times()[:2])) - busy > 0.02:  # until every first task has been worked off
            busy = now
            await asyncio.sleep(SETTLE_SECONDS)
        return (process.memory_info().rss - before) / 1024 / OPENED

    return measured
