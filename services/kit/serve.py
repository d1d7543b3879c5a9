"""Hosts any set of services in one process: settings → logging → pools → guard → server → graceful stop."""

import asyncio
import gc
import importlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from temporalio.client import Client

from dutyloop.directory.v1 import directory_pb2
from services.kit import db, logs, server, temporal
from services.kit.access import AccessCache, Grant
from services.kit.cases import Cases
from services.kit.clients import Clients
from services.kit.clock import ReadClock, wall_clock
from services.kit.dates import time_of
from services.kit.db import Database
from services.kit.housekeeping import keep_house
from services.kit.process import once_up, run_until_told
from services.kit.settings import Settings, required
from services.kit.tokens import TokenVerifier, load_trusted_keys

GC_ALLOCATIONS = 10_000
"""Net new objects between collections of the youngest generation."""


@dataclass(frozen=True, slots=True)
class House:
    """What the services of one process share."""

    settings: Settings
    clients: Clients
    client: Client | None

    @property
    def temporal(self) -> Client:
        """The client of Temporal; a process that hosts nothing with cases runs without codec keys."""
        return required(self.client, "codec_keys_file")

    async def read_clock(self) -> datetime:
        """Return business time."""
        return await (read_directory_clock(self.clients) if self.settings.virtual_time else wall_clock())

    def cases(self, database: Database) -> Cases:
        """Return the cases of one service."""
        return Cases(
            self.temporal,
            database,
            task_queue=self.settings.temporal_task_queue,
            read_virtual_clock=self.read_clock if self.settings.virtual_time else None,
        )


class HostedService(server.Service, Protocol):
    """A service that may also run loops of its own beside its methods."""

    def background(self) -> Sequence[Callable[[], Any]]:
        """Return the loops to run while the process serves."""


async def resolve_access(clients: Clients, person: str) -> tuple[Grant, ...]:
    """Ask directory what a person's posts grant now."""
    answer = await clients.call(clients.directory.ResolveAccess, directory_pb2.ResolveAccessRequest(person=person))
    return tuple(
        Grant(
            grant.post, grant.unit, frozenset(grant.roles), grant.region_code, grant.unit_path, grant.home_region_code
        )
        for grant in answer.grants
    )


async def read_directory_clock(clients: Clients) -> datetime:
    """Ask directory for business time."""
    answer = await clients.call(clients.directory.GetClock, directory_pb2.GetClockRequest())
    return time_of(answer.time)


def load(name: str) -> Callable[[Database, House], HostedService]:
    """Return the factory of a service by its name."""
    module = importlib.import_module(f"services.{name}.service")
    factory: Callable[[Database, House], HostedService] = module.build
    return factory


async def _keep_running(loop: Coroutine[Any, Any, None], stop: asyncio.Event) -> None:
    """Run a loop beside the calls. One that fails ends the process, which would else keep half of its promises."""
    try:
        await loop
    except Exception as error:
        logs.logger().error("background_loop_failed", exc_info=error)
        stop.set()
        raise


async def serve(settings: Settings, names: Sequence[str], stop: asyncio.Event) -> None:
    """Serve the named services until ``stop`` is set; then finish what is in flight and close.

    Raises what a background loop failed of.
    """
    clients = Clients(settings, names[0] if len(names) == 1 else "host")
    house = House(settings, clients, await temporal.connect(settings) if settings.codec_keys_file else None)
    databases = [await once_up(partial(db.connect, settings, name), *db.UNREACHABLE) for name in names]
    services = [load(name)(database, house) for name, database in zip(names, databases, strict=True)]
    clock: ReadClock = wall_clock
    if settings.virtual_time:
        directory = dict(zip(names, services, strict=True)).get("directory")
        clock = getattr(directory, "read_clock", None) or (lambda: read_directory_clock(clients))
    verifier = TokenVerifier(
        load_trusted_keys(required(settings.trusted_keys_file, "trusted_keys_file")), settings.audience
    )
    access = AccessCache(lambda person: resolve_access(clients, person))
    grpc_server, health = await server.start(settings, server.Guard(settings, verifier, access, clock), services)
    # What has been made so far lives as long as the process: collections need not walk it again. And a page of a
    # hundred rows makes thousands of objects that are gone with its call: collected every 700, a fifth of the time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS)
    logs.logger().info("serving", services=list(names), address=settings.listen_address)
    kept = timedelta(days=settings.command_retention_days)
    loops = [loop() for service in services for loop in service.background()]
    loops += [keep_house(database, kept) for database in databases]
    running = [asyncio.create_task(_keep_running(loop, stop)) for loop in loops]
    try:
        await stop.wait()
    finally:
        await health.enter_graceful_shutdown()
        await grpc_server.stop(settings.shutdown_grace_seconds)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await clients.close()
        for database in databases:
            await database.close()
    for task in running:
        if not task.cancelled():
            task.result()


def run(names: Sequence[str]) -> None:
    """Serve until SIGTERM or SIGINT; the body of every service's ``__main__``."""
    run_until_told(lambda settings, stop: serve(settings, names, stop))
