"""The catalogue of clocks over the wire: whole, worded, and each of its keys good for an explanation."""

from dutyloop.directory.v1 import directory_pb2
from services.directory.statutory import CLOCKS
from tests.integration.people import City

PAGE = 40


async def test_every_clock_is_listed_once_and_can_be_asked_for(city: City) -> None:
    """The keys of the clocks could be learnt nowhere, or a default would be taken for law."""
    stub, caller, now = city.house.directory, city.inspector, await city.house.now()
    request, listed = directory_pb2.ListStatutoryClocksRequest(page_size=PAGE), list[directory_pb2.StatutoryClock]()
    while True:
        page = await caller.calls(stub.ListStatutoryClocks, request, locale="zh-CN")
        assert len(page.clocks) <= PAGE
        listed += page.clocks
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert [each.key for each in listed] == list(CLOCKS)
    for clock in listed:
        asked = directory_pb2.ExplainDeadlineRequest(clock=clock.key)
        asked.start_time.FromDatetime(now)
        answer = await caller.calls(stub.ExplainDeadline, asked, locale="zh-CN")
        assert (answer.statutory, answer.source) == (clock.statutory, clock.source)
        label = "法定" if clock.statutory else "非法定"
        assert answer.steps_zh[0] == f"{clock.matter}：{clock.source}（{label}）"
        assert ("not statutory" in answer.steps_en[0]) == (not clock.statutory)


async def test_a_local_law_says_where_it_binds(city: City) -> None:
    """Another province would report by Shandong's clocks."""
    request = directory_pb2.ListStatutoryClocksRequest(page_size=1_000)
    clocks = (await city.inspector.calls(city.house.directory.ListStatutoryClocks, request)).clocks
    assert {each.region for each in clocks if "Shandong" in each.source} == {"regions/37"}
    assert {each.region for each in clocks if "Shandong" not in each.source} == {""}
    (direct,) = (each for each in clocks if each.key == "incident_direct_report_sd")
    assert (direct.term.amount, direct.matter) == (30, "Shandong: direct incident report to the province")
