"""The command line against the running house: names in tables, items from a table, holidays, the ledger followed."""

import asyncio
import json
import os
import signal
import sys
import uuid
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import openpyxl
import pytest

from dutyloop.directory.v1 import directory_pb2
from dutyloop.duty.v1 import duty_pb2
from dutyloop.duty.v1.duty_pb2_grpc import DutyServiceStub
from dutyloop.policy.v1 import policy_pb2
from infra.embedded.process import free_port
from services.cli import status
from tests.integration.house import Caller
from tests.integration.people import City

PATIENCE_SECONDS = 60.0
ITEMS = (
    "编号,职责内容,法律依据,条款,责任类型,责任方式,频次,应附佐证材料,期限天数\n"
    "1,每季度研究安全生产工作,安全生产法,第九条,领导责任,牵头,FREQ=MONTHLY;INTERVAL=3;BYMONTHDAY=10,会议纪要、文件,10\n"
    "2,带队检查,安全生产法,第六十二条,supervisory,lead,,,\n"
)


async def begun(city: City, caller: Caller, *arguments: str, locale: str = "zh-CN") -> Process:
    own = {name: value for name, value in os.environ.items() if not name.startswith("DUTYLOOP_")}
    told = {
        "DUTYLOOP_API_ADDRESS": city.house.settings.api_address,
        "DUTYLOOP_TOKEN": caller.token,
        "DUTYLOOP_LOCALE": locale,
    }
    command = (sys.executable, "-m", "services.cli.main", *arguments)
    return await asyncio.create_subprocess_exec(*command, env=own | told, stdout=PIPE, stderr=PIPE)


async def ran(city: City, caller: Caller, *arguments: str, locale: str = "zh-CN") -> tuple[int, str, str]:
    """Return a command's exit code, what it printed and what it said beside."""
    process = await begun(city, caller, *arguments, locale=locale)
    output, errors = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def shown(city: City, caller: Caller, *arguments: str, locale: str = "zh-CN") -> str:
    code, output, errors = await ran(city, caller, *arguments, locale=locale)
    assert code == 0, errors
    return output


async def test_a_list_shows_names_and_its_json_the_api_s_answer(city: City) -> None:
    """A safety officer would have to look up every enterprise by its id."""
    hazard = await city.reports()
    request = directory_pb2.GetSiteRequest(name=city.home.site)
    site = await city.inspector.calls(city.house.directory.GetSite, request)
    row = next(
        line
        for line in (await shown(city, city.inspector, "hazards", "list", "--limit", "0")).splitlines()
        if hazard.name in line
    )
    assert f"{site.display_name} {site.name}" in row
    listed = json.loads(await shown(city, city.inspector, "hazards", "list", "--limit", "0", "--json"))
    assert {each["site"] for each in listed["hazards"] if each["name"] == hazard.name} == {site.name}
    person = directory_pb2.GetPersonRequest(name=city.inspector.name)
    reporter = await city.inspector.calls(city.house.directory.GetPerson, person)
    assert f"{reporter.display_name} {reporter.name}" in await shown(
        city, city.inspector, "hazards", "show", hazard.name, locale="en"
    )


@pytest.fixture
def editor(city: City) -> Caller:
    """Who edits lists at home."""
    return city.home.people[policy_pb2.ROLE_LIST_EDITOR]


async def a_draft(city: City, editor: Caller) -> str:
    draft = duty_pb2.ResponsibilityList(kind=duty_pb2.LIST_KIND_DUTY, display_name="清单", unit=city.home.office)
    draft.effective_date.year, draft.effective_date.month, draft.effective_date.day = (
        (await city.house.now()).year,
        1,
        1,
    )
    stub = DutyServiceStub(city.house.channel)
    request = duty_pb2.CreateResponsibilityListRequest(responsibility_list=draft)
    return (await editor.calls(stub.CreateResponsibilityList, request)).name


