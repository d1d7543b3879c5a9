"""Services deployed apart find each other by their own addresses."""

import asyncio

import grpc

from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.hazard.v1.hazard_pb2_grpc import HazardServiceStub
from infra.embedded.process import free_port
from services.kit.serve import serve
from tests.integration.people import City, new_hazard


async def test_a_service_apart_reaches_directory_by_its_own_address(city: City) -> None:
    """A province that gives each service a host of its own would get UNAVAILABLE from every one of them."""
    shared = city.house.settings
    address, nobody = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    apart = shared.model_copy(
        update={
            "listen_address": address,
            "api_address": nobody,
            "api_addresses": {"directory": shared.api_address, "inspection": shared.api_address},
            # Its calls read business time from directory, too.
            "virtual_time": True,
        }
    )
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(apart, ("hazard",), stop))
    channel = grpc.aio.insecure_channel(address)
    try:
        await asyncio.wait_for(channel.channel_ready(), 20)
        request = hazard_pb2.ReportHazardRequest(hazard=new_hazard(city.home.site))
        reported = await city.inspector.calls(HazardServiceStub(channel).ReportHazard, request)
        asked = hazard_pb2.GetHazardRequest(name=reported.name)
        assert (await city.inspector.calls(city.house.hazard.GetHazard, asked)).name == reported.name
    finally:
        await channel.close(None)
        stop.set()
        await serving
