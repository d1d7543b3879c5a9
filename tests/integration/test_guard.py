"""The guard before every method: who gets in, what is repeated, what is bounded, what the ledger keeps."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from structlog.testing import capture_logs

from dutyloop.audit.v1 import audit_pb2
from dutyloop.audit.v1.audit_pb2_grpc import AuditServiceStub
from dutyloop.directory.v1 import directory_pb2
from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.kit.v1 import kit_pb2
from dutyloop.policy.v1 import policy_pb2
from infra.embedded.postgres import EmbeddedPostgres
from infra.embedded.temporal import EmbeddedTemporal
from services.directory.service import DirectoryService
from services.kit import server
from services.kit.call import Call
from services.kit.logs import add_call, logger
from services.kit.server import MAX_METADATA_BYTES, RECEIPT_KEY, STREAMS_EACH
from tests.integration.conftest import NewDatabase
from tests.integration.house import NOBODY, Caller, Refusal, running_house
from tests.integration.people import City, appoint, new_hazard, register

GET_CLOCK = "/dutyloop.directory.v1.DirectoryService/GetClock"
REVOKED_SECONDS = 5.0


def create_unit(city: City, display_name: str = "应急管理局") -> directory_pb2.CreateUnitRequest:
    """Return a command with an id, ready to be sent again."""
    unit = directory_pb2.Unit(
        display_name=display_name, region=city.home.region, kind=directory_pb2.UNIT_KIND_DEPARTMENT
    )
    return directory_pb2.CreateUnitRequest(request_id=uuid.uuid4().hex, unit=unit)


async def units_called(city: City, display_name: str) -> int:
    """Count the rows of units with a name."""
    (row,) = await city.house.fetch("SELECT count(*) FROM directory.unit WHERE display_name = $1", display_name)
    count: int = row["count"]
    return count


async def entries_about(city: City, request_id: str) -> int:
    """Count the ledger entries of a request."""
    (row,) = await city.house.fetch("SELECT count(*) FROM ledger.entry WHERE request_id = $1", request_id)
    count: int = row["count"]
    return count


async def status_of(call: Any) -> Refusal:
    """Await a call that must fail and return its refusal."""
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    return Refusal.of(failure.value)


@pytest.fixture
def operator(city: City) -> Caller:
    """The operator at home."""
    return city.home.people[policy_pb2.ROLE_OPERATOR]


# The door


@pytest.mark.parametrize(
    "path",
    [
        GET_CLOCK.removeprefix("/"),
        f"/{GET_CLOCK}",
        f"{GET_CLOCK}/",
        GET_CLOCK.replace("/Get", "//Get"),
        GET_CLOCK.replace("/Get", "/../DirectoryService/Get"),
        GET_CLOCK.replace("/Get", "."),
        GET_CLOCK.lower(),
        "/",
        "//",
        "/dutyloop.directory.v1.DirectoryService/",
        "/dutyloop.directory.v1.DirectoryService/read_clock",
        "/dutyloop.directory.v1.DirectoryService/__init__",
        "/dutyloop.directory.v1.HazardService/GetClock",
        "/dutyloop.directory.v1.DirectoryService/GetClock?x=/",
    ],
)
async def test_an_odd_path_reaches_no_method(city: City, path: str) -> None:
    """A path with a slash too many could reach a handler under a rule that is not its own."""
    raw = directory_pb2.GetClockRequest().SerializeToString()
    for caller in (NOBODY, city.postless, city.all_rounder):
        refusal = await status_of(city.house.raw(path)(raw, timeout=5, metadata=caller.metadata()))
        assert grpc.StatusCode.UNIMPLEMENTED is refusal.code, refusal


async def test_reflection_is_for_callers_with_a_token(city: City) -> None:
    """Anyone who reaches the port could read what there is to attack, or ``buf curl`` would not work for anyone."""
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(city.house.channel)

    async def services_shown_to(caller: Caller) -> set[str]:
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        answers = stub.ServerReflectionInfo(iter([request]), timeout=5, metadata=caller.metadata())
        return {service.name async for answer in answers for service in answer.list_services_response.service}

    assert "dutyloop.directory.v1.DirectoryService" in await services_shown_to(city.inspector)
    for stranger in (NOBODY, Caller("people/1", "not.a.token")):
        assert grpc.StatusCode.UNAUTHENTICATED is (await status_of(services_shown_to(stranger))).code


async def test_health_is_open_to_everybody(city: City) -> None:
    """A load balancer has no token: the house would be taken out of service."""
    stub: Any = health_pb2_grpc.HealthStub(city.house.channel)
    for service in ("", "dutyloop.directory.v1.DirectoryService"):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_nobody_watches_the_health_without_end(city: City) -> None:
    """A stranger could hold so many streams, which count and need no token, that every call is refused."""
    stub: Any = health_pb2_grpc.HealthStub(city.house.channel)
    refusal = await status_of(anext(aiter(stub.Watch(health_pb2.HealthCheckRequest(service=""), timeout=5))))
    assert grpc.StatusCode.UNIMPLEMENTED is refusal.code


@pytest.mark.parametrize("scheme", ["Bearer {}", "bearer {}", "BEARER {}"], ids=["title", "lower", "upper"])
async def test_the_scheme_s_case_does_not_matter(city: City, scheme: str) -> None:
    """RFC 9110 says so: clients that write it in small letters would be locked out."""
    metadata = (("authorization", scheme.format(city.inspector.token)),)
    answer = await city.house.directory.GetClock(directory_pb2.GetClockRequest(), timeout=5, metadata=metadata)
    assert answer.HasField("time")


@pytest.mark.parametrize("scheme", ["{}", "Basic {}", "Bearer", "Bearer  {}", "Token {}", "Bearer {} x"])
async def test_another_scheme_is_no_token(city: City, scheme: str) -> None:
    """A token could be smuggled in where proxies neither strip nor log it."""
    metadata = (("authorization", scheme.format(city.inspector.token)),)
    refusal = await status_of(
        city.house.directory.GetClock(directory_pb2.GetClockRequest(), timeout=5, metadata=metadata)
    )
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")


async def test_metadata_that_claims_an_identity_is_ignored(city: City) -> None:
    """Whoever sets a header could be the operator, or move himself next door."""
    forged = (
        ("x-user", "people/operator"),
        ("x-forwarded-user", "people/operator"),
        ("x-region", "1304"),
        ("x-role", "ROLE_OPERATOR"),
        ("dutyloop-principal", "people/operator"),
    )
    get_clock = city.house.directory.GetClock
    refusal = await status_of(get_clock(directory_pb2.GetClockRequest(), timeout=5, metadata=forged))
    assert grpc.StatusCode.UNAUTHENTICATED is refusal.code
    metadata = (*city.inspector.metadata(), *forged)
    refusal = await status_of(city.house.directory.CreateUnit(create_unit(city), timeout=5, metadata=metadata))
    assert grpc.StatusCode.PERMISSION_DENIED is refusal.code
    foreign = directory_pb2.GetSiteRequest(name=city.next_door.site)
    refusal = await status_of(city.house.directory.GetSite(foreign, timeout=5, metadata=metadata))
    assert grpc.StatusCode.NOT_FOUND is refusal.code


async def test_twenty_kilobytes_of_metadata_are_refused(city: City) -> None:
    """Every caller could make the server keep megabytes per stream."""
    metadata = (*city.inspector.metadata(), *((f"x-{number}", "x" * 1_000) for number in range(20)))
    assert sum(len(value) for _, value in metadata) > MAX_METADATA_BYTES
    refusal = await status_of(
        city.house.directory.GetClock(directory_pb2.GetClockRequest(), timeout=5, metadata=metadata)
    )
    assert grpc.StatusCode.RESOURCE_EXHAUSTED is refusal.code
    await city.inspector.calls(city.house.directory.GetClock, directory_pb2.GetClockRequest())


# Commands that come again


async def test_the_same_request_gets_the_same_answer(city: City, operator: Caller) -> None:
    """A client that lost the answer and asks again would create a second unit."""
    request = create_unit(city, "重复")
    first, receipts = await operator.receipts(city.house.directory.CreateUnit, request)
    again, receipts_again = await operator.receipts(city.house.directory.CreateUnit, request)
    assert (first, receipts) == (again, receipts_again)
    assert [len(receipt) for receipt in receipts] == [32]
    assert (await units_called(city, "重复"), await entries_about(city, request.request_id)) == (1, 1)


async def test_twenty_at_once_are_one(city: City, operator: Caller) -> None:
    """A nervous double click, or a retrying proxy, would create twins."""
    request = create_unit(city, "并发")
    answers = await asyncio.gather(*(operator.receipts(city.house.directory.CreateUnit, request) for _ in range(20)))
    assert all(answer == answers[0] for answer in answers)
    assert (await units_called(city, "并发"), await entries_about(city, request.request_id)) == (1, 1)


async def test_twenty_reports_of_one_hazard_are_one_case(city: City) -> None:
    """One hazard would be rectified in two cases, each with deadlines and a ladder of its own."""
    request = hazard_pb2.ReportHazardRequest(request_id=uuid.uuid4().hex, hazard=new_hazard(city.home.site))
    answers = await asyncio.gather(
        *(city.inspector.receipts(city.house.hazard.ReportHazard, request) for _ in range(20))
    )
    assert all(answer == answers[0] for answer in answers)
    name = answers[0][0].name
    (row,) = await city.house.fetch("SELECT count(*) FROM hazard.hazard WHERE 'hazards/' || id = $1", name)
    assert (row["count"], await entries_about(city, request.request_id)) == (1, 1)


async def test_twenty_assignments_of_one_hazard_are_one(city: City) -> None:
    """An action on a case, repeated while the first is under way, would be answered as refused."""
    hazard = await city.reports()
    request = hazard_pb2.AssignHazardRequest(request_id=uuid.uuid4().hex, name=hazard.name, unit=city.home.enterprise)
    answers = await asyncio.gather(*(city.supervisor.calls(city.house.hazard.AssignHazard, request) for _ in range(20)))
    assert all(answer == answers[0] for answer in answers)
    assert await entries_about(city, request.request_id) == 1


async def test_a_request_id_with_another_body_is_refused(city: City, operator: Caller) -> None:
    """A client's bug would be answered with the result of another command, as if it had been done."""
    request = create_unit(city, "原文")
    await operator.calls(city.house.directory.CreateUnit, request)
    request.unit.display_name = "篡改"
    refusal = await operator.refused(city.house.directory.CreateUnit, request)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    assert (await units_called(city, "原文"), await units_called(city, "篡改")) == (1, 0)
    assert "REQUEST_ID_REUSED" in {entry["reason"] for entry in await city.house.refusals_of(operator.name)}


