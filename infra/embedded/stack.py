"""The whole product on one machine: servers, keys, services and worker around one data directory."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import grpc
import orjson
from grpc_health.v1 import health_pb2, health_pb2_grpc

from infra.embedded.keys import WORKER_KEY, make_keys
from infra.embedded.postgres import EmbeddedPostgres
from infra.embedded.process import (
    Child,
    DirectoryLock,
    StackError,
    free_port,
    prepare_data_dir,
    require_free_port,
    run_to_end,
    while_alive,
    write_private,
)
from infra.embedded.temporal import EmbeddedTemporal
from services.kit.clients import channel_to
from services.kit.settings import Settings, SettingsError, settings, settings_of

__all__ = ["Stack", "StackConfig", "StackError", "free_port", "running_environment"]

MIGRATE_SECONDS = 300.0
SERVING_SECONDS = 120.0
WORKER_STOP_SECONDS = 45.0
"""More than the thirty seconds a worker gives its activities."""
SERVICES_STOP_MARGIN_SECONDS = 10.0
"""On top of the services' own grace for calls in flight."""
TIME_FILE, VIRTUAL, WALL = "business-time", "virtual", "wall"
"""Which clock a data directory lives by."""

DATABASE_SETTINGS = frozenset({"DUTYLOOP_DATABASE_URL", "DUTYLOOP_DATABASE_SECRETS"})
NEEDED: Mapping[str, frozenset[str]] = {
    "migrate": DATABASE_SETTINGS,
    "services": DATABASE_SETTINGS
    | {"DUTYLOOP_SERVICE_KEY_FILE", "DUTYLOOP_CODEC_KEYS_FILE", "DUTYLOOP_CHECKPOINT_KEY_FILE"}
    | {"DUTYLOOP_TLS_KEY_FILE"},
    "worker": frozenset({"DUTYLOOP_SERVICE_KEY_FILE", "DUTYLOOP_CODEC_KEYS_FILE"}),
}
"""What each part is told of secrets; ``docs/operations.md`` has the table for parts that run apart."""
CONFIDENTIAL = frozenset().union(*NEEDED.values(), {"DUTYLOOP_ISSUER_KEY_FILE", "DUTYLOOP_TOKEN"})


@dataclass(frozen=True)
class StackConfig:
    """What to start and where; ``services`` None means all, an empty tuple none (and no migration).

    ``virtual_time`` matters at the first start on a data directory: see ``lives_in_virtual_time``.
    """

    data_dir: Path
    grpc_port: int = 7400
    temporal_port: int = 7233
    ui_port: int | None = 8233
    virtual_time: bool = False
    services: tuple[str, ...] | None = None
    worker: bool = True


@dataclass
class _Running:
    """What has been started so far, in order, so that it can be taken down in reverse."""

    children: dict[str, Child] = field(default_factory=dict)
    postgres: EmbeddedPostgres | None = None
    temporal: EmbeddedTemporal | None = None

    def all_children(self) -> dict[str, Child]:
        servers: dict[str, Child] = {}
        if self.postgres is not None:
            servers["postgres"] = self.postgres.child
        if self.temporal is not None:
            servers["temporal"] = self.temporal.child
        return servers | self.children


