"""What the command line shows: names beside resource names, rows under rows, tables that fit, the kind meant."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import UTC, datetime
from typing import Any

import grpc
import orjson
import pytest
import typer
from google.protobuf.descriptor import FieldDescriptor
from rich.cells import cell_len
from rich.console import Console

from dutyloop.accountability.v1 import accountability_pb2
from dutyloop.audit.v1 import audit_pb2, audit_pb2_grpc
from dutyloop.directory.v1 import directory_pb2
from dutyloop.duty.v1 import duty_pb2
from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.inspection.v1 import inspection_pb2
from dutyloop.kit.v1 import kit_pb2
from services.cli import follow, tables, verbs
from services.cli.cells import cell_of, term_end_text, term_text
from services.cli.duty_items import DUTY_ITEMS
from services.cli.fields import Leaf, collections, collections_of, kinds, message_class
from services.cli.layouts import Faults, Place
from services.cli.sheets import Row
from services.cli.tables import widths_within
from services.cli.verbs import Verb
from services.cli.words import hint, label, say
from services.kit.errors import DeadlinePassed, ServiceUnavailable
from services.kit.labels import HINTS, LABELS
from tests.unit.test_cli import CONTEXTS, Service, invoke

SITES = {f"sites/s{number}": f"园区企业{number:03}" for number in range(2_500)}


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Service:
    """Stand in for the services."""
    made = Service()
    monkeypatch.setattr(verbs, "Connection", lambda person=None: made)
    return made


def hazards(*sites: str) -> hazard_pb2.ListHazardsResponse:
    return hazard_pb2.ListHazardsResponse(
        hazards=[hazard_pb2.Hazard(name=f"hazards/h{number}", site=site) for number, site in enumerate(sites)]
    )


def test_a_list_shows_what_resources_are_called(shop: Service) -> None:
    """A safety officer would read ``sites/4u4obhnbulz2xq7z`` and not know which enterprise it is."""
    shop.called = {"sites/s1": "园区企业001"}
    shop.answers = [hazards("sites/s1", "sites/s1", "sites/next-door")]
    shown = invoke("hazards", "list").output
    assert "园区企业001 sites/s1 " in shown
    assert " sites/next-door " in shown
    assert shop.looked_up == [["sites/next-door", "sites/s1"]]


def test_json_stays_what_the_api_answers(shop: Service) -> None:
    """A script would find names where it was promised resource names."""
    shop.answers = [hazards("sites/s1"), hazard_pb2.Hazard(name="hazards/h1", site="sites/s1")]
    assert orjson.loads(invoke("hazards", "list", "--json").stdout)["hazards"][0]["site"] == "sites/s1"
    assert orjson.loads(invoke("hazards", "show", "h1", "--json").stdout)["site"] == "sites/s1"
    assert shop.looked_up == []


def test_names_are_asked_for_by_the_thousand() -> None:
    """A long list would be refused for its names, or would ask for each by itself."""
    shop = Service(called=SITES)
    found = tables.look_up(shop, [hazard_pb2.Hazard(site=site) for site in SITES])  # type: ignore[arg-type]
    assert found == SITES
    assert [len(names) for names in shop.looked_up] == [1_000, 1_000, 500]


def test_a_list_is_shown_without_names_when_they_cannot_be_had(shop: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """With directory down nobody could read the hazard ledger, though hazard answers."""

    def unavailable(request: Any) -> Any:
        raise ServiceUnavailable

    monkeypatch.setattr(shop, "display_names", unavailable)
    shop.answers = [hazards("sites/s1")]
    done = invoke("hazards", "list")
    assert done.exit_code == 0
    assert "sites/s1" in done.output


def test_what_is_within_a_resource_stands_under_it(shop: Service) -> None:
    """The plan of a rectification, or the rungs of a policy, would be one line of punctuation."""
    hazard = hazard_pb2.Hazard(name="hazards/h1")
    hazard.plan.responsible, hazard.plan.measures = "people/p1", "清理通道"
    policy = accountability_pb2.EscalationPolicy(name="escalationPolicies/p1")
    for kind in (accountability_pb2.MEASURE_KIND_REMINDER, accountability_pb2.MEASURE_KIND_TALK):
        policy.rungs.add(kind=kind, wait=kit_pb2.Term(amount=3, unit=kit_pb2.TERM_UNIT_WORKING_DAYS))
    shop.called = {"people/p1": "整改责任人44号"}
    shop.answers = [hazard, policy]
    shown = invoke("hazards", "show", "h1").output
    assert "=" not in shown
    lines = {line.strip().rpartition("  ")[2]: line for line in shown.splitlines()}
    measures = label("measures")
    assert lines["清理通道"].strip().startswith(measures)
    under = cell_len(lines["清理通道"].partition(measures)[0])
    assert under == cell_len(lines["整改责任人44号 people/p1"].partition(label("responsible"))[0]) > 4
    shown = invoke("cases", "show-policy", "p1").output
    rows = [line.split("  ") for line in shown.splitlines()]
    assert sum(say("3 个工作日", "3 working days") in [cell.strip() for cell in row] for row in rows) == 2
    assert sum(label("wait") in [cell.strip() for cell in row] for row in rows) == 1


def test_its_own_name_is_not_said_twice(shop: Service) -> None:
    """The id that the next command needs would be hidden behind what the next column says."""
    post = directory_pb2.Post(name="posts/p1", display_name="安全总监", unit="units/u1")
    shop.called = {"posts/p1": "安全总监", "units/u1": "安委办"}
    shop.answers = [directory_pb2.ListPostsResponse(posts=[post])]
    assert invoke("directory", "posts").output.count("安全总监") == 1
    assert shop.looked_up == [["units/u1"]]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Console:
    """A terminal in place of the standard output."""
    console = Console(force_terminal=True, no_color=True, width=120, soft_wrap=True)
    monkeypatch.setattr(tables, "out", console)
    monkeypatch.setattr("services.cli.output.out", console)
    return console


@pytest.mark.parametrize("width", [200, 130, 80])
def test_a_list_fits_the_terminal(terminal: Console, width: int) -> None:
    """Ids would be cut in pieces that nobody can copy, or lines run over the edge."""
    row = hazard_pb2.Hazard(
        name="hazards/4wvwyzoahw57ar4l", site="sites/4u4obhnbulz2xq7z", unit="units/dzjfjjuxi4wjy4pz",
        grade=hazard_pb2.HAZARD_GRADE_GENERAL, state=hazard_pb2.HAZARD_STATE_CLOSED,
    )  # fmt: skip
    row.due_time.FromDatetime(datetime(2027, 1, 9, 16, tzinfo=UTC))
    called = {"sites/4u4obhnbulz2xq7z": "园区企业002", "units/dzjfjjuxi4wjy4pz": "北戴河区园区管理办公室"}
    terminal.width = width
    columns = ("name", "site", "grade", "disposition", "state", "unit", "open_time", "due_time")
    with terminal.capture() as captured:
        tables.print_list("隐患台账", columns, [row], called)
    lines = captured.get().splitlines()
    assert all(Console().measure(line).maximum <= width for line in lines)
    assert any("hazards/4wvwyzoahw57ar4l" in line for line in lines)
    assert any("2027-01-09" in line for line in lines)
    assert any("sites/4u4obhnbulz2xq7z" in line for line in lines) == (width != 130)


def test_a_width_is_shared_so_that_only_words_are_folded() -> None:
    """A narrow terminal would get days in two lines beside a column of spaces."""
    rows = [["hazards/4wvwyzoahw57ar4l", "督促分管部门排查整治重大事故隐患", "2027-01-09 08:30"]]
    headings = ["资源名", "内容", "时间"]
    assert widths_within(200, headings, rows) == [24, 32, 16]
    assert widths_within(48, headings, rows) == [24, 8, 10]
    assert widths_within(47, headings, rows) is None
    assert widths_within(9, ["甲"], [["一"]]) == [2]


@pytest.mark.parametrize(
    ("instant", "zh", "en"),
    [
        (datetime(2027, 1, 20, 16, tzinfo=UTC), "2027-01-20 周三 24:00", "2027-01-20 Wed 24:00"),
        (datetime(2027, 1, 21, 7, 30, tzinfo=UTC), "2027-01-21 周四 15:30", "2027-01-21 Thu 15:30"),
    ],
)
def test_the_end_of_a_term_is_told_as_people_tell_it(instant: datetime, zh: str, en: str) -> None:
    """An office would take the first moment after a term, 00:00 of the next day, for one more day."""
    assert term_end_text(instant) == say(zh, en)


def test_terms_days_and_funds_are_told_in_units() -> None:
    """15 of what, and how many fen are two million, would be the reader's guess."""
    assert term_text(kit_pb2.Term(amount=15, unit=kit_pb2.TERM_UNIT_WORKING_DAYS)) == say(
        "15 个工作日", "15 working days"
    )
    assert term_text(kit_pb2.Term(amount=1, unit=kit_pb2.TERM_UNIT_YEARS)) == say("1 年", "1 year")
    assert term_text(kit_pb2.Term(amount=30, unit=kit_pb2.TERM_UNIT_MINUTES)) == say("30 分钟", "30 minutes")
    plan = hazard_pb2.RectificationPlan(funds_fen=200_000_050)
    plan.finish_date.year, plan.finish_date.month, plan.finish_date.day = 2027, 1, 29
    assert cell_of(plan, "funds_fen") == say("200000050 (2,000,000.50 元)", "200000050 (2,000,000.50 CNY)")
    assert cell_of(plan, "finish_date") == say("2027-01-29 周五", "2027-01-29 Fri")


