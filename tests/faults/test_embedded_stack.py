"""The embedded servers and the stack around them: real processes, real files, real refusals."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
import pytest_asyncio
from google.protobuf.field_mask_pb2 import FieldMask
from temporalio.api.common.v1 import TimeSkippingConfig, WorkflowExecution
from temporalio.api.workflow.v1 import WorkflowExecutionOptions
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, UpdateWorkflowExecutionOptionsRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from infra.demo import run as demo_run
from infra.embedded import postgres_cluster
from infra.embedded.postgres import OWNER, ROLES, SERVICE_ROLES, EmbeddedPostgres
from infra.embedded.process import Child, DirectoryLock, OsUser, StackError, free_port, last_line
from infra.embedded.stack import CONFIDENTIAL, TIME_FILE, Stack, StackConfig, lives_in_virtual_time, running_environment
from infra.embedded.temporal import EmbeddedTemporal
from services.kit.settings import settings
from tests.faults.system import ROOT, Account, as_user, files_below

AS_ROOT = os.geteuid() == 0
STRANGER = 54321
"""A user id that owns nothing here and need not exist."""
Left = Callable[[], set[psutil.Process]]

FAKE_SERVICES = """
import json, os, pathlib, sys, time
command = sys.argv[1]
given = {name: value for name, value in os.environ.items() if name.startswith("DUTYLOOP_")}
with open("calls.log", "a") as calls:
    print(json.dumps([sys.argv[1:], given]), file=calls)
if pathlib.Path(f"fail-{command}").exists():
    sys.exit(f"{command} is out of order")
if command == "serve":
    import grpc
    from concurrent import futures
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc
    server = grpc.server(futures.ThreadPoolExecutor(2))
    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_insecure_port(os.environ["DUTYLOOP_LISTEN_ADDRESS"])
    server.start()
if command != "migrate":
    time.sleep(600)
"""


def descendants() -> set[psutil.Process]:
    """Living processes below this one."""
    below = psutil.Process().children(recursive=True)
    return {child for child in below if child.status() != psutil.STATUS_ZOMBIE}


async def until(true: Callable[[], bool], seconds: float = 15.0) -> None:
    """Wait for something that must become true soon."""
    deadline = time.monotonic() + seconds
    while True:
        if true():
            return
        assert time.monotonic() < deadline, "it did not become true"
        await asyncio.sleep(0.02)


def run_as(account: OsUser | None, command: list[str]) -> "subprocess.Popen[bytes]":
    """Start something as the account that runs PostgreSQL, untied from this process."""
    if account is None:
        return subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd="/")
    return subprocess.Popen(
        command, stderr=subprocess.DEVNULL, cwd="/", user=account.uid, group=account.gid, extra_groups=[]
    )


@contextlib.contextmanager
def closed_folder() -> Iterator[Path]:
    """A folder that nobody but root can write to; whoever runs the tests is not root while it is there."""
    folder = Path(tempfile.mkdtemp(prefix="dutyloop-closed-"))
    folder.chmod(0o555)
    try:
        with as_user(STRANGER) if AS_ROOT else contextlib.nullcontext():
            yield folder
    finally:
        folder.rmdir()


async def connect(
    server: EmbeddedPostgres, role: str, password: str | None = None, database: str = "dutyloop"
) -> "asyncpg.Connection[asyncpg.Record]":
    password = server.secrets[role] if password is None else password
    return await asyncpg.connect(server.url_of(database), user=role, password=password)


@pytest_asyncio.fixture(loop_scope="session")
async def own_server(tmp_path: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A server for the tests that break it; not started."""
    broken = EmbeddedPostgres(tmp_path / "data")
    yield broken
    await broken.destroy()