class Stack:
    """Starts, watches and stops everything. Every failure is a StackError of one clear line.

    With DUTYLOOP_DATABASE_URL or DUTYLOOP_TEMPORAL_ADDRESS set, that server is yours and not started.
    """

    def __init__(self, config: StackConfig) -> None:
        self._config = config
        self._data_dir = config.data_dir
        self._lock: DirectoryLock | None = None
        self._running = _Running()
        self._stop_asked = asyncio.Event()
        self._environment: dict[str, str] = {}
        self._virtual_time = config.virtual_time
        self._services_stop_seconds = SERVICES_STOP_MARGIN_SECONDS

    @property
    def data_dir(self) -> Path:
        """The folder that holds all of the installation's data."""
        return self._data_dir

    @property
    def environment(self) -> dict[str, str]:
        """The DUTYLOOP_* variables of the running stack."""
        return dict(self._environment)

    def settings(self) -> Settings:
        """The settings of somebody who may do anything with the running stack."""
        return settings_of(self._environment)

    @property
    def virtual_time(self) -> bool:
        """Whether business time stands still between calls of AdvanceClock, as it does for ever in its directory."""
        return self._virtual_time

    @property
    def grpc_address(self) -> str:
        """Where all services listen, as host and port."""
        return f"127.0.0.1:{self._config.grpc_port}"

    @property
    def temporal_ui_url(self) -> str | None:
        """Where the cases are listed; None without a UI, or with a Temporal server of one's own."""
        return self._running.temporal.ui_url if self._running.temporal else None

    async def start(self) -> None:
        """Start everything and return when the services answer SERVING; on failure leave nothing."""
        try:
            await self._start()
        except SettingsError as error:
            await self.stop()
            raise StackError(error.code, **error.facts) from None
        except OSError as error:
            await self.stop()
            raise StackError("cannot_start_in", what="stack", data_dir=self._data_dir, error=error) from None
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        config = self._config
        given = settings()
        own_database = given.database_url is None
        own_temporal = "temporal_address" not in given.model_fields_set
        if config.virtual_time and not own_database:
            raise StackError("no_virtual_time")
        if not own_database and given.database_secrets is None:
            raise StackError("needs_setting", setting="DUTYLOOP_DATABASE_URL", needed="DUTYLOOP_DATABASE_SECRETS")
        self._services_stop_seconds = given.shutdown_grace_seconds + SERVICES_STOP_MARGIN_SECONDS

        self._data_dir = prepare_data_dir(config.data_dir)
        lock = DirectoryLock(self._data_dir / "lock")
        lock.acquire("data_dir")
        self._lock = lock
        require_free_port(config.grpc_port, "grpc")
        if own_temporal:
            require_free_port(config.temporal_port, "Temporal")
            if config.ui_port is not None:
                require_free_port(config.ui_port, "temporal_ui")
        if own_database:
            self._virtual_time = lives_in_virtual_time(self._data_dir, asked=config.virtual_time)
        key_files = make_keys(self._data_dir)

        await self._start_servers(own_database, own_temporal)
        if own_database:
            write_private(self._data_dir / TIME_FILE, (VIRTUAL if self._virtual_time else WALL).encode())
        self._environment = self._make_environment(given) | key_files
        write_private(self._data_dir / "env.json", orjson.dumps(self._environment, option=orjson.OPT_INDENT_2))

        if config.services != ():
            await self._migrate()
            chosen = ("--all",) if config.services is None else config.services
            await self._start_child("services", "serve", *chosen)
            await while_alive(
                self._running.all_children().values(),
                _answers_serving(self.settings(), self.grpc_address),
                timeout=SERVING_SECONDS,
                purpose="start_services",
            )
        if config.worker:
            await self._start_child("worker", "worker")
        self._write_status()

    async def wait(self) -> None:
        """Return when a stop is asked for; raise StackError when a child ends by itself."""
        stop_asked = asyncio.create_task(self._stop_asked.wait())
        watchers = [asyncio.create_task(child.watch()) for child in self._running.all_children().values()]
        try:
            done, _ = await asyncio.wait([stop_asked, *watchers], return_when=asyncio.FIRST_COMPLETED)
            if stop_asked in done:
                return
            for watcher in done:
                watcher.result()
        finally:
            for pending in (stop_asked, *watchers):
                pending.cancel()
            await asyncio.gather(stop_asked, *watchers, return_exceptions=True)

    def ask_to_stop(self) -> None:
        """Let ``wait`` return; made for signal handlers of the event loop."""
        self._stop_asked.set()

    async def stop(self) -> None:
        """Stop everything in reverse order and leave no process; may be called twice."""
        running = self._running
        try:
            if "worker" in running.children:
                await running.children["worker"].stop(WORKER_STOP_SECONDS)
            if "services" in running.children:
                await running.children["services"].stop(self._services_stop_seconds)
        finally:
            servers = [server.stop() for server in (running.temporal, running.postgres) if server is not None]
            results = await asyncio.gather(*servers, return_exceptions=True)
            self._running = _Running()
            if self._lock is not None:
                for name in ("status.json", "env.json"):
                    (self._data_dir / name).unlink(missing_ok=True)
                self._lock.release()
                self._lock = None
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _start_servers(self, own_database: bool, own_temporal: bool) -> None:
        config = self._config
        postgres = EmbeddedPostgres(self._data_dir) if own_database else None
        temporal = (
            EmbeddedTemporal(self._data_dir, config.temporal_port, config.ui_port, self._virtual_time)
            if own_temporal
            else None
        )
        self._running.postgres, self._running.temporal = postgres, temporal
        starting = [server.start() for server in (postgres, temporal) if server is not None]
        # Both to their end, even if one fails: a half-started server could not be stopped in order.
        results = await asyncio.gather(*starting, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def _make_environment(self, given: Settings) -> dict[str, str]:
        postgres, temporal = self._running.postgres, self._running.temporal
        if postgres is not None:
            database_url, database_secrets = postgres.url, postgres.secrets_dir
        else:
            assert given.database_url is not None and given.database_secrets is not None  # noqa: S101
            database_url = given.database_url.get_secret_value()
            database_secrets = given.database_secrets.resolve()
        # The children run elsewhere: a relative path would name another file there.
        tls = {name: getattr(given, name) for name in ("tls_certificate_file", "tls_key_file", "tls_ca_file")}
        return {
            **{f"DUTYLOOP_{name.upper()}": str(path.absolute()) for name, path in tls.items() if path is not None},
            "DUTYLOOP_DATABASE_URL": database_url,
            "DUTYLOOP_DATABASE_SECRETS": str(database_secrets),
            "DUTYLOOP_TEMPORAL_ADDRESS": temporal.address if temporal else given.temporal_address,
            "DUTYLOOP_TEMPORAL_NAMESPACE": temporal.namespace if temporal else given.temporal_namespace,
            "DUTYLOOP_LISTEN_ADDRESS": self.grpc_address,
            "DUTYLOOP_API_ADDRESS": self.grpc_address,
            "DUTYLOOP_VIRTUAL_TIME": "1" if self._virtual_time else "0",
        }

    def _child_environment(self, part: str) -> dict[str, str]:
        return environment_of(part, {**os.environ, **self._environment}, self._data_dir)

    async def _migrate(self) -> None:
        await run_to_end(
            "migrate",
            [sys.executable, "-m", "services.cli.main", "migrate"],
            log_file=self._data_dir / "logs" / "migrate.log",
            env=self._child_environment("migrate"),
            cwd=self._data_dir,
            timeout=MIGRATE_SECONDS,
        )

    async def _start_child(self, name: str, *arguments: str) -> Child:
        child = await Child.start(
            name,
            [sys.executable, "-m", "services.cli.main", *arguments],
            log_file=self._data_dir / "logs" / f"{name}.log",
            env=self._child_environment(name),
            cwd=self._data_dir,
        )
        self._running.children[name] = child
        return child

    def _write_status(self) -> None:
        status = {
            "pid": os.getpid(),
            "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "grpc_address": self.grpc_address,
            "temporal_address": self._environment["DUTYLOOP_TEMPORAL_ADDRESS"],
            "temporal_ui_url": self.temporal_ui_url,
            "external_database": self._running.postgres is None,
            "external_temporal": self._running.temporal is None,
            "virtual_time": self._virtual_time,
            "pids": {name: child.pid for name, child in self._running.all_children().items()},
        }
        write_private(self._data_dir / "status.json", orjson.dumps(status, option=orjson.OPT_INDENT_2))


def environment_of(part: str, variables: Mapping[str, str], data_dir: Path) -> dict[str, str]:
    """What a part's process gets of all the variables: none that tells where a secret is that it does not need."""
    kept = {name: value for name, value in variables.items() if name not in CONFIDENTIAL - NEEDED[part]}
    if part == "worker":
        kept["DUTYLOOP_SERVICE_KEY_FILE"] = str(data_dir / WORKER_KEY)
    # Children run in the data directory, which must not become a place to import from.
    return {**kept, "PYTHONSAFEPATH": "1"}


def lives_in_virtual_time(data_dir: Path, *, asked: bool) -> bool:
    """Tell by which clock a data directory lives, which its first start decides once and for all.

    Records of virtual time lie in the future: by the wall clock, business time would go back, and everybody's
    terms of office would not have begun. Raises StackError when virtual time is asked for where real records are.
    """
    try:
        lives = (data_dir / TIME_FILE).read_text().strip()
    except FileNotFoundError:
        return asked
    if asked and lives != VIRTUAL:
        raise StackError("lives_in_real_time", data_dir=data_dir)
    return lives == VIRTUAL


def running_environment(data_dir: Path) -> dict[str, str]:
    """The DUTYLOOP_* variables of the stack that runs on ``data_dir``; StackError if none does."""
    try:
        if DirectoryLock.is_held(data_dir / "lock"):
            environment: dict[str, str] = orjson.loads((data_dir / "env.json").read_bytes())
            return environment
    except FileNotFoundError:
        pass
    except (OSError, orjson.JSONDecodeError) as error:
        raise StackError("stack_unreachable", data_dir=data_dir, error=error) from None
    raise StackError("no_stack", data_dir=data_dir)


async def _answers_serving(settings: Settings, address: str) -> None:
    async with channel_to(settings, address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                answer = await health.Check(health_pb2.HealthCheckRequest(service=""), timeout=5, wait_for_ready=True)
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            await asyncio.sleep(0.05)
