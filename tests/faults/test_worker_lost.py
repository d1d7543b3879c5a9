"""A worker that dies or stands still in the middle of a person's action on a case."""

import asyncio
import os
import signal

import pytest

from dutyloop.hazard.v1 import hazard_pb2
from tests.faults.link import Moment
from tests.faults.parts import Parts
from tests.faults.record import check_assigned_once, keep_trying
from tests.faults.test_commit_cut import RECORD
from tests.integration.people import City

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
