"""Imports over the wire: what is answered again, what is tried out, and what happens to rows and posts meanwhile."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import grpc
import pytest

from dutyloop.directory.v1 import directory_pb2
from dutyloop.kit.v1 import kit_pb2
from dutyloop.policy.v1 import policy_pb2
from infra.embedded.postgres import OWNER
from services.kit import access
from services.kit.catalogue import LOCALES, describe_problem
from services.kit.db import role_password
from services.kit.settings import required
from tests.integration.house import Caller, Refusal, RunningHouse
from tests.integration.people import City

INSERT_SITE = """
INSERT INTO directory.site (id, display_name, region_code, sector, colour, legacy_id, source_region_code)
VALUES ($1, '某厂', '1303', '', 'UNSPECIFIED', $2, '1303')
"""
COUNT_WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"
COUNT_SITES = "SELECT count(*) AS all FROM directory.site WHERE legacy_id = $1"
COUNT_ENTRIES = "SELECT count(*) AS all FROM ledger.entry WHERE request_id = $1"


def sites(region: str, *legacy_ids: str, dry_run: bool = False) -> directory_pb2.ImportSitesRequest:
    """Return an import of sites in one message."""
    request = directory_pb2.ImportSitesRequest(
        header=kit_pb2.ImportHeader(request_id=uuid.uuid4().hex, dry_run=dry_run)
    )
    for number, legacy_id in enumerate(legacy_ids, 2):
        site = directory_pb2.Site(display_name="某厂", region=region, legacy_id=legacy_id)
        request.rows.add(row=number, site=site)
    return request


@contextlib.asynccontextmanager
async def another_writer(house: RunningHouse, legacy_id: str) -> AsyncIterator[Any]:
    """Have somebody else write a site of this id and not commit yet; yield how to end his transaction."""
    connection = await asyncpg.connect(
        required(house.settings.database_url, "database_url").get_secret_value(),
        user=OWNER,
        password=role_password(house.settings, OWNER),
    )
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(INSERT_SITE, uuid.uuid4().hex[:16], legacy_id)
        yield transaction
    finally:
        await connection.close()


async def waits_for_a_lock(house: RunningHouse) -> None:
    """Return once somebody waits for another's transaction to end."""
    waiting = 0
    async with asyncio.timeout(10):
        while not waiting:
            await asyncio.sleep(0.02)
            (waiting,) = (await house.fetch(COUNT_WAITING))[0]


def sending(house: RunningHouse, caller: Caller, request: directory_pb2.ImportSitesRequest) -> "asyncio.Task[Any]":
    """Send an import in the background."""
    return asyncio.create_task(caller.sends(house.directory.ImportSites, request))


async def test_a_repeated_import_is_worded_for_whoever_repeats_it(city: City) -> None:
    """An English reader who runs a colleague's import again would get his Chinese, and a program only words."""
    operator = city.home.people[policy_pb2.ROLE_OPERATOR]
    request = sites(city.home.region, "twice", "twice", "")
    for locale in (*LOCALES, *LOCALES):
        report = await operator.sends(city.house.directory.ImportSites, request, locale=locale)
        assert (report.created, report.rejected) == (1, 2)
        assert [(error.row, error.column, error.reason, error.description) for error in report.errors] == [
            (3, "legacy_id", "DUPLICATE", describe_problem("duplicate", locale)),
            (4, "legacy_id", "REQUIRED", describe_problem("required", locale)),
        ]


@pytest.mark.parametrize("dry_run", [True, False])
async def test_an_import_that_meets_another_writer_finds_what_he_wrote(city: City, *, dry_run: bool) -> None:
    """It would end with “exists already”, though a row that is there already is what imports are for."""
    operator, house, legacy_id = city.home.people[policy_pb2.ROLE_OPERATOR], city.house, uuid.uuid4().hex
    request = sites(city.home.region, legacy_id, dry_run=dry_run)
    async with another_writer(house, legacy_id) as transaction:
        report = sending(house, operator, request)
        await waits_for_a_lock(house)
        await transaction.commit()
        told = await report
    assert (told.created, told.unchanged, told.rejected, told.dry_run) == (0, 1, 0, dry_run)
    entries = await house.fetch(COUNT_ENTRIES, request.header.request_id)
    assert entries[0]["all"] == (0 if dry_run else 1)


async def test_a_dry_run_leaves_nothing_and_says_each_time_what_is_true(city: City) -> None:
    """Whoever mends his file and tries again would be answered for the old state; or find entries of nothing done."""
    operator, house, legacy_id = city.home.people[policy_pb2.ROLE_OPERATOR], city.house, uuid.uuid4().hex
    trial = sites(city.home.region, legacy_id, dry_run=True)
    assert (await operator.sends(house.directory.ImportSites, trial)).created == 1
    assert (await house.fetch(COUNT_SITES, legacy_id))[0]["all"] == 0
    assert (await operator.sends(house.directory.ImportSites, sites(city.home.region, legacy_id))).created == 1
    again = await operator.sends(house.directory.ImportSites, trial)
    assert (again.created, again.unchanged) == (0, 1)
    assert (await house.fetch(COUNT_ENTRIES, trial.header.request_id))[0]["all"] == 0


async def test_an_import_is_not_kept_when_its_sender_s_post_ended_meanwhile(
    city: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A merge takes minutes: somebody removed in them would still have rewritten the register."""
    monkeypatch.setattr(access, "CACHE_SECONDS", 1.0)  # the merge of this test does not take four seconds
    house, legacy_id = city.house, uuid.uuid4().hex
    mover = await city.hires(policy_pb2.ROLE_OPERATOR)
    request = sites(city.home.region, legacy_id)
    async with another_writer(house, legacy_id) as transaction:
        report = sending(house, mover, request)
        await waits_for_a_lock(house)
        ended = directory_pb2.EndAppointmentRequest(name=mover.appointment)
        await house.operator.calls(house.directory.EndAppointment, ended)
        with pytest.raises(grpc.aio.AioRpcError):
            async with asyncio.timeout(10):
                while True:  # until the house knows of it
                    await mover.calls(house.directory.ListPosts, directory_pb2.ListPostsRequest())
        await transaction.rollback()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await report
    assert Refusal.of(refused.value).reason == "ROLE_MISSING"
    assert (await house.fetch(COUNT_SITES, legacy_id))[0]["all"] == 0
    refusals = [(row["method"].rpartition("/")[2], row["reason"]) for row in await house.refusals_of(mover.name)]
    assert refusals == [("ListPosts", "ROLE_MISSING"), ("ImportSites", "ROLE_MISSING")]
