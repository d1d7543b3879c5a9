"""The whole stack as an operator runs it: stopped in the middle of its work, interrupted, killed."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import grpc
import psutil
import pytest
import pytest_asyncio

from dutyloop.accountability.v1 import accountability_pb2
from dutyloop.accountability.v1.accountability_pb2_grpc import AccountabilityServiceStub
from dutyloop.hazard.v1 import hazard_pb2
from infra.embedded.postgres import EmbeddedPostgres
from infra.embedded.process import DirectoryLock, free_port
from infra.embedded.stack import Stack, StackConfig
from services.directory.bootstrap import OPERATOR
from services.kit import temporal as kit_temporal
from services.kit.settings import settings
from tests.faults.record import check_assigned_once, eventually, keep_trying
from tests.faults.system import ROOT, Account
from tests.integration.house import NOBODY, RunningHouse, hosted_services
from tests.integration.people import City, settle
from workflows.payloads import rectification

START_SECONDS = 120.0
GONE_SECONDS = 15.0


@pytest.fixture
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No DUTYLOOP_* variable of the shell reaches the stack."""
    for name in [each for each in os.environ if each.startswith("DUTYLOOP_")]:
        monkeypatch.delenv(name)
    settings.cache_clear()


@contextlib.asynccontextmanager
async def house_of(stack: Stack) -> AsyncIterator[RunningHouse]:
    """The house of a running stack, as its callers know it."""
    current = stack.settings()
    async with grpc.aio.insecure_channel(stack.grpc_address) as channel:
        client = await kit_temporal.connect(current)
        without = RunningHouse(current, hosted_services(), channel, NOBODY, client)
        yield RunningHouse(current, without.services, channel, without.person(OPERATOR), client)


@pytest.mark.long
@pytest.mark.usefixtures("plain_environment")
async def test_a_stack_stopped_and_started_in_the_middle(tmp_path: Path) -> None:
    """Each maintenance window would lose cases, or shift every deadline by its length."""
    config = StackConfig(tmp_path / "data", free_port(), free_port(), None, virtual_time=True)
    stack = Stack(config)
    try:
        await stack.start()
        async with house_of(stack) as house:
            city = await settle(house)
            await house.advance(timedelta(days=1))
            hazard, late = await city.reports(), await city.reports()
            request = hazard_pb2.AssignHazardRequest(
                request_id=uuid.uuid4().hex, name=hazard.name, unit=city.home.enterprise
            )
            answer, _, _ = await keep_trying(city.supervisor, house.hazard.AssignHazard, request)
            entries = await house.fetch("SELECT id, leaf_hash FROM ledger.entry ORDER BY id")
            now = await house.now()
        await stack.stop()
        await asyncio.sleep(3)

        stack = Stack(config)
        await stack.start()
        async with house_of(stack) as house:
            assert now == await house.now()
            kept = await house.fetch("SELECT id, leaf_hash FROM ledger.entry ORDER BY id")
            assert entries == kept[: len(entries)]
            again = City(house, city.home, city.next_door, city.all_rounder, city.postless)
            await check_assigned_once(again, request, answer)
            await check_overdue_on_time(again, late)
    finally:
        await stack.stop()
        await EmbeddedPostgres(config.data_dir).destroy()


async def check_overdue_on_time(city: City, hazard: hazard_pb2.Hazard) -> None:
    """Check that a term set before the restart passes when it should: neither a day early nor an hour late."""
    house = city.house
    due = hazard.due_time.ToDatetime()
    left = due - (await house.now()).replace(tzinfo=None)
    accountability = AccountabilityServiceStub(house.channel)
    ask = accountability_pb2.ListSupervisionCasesRequest(hazard=hazard.name)

    async def supervised() -> bool:
        found = await city.supervisor.calls(accountability.ListSupervisionCases, ask)
        return len(found.supervision_cases) == 1

    await house.advance(left - timedelta(hours=1))
    assert not await supervised()
    await house.advance(timedelta(hours=1, minutes=1))
    await eventually(supervised, 20)
    identifier = rectification.workflow_id(hazard.name.removeprefix("hazards/"))
    case = await house.temporal.get_workflow_handle(identifier).query(
        "hazard", result_type=rectification.HazardSnapshot
    )
    assert case.state == "REPORTED"


@pytest_asyncio.fixture(loop_scope="session")
async def up(account: Account, home: Path, plain_environment: None) -> AsyncIterator[asyncio.subprocess.Process]:
    """``dutyloop up`` in a process of its own, serving; once for each user to run it as."""
    data_dir = home / "data"
    command = [sys.executable, "-m", "services.cli.main", "up", "--data-dir", str(data_dir), "--ui-port", "0"]
    process = await asyncio.create_subprocess_exec(
        *(*account.command, *command),
        *("--port", str(free_port()), "--temporal-port", str(free_port())),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )

    async def serves() -> bool:
        assert process.returncode is None, "dutyloop up has ended by itself"
        return (data_dir / "status.json").exists()

    try:
        await eventually(serves, START_SECONDS)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
        await EmbeddedPostgres(data_dir).destroy()


def below(process: asyncio.subprocess.Process, data_dir: Path) -> list[psutil.Process]:
    """Everything the stack started: its children, and theirs."""
    found = psutil.Process(process.pid).children(recursive=True)
    named = set(json.loads((data_dir / "status.json").read_text())["pids"].values())
    assert named < {each.pid for each in found}
    return found


async def all_gone(processes: list[psutil.Process]) -> bool:
    """Tell whether none of these processes runs any more."""
    _, alive = await asyncio.to_thread(psutil.wait_procs, processes, 0)
    return not alive


async def test_ctrl_c_leaves_nothing_behind(up: asyncio.subprocess.Process, account: Account, home: Path) -> None:
    """Whoever stops the stack and starts it again would meet its own leftovers on every port."""
    started = below(up, home / "data")
    assert {each.uids().real for each in started if each.name() != "postgres"} == {account.uid}
    up.send_signal(signal.SIGINT)
    _, errors = await asyncio.wait_for(up.communicate(), 60)
    assert (up.returncode, errors) == (0, b"")
    assert await all_gone(started)
    assert not DirectoryLock.is_held(home / "data" / "lock")


async def test_a_killed_stack_leaves_nothing_behind(up: asyncio.subprocess.Process, home: Path) -> None:
    """The out-of-memory killer would leave servers on the data that nobody watches any more."""
    started = below(up, home / "data")
    up.kill()
    await up.communicate()

    async def gone() -> bool:
        return await all_gone(started)

    await eventually(gone, GONE_SECONDS)
