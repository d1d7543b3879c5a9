"""Everything crashes, and Temporal comes back as it was some steps before: its disk had not got them yet."""

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Literal

import pytest
from temporalio.service import RPCError

from dutyloop.hazard.v1 import hazard_pb2
from tests.faults.parts import Parts
from tests.faults.record import a_plan, eventually, keep_trying
from tests.integration.house import RunningHouse
from tests.integration.people import City
from workflows.payloads import rectification


def copy_histories(temporal_file: Path, copy: Path) -> None:
    """Copy Temporal's database as it is at this moment."""
    with (
        contextlib.closing(sqlite3.connect(temporal_file)) as source,
        contextlib.closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)


def put_back(copy: Path, temporal_file: Path) -> None:
    """Have Temporal start from an earlier copy of its database."""
    for suffix in ("-wal", "-shm"):
        temporal_file.with_name(temporal_file.name + suffix).unlink(missing_ok=True)
    temporal_file.write_bytes(copy.read_bytes())


async def state_of_case(house: RunningHouse, workflow_id: str) -> tuple[str, str]:
    """Return the state and the unit that a case believes in, nothing while there is none."""
    try:
        case = await house.temporal.get_workflow_handle(workflow_id).query(
            "hazard", result_type=rectification.HazardSnapshot
        )
    except RPCError:
        return "", ""
    return case.state, case.unit


@pytest.mark.parametrize("forgotten", ["steps", "case"])
async def test_a_case_forgotten_in_a_crash_catches_up_by_itself(
    parts: Parts, city: City, tmp_path: Path, forgotten: Literal["steps", "case"]
) -> None:
    """People who were answered do not ask again: a case behind its record would refuse every step that follows."""
    house, copy = city.house, tmp_path / "temporal.db"
    if forgotten == "case":
        await asyncio.to_thread(copy_histories, parts.temporal_file, copy)
    hazard = await city.reports()
    workflow_id = rectification.workflow_id(hazard.name.removeprefix("hazards/"))

    async def started() -> bool:
        return await state_of_case(house, workflow_id) == ("REPORTED", "")

    await eventually(started)
    if forgotten == "steps":
        await asyncio.to_thread(copy_histories, parts.temporal_file, copy)
    assign = hazard_pb2.AssignHazardRequest(name=hazard.name, unit=city.home.enterprise)
    await keep_trying(city.supervisor, house.hazard.AssignHazard, assign, each=20)
    plan = hazard_pb2.SubmitRectificationPlanRequest(name=hazard.name, plan=a_plan(city, hazard))
    planned, _, _ = await keep_trying(city.responsible, house.hazard.SubmitRectificationPlan, plan, each=20)

    await parts.kill(parts.services)
    await parts.kill(parts.worker)
    await parts.kill_temporal()
    await parts.crash_postgres()
    await asyncio.to_thread(put_back, copy, parts.temporal_file)
    await asyncio.gather(parts.temporal.start(), parts.postgres.start())
    await parts.start_services()
    await parts.start_worker()

    async def caught_up() -> bool:
        return await state_of_case(house, workflow_id) == ("PLANNED", city.home.enterprise)

    await eventually(caught_up)
    rows = await house.fetch("SELECT type FROM ledger.entry WHERE objects[1] = $1 ORDER BY recorded_time", hazard.name)
    assert [row["type"].rpartition(".")[2] for row in rows] == ["reported", "assigned", "planned"]
    found = await city.supervisor.calls(house.hazard.GetHazard, hazard_pb2.GetHazardRequest(name=hazard.name))
    assert (found.etag, found.due_time) == (planned.etag, planned.due_time)
    rectified = hazard_pb2.SubmitRectificationRequest(name=hazard.name, evidence=["photo"])
    answer, _, _ = await keep_trying(city.responsible, house.hazard.SubmitRectification, rectified, each=20)
    assert answer.state == hazard_pb2.HAZARD_STATE_RECTIFIED
