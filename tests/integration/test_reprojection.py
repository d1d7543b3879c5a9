"""Terms counted through a year without a holiday notice, over the wire: marked, and counted anew when it comes."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

from google.protobuf.message import Message
from google.type.date_pb2 import Date

from dutyloop.accountability.v1 import accountability_pb2
from dutyloop.accountability.v1.accountability_pb2_grpc import AccountabilityServiceStub
from dutyloop.audit.v1 import audit_pb2
from dutyloop.audit.v1.audit_pb2_grpc import AuditServiceStub
from dutyloop.directory.v1 import directory_pb2
from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.kit.v1 import kit_pb2
from dutyloop.policy.v1 import policy_pb2
from tests.integration.people import City

SOON_SECONDS = 20.0
MONDAY = datetime(2027, 5, 24, 2, 0, tzinfo=UTC)
"""In a year whose notice was not out when this was written."""
DAYS_OFF = [Date(year=2027, month=5, day=each) for each in range(26, 32)]
DAYS_OFF += [Date(year=2027, month=6, day=each) for each in range(1, 5)]


async def publish(city: City) -> None:
    """Publish the notice that makes the days after tomorrow holidays."""
    notice = directory_pb2.HolidayNotice(name="holidayNotices/2027", off_dates=DAYS_OFF)
    request = directory_pb2.PublishHolidayNoticeRequest(notice=notice)
    await city.house.operator.calls(city.house.directory.PublishHolidayNotice, request)


async def explained(city: City, start: Message, amount: int) -> directory_pb2.ExplainDeadlineResponse:
    """Return how a term of working days is explained now."""
    term = kit_pb2.Term(amount=amount, unit=kit_pb2.TERM_UNIT_WORKING_DAYS)
    request = directory_pb2.ExplainDeadlineRequest(start_time=start, term=term)  # type: ignore[arg-type]
    return await city.inspector.calls(city.house.directory.ExplainDeadline, request)


async def test_terms_move_when_the_notice_comes(city: City) -> None:
    """People would be supervised on holidays that everybody else has off, or not know that a day may still move."""
    house, stub = city.house, city.house.hazard
    await house.advance(MONDAY - await house.now())
    reported = await city.reports()
    planned = await city.reports()
    await city.supervisor.calls(
        stub.AssignHazard, hazard_pb2.AssignHazardRequest(name=planned.name, unit=city.home.enterprise)
    )
    plan = hazard_pb2.RectificationPlan(
        responsible=city.responsible.name, measures="m", finish_date=Date(year=2027, month=6, day=1), contingency="c"
    )
    fixed = await city.responsible.calls(
        stub.SubmitRectificationPlan, hazard_pb2.SubmitRectificationPlanRequest(name=planned.name, plan=plan)
    )
    assert not fixed.due_provisional, "a plan's day is a day"
    before = await explained(city, reported.open_time, 3)
    assert (reported.due_time, reported.due_provisional) == (before.due_time, True)
    assert before.provisional

    async def read(name: str) -> hazard_pb2.Hazard:
        return await city.inspector.calls(stub.GetHazard, hazard_pb2.GetHazardRequest(name=name))

    await publish(city)
    deadline = time.monotonic() + SOON_SECONDS
    while (moved := await read(reported.name)).due_provisional:
        assert time.monotonic() < deadline, moved
        await asyncio.sleep(0.05)
    after = await explained(city, reported.open_time, 3)
    assert (moved.due_time, after.provisional) == (after.due_time, False)
    assert moved.due_time.ToDatetime(tzinfo=UTC) == datetime(2027, 6, 8, 16, tzinfo=UTC)
    assert (moved.state, moved.unit) == (reported.state, reported.unit)
    assert await read(planned.name) == fixed

    audit = AuditServiceStub(house.channel)
    auditor = await city.hires(policy_pb2.ROLE_AUDITOR)
    story = await auditor.calls(audit.GetCaseTimeline, audit_pb2.GetCaseTimelineRequest(case_name=reported.name))
    (line,) = [each for each in story.lines if each.type == "hazard.hazard.reprojected"]
    assert "2027 年，到期日由 2027-05-27 改为 2027-06-08" in line.text_zh
    assert "2027, due on 2027-06-08 instead of 2027-05-27" in line.text_en
    rows = await house.fetch(
        "SELECT actor, convert_from(payload, 'UTF8')::jsonb ->> 'notice' AS notice FROM ledger.entry"
        " WHERE type = 'hazard.hazard.reprojected' AND objects[1] = $1",
        reported.name,
    )
    assert [tuple(row) for row in rows] == [("services/worker", "2027")]

    cases = AccountabilityServiceStub(house.channel)

    async def supervised() -> int:
        request = accountability_pb2.ListSupervisionCasesRequest(hazard=reported.name)
        found = await city.supervisor.calls(cases.ListSupervisionCases, request)
        return len(found.supervision_cases)

    await house.advance(before.due_time.ToDatetime(tzinfo=UTC) + timedelta(hours=1) - await house.now())
    assert await supervised() == 0, "the term of before ran out"
    await house.advance(after.due_time.ToDatetime(tzinfo=UTC) + timedelta(hours=1) - await house.now())
    assert await supervised() == 1
    assert await read(reported.name) == _red(moved)


def _red(hazard: hazard_pb2.Hazard) -> hazard_pb2.Hazard:
    """Return a hazard whose term has run out since."""
    late = hazard_pb2.Hazard()
    late.CopyFrom(hazard)
    late.light = kit_pb2.LIGHT_RED
    return late