@pytest.fixture
def left() -> Left:
    """Tells the processes that have come during the test and are still there."""
    before = descendants()
    return lambda: descendants() - before


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An environment without DUTYLOOP_* variables, read afresh."""
    for name in [name for name in os.environ if name.startswith("DUTYLOOP_")]:
        monkeypatch.delenv(name)
    settings.cache_clear()
    yield monkeypatch
    settings.cache_clear()


@pytest_asyncio.fixture(loop_scope="session")
async def stack(tmp_path: Path, no_settings: pytest.MonkeyPatch) -> AsyncIterator[Stack]:
    """A whole stack whose children run a stand-in for ``services.cli.main``; not started."""
    package = tmp_path / "path" / "services" / "cli"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "main.py").write_text(FAKE_SERVICES)
    no_settings.setenv("PYTHONPATH", str(tmp_path / "path"))
    data_dir = tmp_path / "data"
    whole = Stack(StackConfig(data_dir, free_port(), free_port(), free_port(), virtual_time=True))
    yield whole
    await whole.stop()
    left_behind = EmbeddedPostgres(data_dir)
    await left_behind.destroy()


# PostgreSQL


async def test_data_survives_a_restart(own_server: EmbeddedPostgres, left: Left) -> None:
    """Whoever stops the stack in the evening would find it empty in the morning."""
    await own_server.start()
    secrets = own_server.secrets
    connection = await connect(own_server, OWNER)
    await connection.execute("CREATE SCHEMA duty; CREATE TABLE duty.item AS SELECT 42 AS id")
    await connection.close()
    await own_server.stop()
    assert not left()

    again = EmbeddedPostgres(own_server.secrets_dir.parent)
    await again.start()
    connection = await connect(again, OWNER)
    kept = await connection.fetchval("SELECT id FROM duty.item")
    await connection.close()
    await again.stop()

    assert (42, secrets) == (kept, again.secrets)


STARTS_TWICE = """
import asyncio, json, sys
from pathlib import Path
import asyncpg, psutil
from infra.embedded.postgres import OWNER, EmbeddedPostgres

async def main():
    told = []
    for statement in ("CREATE TABLE public.kept AS SELECT 42 AS id", "SELECT 1"):
        server = EmbeddedPostgres(Path(sys.argv[1]))
        await server.start()
        connection = await asyncpg.connect(server.url, user="postgres", password=server.superuser_password)
        await connection.execute(statement)
        kept = await connection.fetchval("SELECT id FROM public.kept")
        await connection.close()
        uid = psutil.Process(server.child.pid).uids().effective
        told.append([kept, uid, str(server.cluster), sorted(server.secrets.values())])
        await server.stop()
    await server.destroy()
    print(json.dumps(told))

