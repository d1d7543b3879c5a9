"""Between commit and reply: whoever asks again with the same request id learns what became of the first time."""

import asyncio

import pytest

from dutyloop.hazard.v1 import hazard_pb2
from tests.faults.link import Moment
from tests.faults.parts import Parts
from tests.faults.record import check_assigned_once, check_once, check_words, keep_trying
from tests.integration.house import Refusal, RunningHouse
from tests.integration.people import City, new_hazard

REPORT = "/dutyloop.hazard.v1.HazardService/ReportHazard"
RECORD = "/dutyloop.hazard.v1.HazardService/RecordHazardTransition"


async def report(city: City, request_id: str) -> hazard_pb2.ReportHazardRequest:
    """Return the report of a hazard closed on the spot, so that the request has one effect only."""
    hazard = new_hazard(city.home.site, hazard_pb2.DISPOSITION_ON_THE_SPOT)
    hazard.visit = await city.visits(city.inspector)
    return hazard_pb2.ReportHazardRequest(request_id=request_id, hazard=hazard)


async def hazards_of(house: RunningHouse, name: str) -> int:
    """Count the rows of a hazard."""
    identifier = name.removeprefix("hazards/")
    return len(await house.fetch("SELECT FROM hazard.hazard WHERE id = $1", identifier))


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_service_killed_at_the_commit(parts: Parts, city: City, moment: Moment) -> None:
    """An inspector whose phone saw no answer would report again: two hazards in the ledger, or none."""
    house, request = city.house, await report(city, f"killed-{moment}-commit")
    asking = asyncio.create_task(keep_trying(city.inspector, house.hazard.ReportHazard, request, each=20))
    with parts.link.trap(moment, REPORT, request.request_id) as trap:
        await trap.caught()
        await parts.kill(parts.services)
        trap.release()
    await parts.start_services()
    answer, receipts, refusals = await asking
    assert refusals, "the kill came too late: nobody had to ask again"
    assert {refusal.code.name for refusal in refusals} == {"UNAVAILABLE"}
    again, receipts_again, _ = await keep_trying(city.inspector, house.hazard.ReportHazard, request)
    assert answer == again
    assert receipts == receipts_again
    await check_once(house, "hazard", request, answer, receipts)
    assert await hazards_of(house, answer.name) == 1


@pytest.mark.parametrize(("moment", "kept"), [("before", 0), ("after", 1)])
async def test_the_link_cut_during_the_commit(parts: Parts, city: City, moment: Moment, kept: int) -> None:
    """The service cannot know whether it committed: to guess either way would lose a hazard or double it."""
    house, request = city.house, await report(city, f"cut-{moment}-commit")
    with parts.link.trap(moment, REPORT, request.request_id) as trap:
        asking = asyncio.create_task(city.inspector.refused(house.hazard.ReportHazard, request))
        await trap.caught()
        trap.release(cut=True)
        refusal: Refusal = await asking
    check_words(refusal)
    assert refusal.reason == "SERVICE_UNAVAILABLE"
    found = await house.fetch("SELECT FROM hazard.command WHERE request_id = $1", request.request_id)
    assert len(found) == kept
    answer, receipts, _ = await keep_trying(city.inspector, house.hazard.ReportHazard, request)
    await check_once(house, "hazard", request, answer, receipts)
    assert await hazards_of(house, answer.name) == 1


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_the_link_cut_during_the_recording_of_a_case(parts: Parts, city: City, moment: Moment) -> None:
    """An assignment would be recorded twice, or the case and its record would tell different stories."""
    house, hazard = city.house, await city.reports()
    request = hazard_pb2.AssignHazardRequest(
        request_id=f"assigned-{moment}-commit", name=hazard.name, unit=city.home.enterprise
    )
    with parts.link.trap(moment, RECORD, request.request_id) as trap:
        asking = asyncio.create_task(keep_trying(city.supervisor, house.hazard.AssignHazard, request, each=20))
        await trap.caught()
        trap.release(cut=True)
        answer, _, _ = await asking
    await check_assigned_once(city, request, answer)