async def test_items_come_from_a_table_with_every_refused_row_told(city: City, editor: Caller, tmp_path: Path) -> None:
    """An office that keeps its list in a table would type it into JSON."""
    draft, table, refused = await a_draft(city, editor), tmp_path / "items.csv", tmp_path / "errors.csv"
    bad = "3,三,法,第1条,领导,牵头,,,\n4,四,法,第1条,领导责任,牵头,,,十天\n5,五,法,第1条,领导责任,牵头,FREQ=HOURLY,,\n"
    table.write_text(ITEMS + bad, encoding="utf-8")
    command = ("lists", "import-items", draft, str(table), "--errors", str(refused), "--json")
    code, output, _ = await ran(city, editor, *command, "--dry-run")
    assert (code, json.loads(output)["phases"]["duty_items"]["created"]) == (6, 2)
    assert json.loads(await shown(city, editor, "lists", "items", draft, "--json"))["duty_items"] == []
    code, output, _ = await ran(city, editor, *command)
    counted = json.loads(output)["phases"]["duty_items"]
    assert (code, counted["rows"], counted["created"], counted["rejected"]) == (6, 5, 2, 3)
    told = refused.read_text(encoding="utf-8-sig").splitlines()[1:]
    assert [line.split(",")[:2] for line in told] == [["4", "责任类型"], ["5", "期限天数"], ["6", "频次"]]
    items = await shown(city, editor, "lists", "items", draft)
    assert "每季度首月10日 (FREQ=MONTHLY;INTERVAL=3;BYMONTHDAY=10)" in items
    listed = json.loads(await shown(city, editor, "lists", "items", draft, "--json"))["duty_items"]
    assert listed[0]["expected_evidence"] == ["EVIDENCE_TYPE_MINUTES", "EVIDENCE_TYPE_DOCUMENT"]
    assert [each.get("involvement") for each in listed] == ["INVOLVEMENT_LEAD"] * 2


async def test_a_table_taken_back_is_taken_in_again(city: City, editor: Caller, tmp_path: Path) -> None:
    """Whoever goes back to yesterday's table would be told that it was imported, and the list keep today's."""
    draft = await a_draft(city, editor)
    first, second = tmp_path / "first.csv", tmp_path / "second.xlsx"
    first.write_text(ITEMS, encoding="utf-8")
    book = openpyxl.Workbook()
    for line in ITEMS.replace("带队检查", "带队督查").splitlines():
        book.active.append(line.split(","))  # type: ignore[union-attr]
    book.save(second)
    for table, text in ((first, "带队检查"), (second, "带队督查"), (first, "带队检查")):
        await shown(city, editor, "lists", "import-items", draft, str(table))
        assert text in await shown(city, editor, "lists", "items", draft)


async def test_a_year_s_holidays_are_entered_by_their_ends(city: City) -> None:
    """The operator would write thirty days of JSON each November."""
    days = ("--off-dates", "2034-10-01..2034-10-07,2034-01-01", "--work-dates", "2034-10-14")
    answer = json.loads(
        await shown(city, city.house.operator, "directory", "publish-holidays", "2034", *days, "--json")
    )
    assert (answer["name"], len(answer["off_dates"])) == ("holidayNotices/2034", 8)
    explained = ("directory", "explain-deadline", "--start-time", "2034-09-29T10:00", "--term", "6wd")
    steps = await shown(city, city.house.operator, *explained)
    assert "跳过 2034-09-30 至 2034-10-08（假期，含周末）" in steps
    assert "2034-10-14 调休上班，计入" in steps
    assert "暂定" not in steps


async def test_the_ledger_is_followed_until_ctrl_c_and_gone_on_with(city: City) -> None:
    """A department's script would lose entries, or see some twice, whenever it is started again."""
    auditor = city.home.people[policy_pb2.ROLE_AUDITOR]
    first = await city.reports()
    process = await begun(city, auditor, "audit", "follow", "--type-prefix", "hazard.", "--json")
    assert process.stdout is not None
    while True:
        line = await asyncio.wait_for(process.stdout.readline(), PATIENCE_SECONDS)
        entry = json.loads(line)
        assert entry["type"].startswith("hazard.")
        if first.name in entry["objects"]:
            break
    process.send_signal(signal.SIGINT)
    _, errors = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
    assert process.returncode == 0, errors.decode()
    position = errors.decode().rpartition("--after-position ")[2].strip()
    assert int(position) >= int(entry["position"])

    second = await city.reports()
    process = await begun(city, auditor, "audit", "follow", "--type-prefix", "hazard.", "--after-position", position)
    assert process.stdout is not None
    told = (await asyncio.wait_for(process.stdout.readline(), PATIENCE_SECONDS)).decode()
    process.send_signal(signal.SIGINT)
    await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
    assert f"隐患 {second.name} 已上报" in told
    assert first.name not in told


async def test_who_may_not_follow_is_told_so_at_once(city: City) -> None:
    """He would wait before an empty screen."""
    code, output, errors = await ran(city, city.inspector, "audit", "follow")
    assert (code, output) == (3, "")
    assert "权限" in errors


async def test_services_that_answer_are_told_from_those_that_do_not(city: City) -> None:
    """``dutyloop status`` would call services healthy because their process is there."""
    assert await asyncio.to_thread(status._is_serving, city.house.settings.api_address)
    assert not await asyncio.to_thread(status._is_serving, f"127.0.0.1:{free_port()}")


async def test_a_name_of_another_kind_never_reaches_the_house(city: City) -> None:
    """The answer would be that the name is malformed, which it is not."""
    code, _, errors = await ran(city, city.inspector, "tours", "show-draw", f"tours/{uuid.uuid4().hex[:8]}")
    assert code == 2
    assert "应为 draws/…（抽取）" in errors
