"""Rows 1 to 3: a Get, a List and a command over the wire, ours and theirs, each server one process."""

import asyncio
import contextlib
import importlib.util
import json
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import grpc

from dutyloop.plan.v1 import plan_pb2
from infra.embedded.process import free_port
from tests.bench import bare
from tests.bench.city import Bench
from tests.bench.figures import Goal, Measure, Row, in_turns, not_measured
from tests.bench.load import ID_MARKER, LoadError, Reader, Target, command_rate

PAGE = 100
REMARK = "已开展检查，正在整改"
START_SECONDS = 30.0
PLAN = "/dutyloop.plan.v1.PlanService/"
COUNT_WRITTEN = """
SELECT (SELECT count(*) FROM plan.command WHERE request_id LIKE $1 || '%')
    + (SELECT count(*) FROM ledger.entry WHERE request_id LIKE $1 || '%')
"""
GOALS = {
    "GetTask": (
        Goal("GetTask / bare handler (per s)", "bare", 0.80),
        Goal("GetTask / bare echo (per s)", "echo", 0.50),
        Goal("GetTask / FastAPI + SQLAlchemy (per s)", "fastapi", 2.2),
        Goal("GetTask / Django REST (per s)", "django", 8.0),
    ),
    "ListTasks": (
        Goal("ListTasks(100) / bare handler (per s)", "bare", 0.85),
        Goal("ListTasks(100) / FastAPI + SQLAlchemy (per s)", "fastapi", 2.2),
        Goal("ListTasks(100) / Django REST (per s)", "django", 10.0),
    ),
    "ReportProgress": (
        Goal("ReportProgress / bare one-CTE handler (per s)", "bare", 0.75),
        Goal("ReportProgress / FastAPI + SQLAlchemy (per s)", "fastapi", 2.5),
        Goal("ReportProgress / Django REST (per s)", "django", 7.0),
    ),
}
Targets = Mapping[str, Mapping[str, Target]]


async def measure(bench: Bench, *, by_h2load: bool) -> list[Row]:
    """Measure all three calls."""
    async with contextlib.AsyncExitStack() as stack:
        addresses = {"ours": bench.address, "bare": await stack.enter_async_context(_bare(bench))}
        if importlib.util.find_spec("greenlet") is not None:
            addresses["fastapi"] = await stack.enter_async_context(_fastapi(bench))
        addresses["django"] = await stack.enter_async_context(_django(bench))
        targets = await _targets(bench, addresses)
        figures = {}
        for call in ("GetTask", "ListTasks"):
            figures[call] = await in_turns(
                {name: Reader(target, by_h2load=by_h2load).rate for name, target in targets[call].items()}
            )
        commands = {name: _commander(bench, target) for name, target in targets["ReportProgress"].items()}
        figures["ReportProgress"] = await in_turns(commands)
    return [
        goal.row(figures[call])
        if goal.against in figures[call]
        else not_measured(goal, "SQLAlchemy's asyncio needs greenlet, which is not in the lock")
        for call, goals in GOALS.items()
        for goal in goals
    ]


def _commander(bench: Bench, target: Target) -> Measure:
    async def measured() -> float:
        rate, prefix, acknowledged = await command_rate(target)
        written = await bench.fetchval(COUNT_WRITTEN, prefix)
        if written != 2 * acknowledged:
            raise LoadError(f"{target.path}: {acknowledged} acknowledged, {written} rows of two each written")
        return rate

    return measured