def test_what_is_kept_in_tokens_is_shown_with_words() -> None:
    """A department head would have to know RFC 5545, and an auditor the names of our events."""
    item = duty_pb2.DutyItem(recurrence="FREQ=MONTHLY;INTERVAL=3;BYMONTHDAY=10")
    words = say("每季度首月10日", "the 10th of the first month of every quarter")
    assert cell_of(item, "recurrence") == f"{words} ({item.recurrence})"
    item.recurrence = "FREQ=YEARLY;BYYEARDAY=100"
    assert cell_of(item, "recurrence") == "FREQ=YEARLY;BYYEARDAY=100"
    entry = audit_pb2.LedgerEntry(type="hazard.hazard.reported")
    assert cell_of(entry, "type") == say("隐患已上报", "The hazard was reported") + " (hazard.hazard.reported)"


def references(verb: Verb) -> list[Leaf]:
    return [leaf for leaf in verb.leaves() if collections_of(leaf.field)]


@pytest.mark.parametrize("verb", [verb for each in CONTEXTS.values() for verb in each], ids=lambda verb: verb.method)
def test_a_name_of_another_kind_is_refused_with_the_kind_that_is_wanted(verb: Verb) -> None:
    """Whoever gives a tour where its draw is meant would be told that the name is malformed, and of which field not."""
    for leaf in references(verb):
        wanted = collections_of(leaf.field)
        wrong = next((each for each in collections().values() if each not in wanted), "nonsense")
        request = message_class(verb.descriptor.input_type)()
        text: Any = f"{wrong}/x"
        with pytest.raises(typer.BadParameter) as refused:
            leaf.put(request, [text] if leaf.field.is_repeated else text, by_place=verb.by_place(leaf))
        told = str(refused.value)
        assert told.startswith(label(leaf.name) if verb.by_place(leaf) else leaf.option)
        assert text in told
        expected = wanted if len(wanted) <= 2 else ("hazards",)
        assert all(f"{each}/…" in told and kinds()[each] in told for each in expected)


