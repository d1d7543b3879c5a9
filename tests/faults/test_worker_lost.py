"""A worker that dies or stands still in the middle of a person's action on a case."""

import asyncio
import os
import signal

import pytest

from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.policy.v1 import policy_pb2
from tests.faults.link import Moment
from tests.faults.parts import Parts
from tests.faults.record import a_plan, check_assigned_once, keep_trying
from tests.faults.test_commit_cut import RECORD
from tests.integration.people import City, new_hazard
from workflows.payloads import rectification

UNDELIVERABLE = """
INSERT INTO hazard.case_message (workflow_id, kind, name, at, argument)
VALUES ('undeliverable', 'start', 'rectification', now(), 'no JSON')
"""
FROZEN_SECONDS = 15.0
"""More than the ten seconds after which Temporal gives a step to another worker."""


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_worker_killed_at_the_commit(parts: Parts, city: City, moment: Moment) -> None:
    """A supervisor's assignment would be lost, or stand in the ledger while its case waits for it for ever."""
    house, hazard = city.house, await city.reports()
    request = hazard_pb2.AssignHazardRequest(
        request_id=f"worker-killed-{moment}-commit", name=hazard.name, unit=city.home.enterprise
    )
    with parts.link.trap(moment, RECORD, request.request_id) as trap:
        asking = asyncio.create_task(keep_trying(city.supervisor, house.hazard.AssignHazard, request, each=20))
        await trap.caught()
        await parts.kill_worker()
        trap.release()
        answer, _, _ = await asking
    await check_assigned_once(city, request, answer)


async def test_everything_killed_at_the_commit(parts: Parts, city: City) -> None:
    """After a power cut a case that has not heard of its own last step would refuse every step that follows."""
    house, hazard = city.house, await city.reports()
    request = hazard_pb2.AssignHazardRequest(
        request_id="all-killed-after-commit", name=hazard.name, unit=city.home.enterprise
    )
    with parts.link.trap("after", RECORD, request.request_id) as trap:
        asking = asyncio.create_task(keep_trying(city.supervisor, house.hazard.AssignHazard, request, each=20))
        await trap.caught()
        await parts.kill(parts.worker)
        await parts.kill_temporal()
        await parts.kill(parts.services)
        trap.release(cut=True)
    await parts.crash_postgres()
    await asyncio.gather(parts.temporal.start(), parts.postgres.start())
    await parts.start_services()
    await parts.start_worker()
    answer, _, _ = await asking
    await check_assigned_once(city, request, answer)


@pytest.mark.parametrize("behind", [False, True])
async def test_a_worker_killed_with_a_second_action_waiting(parts: Parts, city: City, behind: bool) -> None:
    """Of two people who report one hazard rectified the second would overwrite the first, who may not reinspect it.

    The same while services still catch up after a restart, here for ever: one message cannot be delivered.
    """
    house = city.house
    if behind:
        await house.fetch(UNDELIVERABLE)
        await parts.kill(parts.services)
        await parts.start_services()
    report = hazard_pb2.ReportHazardRequest(hazard=new_hazard(city.home.site))
    hazard, _, _ = await keep_trying(city.inspector, house.hazard.ReportHazard, report)
    assign = hazard_pb2.AssignHazardRequest(name=hazard.name, unit=city.home.enterprise)
    await keep_trying(city.supervisor, house.hazard.AssignHazard, assign, each=20)
    plan = hazard_pb2.SubmitRectificationPlanRequest(name=hazard.name, plan=a_plan(city, hazard))
    await keep_trying(city.responsible, house.hazard.SubmitRectificationPlan, plan, each=20)
    second = await city.hires(policy_pb2.ROLE_RESPONSIBLE_UNIT, unit=city.home.enterprise)
    first_report, second_report = (
        hazard_pb2.SubmitRectificationRequest(request_id=f"{who}-rectified-{behind}", name=hazard.name, evidence=[who])
        for who in ("first", "second")
    )
    with parts.link.trap("after", RECORD, first_report.request_id) as trap:
        asking = asyncio.create_task(
            keep_trying(city.responsible, house.hazard.SubmitRectification, first_report, each=20)
        )
        await trap.caught()
        waiting = asyncio.create_task(second.refused(house.hazard.SubmitRectification, second_report, seconds=40))
        await asyncio.sleep(0.5)
        await parts.kill_worker()
        trap.release()
        answer, _, _ = await asking
    assert (await waiting).reason == "WRONG_STATE"
    rows = await house.fetch(
        "SELECT rectifier, evidence FROM hazard.hazard WHERE id = $1", hazard.name.removeprefix("hazards/")
    )
    assert (answer.rectifier, rows[0]["rectifier"]) == (city.responsible.name, city.responsible.name)
    identifier = rectification.workflow_id(hazard.name.removeprefix("hazards/"))
    case = await house.temporal.get_workflow_handle(identifier).query(
        "hazard", result_type=rectification.HazardSnapshot
    )
    assert (case.state, case.rectifier) == ("RECTIFIED", city.responsible.name)
    await house.fetch("DELETE FROM hazard.case_message WHERE workflow_id = 'undeliverable'")


@pytest.mark.parametrize("moment", [None, "after"])
async def test_a_worker_frozen_during_an_action(parts: Parts, city: City, moment: Moment | None) -> None:
    """A worker that wakes up late would do once more what another has done in its place."""
    house, hazard = city.house, await city.reports()
    request = hazard_pb2.AssignHazardRequest(
        request_id=f"worker-frozen-{moment}", name=hazard.name, unit=city.home.enterprise
    )
    with parts.link.trap(moment or "after", RECORD, request.request_id) as trap:
        if moment is None:
            trap.release()
            os.kill(parts.worker.pid, signal.SIGSTOP)
        asking = asyncio.create_task(keep_trying(city.supervisor, house.hazard.AssignHazard, request))
        try:
            if moment is not None:
                await trap.caught()
                os.kill(parts.worker.pid, signal.SIGSTOP)
                trap.release()
            await asyncio.sleep(FROZEN_SECONDS)
        finally:
            os.kill(parts.worker.pid, signal.SIGCONT)
        answer, _, refusals = await asking
    if moment is None:
        assert {(refusal.code.name, refusal.reason) for refusal in refusals} == {("UNAVAILABLE", "CASE_UNAVAILABLE")}
    await check_assigned_once(city, request, answer)