async def _targets(bench: Bench, addresses: Mapping[str, str]) -> Targets:
    """Return each call's targets, with the size of the right answer where h2load is to check it."""
    task = bench.tasks[0]
    get = plan_pb2.GetTaskRequest(name=task).SerializeToString()
    page = plan_pb2.ListTasksRequest(annual_task_list=bench.annual_list, page_size=PAGE).SerializeToString()
    command = plan_pb2.ReportProgressRequest(request_id=ID_MARKER, progress_percent=40, remark=REMARK)
    commands, json_commands = [], []
    for command.name in bench.tasks[1:]:
        commands.append(command.SerializeToString())
        said = {"request_id": ID_MARKER, "task": command.name[6:], "progress_percent": 40, "remark": REMARK}
        json_commands.append(json.dumps(said, ensure_ascii=False).encode())
    token = {"authorization": f"Bearer {bench.holder.token}", "accept-language": "zh-CN"}
    ours, plain = addresses["ours"], addresses["bare"]
    grpc_targets = {
        "GetTask": {
            "ours": Target(ours, PLAN + "GetTask", token, [get]),
            "bare": Target(plain, bare.GET, {}, [get]),
            "echo": Target(plain, bare.ECHO, {}, [b"e" * 300]),
        },
        "ListTasks": {
            "ours": Target(ours, PLAN + "ListTasks", token, [page]),
            "bare": Target(plain, bare.LIST, {}, [page]),
        },
    }
    targets = {
        call: {name: await _grpc_sized(target) for name, target in of_call.items()}
        for call, of_call in grpc_targets.items()
    }
    targets["ReportProgress"] = {
        "ours": Target(ours, PLAN + "ReportProgress", token, commands),
        "bare": Target(plain, bare.REPORT, {}, commands),
    }
    listed = f"/tasks?annual_list={bench.annual_list[16:]}&page_size={PAGE}"
    for peer in addresses.keys() & {"fastapi", "django"}:
        address = addresses[peer]
        targets["GetTask"][peer] = await _http_sized(Target(address, f"/tasks/{task[6:]}", grpc=False))
        targets["ListTasks"][peer] = await _http_sized(Target(address, listed, grpc=False))
        targets["ReportProgress"][peer] = Target(
            address, "/progress", {"content-type": "application/json"}, json_commands, grpc=False
        )
    return targets


async def _grpc_sized(target: Target) -> Target:
    """Look at what the right answer is."""
    async with grpc.aio.insecure_channel(target.address) as channel:
        unary: Any = channel.unary_unary
        answer: bytes = await unary(target.path)(target.bodies[0], metadata=tuple(target.headers.items()))
    if target.path.endswith("List") or target.path.endswith("ListTasks"):
        assert len(plan_pb2.ListTasksResponse.FromString(answer).tasks) == PAGE
    return replace(target, answer_bytes=5 + len(answer))


async def _http_sized(target: Target) -> Target:
    with await asyncio.to_thread(urllib.request.urlopen, f"http://{target.address}{target.path}") as answer:
        body = answer.read()
    assert len(json.loads(body).get("tasks", [0] * PAGE)) == PAGE
    return replace(target, answer_bytes=len(body))


@contextlib.asynccontextmanager
async def _server(bench: Bench, name: str, *command: str, address: str) -> AsyncIterator[str]:
    """Run a server in a process of its own until it listens."""
    async with bench.process(name, *command) as child:
        host, _, port = address.rpartition(":")
        async with asyncio.timeout(START_SECONDS):
            while True:
                if not child.running:
                    raise child.failure(await child.wait())
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection(host, int(port))
                    writer.close()
                    break
                await asyncio.sleep(0.1)
        yield address


def _bare(bench: Bench) -> AbstractAsyncContextManager[str]:
    address = f"127.0.0.1:{free_port()}"
    return _server(bench, "bare", "tests.bench.bare", address, address=address)


def _fastapi(bench: Bench) -> AbstractAsyncContextManager[str]:
    """Run by uvicorn on uvloop, one process, access log off: ours writes a line per call."""
    port = str(free_port())
    options = ("--port", port, "--workers", "1", "--loop", "uvloop", "--no-access-log", "--log-level", "warning")
    return _server(
        bench, "fastapi", "uvicorn", "tests.bench.peers.fastapi_app:app", *options, address=f"127.0.0.1:{port}"
    )


def _django(bench: Bench) -> AbstractAsyncContextManager[str]:
    """Run by gunicorn, one process; its threaded worker, for the plain one drops the connection after each answer."""
    address = f"127.0.0.1:{free_port()}"
    options = ("--bind", address, "--workers", "1", "--worker-class", "gthread", "--threads", "4")
    quiet = ("--keep-alive", "60", "--no-control-socket", "--log-level", "warning")
    return _server(
        bench, "django", "gunicorn", "tests.bench.peers.django_app:application", *options, *quiet, address=address
    )