async def test_a_case_action_s_request_id_with_another_body_is_refused(city: City) -> None:
    """A changed plan under an old id would be answered as accepted while the old one stands."""
    hazard = await city.reports()
    request = hazard_pb2.AssignHazardRequest(name=hazard.name, unit=city.home.enterprise)
    await city.supervisor.calls(city.house.hazard.AssignHazard, request)
    request.unit = city.home.office
    refusal = await city.supervisor.refused(city.house.hazard.AssignHazard, request)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


async def test_request_ids_are_one_s_own(city: City, operator: Caller) -> None:
    """Whoever guesses another's request id would be shown that person's answer, or block the command."""
    request = create_unit(city, "各自")
    mine = await operator.calls(city.house.directory.CreateUnit, request)
    theirs = await city.house.operator.calls(city.house.directory.CreateUnit, request)
    assert mine.name != theirs.name
    assert await units_called(city, "各自") == 2


async def test_a_refused_command_may_come_again(city: City, operator: Caller) -> None:
    """A refusal would be remembered for ever: after its cause is gone the same request would still fail."""
    request = create_unit(city, "改正")
    request.unit.region = "regions/999999"
    await operator.refused(city.house.directory.CreateUnit, request)
    request.unit.region = city.home.region
    await operator.calls(city.house.directory.CreateUnit, request)
    assert await units_called(city, "改正") == 1