def test_show_draw_says_that_it_wants_a_draw(shop: Service) -> None:
    """The words would be there and not be said."""
    told = " ".join(invoke("tours", "show-draw", "tours/t1").output.replace("│", " ").split())
    assert say("应为 draws/…（抽取），实为 tours/t1（巡查）", "must be draws/… (draw), not tours/t1 (tour)") in told
    assert shop.requests == []


def test_names_that_fit_are_taken_as_they_are() -> None:
    """Sites or units could not be named where either may be."""
    field: FieldDescriptor = inspection_pb2.Tour.DESCRIPTOR.fields_by_name["targets"]
    tour = inspection_pb2.Tour()
    Leaf(field, "", required=True).put(tour, ["units/u1,sites/s1"])
    assert list(tour.targets) == ["units/u1", "sites/s1"]


def test_every_kind_has_words() -> None:
    """The refusal would name a kind in the words of the interface."""
    called = {each for pair in LABELS.values() for each in pair}
    assert set(kinds().values()) <= called


def test_days_in_a_row_are_given_by_their_ends(shop: Service) -> None:
    """A holiday notice would be thirty options, and one with its ends the wrong way round nothing at all."""
    shop.answers = [directory_pb2.HolidayNotice(name="holidayNotices/2031")]
    given = ("--off-dates", "2031-01-01,2031-01-22..2031-01-24", "--work-dates", "2031-01-19")
    assert invoke("directory", "publish-holidays", "2031", *given).exit_code == 0
    (request,) = shop.requests
    assert request.notice.name == "holidayNotices/2031"
    assert [day.day for day in request.notice.off_dates] == [1, 22, 23, 24]
    assert [day.day for day in request.notice.work_dates] == [19]
    for wrong in ("2031-01-24..2031-01-22", "2031-01-01..2031-12-31", "2031-01-01..", "..2031-01-01"):
        done = invoke("directory", "publish-holidays", "2031", "--off-dates", wrong)
        assert done.exit_code == 2, wrong
        assert "--off-dates" in done.output
    assert len(shop.requests) == 1