asyncio.run(main())
"""


async def test_the_cluster_is_where_its_user_can_keep_it(account: Account, home: Path) -> None:
    """Root would have PostgreSQL refuse to run; anybody else would need a directory that only root can make."""
    running = await asyncio.create_subprocess_exec(
        *(*account.command, sys.executable, "-c", STARTS_TWICE, str(home / "data")),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    output, _ = await asyncio.wait_for(running.communicate(), 120)
    first, second = json.loads(output)
    assert first == second
    kept, uid, cluster, _ = first
    assert (kept, uid == account.uid, uid == 0) == (42, not account.is_root, False)
    place = postgres_cluster.SYSTEM_DIR if account.is_root else home / "data"
    assert place in Path(cluster).parents
    assert cluster not in {str(path) for path in place.rglob("*")}


async def test_a_killed_server_is_told_and_starts_again(own_server: EmbeddedPostgres) -> None:
    """After an out-of-memory kill the stale postmaster.pid would keep the stack from starting."""
    await own_server.start()
    connection = await connect(own_server, OWNER)
    await connection.execute("CREATE SCHEMA duty; CREATE TABLE duty.item AS SELECT 42 AS id")
    os.kill(own_server.child.pid, signal.SIGKILL)
    with pytest.raises(StackError, match=r"^PostgreSQL was killed by SIGKILL \(log: .+postgres\.log\)$"):
        await own_server.child.watch()
    connection.terminate()
    await own_server.stop()
    assert (own_server.cluster / "postmaster.pid").exists()

    await own_server.start()
    connection = await connect(own_server, OWNER)
    assert await connection.fetchval("SELECT id FROM duty.item") == 42
    await connection.close()


async def test_a_stale_pid_that_now_is_another_process(own_server: EmbeddedPostgres) -> None:
    """In a container, where numbers repeat, a bystander would block the start or, worse, be killed."""
    await own_server.start()
    pid_file = own_server.cluster / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    await own_server.stop()
    bystander = run_as(own_server.os_user, ["/bin/sleep", "60"])
    try:
        pid_file.write_text("\n".join([str(bystander.pid), *lines[1:]]) + "\n")
        await own_server.start()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


async def test_a_server_left_by_a_crashed_parent_is_ended(own_server: EmbeddedPostgres) -> None:
    """Two servers on one cluster would destroy it; refusing to start would need an expert."""
    await own_server.start()
    command = psutil.Process(own_server.child.pid).cmdline()
    socket_dir = own_server.socket_dir
    await own_server.stop()
    socket_dir.mkdir(mode=0o700, exist_ok=True)  # one in /tmp has gone with its server
    orphan = run_as(own_server.os_user, command)
    try:
        await until((own_server.cluster / "postmaster.pid").exists)
        assert orphan.poll() is None
        await own_server.start()
        assert orphan.wait(1) == 0
        connection = await connect(own_server, OWNER)
        await connection.close()
    finally:
        orphan.kill()
        orphan.wait()


async def test_a_cluster_of_another_version_is_told(own_server: EmbeddedPostgres) -> None:
    """After an upgrade the operator would read a PostgreSQL log to learn why nothing starts."""
    await own_server.start()
    await own_server.stop()
    version = own_server.cluster / "PG_VERSION"
    kept = version.read_text()
    version.write_text("17\n")
    with pytest.raises(StackError, match=r"belongs to PostgreSQL 17, this is PostgreSQL \d+: "):
        await own_server.start()
    version.write_text(kept)


async def test_an_interrupted_first_start_is_begun_anew(
    own_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Ctrl-C during the first start would leave half a cluster that never starts again."""

    async def interrupted(*_: object, **__: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(postgres_cluster, "run_to_end", interrupted)
        with pytest.raises(asyncio.CancelledError):
            await own_server.start()
    await own_server.start()


async def test_a_long_path_gets_a_short_socket(tmp_path: Path) -> None:
    """Below a deep or Chinese path the socket would exceed the kernel's limit and nothing would start."""
    deep = tmp_path / ("d" * 60) / "责任清单" / "data"
    running = EmbeddedPostgres(deep)
    await running.start()
    try:
        connection = await connect(running, "plan")
        await connection.close()
        found = running.socket_dir.stat()
        expected_owner = running.os_user.uid if running.os_user else os.geteuid()
        assert (0o700, expected_owner) == (stat.S_IMODE(found.st_mode), found.st_uid)
        assert len(os.fsencode(running.socket_dir)) < 80
        made = running.socket_dir
        await running.stop()
        assert AS_ROOT or not made.exists()
    finally:
        await running.destroy()


async def test_permissions_of_parents_are_left_alone(tmp_path: Path) -> None:
    """Starting as root would open a private home directory to every user of the machine."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    parents = [private, *private.parents]
    before = [(path.stat().st_mode, path.stat().st_uid) for path in parents]
    running = EmbeddedPostgres(private / "new" / "data")
    await running.start()
    await running.destroy()
    assert before == [(path.stat().st_mode, path.stat().st_uid) for path in parents]
    assert stat.S_IMODE((private / "new" / "data").stat().st_mode) == 0o700


async def test_a_second_server_on_the_same_data_is_refused(server: EmbeddedPostgres) -> None:
    """A second start would take the running server for an orphan and stop it under its users."""
    with pytest.raises(StackError, match=rf"^the PostgreSQL of .+ is in use by process {os.getpid()}$"):
        await EmbeddedPostgres(server.secrets_dir.parent).start()
    connection = await connect(server, "plan")
    await connection.close()


async def test_a_cluster_is_destroyed_by_whoever_comes_later(tmp_path: Path) -> None:
    """Each demo run by root would leave a cluster that nothing names any more, until the disk is full."""
    data_dir = tmp_path / "data"
    earlier = EmbeddedPostgres(data_dir)
    await earlier.start()
    home = earlier.cluster.parent
    with pytest.raises(StackError, match=rf"^the PostgreSQL of .+ is in use by process {os.getpid()}$"):
        await EmbeddedPostgres(data_dir).destroy()
    connection = await connect(earlier, "plan")
    await connection.close()
    await earlier.stop()
    (tmp_path / "link").symlink_to(data_dir)
    await EmbeddedPostgres(tmp_path / "link").destroy()
    await EmbeddedPostgres(data_dir).destroy()
    assert not home.exists()
    assert not home.with_name(f"{home.name}.data-dir").exists()
    assert {path.name for path in data_dir.iterdir()} == {"logs", "postgres.lock"}
    await earlier.start()
    await earlier.destroy()


# Separation of the database roles


@pytest.mark.parametrize("role", [*SERVICE_ROLES, "auditor"])
async def test_a_role_stays_within_its_rights(server: EmbeddedPostgres, role: str) -> None:
    """A service taken over by an attacker would take the whole database with it."""
    owner = await connect(server, OWNER)
    await owner.execute("CREATE SCHEMA IF NOT EXISTS foreign_schema")
    await owner.execute("CREATE TABLE IF NOT EXISTS foreign_schema.row_of_others (id int)")
    await owner.close()
    connection = await connect(server, role)
    other = "duty" if role == "plan" else "plan"
    attempts = [
        "SELECT * FROM foreign_schema.row_of_others",
        "CREATE TABLE public.mine (id int)",
        "CREATE SCHEMA mine",
        "CREATE DATABASE mine",
        "CREATE ROLE mine SUPERUSER",
        "CREATE EXTENSION pg_trgm SCHEMA foreign_schema",
        "SET ROLE postgres",
        f"SET ROLE {other}",
        f"SET ROLE {OWNER}",
        "SET SESSION AUTHORIZATION postgres",
        "ALTER SYSTEM SET fsync = off",
        f"ALTER ROLE {role} SUPERUSER",
        f"ALTER ROLE {other} PASSWORD 'x'",
        "ALTER DATABASE dutyloop SET log_statement = 'all'",
        "CREATE TEMPORARY TABLE mine (id int)",
        "CREATE FUNCTION foreign_schema.mine() RETURNS int LANGUAGE c AS 'libc', 'getpid'",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT pg_read_file('PG_VERSION')",
        "SELECT rolpassword FROM pg_catalog.pg_authid",
        "SET session_replication_role = replica",
    ]
    try:
        for attempt in attempts:
            with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError)):
                await connection.execute(attempt)
                pytest.fail(f"{role} may {attempt}")
        # Answered with a warning instead of an error, so the effect is looked at.
        await connection.execute("RESET default_transaction_read_only")
        with contextlib.suppress(asyncpg.ReadOnlySQLTransactionError):
            await connection.execute("GRANT ALL ON DATABASE dutyloop TO PUBLIC")
        rights = await connection.fetchval(
            "SELECT array_agg(privilege_type ORDER BY privilege_type) FROM pg_database, aclexplode(datacl)"
            " WHERE datname = 'dutyloop' AND grantee IN (0, $1::regrole)",
            role,
        )
        assert rights == ["CONNECT"]
    finally:
        await connection.close()


@pytest.mark.parametrize("role", [*ROLES, "postgres"])
async def test_only_the_own_password_opens_a_role(server: EmbeddedPostgres, role: str) -> None:
    """Another service's password, an empty or a guessed one would log in."""
    own = server.secrets | {"postgres": server.superuser_password}
    wrong = ["", "postgres", role, *(password for name, password in own.items() if name != role)]
    for password in wrong:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await connect(server, role, password)
    assert len(ROLES) == len(set(server.secrets.values()))


async def test_service_roles_enter_their_database_only(server: EmbeddedPostgres) -> None:
    """A service could look around in the maintenance databases and leave objects in templates."""
    for role in ROLES:
        for database in ("postgres", "template1"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connect(server, role, database=database)


async def test_no_connection_is_trusted(server: EmbeddedPostgres) -> None:
    """One trust line would make every password above decoration."""
    lines = (server.cluster / "pg_hba.conf").read_text().splitlines()
    methods = {line.split()[-1] for line in lines if line.strip() and not line.startswith("#")}
    assert {"scram-sha-256"} == methods
    connection = await connect(server, "postgres", server.superuser_password)
    names = ("listen_addresses", "fsync", "data_checksums", "server_encoding", "log_statement")
    shown = [await connection.fetchval("SELECT current_setting($1)", name) for name in names]
    verifiers = await connection.fetch("SELECT rolpassword FROM pg_authid WHERE rolcanlogin")
    await connection.close()
    assert shown == ["", "on", "on", "UTF8", "none"]
    assert all(row["rolpassword"].startswith("SCRAM-SHA-256$") for row in verifiers)
    listening = psutil.Process(server.child.pid).net_connections("inet")
    assert listening == []


async def test_passwords_are_not_logged(server: EmbeddedPostgres) -> None:
    """Whoever reads the server's log, a support engineer for instance, could log in as any role."""
    log = server.log_file.read_text()
    assert not [role for role, password in server.secrets.items() if password in log]


def test_private_files_have_private_modes(server: EmbeddedPostgres) -> None:
    """Any user of the machine could read the passwords."""
    data_dir = server.secrets_dir.parent
    secrets = [server.secrets_dir / role for role in ROLES]
    modes = {
        str(path): stat.S_IMODE(path.stat().st_mode)
        for path in [
            *(*data_dir.iterdir(), *secrets, *(data_dir / "logs").iterdir()),
            *(server.cluster, server.socket_dir),
        ]
    }
    assert {path: oct(mode) for path, mode in modes.items() if mode & 0o077} == {}


# Temporal


async def listed(page: str) -> bytes:
    """Return what the UI's page of workflows asks its server for; it is ready a moment after Temporal is."""
    asked = page.replace("/namespaces/", "/api/v1/namespaces/")
    while True:
        try:
            answer = await asyncio.to_thread(urllib.request.urlopen, asked, timeout=5)
        except urllib.error.HTTPError as error:
            assert error.code == 503
            await asyncio.sleep(0.1)
        else:
            return bytes(answer.read())


@pytest.mark.parametrize("with_ui", [False, True])
async def test_workflows_survive_a_restart(tmp_path: Path, with_ui: bool, left: Left) -> None:
    """Every open case would be lost with the server, or its history dropped after a day."""
    ui_port = free_port() if with_ui else None
    temporal = EmbeddedTemporal(tmp_path, free_port(), ui_port, virtual_time=with_ui)
    await temporal.start()
    client = await Client.connect(temporal.address, namespace=temporal.namespace)
    started = await client.start_workflow("case", id="case-1", task_queue="dutyloop")
    described = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=temporal.namespace))
    retention = described.config.workflow_execution_retention_ttl.ToTimedelta()
    assert retention.days == 3650
    assert "HOME" not in psutil.Process(temporal.child.pid).environ()
    listening = {
        connection.laddr.ip
        for connection in psutil.Process(temporal.child.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {"127.0.0.1"} == listening
    if ui_port is not None:
        assert b"case-1" in await listed(str(temporal.ui_url))
    await temporal.stop()
    assert not left()

    again = EmbeddedTemporal(tmp_path, free_port(), virtual_time=with_ui)
    await again.start()
    client = await Client.connect(again.address, namespace=again.namespace)
    found = await client.get_workflow_handle("case-1").describe()
    await again.stop()
    assert (started.result_run_id, WorkflowExecutionStatus.RUNNING) == (found.run_id, found.status)


@pytest.mark.parametrize("virtual_time", [False, True])
async def test_time_can_be_skipped_only_when_asked_for(tmp_path: Path, virtual_time: bool) -> None:
    """Somebody could make the deadlines of real cases pass, or a simulated year would take a year."""
    temporal = EmbeddedTemporal(tmp_path, free_port(), virtual_time=virtual_time)
    await temporal.start()
    client = await Client.connect(temporal.address, namespace=temporal.namespace)
    await client.start_workflow("case", id="case-1", task_queue="dutyloop")
    skip = UpdateWorkflowExecutionOptionsRequest(
        namespace=temporal.namespace,
        workflow_execution=WorkflowExecution(workflow_id="case-1"),
        workflow_execution_options=WorkflowExecutionOptions(time_skipping_config=TimeSkippingConfig(enabled=True)),
        update_mask=FieldMask(paths=["time_skipping_config"]),
    )
    try:
        if virtual_time:
            answer = await client.workflow_service.update_workflow_execution_options(skip)
            assert answer.workflow_execution_options.time_skipping_config.enabled
        else:
            with pytest.raises(RPCError):
                await client.workflow_service.update_workflow_execution_options(skip)
    finally:
        await temporal.stop()


def test_a_data_directory_lives_by_one_clock_for_ever(tmp_path: Path) -> None:
    """Business time would go back to today where records lie in the future, or a demo get into real records."""
    assert [lives_in_virtual_time(tmp_path, asked=asked) for asked in (False, True)] == [False, True]
    (tmp_path / TIME_FILE).write_text("virtual")
    assert [lives_in_virtual_time(tmp_path, asked=asked) for asked in (False, True)] == [True, True]
    (tmp_path / TIME_FILE).write_text("wall")
    assert not lives_in_virtual_time(tmp_path, asked=False)
    with pytest.raises(StackError, match=rf"^{tmp_path} holds records of real time, where virtual time .+ are refused"):
        lives_in_virtual_time(tmp_path, asked=True)


async def test_a_taken_port_is_told(tmp_path: Path) -> None:
    """The operator would have to guess which of three ports another program has taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=rf"^port {port} \(Temporal\) is not free: Address already in use$"):
            await EmbeddedTemporal(tmp_path, port).start()
        with pytest.raises(StackError, match=rf"^port {port} \(Temporal web UI\) is not free"):
            await EmbeddedTemporal(tmp_path, free_port(), port).start()


# Child processes and the data directory


async def test_a_child_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    """A crash would show as silence."""
    log = tmp_path / "logs" / "child.log"
    log.parent.mkdir()
    log.write_text("error of the last run\n")
    script = "echo 'error: the reason' && echo 'good-bye' && exit 3"
    child = await Child.start("child", ["/bin/sh", "-c", script], log_file=log, env={}, cwd=tmp_path)
    with pytest.raises(StackError) as told:
        await child.watch()
    assert f"child ended with 3: error: the reason (log: {log})" == str(told.value)

    child = await Child.start("child", ["/bin/true"], log_file=log, env={}, cwd=tmp_path)
    with pytest.raises(StackError, match=r"^child ended with 0: it logged nothing"):
        await child.watch()


async def test_a_child_that_cannot_be_run_is_told(tmp_path: Path) -> None:
    """A missing program would show as a traceback."""
    log = tmp_path / "logs" / "child.log"
    child = await Child.start("child", ["/nonexistent"], log_file=log, env={}, cwd=tmp_path)
    with pytest.raises(StackError, match=r"cannot run /nonexistent: No such file or directory"):
        await child.watch()


async def test_the_last_words_come_without_their_colours(tmp_path: Path) -> None:
    """The one line about a crash would begin with the remains of control codes."""
    log = tmp_path / "child.log"
    log.write_bytes(b"\x1b[2m2026-11-22T01:02:03Z\x1b[0m \x1b[1;31mERROR\x1b[0m no such queue\n")
    assert last_line(log) == "2026-11-22T01:02:03Z ERROR no such queue"


async def test_a_deaf_child_is_killed(tmp_path: Path, left: Left) -> None:
    """A child that ignores SIGTERM would keep the stack from stopping."""
    log = tmp_path / "logs" / "child.log"
    script = "trap '' TERM; echo ready; while true; do sleep 1; done"
    child = await Child.start("child", ["/bin/sh", "-c", script], log_file=log, env={}, cwd=tmp_path)
    await until(lambda: last_line(log) == "ready")
    await child.stop(timeout=0.2)
    assert await child.wait() == -signal.SIGKILL
    assert not left()


async def test_no_child_outlives_a_killed_parent(tmp_path: Path) -> None:
    """After a kill -9 of the stack its servers would keep ports and data in use."""
    script = textwrap.dedent(
        """
        import asyncio, os, sys
        from pathlib import Path
        from infra.embedded.postgres import EmbeddedPostgres
        from infra.embedded.temporal import EmbeddedTemporal

        async def main():
            data_dir, port = Path(sys.argv[1]), int(sys.argv[2])
            servers = EmbeddedPostgres(data_dir), EmbeddedTemporal(data_dir, port)
            await asyncio.gather(*(server.start() for server in servers))
            print("ready", flush=True)
            await asyncio.sleep(600)

        asyncio.run(main())
        """
    )
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, str(tmp_path / "data"), str(free_port())),
        stdout=asyncio.subprocess.PIPE,
    )
    assert parent.stdout is not None
    try:
        ready = await parent.stdout.readline()
        assert ready == b"ready\n"
        below = [child.pid for child in psutil.Process(parent.pid).children(recursive=True)]
        assert len(below) > 2
    finally:
        parent.kill()
        await parent.communicate()
    await until(lambda: not any(psutil.pid_exists(pid) for pid in below))
    again = EmbeddedPostgres(tmp_path / "data")
    await again.start()
    await again.destroy()


def test_a_stale_lock_file_is_no_obstacle(tmp_path: Path) -> None:
    """After a crash somebody would have to find and delete a file."""
    path = tmp_path / "lock"
    path.write_text("1\n")
    lock = DirectoryLock(path)
    lock.acquire("data_dir")
    assert f"{os.getpid()}\n" == path.read_text()
    with pytest.raises(StackError, match=rf"^data directory {tmp_path} is in use by process {os.getpid()}$"):
        DirectoryLock(path).acquire("data_dir")
    assert DirectoryLock.is_held(path)
    lock.release()
    assert not DirectoryLock.is_held(path)


@pytest.mark.parametrize("start", [EmbeddedPostgres, EmbeddedTemporal, lambda path: Stack(StackConfig(path))])
@pytest.mark.usefixtures("no_settings")
async def test_an_unusable_data_directory_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Any) -> None:
    """The operator would get a traceback for a mistyped path or a full disk."""
    (tmp_path / "file").touch()
    with pytest.raises(StackError, match=r"^data directory .*/file is not a directory$"):
        await start(tmp_path / "file").start()
    with pytest.raises(StackError, match=r"^data directory .*/file/below cannot be used: Not a directory$"):
        await start(tmp_path / "file" / "below").start()
    with pytest.raises(StackError, match=r"^data directory /proc/dutyloop cannot be used: "):
        await start(Path("/proc/dutyloop")).start()
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(StackError, match=r"^data directory .*/circle cannot be used: "):
        await start(tmp_path / "circle").start()
    with closed_folder() as closed, pytest.raises(StackError, match=rf"{closed} cannot be used: Permission denied$"):
        await start(closed).start()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    with pytest.raises(StackError, match=r"^no space in .*: 1 MiB free, \d+ MiB needed$"):
        await start(tmp_path / "full").start()


# The whole stack, with a stand-in for the services


async def test_the_stack_starts_watches_and_leaves_nothing(stack: Stack, left: Left) -> None:
    """``dutyloop up`` would not come up, not notice a crash, or leave processes behind."""
    await stack.start()
    data_dir = stack.data_dir
    await until(lambda: (data_dir / "calls.log").read_text().count("\n") == 3)
    calls = [json.loads(line) for line in (data_dir / "calls.log").read_text().splitlines()]
    assert [arguments for arguments, _ in calls] == [["migrate"], ["serve", "--all"], ["worker"]]
    given = dict(zip(("migrate", "services", "worker"), (environment for _, environment in calls), strict=True))
    open_to_all = {name: value for name, value in stack.environment.items() if name not in CONFIDENTIAL}
    database = {"DUTYLOOP_DATABASE_URL", "DUTYLOOP_DATABASE_SECRETS"}
    keys = {"DUTYLOOP_SERVICE_KEY_FILE", "DUTYLOOP_CODEC_KEYS_FILE"}
    secrets = {"migrate": database, "services": database | keys | {"DUTYLOOP_CHECKPOINT_KEY_FILE"}, "worker": keys}
    assert {part: set(environment) for part, environment in given.items()} == {
        part: set(open_to_all) | names for part, names in secrets.items()
    }
    assert given["services"]["DUTYLOOP_SERVICE_KEY_FILE"] == str(data_dir / "service.key")
    assert given["worker"]["DUTYLOOP_SERVICE_KEY_FILE"] == str(data_dir / "worker.key")
    assert stack.environment["DUTYLOOP_VIRTUAL_TIME"] == "1"
    assert stack.environment == running_environment(data_dir)
    files = await asyncio.to_thread(files_below, data_dir)
    assert {"temporal.db", "service.key", "env.json", "worker.log"} <= {path.name for path in files}
    assert {path for path, status in files.items() if status.st_mode & 0o077} == set()
    with pytest.raises(StackError, match=rf"^data directory .+ is in use by process {os.getpid()}$"):
        await Stack(StackConfig(data_dir)).start()

    pids = json.loads((data_dir / "status.json").read_text())["pids"]
    assert {"postgres", "temporal", "services", "worker"} == set(pids)
    os.kill(pids["worker"], signal.SIGKILL)
    with pytest.raises(StackError, match=r"^worker was killed by SIGKILL \(log: "):
        await asyncio.wait_for(stack.wait(), 10)
    await stack.stop()
    assert not left()
    with pytest.raises(StackError, match=r"^no stack is running in "):
        running_environment(data_dir)

    again = Stack(StackConfig(data_dir, free_port(), free_port(), None))  # as if nobody remembered the option
    try:
        await again.start()
        assert again.virtual_time and running_environment(data_dir)["DUTYLOOP_VIRTUAL_TIME"] == "1"
    finally:
        await again.stop()


async def test_keys_are_made_once_and_an_added_issuer_is_kept(stack: Stack) -> None:
    """A restart would make every history unreadable or lock out the people of another issuer."""
    await stack.start()
    trusted = stack.data_dir / "trusted_keys.json"
    keys = json.loads(trusted.read_text())["keys"]
    assert [key["dutyloop_use"] for key in keys] == ["service", "service", "person"]
    assert [key.get("dutyloop_subject") for key in keys] == [None, "services/worker", None]
    assert all((key["kty"], key["crv"]) == ("OKP", "Ed25519") and "d" not in key for key in keys)
    codec = json.loads((stack.data_dir / "codec_keys.json").read_text())
    assert [codec["current"]] == list(codec["keys"])
    keys_of_parts = ("service.key", "worker.key", "issuer.key", "checkpoint.key", "checkpoint.vkey")
    names = (*keys_of_parts, "codec_keys.json", "secrets/hazard")
    before = [(stack.data_dir / name).read_bytes() for name in names]
    stack.ask_to_stop()
    await asyncio.wait_for(stack.wait(), 1)
    await stack.stop()

    foreign = {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43, "kid": "ours", "dutyloop_use": "person"}
    trusted.write_text(json.dumps({"keys": [*keys, foreign]}))
    await stack.start()
    assert before == [(stack.data_dir / name).read_bytes() for name in names]
    assert [*keys, foreign] == json.loads(trusted.read_text())["keys"]


@pytest.mark.parametrize("command", ["migrate", "serve"])
async def test_a_failing_child_stops_the_start(stack: Stack, command: str, left: Left) -> None:
    """A failed migration would leave servers running behind a start that never ends."""
    stack.data_dir.mkdir()
    (stack.data_dir / f"fail-{command}").touch()
    name = "services" if command == "serve" else command
    with pytest.raises(StackError, match=rf"^{name} ended with 1: {command} is out of order \(log: "):
        await stack.start()
    assert not left()
    assert not DirectoryLock.is_held(stack.data_dir / "lock")


@pytest.mark.usefixtures("no_settings")
async def test_each_taken_port_of_the_stack_is_told(tmp_path: Path) -> None:
    """The operator would have to guess which of three ports another program has taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        configs = {
            "gRPC services": StackConfig(tmp_path, port, free_port(), None),
            "Temporal": StackConfig(tmp_path, free_port(), port, None),
            "Temporal web UI": StackConfig(tmp_path, free_port(), free_port(), port),
        }
        for purpose, config in configs.items():
            with pytest.raises(StackError, match=rf"^port {port} \({purpose}\) is not free: "):
                await Stack(config).start()
    assert not (tmp_path / "postgres.lock").exists()


async def test_external_servers_are_not_started(tmp_path: Path, no_settings: pytest.MonkeyPatch, left: Left) -> None:
    """A stack pointed at a real database would quietly write into an empty one of its own."""
    secrets = tmp_path / "their-secrets"
    no_settings.setenv("DUTYLOOP_DATABASE_URL", "postgresql://db.example/dutyloop")
    no_settings.setenv("DUTYLOOP_TEMPORAL_ADDRESS", "temporal.example:7233")
    with pytest.raises(StackError, match=r"DUTYLOOP_DATABASE_SECRETS, which is not set$"):
        await Stack(StackConfig(tmp_path / "data", services=(), worker=False)).start()
    no_settings.setenv("DUTYLOOP_DATABASE_SECRETS", str(secrets))
    settings.cache_clear()
    with pytest.raises(StackError, match=r"^--virtual-time is refused with an external database"):
        await Stack(StackConfig(tmp_path / "data", virtual_time=True)).start()
    external = Stack(StackConfig(tmp_path / "data", free_port(), services=(), worker=False))
    await external.start()
    assert not left()
    assert external.environment["DUTYLOOP_DATABASE_URL"] == "postgresql://db.example/dutyloop"
    assert external.environment["DUTYLOOP_TEMPORAL_ADDRESS"] == "temporal.example:7233"
    assert str(secrets) == external.environment["DUTYLOOP_DATABASE_SECRETS"]
    await external.stop()


async def test_a_cancelled_start_leaves_nothing(stack: Stack, left: Left) -> None:
    """A Ctrl-C while starting would leave servers behind."""
    starting = asyncio.create_task(stack.start())
    await asyncio.sleep(0.4)
    starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await starting
    assert not left()
    assert not DirectoryLock.is_held(stack.data_dir / "lock")


# The demo on a stack


async def test_a_new_demo_removes_the_last_one_and_never_a_running_one(stack: Stack) -> None:
    """A second ``make demo`` would pull the data from under the first, or each would leave a cluster behind."""
    await stack.start()
    data_dir = stack.data_dir
    with pytest.raises(StackError, match=rf"^data directory .+ is in use by process {os.getpid()}$"):
        await demo_run.fresh_directory(data_dir)
    assert (data_dir / "temporal.db").exists()
    marker = data_dir / "postgres.json"
    home = Path(json.loads(marker.read_text())["system_cluster"]) if AS_ROOT else data_dir / "postgres"
    assert home.exists()
    await stack.stop()
    await demo_run.fresh_directory(data_dir)
    assert not home.exists()
    assert {path.name for path in data_dir.iterdir()} == {"lock", "postgres.lock"}


@pytest.mark.parametrize("ending", ["told", "stopped", "crashed"])
async def test_the_story_ends_with_its_stack(stack: Stack, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    """Ctrl-C or a crash in the middle would leave the demo hanging, and the next start would tell it twice."""
    told = demo_run.Outcome({"sites_visited": 70}, [("不符", "it does not match")])
    cancelled = asyncio.Event()

    async def story(*_: object) -> demo_run.Outcome:
        if ending == "told":
            return told
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()
        return told

    monkeypatch.setattr(demo_run, "live_through", story)
    await stack.start()
    assert demo_run.told_before(stack.data_dir) is None
    telling = asyncio.create_task(demo_run.tell(stack, 10, lambda chinese, english, day: None))
    await until((stack.data_dir / demo_run.TOLD_FILE).exists)
    if ending == "told":
        assert await telling == told
        assert demo_run.told_before(stack.data_dir) == told
        return
    if ending == "stopped":
        stack.ask_to_stop()
        assert await asyncio.wait_for(telling, 10) is None
    else:
        os.kill(json.loads((stack.data_dir / "status.json").read_text())["pids"]["worker"], signal.SIGKILL)
        with pytest.raises(StackError, match=r"^worker was killed by SIGKILL"):
            await asyncio.wait_for(telling, 10)
    assert cancelled.is_set()
    with pytest.raises(StackError, match=r"was interrupted and cannot go on: use an empty data directory$"):
        demo_run.told_before(stack.data_dir)


def test_a_refusal_for_another_reason_is_counted() -> None:
    """A house that refuses everything as unauthenticated would pass for one that separates duties."""
    assert demo_run.wrong_refusals(list(demo_run.REFUSALS)) == 0
    assert demo_run.wrong_refusals(["ROLE_MISSING", *demo_run.REFUSALS[1:]]) == 1
    assert demo_run.wrong_refusals([]) == len(demo_run.REFUSALS)