# Roles that end, refusals that are kept


async def test_a_revoked_role_stops_within_five_seconds(city: City, operator: Caller) -> None:
    """Somebody removed from his post in the morning would go on deciding, for as long as his token lives."""
    inspector = await city.hires(policy_pb2.ROLE_INSPECTOR)
    await city.reports(inspector)
    (appointment,) = (
        await operator.calls(
            city.house.directory.ListAppointments, directory_pb2.ListAppointmentsRequest(person=inspector.name)
        )
    ).appointments
    await operator.calls(
        city.house.directory.EndAppointment, directory_pb2.EndAppointmentRequest(name=appointment.name)
    )
    ended = time.monotonic()
    while True:
        try:
            await city.reports(inspector)
        except grpc.aio.AioRpcError as error:
            assert grpc.StatusCode.PERMISSION_DENIED is error.code()
            break
        assert time.monotonic() - ended < REVOKED_SECONDS
        await asyncio.sleep(0.1)
    assert time.monotonic() - ended < REVOKED_SECONDS


async def test_no_role_outlives_a_directory_that_hangs(
    monkeypatch: pytest.MonkeyPatch, narrow: Callable[[], Any]
) -> None:
    """Whoever was just removed would go on deciding for as long as directory takes calls and answers none."""
    answering = asyncio.Event()
    answering.set()
    resolve = DirectoryService.ResolveAccess

    async def held(self: DirectoryService, request: directory_pb2.ResolveAccessRequest, call: Call) -> Any:
        answer = await resolve(self, request, call)
        await answering.wait()
        return answer

    monkeypatch.setattr(DirectoryService, "ResolveAccess", held)
    async with narrow() as house:
        request = directory_pb2.GetUnitRequest(name="units/root")
        await house.operator.calls(house.directory.GetUnit, request)
        answering.clear()
        hung = served = time.monotonic()
        refusal = None
        while refusal is None:
            try:
                await house.operator.calls(house.directory.GetUnit, request)
                served = time.monotonic()
            except grpc.aio.AioRpcError as error:
                refusal = Refusal.of(error)
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE")
        assert refusal.retry_seconds is not None
        assert 0 < served - hung < REVOKED_SECONDS
        answering.set()
        await house.operator.calls(house.directory.GetUnit, request)


