"""The house in parts: each a process of its own that can be killed, frozen and started again alone.

The services reach PostgreSQL through a ``Link``; everything else is as the embedded stack starts it.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from infra.embedded.keys import make_keys
from infra.embedded.postgres import EmbeddedPostgres
from infra.embedded.process import Child, free_port, run_to_end, while_alive
from infra.embedded.stack import environment_of
from infra.embedded.temporal import EmbeddedTemporal
from services.directory.bootstrap import OPERATOR
from services.kit import temporal as kit_temporal
from services.kit.clients import CHANNEL_OPTIONS
from services.kit.settings import Settings, settings_of
from tests.faults.link import Link
from tests.integration.house import NOBODY, RunningHouse, hosted_services

START_SECONDS = 120.0


class Parts:
    """PostgreSQL, Temporal, the services and the worker."""

    def __init__(self, data_dir: Path, *, virtual_time: bool) -> None:
        self._data_dir = data_dir
        self._virtual_time = virtual_time
        self.postgres = EmbeddedPostgres(data_dir)
        self.temporal = EmbeddedTemporal(data_dir, free_port(), None, virtual_time=virtual_time)
        self.link = Link()
        self.grpc_address = f"127.0.0.1:{free_port()}"
        self.environment: dict[str, str] = {}
        self.services: Child
        self.worker: Child

    async def start(self) -> None:
        """Start everything."""
        await asyncio.gather(self.postgres.start(), self.temporal.start())
        await self.link.start(self.postgres.socket_dir)
        self.environment = {
            "DUTYLOOP_DATABASE_URL": self.postgres.url,
            "DUTYLOOP_DATABASE_SECRETS": str(self.postgres.secrets_dir),
            "DUTYLOOP_TEMPORAL_ADDRESS": self.temporal.address,
            "DUTYLOOP_TEMPORAL_NAMESPACE": self.temporal.namespace,
            "DUTYLOOP_LISTEN_ADDRESS": self.grpc_address,
            "DUTYLOOP_API_ADDRESS": self.grpc_address,
            "DUTYLOOP_VIRTUAL_TIME": "1" if self._virtual_time else "0",
            **make_keys(self._data_dir),
        }
        await run_to_end(
            "migrate",
            [sys.executable, "-m", "services.cli.main", "migrate"],
            log_file=self._log("migrate"),
            env=self._child_environment("migrate"),
            cwd=self._data_dir,
            timeout=START_SECONDS,
        )
        await self.start_services()
        await self.start_worker()

    async def start_services(self) -> None:
        """Start every service in one process, and wait until it serves."""
        self.services = await self._child("services", "serve", "--all", DUTYLOOP_DATABASE_URL=self.link.url)
        await while_alive([self.services], self._serving(), timeout=START_SECONDS, purpose="start_services")

    async def start_worker(self) -> None:
        """Start the worker."""
        self.worker = await self._child("worker", "worker")

    async def kill(self, child: Child) -> None:
        """End a part at once, whatever it is doing."""
        os.kill(child.pid, signal.SIGKILL)
        await child.wait()

    async def kill_worker(self) -> None:
        """End the worker at once and start another."""
        await self.kill(self.worker)
        await self.start_worker()

    async def kill_temporal(self) -> None:
        """End the Temporal server at once."""
        await self.kill(self.temporal.child)
        await self.temporal.stop()

    async def crash_postgres(self) -> None:
        """Stop PostgreSQL without a checkpoint or a word to anybody, as after a loss of power."""
        os.kill(self.postgres.child.pid, signal.SIGQUIT)
        await self.postgres.child.wait()
        await self.postgres.stop()

    async def destroy(self) -> None:
        """Stop everything and delete the data."""
        for child in (getattr(self, "worker", None), getattr(self, "services", None)):
            if child is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGCONT)
                await child.stop(5)
        await self.link.stop()
        await asyncio.gather(self.temporal.stop(), self.postgres.destroy())

    @property
    def temporal_file(self) -> Path:
        """The file in which Temporal keeps its histories."""
        return self._data_dir / "temporal.db"

    def settings(self) -> Settings:
        """Return the settings of the house, its database reached directly."""
        return settings_of(self.environment)

    @contextlib.asynccontextmanager
    async def house(self) -> AsyncIterator[RunningHouse]:
        """The house as its callers know it."""
        settings = self.settings()
        async with grpc.aio.insecure_channel(self.grpc_address, options=CHANNEL_OPTIONS) as channel:
            client = await kit_temporal.connect(settings)
            without = RunningHouse(settings, hosted_services(), channel, NOBODY, client)
            yield RunningHouse(settings, without.services, channel, without.person(OPERATOR), client)

    def _log(self, name: str) -> Path:
        return self._data_dir / "logs" / f"{name}.log"

    def _child_environment(self, part: str, **changes: str) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("DUTYLOOP_")}
        return environment_of(part, {**own, **self.environment, **changes}, self._data_dir)

    async def _child(self, name: str, *arguments: str, **changes: str) -> Child:
        return await Child.start(
            name,
            [sys.executable, "-m", "services.cli.main", *arguments],
            log_file=self._log(name),
            env=self._child_environment(name, **changes),
            cwd=self._data_dir,
        )

    async def _serving(self) -> None:
        async with grpc.aio.insecure_channel(self.grpc_address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            while True:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    answer = await health.Check(health_pb2.HealthCheckRequest(service=""), timeout=1)
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return
                await asyncio.sleep(0.05)
