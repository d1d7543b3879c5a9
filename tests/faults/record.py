"""What the database says of a request id, and what a caller may be told while a part is down."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import grpc
from google.protobuf.message import Message
from google.type.date_pb2 import Date

from dutyloop.hazard.v1 import hazard_pb2
from services.kit.catalogue import describe_reason
from services.kit.server import RECEIPT_KEY
from tests.integration.house import Caller, Refusal, RunningHouse
from tests.integration.people import City
from workflows.payloads import rectification

PAUSE_SECONDS = 0.1
CALL_SECONDS = 5.0


async def check_once(house: RunningHouse, schema: str, request: Any, answer: Message, receipts: list[bytes]) -> None:
    """Check that the request has one stored answer, the one given, and one ledger entry, whose receipt was given."""
    stored = await house.fetch(
        f"SELECT answer, receipts FROM {schema}.command WHERE request_id = $1", request.request_id
    )
    assert [row["answer"] for row in stored] == [answer.SerializeToString()]
    assert receipts == stored[0]["receipts"]
    entries = await house.fetch("SELECT leaf_hash FROM ledger.entry WHERE request_id = $1", request.request_id)
    assert [entry["leaf_hash"] for entry in entries] == receipts
    assert len(receipts) == 1


def check_words(refusal: Refusal) -> None:
    """Check that an outage was told in the catalogue's words and in no other."""
    assert refusal.code is grpc.StatusCode.UNAVAILABLE, refusal
    if not refusal.reason:
        # The process itself is gone: gRPC's own word for it, made by the caller's library.
        return
    assert refusal.reason in ("SERVICE_UNAVAILABLE", "CASE_UNAVAILABLE"), refusal
    assert refusal.message == describe_reason(refusal.reason, refusal.metadata, "en")
    assert refusal.texts == (refusal.message, refusal.words)
    assert refusal.retry_seconds == 2


async def keep_trying(
    caller: Caller, method: Any, request: Any, *, seconds: float = 60.0, each: float = CALL_SECONDS
) -> tuple[Any, list[bytes], list[Refusal]]:
    """Send a request until it is answered, as a client does; return the answer, its receipts and the refusals."""
    request.request_id = request.request_id or uuid.uuid4().hex
    refusals = []
    end = time.monotonic() + seconds
    while True:
        call = method(request, timeout=each, metadata=caller.metadata())
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            refusals.append(Refusal.of(error))
            assert time.monotonic() < end, refusals[-1]
            await asyncio.sleep(PAUSE_SECONDS)
            continue
        metadata: Any = await call.trailing_metadata() or ()
        return answer, [value for key, value in metadata if key == RECEIPT_KEY], refusals


async def eventually(true: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    """Wait for something asynchronous that must become true."""
    end = time.monotonic() + seconds
    while not await true():
        assert time.monotonic() < end, "it did not become true"
        await asyncio.sleep(PAUSE_SECONDS)


async def check_assigned_once(city: City, request: hazard_pb2.AssignHazardRequest, answer: hazard_pb2.Hazard) -> None:
    """Check that an assignment took effect once, that the case knows of it, and that it goes on from there."""
    house = city.house
    assert answer.state == hazard_pb2.HAZARD_STATE_ASSIGNED
    again, receipts, _ = await keep_trying(city.supervisor, house.hazard.AssignHazard, request)
    assert answer == again
    await check_once(house, "hazard", request, answer, receipts)
    moves = await house.fetch(
        "SELECT type FROM ledger.entry WHERE objects[1] = $1 AND type = 'hazard.hazard.assigned'", answer.name
    )
    assert len(moves) == 1
    rows = await house.fetch("SELECT due_time FROM hazard.hazard WHERE id = $1", answer.name.removeprefix("hazards/"))
    identifier = rectification.workflow_id(answer.name.removeprefix("hazards/"))
    case = await house.temporal.get_workflow_handle(identifier).query(
        "hazard", result_type=rectification.HazardSnapshot
    )
    assert (case.state, case.unit, case.due_time) == ("ASSIGNED", request.unit, rows[0]["due_time"])
    plan = hazard_pb2.SubmitRectificationPlanRequest(name=answer.name, plan=a_plan(city, answer))
    planned, _, _ = await keep_trying(city.responsible, house.hazard.SubmitRectificationPlan, plan, each=20)
    assert planned.state == hazard_pb2.HAZARD_STATE_PLANNED


def a_plan(city: City, hazard: hazard_pb2.Hazard) -> hazard_pb2.RectificationPlan:
    """Return a plan that ends a month after the hazard was found."""
    last = hazard.open_time.ToDatetime() + timedelta(days=30)
    return hazard_pb2.RectificationPlan(
        responsible=city.responsible.name,
        measures="更换",
        funds_fen=1,
        finish_date=Date(year=last.year, month=last.month, day=last.day),
        contingency="专人值守",
    )
