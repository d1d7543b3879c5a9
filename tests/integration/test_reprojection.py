"""Terms counted through a year without a holiday notice, over the wire: marked, and counted anew when it comes."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date

from dutyloop.accountability.v1 import accountability_pb2
from dutyloop.accountability.v1.accountability_pb2_grpc import AccountabilityServiceStub
from dutyloop.audit.v1 import audit_pb2
from dutyloop.audit.v1.audit_pb2_grpc import AuditServiceStub
from dutyloop.directory.v1 import directory_pb2
from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.kit.v1 import kit_pb2
from dutyloop.policy.v1 import policy_pb2
from services.kit.dates import day_message
from tests.integration.people import City

SOON_SECONDS = 20.0
MONDAYS = {year: datetime(year, 5, day, 2, 0, tzinfo=UTC) for year, day in ((2027, 24), (2028, 22))}
"""In years whose notice was not out when this was written."""
LATER = timedelta(hours=1)
Marked = TypeVar("Marked", hazard_pb2.Hazard, accountability_pb2.SupervisionCase, accountability_pb2.AccountabilityCase)


async def await_monday(city: City, year: int) -> None:
    """Let business time pass until the Monday."""
    await city.house.advance(MONDAYS[year] - await city.house.now())


async def publish(city: City, year: int) -> None:
    """Publish the notice that makes ten days holidays, from the Wednesday on."""
    off = [day_message(MONDAYS[year].date() + timedelta(days=days)) for days in range(2, 12)]
    notice = directory_pb2.HolidayNotice(name=f"holidayNotices/{year}", off_dates=off)
    request = directory_pb2.PublishHolidayNoticeRequest(notice=notice)
    await city.house.operator.calls(city.house.directory.PublishHolidayNotice, request)


async def explained(city: City, start: Timestamp, working_days: int) -> directory_pb2.ExplainDeadlineResponse:
    """Return how a term is explained now."""
    term = kit_pb2.Term(amount=working_days, unit=kit_pb2.TERM_UNIT_WORKING_DAYS)
    request = directory_pb2.ExplainDeadlineRequest(start_time=start, term=term)
    return await city.inspector.calls(city.house.directory.ExplainDeadline, request)


async def settled(read: Callable[[], Awaitable[Marked]]) -> Marked:
    """Wait until the mark is gone, which must be soon."""
    deadline = time.monotonic() + SOON_SECONDS
    while (found := await read()).due_provisional:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.05)
    return found


async def told(city: City, name: str) -> tuple[str, str]:
    """Return the one line of a case's timeline that tells of the notice, in both languages."""
    auditor = await city.hires(policy_pb2.ROLE_AUDITOR)
    audit = AuditServiceStub(city.house.channel)
    story = await auditor.calls(audit.GetCaseTimeline, audit_pb2.GetCaseTimelineRequest(case_name=name))
    (line,) = [each for each in story.lines if each.type.endswith(".reprojected") and name in each.text_en]
    return line.text_zh, line.text_en


async def test_a_hazard_moves_when_the_notice_comes(city: City) -> None:
    """A unit would be supervised on holidays that everybody else has off, or not know that its day may still move."""
    house, stub = city.house, city.house.hazard
    await await_monday(city, 2027)
    reported, planned = await city.reports(), await city.reports()
    assign = hazard_pb2.AssignHazardRequest(name=planned.name, unit=city.home.enterprise)
    assert (await city.supervisor.calls(stub.AssignHazard, assign)).due_provisional
    plan = hazard_pb2.RectificationPlan(
        responsible=city.responsible.name,
        measures="更换",
        finish_date=Date(year=2027, month=5, day=31),  # when the term for the plan would end, too
        contingency="停用",
    )
    submit = hazard_pb2.SubmitRectificationPlanRequest(name=planned.name, plan=plan)
    fixed = await city.responsible.calls(stub.SubmitRectificationPlan, submit)
    assert not fixed.due_provisional, "a plan's day is a day"
    before = await explained(city, reported.open_time, 3)
    assert (reported.due_time, reported.due_provisional, before.provisional) == (before.due_time, True, True)

    async def read(name: str = reported.name) -> hazard_pb2.Hazard:
        return await city.inspector.calls(stub.GetHazard, hazard_pb2.GetHazardRequest(name=name))

    await publish(city, 2027)
    moved = await settled(read)
    after = await explained(city, reported.open_time, 3)
    assert (moved.due_time, after.provisional) == (after.due_time, False)
    assert moved.due_time.ToDatetime(tzinfo=UTC) == datetime(2027, 6, 8, 16, tzinfo=UTC)
    assert (moved.state, moved.etag) == (reported.state, "2"), "once"
    assert await read(planned.name) == fixed
    chinese, english = await told(city, reported.name)
    assert "2027 年，到期日由 2027-05-27 改为 2027-06-08" in chinese
    assert "2027, due on 2027-06-08 instead of 2027-05-27" in english
    rows = await house.fetch(
        "SELECT actor, convert_from(payload, 'UTF8')::jsonb ->> 'notice' AS notice FROM ledger.entry"
        " WHERE type = 'hazard.hazard.reprojected' AND objects[1] = $1",
        reported.name,
    )
    assert [tuple(row) for row in rows] == [("services/worker", "2027")]

    async def supervised() -> int:
        request = accountability_pb2.ListSupervisionCasesRequest(hazard=reported.name)
        cases = AccountabilityServiceStub(house.channel)
        return len((await city.supervisor.calls(cases.ListSupervisionCases, request)).supervision_cases)

    await house.advance(before.due_time.ToDatetime(tzinfo=UTC) + LATER - await house.now())
    assert await supervised() == 0, "the term of before ran out"
    await house.advance(after.due_time.ToDatetime(tzinfo=UTC) + LATER - await house.now())
    assert await supervised() == 1
    assert (await read()).due_time == moved.due_time


