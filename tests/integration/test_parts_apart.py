"""Services deployed apart: each at its own address, with its own secrets and nobody else's."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from dutyloop.duty.v1 import duty_pb2
from dutyloop.duty.v1.duty_pb2_grpc import DutyServiceStub
from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.hazard.v1.hazard_pb2_grpc import HazardServiceStub
from infra.embedded.postgres import OWNER, EmbeddedPostgres
from infra.embedded.process import free_port, write_private
from services.directory.bootstrap import bootstrap
from services.duty.service import DutyService
from services.kit import db
from services.kit.failures import Failure
from services.kit.migrate import migrate
from services.kit.serve import serve
from services.kit.settings import Settings, SettingsError
from tests.integration.conftest import NewDatabase
from tests.integration.people import City, new_hazard

NOBODY = "127.0.0.1:1"


def only(role: str, secrets: Path, folder: Path) -> Path:
    """Return a folder of secrets that holds the password of one role."""
    folder.mkdir(exist_ok=True)
    shutil.copy(secrets / role, folder / role)
    return folder


@contextlib.asynccontextmanager
async def served(settings: Settings, name: str) -> AsyncIterator[grpc.aio.Channel]:
    """Serve one service by itself."""
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(settings, (name,), stop))
    channel = grpc.aio.insecure_channel(settings.listen_address)
    try:
        await asyncio.wait_for(channel.channel_ready(), 20)
        yield channel
    finally:
        await channel.close(None)
        stop.set()
        await serving


def apart(shared: Settings, secrets: Path, **changes: Any) -> Settings:
    """Return what a service needs that is deployed apart, and nothing else."""
    return Settings(
        database_url=shared.database_url,
        database_secrets=secrets,
        service_key_file=shared.service_key_file,
        trusted_keys_file=shared.trusted_keys_file,
        listen_address=f"127.0.0.1:{free_port()}",
        api_address=NOBODY,
        api_addresses={"directory": shared.api_address, "inspection": shared.api_address},
        # Its calls read business time from directory, too.
        virtual_time=True,
        **changes,
    )


async def test_a_service_apart_needs_its_own_secrets_only(city: City, tmp_path: Path) -> None:
    """A province that gives each service a host of its own would give each of them every password."""
    shared = city.house.settings
    assert shared.database_secrets is not None
    own = apart(
        shared,
        only("hazard", shared.database_secrets, tmp_path),
        temporal_address=shared.temporal_address,
        codec_keys_file=shared.codec_keys_file,
    )
    async with served(own, "hazard") as channel:
        request = hazard_pb2.ReportHazardRequest(hazard=new_hazard(city.home.site))
        reported = await city.inspector.calls(HazardServiceStub(channel).ReportHazard, request)
        asked = hazard_pb2.GetHazardRequest(name=reported.name)
        assert (await city.inspector.calls(city.house.hazard.GetHazard, asked)).name == reported.name


async def test_a_service_without_cases_needs_no_codec_keys(city: City, tmp_path: Path) -> None:
    """The keys of every case would lie on the host of the lists, which have no cases."""
    shared = city.house.settings
    assert shared.database_secrets is not None
    own = apart(shared, only("duty", shared.database_secrets, tmp_path))
    async with served(own, "duty") as channel:
        request = duty_pb2.ListResponsibilityListsRequest()
        await city.inspector.calls(DutyServiceStub(channel).ListResponsibilityLists, request)
    with pytest.raises(SettingsError, match=r"^DUTYLOOP_CODEC_KEYS_FILE is not set$"):
        await serve(apart(shared, only("hazard", shared.database_secrets, tmp_path)), ("hazard",), asyncio.Event())


async def test_a_login_that_the_database_refuses_is_told(
    postgres: EmbeddedPostgres, new_database: NewDatabase, tmp_path: Path
) -> None:
    """Whoever mounts the password of another installation would read a traceback."""
    for role in ("duty", OWNER):
        write_private(tmp_path / role, b"wrong")
    wrong = Settings(database_url=await new_database(), database_secrets=tmp_path)
    for refused in (db.connect(wrong, "duty"), migrate(wrong)):
        with pytest.raises(Failure, match=r"^the database refuses the connection: password") as told:
            await refused
        assert told.value.worded("zh-CN").startswith("数据库拒绝连接：")
    elsewhere = Settings(database_url="postgresql://127.0.0.1:1/nothing", database_secrets=tmp_path)
    with pytest.raises(Failure) as told:
        await migrate(elsewhere)
    assert told.value.worded("zh-CN") == "无法连接数据库：连接被拒绝"


async def test_a_service_whose_loop_fails_ends(city: City, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would go on answering while its cases are told nothing any more, and nobody would notice."""

    async def failing() -> None:
        raise LookupError("nobody expected this")

    monkeypatch.setattr(DutyService, "background", lambda _: (failing,))
    shared = city.house.settings
    assert shared.database_secrets is not None
    own = apart(shared, only("duty", shared.database_secrets, tmp_path))
    with pytest.raises(LookupError):
        await asyncio.wait_for(serve(own, ("duty",), asyncio.Event()), 20)


async def test_migrating_needs_the_owners_password_only(
    postgres: EmbeddedPostgres, new_database: NewDatabase, tmp_path: Path
) -> None:
    """Whoever migrates would have to be given a service's password for the first operator."""
    own = Settings(database_url=await new_database(), database_secrets=only(OWNER, postgres.secrets_dir, tmp_path))
    assert await migrate(own) == []
    assert await bootstrap(own) == await bootstrap(own) == "people/operator"
