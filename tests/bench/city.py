"""What is measured: the embedded stack as ``dutyloop up`` starts it, with a small city and its tasks."""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import grpc

from dutyloop.directory.v1 import directory_pb2
from dutyloop.plan.v1 import plan_pb2
from dutyloop.plan.v1.plan_pb2_grpc import PlanServiceStub
from dutyloop.policy.v1 import policy_pb2
from infra.embedded.keys import WORKER_KEY
from infra.embedded.postgres import EmbeddedPostgres
from infra.embedded.process import Child, free_port
from infra.embedded.stack import Stack, StackConfig
from services.kit import temporal
from services.kit.db import role_password
from services.kit.settings import Settings, required
from tests.integration.house import NOBODY, Caller, RunningHouse
from tests.integration.people import City, hire, settle

ROOT = Path(__file__).parents[2]
SERVED = ("directory", "plan", "hazard", "accountability")
LISTS, TASKS_OF_LIST = 20, 1_000
INSERT_LISTS = """
INSERT INTO plan.annual_task_list (id, responsibility_list, list_version, year, unit, post, region_code, unit_path,
    state, editor, approver, generate_time, publish_time, task_count)
SELECT 'bench' || n, 'responsibilityLists/bench', 1, 2000 + n, $1, $2, '1303', $3, 'PUBLISHED', 'people/a', 'people/b',
    now(), now(), $5
FROM generate_series(1, $4::integer) AS n
"""
INSERT_TASKS = """
INSERT INTO plan.task (id, annual_task_list_id, duty_item, title, unit, post, region_code, unit_path, scheduled_date,
    due_date, expected_evidence)
SELECT l.id || '-' || n, l.id, 'dutyItems/i' || n % 30, '组织研究解决本地区安全生产重大问题 ' || n, $1, $2, '1303', $3,
    current_date + n % 200, current_date + n % 200 + 10, '{DOCUMENT}'
FROM plan.annual_task_list AS l, generate_series(1, $4::integer) AS n
"""


@dataclass(frozen=True, slots=True)
class Bench:
    """The running stack, its city, and who holds the tasks."""

    folder: Path
    environment: Mapping[str, str]
    settings: Settings
    city: City
    holder: Caller
    address: str
    tasks: tuple[str, ...]
    annual_list: str

    async def fetchval(self, sql: str, *arguments: object) -> int:
        """Count something as a superuser would."""
        connection = await self.superuser()
        try:
            value: int = await connection.fetchval(sql, *arguments)
            return value
        finally:
            await connection.close()

    async def superuser(self, database: str = "") -> "asyncpg.Connection[asyncpg.Record]":
        """Connect as the superuser of the stack's PostgreSQL."""
        url = required(self.settings.database_url, "database_url").get_secret_value()
        password = (self.folder / "superuser.secret").read_text()
        return await asyncpg.connect(url, user="postgres", password=password, database=database or None)

    @contextlib.asynccontextmanager
    async def process(self, name: str, *command: str, **environment: str) -> AsyncIterator[Child]:
        """Run a process beside the stack, with the stack's settings."""
        child = await Child.start(
            name,
            [sys.executable, "-m", *command],
            log_file=self.folder / "logs" / f"{name}.log",
            env={**os.environ, **self.environment, **environment},
            cwd=ROOT,
        )
        try:
            yield child
        finally:
            await child.stop(5)

    @property
    def workers_own(self) -> dict[str, str]:
        """The settings that a worker has for itself: nobody else records what cases decide."""
        return {"DUTYLOOP_SERVICE_KEY_FILE": str(self.folder / WORKER_KEY)}


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[Bench]:
    """Start PostgreSQL, Temporal and the services in processes of their own; leave nothing behind."""
    folder = Path(tempfile.mkdtemp(prefix="dutyloop-bench-"))
    stack = Stack(StackConfig(folder, free_port(), free_port(), None, services=SERVED, worker=False))
    try:
        await stack.start()
        settings = stack.settings()
        async with grpc.aio.insecure_channel(stack.grpc_address) as channel:
            client = await temporal.connect(settings)
            nobody = RunningHouse(settings, SERVED, channel, NOBODY, client)
            house = RunningHouse(settings, SERVED, channel, nobody.person("people/operator"), client)
            city = await settle(house)
            yield await _with_tasks(folder, stack, city)
    finally:
        await stack.stop()
        await EmbeddedPostgres(folder).destroy()
        shutil.rmtree(folder, ignore_errors=True)


async def _with_tasks(folder: Path, stack: Stack, city: City) -> Bench:
    """Give somebody twenty lists of a thousand tasks; by SQL, so that no supervision runs over them."""
    house = city.house
    holder = await hire(house, city.home.office, policy_pb2.ROLE_DUTY_HOLDER)
    asked = directory_pb2.ListAppointmentsRequest(person=holder.name)
    (appointment,) = (await house.operator.calls(house.directory.ListAppointments, asked)).appointments
    unit = await house.operator.calls(house.directory.GetUnit, directory_pb2.GetUnitRequest(name=city.home.office))
    bench = Bench(
        folder=folder,
        environment=stack.environment,
        settings=house.settings,
        city=city,
        holder=holder,
        address=stack.grpc_address,
        tasks=tuple(f"tasks/bench1-{number}" for number in range(1, TASKS_OF_LIST + 1)),
        annual_list="annualTaskLists/bench2",
    )
    superuser = await bench.superuser()
    try:
        await superuser.execute(INSERT_LISTS, unit.name, appointment.post, unit.path, LISTS, TASKS_OF_LIST)
        await superuser.execute(INSERT_TASKS, unit.name, appointment.post, unit.path, TASKS_OF_LIST)
        await superuser.execute("VACUUM ANALYZE plan.task, plan.annual_task_list")
    finally:
        await superuser.close()
    found = await holder.calls(PlanServiceStub(house.channel).GetTask, plan_pb2.GetTaskRequest(name=bench.tasks[0]))
    assert found.name == bench.tasks[0]
    return bench


def database_login(settings: Settings, role: str) -> tuple[str, str]:
    """Return the URL, without login, and the password of a role."""
    return required(settings.database_url, "database_url").get_secret_value(), role_password(settings, role)