async def test_cases_move_when_the_notice_comes(city: City) -> None:
    """People would be called in, or facts noted as late, on holidays that everybody else has off."""
    house, stub = city.house, AccountabilityServiceStub(city.house.channel)
    await await_monday(city, 2028)

    async def supervise(term: kit_pb2.Term | None = None) -> accountability_pb2.SupervisionCase:
        case = accountability_pb2.SupervisionCase(
            display_name="督办",
            source=accountability_pb2.CASE_SOURCE_MEETING,
            matter="消除隐患",
            unit=city.home.office,
            term=term,
        )
        request = accountability_pb2.OpenSupervisionCaseRequest(supervision_case=case)
        return await city.supervisor.calls(stub.OpenSupervisionCase, request)

    async def read(name: str) -> accountability_pb2.SupervisionCase:
        request = accountability_pb2.GetSupervisionCaseRequest(name=name)
        return await city.supervisor.calls(stub.GetSupervisionCase, request)

    async def read_accusation(name: str) -> accountability_pb2.AccountabilityCase:
        request = accountability_pb2.GetAccountabilityCaseRequest(name=name)
        return await city.supervisor.calls(stub.GetAccountabilityCase, request)

    with_term = await supervise(kit_pb2.Term(amount=3, unit=kit_pb2.TERM_UNIT_WORKING_DAYS))
    in_days = await supervise(kit_pb2.Term(amount=30, unit=kit_pb2.TERM_UNIT_NATURAL_DAYS))
    assert (with_term.due_provisional, in_days.due_provisional) == (True, False)
    climbing = await supervise()
    deadline = time.monotonic() + SOON_SECONDS
    while not (climbing := await read(climbing.name)).fired_rung_count:
        assert time.monotonic() < deadline, climbing
        await asyncio.sleep(0.05)
    assert climbing.due_provisional
    accused = accountability_pb2.AccountabilityCase(
        subject=(await city.hires(policy_pb2.ROLE_LEADER)).name,
        unit=city.home.office,
        matter="逾期未整改",
        supervision_case=climbing.name,
    )
    accuse = accountability_pb2.OpenAccountabilityCaseRequest(accountability_case=accused)
    accused = await city.supervisor.calls(stub.OpenAccountabilityCase, accuse)
    facts = accountability_pb2.SubmitFactsRequest(name=accused.name, facts="经查属实", evidence=["卷宗1"])
    handled = await city.supervisor.calls(stub.SubmitFacts, facts)
    assert (accused.due_provisional, handled.due_provisional) == (True, True)

    await publish(city, 2028)
    moved = await settled(lambda: read(with_term.name))
    assert moved.due_time == (await explained(city, with_term.open_time, 3)).due_time != with_term.due_time
    climbs = await settled(lambda: read(climbing.name))
    assert climbs.next_rung_time.ToDatetime() > climbing.next_rung_time.ToDatetime()
    assert (climbs.due_time, climbs.fired_rung_count) == (climbing.due_time, climbing.fired_rung_count)
    answers = await settled(lambda: read_accusation(accused.name))
    assert answers.due_time == (await explained(city, await started(city, accused.name), 15)).due_time
    assert await read(in_days.name) == in_days
    assert answers.due_time != handled.due_time
    for name in (with_term.name, climbing.name, accused.name):
        chinese, english = await told(city, name)
        assert "：2028 年，到期日由 2028-" in chinese and ": 2028, due on 2028-" in english

    await house.advance(climbing.next_rung_time.ToDatetime(tzinfo=UTC) + LATER - await house.now())
    assert (await read(climbing.name)).fired_rung_count == climbing.fired_rung_count, "the wait of before ran out"
    assert (await read(with_term.name)).fired_rung_count == 0, "the term of before ran out"
    await house.advance(climbs.next_rung_time.ToDatetime(tzinfo=UTC) + LATER - await house.now())
    assert (await read(climbing.name)).fired_rung_count == climbing.fired_rung_count + 1
    assert (await read(with_term.name)).fired_rung_count == 1


async def started(city: City, name: str) -> Timestamp:
    """Return when the facts of a case were recorded, which begins the term to decide."""
    (row,) = await city.house.fetch(
        "SELECT business_time FROM ledger.entry"
        " WHERE type = 'accountability.accountability_case.facts_submitted' AND objects[1] = $1",
        name,
    )
    start = Timestamp()
    start.FromDatetime(row["business_time"])
    return start