def test_who_acted_is_told_of_the_house_too() -> None:
    """An auditor would take services/worker for somebody he has never heard of."""
    assert (
        cell_of(audit_pb2.LedgerEntry(actor="services/worker"), "actor")
        == say("系统", "the system") + " (services/worker)"
    )


@dataclass
class Ledger:
    """Streams that a follower is given one after the other, and the positions that it asked from."""

    streams: list[list[audit_pb2.FollowLedgerResponse | Exception]]
    asked: list[int | None] = dataclass_field(default_factory=list)

    def stub(self, stub: type) -> Any:
        return audit_pb2_grpc.AuditServiceStub(grpc.insecure_channel("127.0.0.1:1"))

    def stream(self, method: Any, request: audit_pb2.FollowLedgerRequest, timeout: float) -> Iterator[Any]:
        self.asked.append(request.after_position if request.HasField("after_position") else None)
        for each in self.streams.pop(0):
            if isinstance(each, BaseException):
                raise each
            yield each
        if not self.streams:
            raise KeyboardInterrupt


def test_a_follower_goes_on_where_its_stream_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart of the services, or the end of a stream's time, would end the feed or send everything again."""
    monkeypatch.setattr(follow, "PATIENCE_SECONDS", 0.0)
    told = [audit_pb2.FollowLedgerResponse(position=position) for position in (7, 9, 12)]
    ledger = Ledger([[told[0], DeadlinePassed()], [told[1], ServiceUnavailable()], [told[2]]])
    follower = follow.Follower(ledger, "", None)  # type: ignore[arg-type]
    heard: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        heard.extend(answer.position for answer in follower.answers(None))
    assert ledger.asked == [None, 7, 9]
    assert follower.position == 12


def test_ctrl_c_while_an_answer_is_printed_waits_for_it() -> None:
    """Entries would be printed that the position told does not count, and come once more the next time."""
    ledger = Ledger([[audit_pb2.FollowLedgerResponse(position=7), audit_pb2.FollowLedgerResponse(position=9)], []])
    follower = follow.Follower(ledger, "", None)  # type: ignore[arg-type]
    answers = follower.answers(None)
    assert next(answers).position == 7
    follower.stop()
    with pytest.raises(KeyboardInterrupt):
        next(answers)
    assert follower.position == 7
    with pytest.raises(KeyboardInterrupt):
        follower.stop()


def test_an_item_s_row_is_refused_once_whatever_is_wrong_with_it() -> None:
    """The counts would not add up to the rows of the table."""
    cells = {"number": "1", "text": "甲", "type": "领导", "term_days": "十天"}
    faults = Faults()
    (phase,) = DUTY_ITEMS.phases(lambda: iter([Row(1, cells), Row(2, {"number": "2"}, surplus=True)]), Place())
    assert list(phase.rows(faults)) == []
    assert [(row, at) for row, at, _ in faults.rows] == [(1, "type"), (2, "row")]


@pytest.mark.parametrize(
    ("kind", "evidence"),
    [("leadership", "minutes,document;record"), ("领导责任", "会议纪要、文件；记录")],
)
def test_words_of_a_cell_are_taken_in_either_language(kind: str, evidence: str) -> None:
    """A table in Chinese would be refused wherever the terminal happens to be set to English."""
    cells = {"number": "1", "type": kind, "expected_evidence": evidence, "term_days": "10", "area": "1303"}
    (phase,) = DUTY_ITEMS.phases(lambda: iter([Row(1, cells)]), Place())
    (row,) = phase.rows(Faults())
    item = row.item  # type: ignore[attr-defined]
    assert (item.type, item.term_days, item.area) == (duty_pb2.DUTY_TYPE_LEADERSHIP, 10, "regions/1303")
    assert len(item.expected_evidence) == 3


def test_a_hint_of_the_help_is_no_heading(shop: Service) -> None:
    """What an option is for would stand as a sentence before every etag that is shown."""
    shop.answers = [directory_pb2.Unit(name="units/u1", etag="3")]
    shown = invoke("directory", "show-unit", "u1").output
    assert re.search(rf"^{label('etag')} +3", shown, re.MULTILINE)
    helped = " ".join(invoke("directory", "update-unit", "--help").output.split())
    assert hint("etag") in helped
    assert hint("etag") != label("etag")
    assert set(HINTS) <= set(LABELS)