@pytest.mark.parametrize("role", [policy_pb2.ROLE_AUDITOR, policy_pb2.ROLE_DEPARTMENT_SYSTEM])
async def test_a_revoked_follower_s_stream_ends(city: City, operator: Caller, role: policy_pb2.Role.ValueType) -> None:
    """Who left the audit office would go on reading the ledger for as long as a stream opened before stays open."""
    auditor = await city.hires(role)
    stub = AuditServiceStub(city.house.channel)
    follow: Any = stub.FollowLedger(audit_pb2.FollowLedgerRequest(), timeout=60, metadata=auditor.metadata())
    first = await follow.read()
    assert first.ledger_entries
    request = directory_pb2.ListAppointmentsRequest(person=auditor.name)
    (appointment,) = (await operator.calls(city.house.directory.ListAppointments, request)).appointments
    await operator.calls(
        city.house.directory.EndAppointment, directory_pb2.EndAppointmentRequest(name=appointment.name)
    )
    await asyncio.sleep(REVOKED_SECONDS)
    await city.reports()
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        while await follow.read():
            pass
        pytest.fail("the stream ended without a refusal")
    assert ended.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_follower_who_left_the_audit_office_sees_no_refusals(city: City, operator: Caller) -> None:
    """A department system, once an auditor too, would be told who is refused what until it next calls anew."""
    person = await register(city.house, city.home.office)
    audits = await appoint(city.house, person, city.home.office, policy_pb2.ROLE_AUDITOR)
    await appoint(city.house, person, city.home.office, policy_pb2.ROLE_DEPARTMENT_SYSTEM)
    stub = AuditServiceStub(city.house.channel)
    request = audit_pb2.FollowLedgerRequest(type_prefix="access.")
    follow: Any = stub.FollowLedger(request, timeout=20, metadata=person.metadata())
    directory = city.house.directory
    await city.inspector.refused(directory.GetSite, directory_pb2.GetSiteRequest(name=city.next_door.site))
    assert (await follow.read()).ledger_entries
    await operator.calls(directory.EndAppointment, directory_pb2.EndAppointmentRequest(name=audits))
    await asyncio.sleep(REVOKED_SECONDS)
    await city.inspector.refused(directory.GetUnit, directory_pb2.GetUnitRequest(name=city.next_door.office))
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        while part := await follow.read():
            assert all(city.next_door.office not in entry.objects for entry in part.ledger_entries)
        pytest.fail("the stream ended without a refusal")
    assert ended.value.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("sends_on", [True, False])
