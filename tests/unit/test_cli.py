"""The command line: every verb is a method of the API, in both languages, with requests as the API takes them."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import orjson
import pytest
import typer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.timestamp_pb2 import Timestamp
from typer.testing import CliRunner

from dutyloop.accountability.v1 import accountability_pb2
from dutyloop.audit.v1 import audit_pb2
from dutyloop.directory.v1 import directory_pb2
from dutyloop.duty.v1 import duty_pb2
from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.inspection.v1 import inspection_pb2
from dutyloop.kit.v1 import kit_pb2
from dutyloop.plan.v1 import plan_pb2
from dutyloop.policy.v1 import policy_pb2
from infra.demo import run as demo_run
from infra.demo.figures import Account
from services.cli import audit, cases, directory, hazards, lists, processes, tasks, tours, verbs
from services.cli import call as calling
from services.cli.cells import cell_of
from services.cli.demo import FIGURES, figure_rows
from services.cli.fields import TERM_UNITS
from services.cli.main import app
from services.cli.verbs import Verb, verbs_shown
from services.cli.words import LOCALE, label, say
from services.kit import contexts
from services.kit.catalogue import describe_value
from services.kit.errors import CaseUnavailable, NotFound
from services.kit.labels import LABELS

CONTEXTS: dict[str, Sequence[Verb]] = {
    "lists": lists.VERBS,
    "tasks": tasks.VERBS,
    "tours": tours.VERBS,
    "hazards": hazards.VERBS,
    "cases": cases.VERBS,
    "audit": audit.VERBS,
    "directory": directory.VERBS,
}
ALL = [
    pytest.param(context, verb, id=f"{context} {verb.command}") for context in CONTEXTS for verb in CONTEXTS[context]
]
runner = CliRunner()


@dataclass
class Service:
    """Stands in for the services: keeps what it was asked, answers what it is given."""

    person: str | None = None
    requests: list[Any] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    called: dict[str, str] = field(default_factory=dict)
    """What resources are called, by name."""
    looked_up: list[list[str]] = field(default_factory=list)

    def stub(self, stub: type) -> Any:
        return self

    def __getattr__(self, method: str) -> Any:
        return method

    def call(self, method: Any, request: Any, timeout: float = 0) -> Any:
        if isinstance(request, directory_pb2.BatchGetDisplayNamesRequest):
            return self.display_names(request)
        kept = type(request)()
        kept.CopyFrom(request)
        self.requests.append(kept)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def display_names(self, request: Any) -> directory_pb2.BatchGetDisplayNamesResponse:
        self.looked_up.append(list(request.names))
        answer = directory_pb2.BatchGetDisplayNamesResponse()
        for name in request.names:
            if name in self.called:
                answer.display_names.add(name=name, display_name=self.called[name])
        return answer

    def pages(self, method: Any, request: Any, field: str) -> Iterator[Any]:
        while True:
            remembered = method
            response = self.call(remembered, request)
            remembered._method = lambda request, response=response, **how: response
            remembered(request)
            yield from getattr(response, field)
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    """Replace the connection of the verbs."""
    made = Service()

    def connect(person: str | None = None) -> Service:
        made.person = person
        return made

    monkeypatch.setattr(verbs, "Connection", connect)
    monkeypatch.setattr(calling, "Connection", connect)
    return made


def invoke(*arguments: str) -> Any:
    return runner.invoke(app, list(arguments), catch_exceptions=True, env={"COLUMNS": "200"})


def run_alone(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the command as a process of its own, with these settings and no others."""
    return subprocess.run(
        [sys.executable, "-m", "services.cli.main", *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(("context", "verb"), ALL)
def test_every_verb_has_help_and_a_method_for_people(context: str, verb: Verb) -> None:
    """A verb of a method that is gone, or that only the worker may call, would fail in somebody's hands."""
    assert all(verb.words)
    assert len(set(verb.words)) == 2
    policy = verb.descriptor.GetOptions().Extensions[policy_pb2.method]
    assert policy.kind not in (policy_pb2.METHOD_KIND_WORKER, policy_pb2.METHOD_KIND_SERVICE)
    shown = invoke(context, verb.command, "--help")
    assert shown.exit_code == 0, shown.output


@pytest.mark.parametrize(("context", "verb"), ALL)
def test_columns_are_fields_of_what_is_listed(context: str, verb: Verb) -> None:
    """A heading without values would hide what a supervisor came to read."""
    assert bool(verb.columns) == (verb.listed is not None)
    if verb.listed is not None:
        assert verb.listed.message_type is not None
        assert set(verb.columns) <= set(verb.listed.message_type.fields_by_name)


def test_every_field_shown_has_words_in_both_languages() -> None:
    """Half the users would read proto field names."""
    shown = {name for context in CONTEXTS.values() for name in verbs_shown(context)}
    assert shown - set(LABELS) == set(), "name them in services/kit/labels.py"
    assert all(chinese and english for chinese, english in LABELS.values())


def test_every_method_for_people_can_be_reached() -> None:
    """A method that neither a verb nor ``call`` knows could not be used from a shell."""
    for service, context in contexts.CONTEXTS.items():
        for method in context.service.methods:
            assert verbs.find_method(f"{service}.{method.name}")[0] is method
    with pytest.raises(typer.BadParameter):
        verbs.find_method("duty.Nothing")


@pytest.mark.parametrize(("locale", "expected"), [("zh-CN", "责任清单"), ("en", "responsibility lists")])
def test_help_speaks_the_chosen_language(locale: str, expected: str) -> None:
    """A Chinese user would read English help, or the other way round."""
    done = run_alone("--help", DUTYLOOP_LOCALE=locale, COLUMNS="120")
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    assert ("Commands" in done.stdout) == (locale == "en")


def test_a_demo_that_does_not_match_says_where(capsys: pytest.CaptureFixture[str]) -> None:
    """``dutyloop up --demo`` would come up with a city that is not the published one, and not say so."""
    figures = {"wall_seconds": 1, "wall_seconds_limit": 2, "rung_kinds": ["notice"]}
    wrong = [("rung_kinds 应为 5，实为 [notice]", "rung_kinds should be 5 but is [notice]")]
    processes._show(demo_run.Outcome(figures, wrong))
    told = capsys.readouterr()
    assert say(*wrong[0]) in told.err
    processes._show(demo_run.Outcome(figures, []))
    assert capsys.readouterr().err == ""


def test_every_figure_of_the_demo_has_words() -> None:
    """A Chinese reader would be told the demo's result in the names of a JSON file."""
    assert set(Account().figures()) <= set(FIGURES)
    rows = dict(figure_rows({"ledger_verified": True, "ledger_problems": [], "replayed_by_workflow": {"tour": 1}}))
    assert list(rows.values()) == [say("是", "yes"), say("无", "none"), "tour 1"]


@pytest.mark.parametrize("arguments", [("hazards", "list"), ("token", "--person", "people/operator")])
def test_without_a_stack_the_verbs_say_that_nothing_runs(arguments: Sequence[str], tmp_path: Path) -> None:
    """Whoever has not started anything yet, or has stopped it, would be told about production tokens."""
    done = run_alone(*arguments, DUTYLOOP_LOCALE="en", DUTYLOOP_DATA_DIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (5, "")
    assert f"nothing is running in {tmp_path}" in done.stderr.replace("\n", "")


@pytest.mark.parametrize(
    ("locale", "expected"),
    [("zh-CN", "所联系的服务： 127.0.0.1:1\n"), ("en", "the services called: 127.0.0.1:1\n")],
)
def test_services_that_do_not_answer_are_told_with_their_address(locale: str, expected: str, tmp_path: Path) -> None:
    """Whoever has mistyped an address would wait for services that run elsewhere."""
    key = tmp_path / "issuer.key"
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key.write_bytes(Ed25519PrivateKey.generate().private_bytes(*pem))
    key.chmod(0o600)
    given = {"DUTYLOOP_API_ADDRESS": "127.0.0.1:1", "DUTYLOOP_ISSUER_KEY_FILE": str(key), "DUTYLOOP_LOCALE": locale}
    done = run_alone("tasks", "list", DUTYLOOP_DATA_DIR=str(tmp_path), **given)
    assert (done.returncode, done.stdout) == (5, "")
    assert expected in done.stderr


def test_every_kind_of_problem_of_the_ledger_has_words() -> None:
    """An auditor would read what was tampered with as a token."""
    folder = Path(audit.__file__).parents[1] / "audit"
    sources = "\n".join(path.read_text() for path in folder.glob("*.py"))
    kinds = set(re.findall(r"(?:note\(|Problem\(|yield )\"([a-z_]+)\",", sources))
    assert kinds == set(audit.PROBLEMS)


def test_an_export_that_is_refused_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An auditor would find an empty file and take it for a history."""

    class Refusing:
        def __init__(self, person: str | None) -> None:
            pass

        def stub(self, stub: type) -> Any:
            return stub(grpc.insecure_channel("127.0.0.1:1"))

        def stream(self, method: Any, request: Any, timeout: float) -> Iterator[Any]:
            raise NotFound("workflows/nothing")

    monkeypatch.setattr(audit, "Connection", Refusing)
    done = invoke("audit", "export", "nothing", "--out", str(tmp_path / "history.json"))
    assert isinstance(done.exception, NotFound)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [("down",), ("demo",), ("migrate",), ("token",), ("status",), ("clean",)]
    + [("audit", verb) for verb in ("verify", "replay", "verifier-key", "export", "follow")]
    + [("lists", "import-items")]
    + [("import", kind) for kind in ("regions", "sites", "visits", "hazards")],
)
def test_what_is_no_verb_prints_json_too(command: Sequence[str]) -> None:
    """A script would have to read tables; only what runs until it is stopped has nothing to print."""
    assert "--json" in invoke(*command, "--help").output


def test_down_tells_in_json_that_nothing_ran(tmp_path: Path) -> None:
    """A script would find a sentence where it was promised JSON."""
    done = run_alone("down", "--json", "--data-dir", str(tmp_path))
    assert (done.returncode, orjson.loads(done.stdout)) == (0, {"stopped": None})


def test_a_matter_that_is_an_action_is_worded(service: Service) -> None:
    """The officer in charge would read what is to be done in the tokens of the workflow."""
    case = accountability_pb2.SupervisionCase(name="supervisionCases/1", matter="rectify")
    service.answers = [case]
    assert say("整改", "rectify") in invoke("cases", "show", "1").output


@pytest.mark.parametrize("arguments", [("hazards", "list", "--as", "nobody"), ("token", "--person", "units/u1")])
def test_who_is_no_person_is_told_at_once(arguments: Sequence[str], tmp_path: Path) -> None:
    """A token would be issued for nobody, and every call with it refused for want of a valid token."""
    done = run_alone(*arguments, DUTYLOOP_LOCALE="en", DUTYLOOP_DATA_DIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "people/" in done.stderr


def test_a_usage_error_leaves_with_its_own_code() -> None:
    """A script could not tell a typing error from a refusal."""
    for arguments in (["hazards", "list", "--nothing"], ["hazards", "nothing"], ["hazards"]):
        done = run_alone(*arguments)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr


def test_options_become_the_request(service: Service) -> None:
    """Days, short words, bare ids and terms would reach the API as something else than was typed."""
    service.answers = [hazard_pb2.Hazard(name="hazards/h1")]
    given = "--responsible p1 --measures fix --funds-fen 5 --finish-date 2024-05-01 --contingency none"
    done = invoke("hazards", "plan", "h1", *given.split(), "--as", "people/p2", "--request-id", "r1", "--json")
    assert done.exit_code == 0, done.output
    plan = hazard_pb2.RectificationPlan(responsible="people/p1", measures="fix", funds_fen=5, contingency="none")
    plan.finish_date.year, plan.finish_date.month, plan.finish_date.day = 2024, 5, 1
    assert service.requests == [
        hazard_pb2.SubmitRectificationPlanRequest(request_id="r1", name="hazards/h1", plan=plan)
    ]
    assert service.person == "people/p2"
    assert orjson.loads(done.stdout) == {"name": "hazards/h1"}


def test_lists_of_objects_terms_and_words_are_taken(service: Service) -> None:
    """Evidence and rungs would need JSON for every little thing."""
    service.answers = [
        plan_pb2.Task(),
        accountability_pb2.SupervisionCase(),
        hazard_pb2.Hazard(),
        inspection_pb2.Tour(),
    ]
    assert invoke("tasks", "complete", "t1", "--evidence", "type=minutes,reference=No. 5", "--evidence",
                  '{"type": "EVIDENCE_TYPE_MEDIA", "reference": "a,b"}').exit_code == 0  # fmt: skip
    assert invoke("cases", "supervise", "--display-name", "x", "--source", "meeting", "--matter", "m", "--unit", "u1",
                  "--term", "15wd").exit_code == 0  # fmt: skip
    assert invoke("hazards", "reinspect", "h1", "--verdict", "pass").exit_code == 0
    assert (
        invoke("tours", "report", "t1", "--target", "units/u1", "--number", "9", "--document-hash", "ab" * 32).exit_code
        == 0
    )
    completion, case, reinspection, report = service.requests
    assert [(each.type, each.reference) for each in completion.evidence] == [
        (duty_pb2.EVIDENCE_TYPE_MINUTES, "No. 5"),
        (duty_pb2.EVIDENCE_TYPE_MEDIA, "a,b"),
    ]
    assert case.supervision_case.term == kit_pb2.Term(amount=15, unit=kit_pb2.TERM_UNIT_WORKING_DAYS)
    assert case.supervision_case.source == accountability_pb2.CASE_SOURCE_MEETING
    assert reinspection.verdict == kit_pb2.VERDICT_PASS
    assert report.document_hash == bytes.fromhex("ab" * 32)
    assert len({each.request_id for each in service.requests}) == 4


def test_an_update_names_only_what_was_given(service: Service) -> None:
    """Fields that nobody mentioned would be cleared."""
    service.answers = [directory_pb2.Unit()]
    assert invoke("directory", "update-unit", "u1", "--no-enforcement", "--etag", "3").exit_code == 0
    (request,) = service.requests
    assert list(request.update_mask.paths) == ["enforcement"]
    assert (request.unit.name, request.unit.etag, request.unit.enforcement) == ("units/u1", "3", False)
    assert invoke("directory", "update-unit", "u1").exit_code == 2


def test_an_instant_without_an_offset_is_beijing_time(service: Service) -> None:
    """The clock would be advanced eight hours too far."""
    service.answers = [directory_pb2.Clock()]
    assert invoke("directory", "advance-clock", "2024-05-01T08:00").exit_code == 0
    assert service.requests[0].time == Timestamp(seconds=1714521600)


@pytest.mark.parametrize(
    "arguments",
    [
        ("hazards", "list", "--as-of-date", "2024-02-30"),
        ("hazards", "list", "--grade", "huge"),
        ("hazards", "reinspect", "h1", "--verdict", "unspecified"),
        (
            "cases",
            "supervise",
            "--display-name",
            "x",
            "--source",
            "meeting",
            "--matter",
            "m",
            "--unit",
            "u",
            "--term",
            "5 d",
        ),
        ("tasks", "progress", "t1", "--progress-percent", "99999999999"),
        ("tasks", "complete", "t1", "--evidence", "nothing=1"),
        ("tasks", "complete", "t1", "--evidence", "{"),
        ("tours", "report", "t1", "--target", "x", "--number", "9", "--document-hash", "@/nowhere"),
        ("directory", "advance-clock", "tomorrow"),
        ("lists", "create"),
        ("call", "duty.Nothing"),
        ("call", "duty.ListDutyItems", "{"),
        ("call", "duty.ListDutyItems", '{"nothing": 1}'),
        ("call", "duty.ListDutyItems", "@/nowhere"),
    ],
)
def test_what_cannot_be_taken_is_a_usage_error_and_nothing_is_sent(
    service: Service, arguments: tuple[str, ...]
) -> None:
    """A misread value would act on a case."""
    done = invoke(*arguments)
    assert done.exit_code == 2, done.output
    assert service.requests == []


def page(*numbers: int, token: str = "", total: int = 0) -> hazard_pb2.ListHazardsResponse:
    rows = [hazard_pb2.Hazard(name=f"hazards/h{number}", grade=hazard_pb2.HAZARD_GRADE_MAJOR) for number in numbers]
    return hazard_pb2.ListHazardsResponse(hazards=rows, next_page_token=token, total_size=total, site_count=total)


def test_lists_are_paged_up_to_the_limit_and_say_when_there_is_more(service: Service) -> None:
    """A report over the first page would be taken for the whole ledger."""
    service.answers = [page(1, 2, token="t", total=5), page(3, 4, token="u")]
    done = invoke("hazards", "list", "--limit", "3", "--json", "--grade", "major")
    found = orjson.loads(done.stdout)
    assert [row["name"] for row in found["hazards"]] == ["hazards/h1", "hazards/h2", "hazards/h3"]
    assert (found["more"], found["total_size"], found["site_count"]) == (True, 5, 5)
    assert service.requests[0].page_size == 4
    service.answers = [page(1, 2, token="t"), page(3)]
    everything = orjson.loads(invoke("hazards", "list", "--limit", "0", "--json").stdout)
    assert (len(everything["hazards"]), everything["more"]) == (3, False)


def test_a_table_shows_short_words_and_totals(service: Service) -> None:
    """People would read enum names and miss how many there are."""
    service.answers = [page(1, total=7)]
    shown = invoke("hazards", "list").output
    assert "hazards/h1" in shown
    assert describe_value("HAZARD_GRADE_MAJOR", LOCALE) in shown
    assert "HAZARD_GRADE" not in shown
    assert "7" in shown


def test_one_resource_is_shown_in_words(service: Service) -> None:
    """Whoever looks at one hazard would read field names, constants and another zone's time."""
    hazard = hazard_pb2.Hazard(name="hazards/h1", grade=hazard_pb2.HAZARD_GRADE_MAJOR)
    hazard.due_time.FromDatetime(datetime(2026, 3, 9, 16, tzinfo=UTC))
    hazard.plan.funds_fen = 100
    service.answers = [hazard]
    shown = invoke("hazards", "show", "h1").output
    assert describe_value("HAZARD_GRADE_MAJOR", LOCALE) in shown
    assert say("2026-03-09 周一 24:00", "2026-03-09 Mon 24:00") in shown
    assert all(label(field) in shown for field in ("name", "grade", "due_time", "plan", "funds_fen"))
    assert not re.search(r"HAZARD_|due_time|funds_fen", shown)


@pytest.mark.parametrize(
    ("climbs", "provisional", "marked"),
    [(False, False, ""), (False, True, "due_time"), (True, True, "next_rung_time")],
)
def test_a_provisional_day_is_marked(climbs: bool, provisional: bool, marked: str) -> None:
    """A day that a holiday notice will move would be entered in diaries as if it were settled."""
    hazard = hazard_pb2.Hazard(name="hazards/h1", due_provisional=provisional)
    case = accountability_pb2.SupervisionCase(name="supervisionCases/s1", due_provisional=provisional)
    for message in (hazard, case):
        message.due_time.FromDatetime(datetime(2026, 3, 9, 16, tzinfo=UTC))
    if climbs:
        case.next_rung_time.FromDatetime(datetime(2026, 3, 11, 16, tzinfo=UTC))
    mark = say("（暂定）", " (provisional)")
    for name in ("due_time", "next_rung_time"):
        assert cell_of(case, name).endswith(mark) == (name == marked)
    assert cell_of(hazard, "due_time").endswith(mark) == provisional


def test_a_timeline_shows_words_only(service: Service) -> None:
    """An auditor of a county would read identifiers of the house and of the engine, and ``False``."""
    line = audit_pb2.TimelineLine(
        type="hazard.hazard.reported", text_zh="隐患已上报", text_en="the hazard was reported"
    )
    service.answers = [audit_pb2.GetCaseTimelineResponse(lines=[line], workflow_id="rectification/h1")]
    shown = invoke("audit", "timeline", "hazards/h1").output
    assert say("隐患已上报", "was reported") in shown
    assert f"{label('history_missing')}: {say('否', 'no')}" in shown
    assert "hazard.hazard.reported" not in shown


def test_a_wrong_word_is_answered_with_the_words_there_are() -> None:
    """An office that writes Chinese would be offered English words, and not what they mean."""
    done = invoke("hazards", "list", "--grade", "banana")
    assert done.exit_code == 2
    assert say("general（一般）、major（重大）", "general, major") in " ".join(done.output.replace("│", " ").split())


def test_words_that_are_shown_may_be_typed(service: Service) -> None:
    """A county office would see a state in Chinese and be refused when it asks for it."""
    service.answers = [page(1), page(1)]
    for text in ("major", describe_value("HAZARD_GRADE_MAJOR", LOCALE)):
        assert invoke("hazards", "list", "--grade", text).exit_code == 0
    assert [each.grade for each in service.requests] == [hazard_pb2.HAZARD_GRADE_MAJOR] * 2


def test_every_field_of_a_resource_has_words() -> None:
    """Showing one resource would mix field names into the words."""
    shown: set[str] = set()
    found = [verb for each in CONTEXTS.values() for verb in each]
    waiting = [verb.listed.message_type if verb.listed else verb.descriptor.output_type for verb in found]
    seen: set[str] = set()
    while waiting:
        kind = waiting.pop()
        if kind is None or kind.full_name in seen or not kind.full_name.startswith("dutyloop."):
            continue
        seen.add(kind.full_name)
        shown |= {field.name for field in kind.fields} - {"next_page_token"}
        waiting += [field.message_type for field in kind.fields]
    assert sorted(shown - set(LABELS)) == []


@pytest.mark.parametrize(("text", "unit"), TERM_UNITS.items())
def test_every_unit_of_a_term_may_be_typed(service: Service, text: str, unit: Any) -> None:
    """A term of the catalogue could be shown and not be asked for."""
    service.answers = [directory_pb2.ExplainDeadlineResponse()]
    asked = ("--start-time", "2024-02-08T12:00+08:00", "--term", f"30{text}")
    assert invoke("directory", "explain-deadline", *asked).exit_code == 0
    assert service.requests[0].term == kit_pb2.Term(amount=30, unit=unit)


def test_every_unit_has_a_letter() -> None:
    """A unit that the API knows could not be typed."""
    assert sorted(TERM_UNITS.values()) == [number for number in kit_pb2.TermUnit.values() if number]


def test_a_default_is_shown_as_no_statute(service: Service) -> None:
    """A local habit would be read as law: somebody would be held to it."""
    cited = [
        ("talk_reply", False, say("（非法定）", " (not statutory)")),
        ("fine_payment", True, say("（法定）", " (statutory)")),
    ]
    for clock, statutory, shown in cited:
        service.answers = [directory_pb2.ExplainDeadlineResponse(statutory=statutory, source="某规定")]
        done = invoke("directory", "explain-deadline", "--start-time", "2024-02-08T12:00+08:00", "--clock", clock)
        assert f"某规定{shown}" in done.output


def test_a_command_that_may_be_sent_again_tells_its_request_id(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever repeats a command after a cut would make it take effect twice."""
    for arguments in (
        ("hazards", "assign", "h1", "--unit", "u1"),
        ("call", "hazard.AssignHazard", '{"name": "hazards/h1"}'),
    ):
        service.requests.clear()
        service.answers = [CaseUnavailable(), NotFound("hazards/h1")]
        done = invoke(*arguments)
        assert isinstance(done.exception, CaseUnavailable)
        assert f"--request-id {service.requests[0].request_id}" in done.output + capsys.readouterr().err
        assert isinstance(invoke(*arguments).exception, NotFound)


def test_call_fills_the_request_id_only_where_there_is_one(service: Service) -> None:
    """A read would be refused, or a command sent without an id."""
    service.answers = [duty_pb2.ListDutyItemsResponse(), plan_pb2.Task(name="tasks/t1")]
    assert invoke("call", "duty.ListDutyItems", '{"responsibility_list": "responsibilityLists/x"}').exit_code == 0
    done = invoke("call", "plan.ConfirmCompletion", '{"name": "tasks/t1"}')
    assert orjson.loads(done.stdout) == {"name": "tasks/t1"}
    assert service.requests[1].request_id