async def test_an_import_ends_with_the_post_of_who_sends_it(city: City, operator: Caller, *, sends_on: bool) -> None:
    """A stream opened in time would let somebody removed from his post rewrite the register for another hour."""
    mover = await city.hires(policy_pb2.ROLE_OPERATOR)
    removed = asyncio.Event()
    site = directory_pb2.Site(display_name="末班车", region=city.home.region, legacy_id=uuid.uuid4().hex)
    last = [directory_pb2.ImportSitesRequest(rows=[directory_pb2.SiteRow(row=1, site=site)])]
    header = kit_pb2.ImportHeader(request_id=uuid.uuid4().hex)

    async def stream() -> AsyncIterator[directory_pb2.ImportSitesRequest]:
        yield directory_pb2.ImportSitesRequest(header=header)
        for message in [] if sends_on else last:
            yield message
        await removed.wait()
        for message in last if sends_on else []:
            yield message

    call = city.house.directory.ImportSites(stream(), timeout=60, metadata=mover.metadata())
    await call.wait_for_connection()
    request = directory_pb2.EndAppointmentRequest(name=mover.appointment)
    await operator.calls(city.house.directory.EndAppointment, request)
    await asyncio.sleep(REVOKED_SECONDS)
    removed.set()
    assert grpc.StatusCode.PERMISSION_DENIED is (await status_of(call)).code
    assert not await city.house.fetch("SELECT FROM directory.site WHERE legacy_id = $1", site.legacy_id)


async def test_refusals_are_in_the_ledger(city: City) -> None:
    """An auditor would not see who tries doors that are closed to him."""
    curious = await city.hires(policy_pb2.ROLE_DUTY_HOLDER)
    await curious.refused(city.house.directory.CreateUnit, create_unit(city))
    await curious.refused(city.house.directory.GetSite, directory_pb2.GetSiteRequest(name=city.next_door.site))
    await curious.refused(city.house.directory.GetSite, directory_pb2.GetSiteRequest(name="sites/absent"))
    await curious.refused(city.house.directory.GetSite, directory_pb2.GetSiteRequest(name="nonsense"))
    kept = await city.house.refusals_of(curious.name)
    assert [
        ("ROLE_MISSING", "/dutyloop.directory.v1.DirectoryService/CreateUnit", []),
        ("NOT_FOUND", "/dutyloop.directory.v1.DirectoryService/GetSite", [city.next_door.site]),
    ] == [tuple(entry) for entry in kept]


async def test_the_answer_to_what_is_hidden_says_no_more_than_to_what_is_absent(city: City) -> None:
    """Whoever compares two answers would learn which sites the neighbours have."""
    answers = []
    for name in (city.next_door.site, city.next_door.site[:-1] + "0"):
        get = city.house.directory.GetSite
        refusal = await city.inspector.refused(get, directory_pb2.GetSiteRequest(name=name))
        answers.append([text.replace(name, "…") for text in refusal.texts])
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("asked", "locale"),
    [("en", "en"), ("en-GB,zh;q=0.5", "en"), ("zh-CN", "zh-CN"), ("zh", "zh-CN"), ("fr", "zh-CN"), ("", "zh-CN")],
)
async def test_refusals_are_worded_in_the_caller_s_language(city: City, asked: str, locale: str) -> None:
    """An inspector would read English, or an English client Chinese."""
    get = city.house.directory.GetSite
    refusal = await city.inspector.refused(get, directory_pb2.GetSiteRequest(name="sites/absent"), locale=asked)
    assert locale == refusal.locale
    assert refusal.words == refusal.message


# Time and load


@pytest.fixture
def slow_reads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes GetUnit wait until the returned function is called."""
    gate = asyncio.Event()
    read = DirectoryService.GetUnit

    async def wait(self: DirectoryService, request: directory_pb2.GetUnitRequest, call: Call) -> directory_pb2.Unit:
        await gate.wait()
        return await read(self, request, call)

    monkeypatch.setattr(DirectoryService, "GetUnit", wait)
    return gate.set


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def narrow(
    postgres: EmbeddedPostgres, new_database: NewDatabase, temporal: EmbeddedTemporal, keys: Any
) -> AsyncIterator[Callable[[], Any]]:
    """Opens a house with room for six people and two internal calls, and half a second for each."""
    database = await new_database()

    def opened() -> Any:
        return running_house(
            database,
            postgres.secrets_dir,
            temporal,
            keys,
            max_concurrent_calls=8,
            default_deadline_seconds=0.5,
            max_deadline_seconds=5.0,
        )

    yield opened


async def test_what_is_logged_within_a_call_names_it(
    monkeypatch: pytest.MonkeyPatch, narrow: Callable[[], Any]
) -> None:
    """Nobody could tell whose request a warning belongs to, of the thousands that are served at the time."""
    create = DirectoryService.CreateUnit

    async def warn(self: DirectoryService, request: directory_pb2.CreateUnitRequest, call: Call) -> directory_pb2.Unit:
        logger().warning("something_odd")
        return await create(self, request, call)

    monkeypatch.setattr(DirectoryService, "CreateUnit", warn)
    unit = directory_pb2.Unit(display_name="局", region="regions/none", kind=directory_pb2.UNIT_KIND_DEPARTMENT)
    requests = [directory_pb2.CreateUnitRequest(request_id=uuid.uuid4().hex, unit=unit) for _ in range(3)]
    async with narrow() as house:
        with capture_logs(processors=[add_call]) as lines:
            await asyncio.gather(*(house.operator.refused(house.directory.CreateUnit, each) for each in requests))
    odd = [(each["rpc"], each["principal"], each["request_id"]) for each in lines if each["event"] == "something_odd"]
    path = "/dutyloop.directory.v1.DirectoryService/CreateUnit"
    assert sorted(odd) == sorted((path, house.operator.name, each.request_id) for each in requests)


async def test_a_missing_deadline_is_imposed(slow_reads: Callable[[], None], narrow: Callable[[], Any]) -> None:
    """Calls without a deadline would pile up for ever behind one slow query."""
    async with narrow() as house:
        request = directory_pb2.GetUnitRequest(name="units/root")
        started = time.monotonic()
        refusal = await status_of(house.directory.GetUnit(request, metadata=house.operator.metadata()))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE")
        assert time.monotonic() - started < 3


async def test_a_day_long_deadline_is_cut(slow_reads: Callable[[], None], narrow: Callable[[], Any]) -> None:
    """A few callers with endless deadlines would keep every place while a backend hangs, and nobody else got in."""
    async with narrow() as house:
        started = time.monotonic()
        call = house.directory.GetUnit(
            directory_pb2.GetUnitRequest(name="units/root"), timeout=86_400, metadata=house.operator.metadata()
        )
        refusal = await status_of(call)
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE")
        assert time.monotonic() - started < 15


async def test_one_followers_streams_leave_the_others_their_places(city: City) -> None:
    """One forgotten program that opens stream after stream would shut out everybody's calls."""
    house, auditor, other = city.house, city.home.people[policy_pb2.ROLE_AUDITOR], city.all_rounder
    stub = AuditServiceStub(house.channel)

    def follow(by: Caller) -> Any:
        return stub.FollowLedger(audit_pb2.FollowLedgerRequest(), timeout=60, metadata=by.metadata())

    held = [follow(auditor) for _ in range(STREAMS_EACH)]
    try:
        for stream in held:
            await anext(aiter(stream))
        refusal = await status_of(anext(aiter(follow(auditor))))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        held.append(follow(other))
        await anext(aiter(held[-1]))
        await auditor.calls(house.directory.GetClock, directory_pb2.GetClockRequest())
    finally:
        for stream in held:
            stream.cancel()
    async with asyncio.timeout(10):
        while True:
            again = follow(auditor)
            with contextlib.suppress(grpc.aio.AioRpcError):
                await anext(aiter(again))
                break
            await asyncio.sleep(0.02)
    again.cancel()


async def test_overload_is_answered_while_the_worker_goes_on(
    slow_reads: Callable[[], None], narrow: Callable[[], Any]
) -> None:
    """A rush of people would keep cases from recording what they decided, and the rush would never end."""
    async with narrow() as house:
        request = directory_pb2.GetUnitRequest(name="units/root")
        held = [
            asyncio.ensure_future(house.directory.GetUnit(request, timeout=20, metadata=house.operator.metadata()))
            for _ in range(6)
        ]
        refusal = None
        while refusal is None:
            await asyncio.sleep(0.01)
            try:
                await house.operator.calls(house.directory.GetClock, directory_pb2.GetClockRequest())
            except grpc.aio.AioRpcError as error:
                refusal = Refusal.of(error)
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert refusal.retry_seconds is not None
        await house.service().calls(house.directory.GetClock, directory_pb2.GetClockRequest())
        slow_reads()
        assert len(await asyncio.gather(*held)) == 6
        await house.operator.calls(house.directory.GetClock, directory_pb2.GetClockRequest())


async def test_a_call_given_up_is_not_logged_as_served(
    slow_reads: Callable[[], None], narrow: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks for what made callers give up would find that everything went well."""
    codes = asyncio.Queue[str]()

    def note(*, rpc: str, code: str, **_: object) -> None:
        if rpc.endswith("/GetUnit"):
            codes.put_nowait(code)

    monkeypatch.setattr(server, "log_served", note)
    async with narrow() as house:
        request = directory_pb2.GetUnitRequest(name="units/root")
        call = house.directory.GetUnit(request, timeout=20, metadata=house.operator.metadata())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(call), 0.3)
        call.cancel()
        assert await asyncio.wait_for(codes.get(), 3) == "CANCELLED"


async def test_cancelled_calls_give_their_places_back(city: City) -> None:
    """Ten thousand opened and cancelled calls would leave the process refusing everybody."""
    request = directory_pb2.ListUnitsRequest()
    for _ in range(20):
        calls = [
            city.house.directory.ListUnits(request, timeout=10, metadata=city.inspector.metadata()) for _ in range(50)
        ]
        await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        await asyncio.gather(*(asyncio.ensure_future(_outcome(call)) for call in calls))
    await city.inspector.calls(city.house.directory.ListUnits, request)


async def _outcome(call: Any) -> None:
    try:
        await call
    except (grpc.aio.AioRpcError, asyncio.CancelledError):
        return


async def test_reads_carry_no_receipt_and_business_time_moves_for_all(city: City) -> None:
    """A receipt for what changed nothing could not be verified; two clocks would disagree about what is overdue."""
    before = await city.house.now()
    call = city.house.directory.GetClock(directory_pb2.GetClockRequest(), metadata=city.inspector.metadata())
    await call
    assert [key for key, _ in await call.trailing_metadata() or () if key == RECEIPT_KEY] == []
    after = await city.house.advance(timedelta(hours=1))
    assert timedelta(hours=1) == after - before
    mine = await city.inspector.calls(city.house.directory.GetClock, directory_pb2.GetClockRequest())
    assert after.timestamp() == mine.time.seconds + mine.time.nanos / 1e9


async def test_only_a_nationwide_operator_moves_the_clock(city: City, operator: Caller) -> None:
    """One city's operator could make every city's deadlines pass."""
    request = directory_pb2.AdvanceClockRequest()
    request.time.FromDatetime(await city.house.now() + timedelta(days=1))
    refusal = await operator.refused(city.house.directory.AdvanceClock, request)
    assert grpc.StatusCode.NOT_FOUND is refusal.code
