"""The timeline has words, in both languages, for everything that services and workflows record."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from google.protobuf.descriptor import FileDescriptor
from temporalio.api.enums.v1 import EventType

from dutyloop.accountability.v1 import accountability_pb2
from dutyloop.audit.v1 import audit_pb2
from dutyloop.directory.v1 import directory_pb2
from dutyloop.duty.v1 import duty_pb2
from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.inspection.v1 import inspection_pb2
from dutyloop.plan.v1 import plan_pb2
from dutyloop.policy.v1 import policy_pb2
from services.audit.histories import UNTOLD
from services.audit.timeline import LOCAL_ACTIVITY
from services.audit.words import (
    ACTIVITIES,
    BATCHES,
    HAPPENED,
    HISTORY,
    OBJECTS,
    RUNG_FIRED,
    UNKNOWN_EVENT,
    WAYS,
    Told,
    tell_entry,
    tell_event,
)
from services.kit.labels import LABELS
from services.kit.methods import METHODS
from services.kit.server import PERSONS_NEVER
from services.kit.vocabulary import ACTIONS, STATES

ROOT = Path(__file__).resolve().parents[2]
RECORDERS = frozenset({"_record", "_move", "_record_list", "_record_task", "_task_event", "Event", "Importer"})
NAMED = frozenset({"word", "happened", "transition", "event_type", "batch_type"})
CONTEXTS = (accountability_pb2, duty_pb2, hazard_pb2, inspection_pb2, plan_pb2)


Tables = Mapping[str, Sequence[ast.expr]]
"""The values of a module's tables, by the tables' names."""


def strings(node: ast.AST, tables: Tables) -> Iterator[str]:
    """Yield what an expression can be as a text: a branch of a condition, a value of a table, the start of a format."""
    match node:
        case ast.Constant(value=str() as value):
            yield value
        case ast.IfExp(body=body, orelse=orelse):
            yield from strings(body, tables)
            yield from strings(orelse, tables)
        case ast.Subscript(value=ast.Name(id=name)) if name in tables:
            for each in tables[name]:
                yield from strings(each, tables)
        case ast.JoinedStr(values=[ast.Constant(value=str() as value), *_]):
            yield value


def recorded(tree: ast.AST) -> Iterator[str]:
    """Yield the event types and transitions that a module records."""
    tables: dict[str, Sequence[ast.expr]] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict(values=values)):
                tables[name] = values
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=args, keywords=keywords):
                if name in RECORDERS:
                    for argument in args[:3]:
                        yield from strings(argument, tables)
                for keyword in keywords:
                    if keyword.arg in NAMED:
                        yield from strings(keyword.value, tables)
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in NAMED:
                yield from strings(value, tables)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if name in NAMED:
                yield from strings(value, tables)


def told() -> set[str]:
    """Return every event type and bare transition in the services and workflows."""
    files = [path for folder in ("services", "workflows") for path in (ROOT / folder).rglob("*.py")]
    found = {each for path in files for each in recorded(ast.parse(path.read_text()))}
    found = {each for each in found if each and each.replace(".", "").replace("_", "").isalpha() and each.islower()}
    return found - {"access.call.refused"}


TOLD = sorted(told())


def test_the_search_finds_what_is_recorded() -> None:
    """A search that finds nothing would let every missing word pass."""
    assert {
        "hazard.hazard.reported",
        "hazard.hazard.",
        "duty.list.",
        "directory.site.imported",
        "drafted",
        "letter_issued",
        "rung_fired",
        "extension_granted",
        "reminded",
        "facts_submitted",
        "facts_overdue",
        "progressed",
    } <= set(TOLD)


@pytest.mark.parametrize("kind", TOLD)
def test_everything_recorded_has_words(kind: str) -> None:
    """An auditor would read raw identifiers in the middle of a Chinese timeline."""
    _, known, happened = kind.split(".") if "." in kind else ("", "", kind)
    assert not known or known in OBJECTS, "word it in OBJECTS of services/audit/words.py"
    assert not happened or happened in HAPPENED, "word it in HAPPENED of services/audit/words.py"
    assert all((*OBJECTS.get(known, ()), *HAPPENED.get(happened, ())))


def test_words_are_kept_for_what_is_recorded_only() -> None:
    """Words of what nobody records any more would hide that a transition was renamed."""
    parts = [kind.split(".") for kind in TOLD]
    assert {each.rpartition(".")[2] for each in OBJECTS} == {
        known for _, known, _ in (each for each in parts if each[1:])
    }
    assert set(HAPPENED) == {each[-1] for each in parts} - {""}
    untold = {EventType.Name(each).removeprefix("EVENT_TYPE_").lower() for each in UNTOLD}
    assert not untold & set(HISTORY)


def activities() -> Iterator[str]:
    """Yield the names by which workflows call activities."""
    for path in (ROOT / "workflows" / "activities").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(attr="defn"), keywords=[ast.keyword(arg="name", value=value)]):
                    yield from strings(value, {})


def test_every_activity_has_words() -> None:
    """An auditor would read the names of our functions in the story of a case."""
    assert set(activities()) == set(ACTIVITIES) - {"core_patch"}


@pytest.mark.parametrize("name", sorted({*activities(), *ACTIONS}))
@pytest.mark.parametrize("kind", ["workflow_execution_update_accepted", "activity_task_scheduled"])
def test_what_is_called_is_told_in_words(kind: str, name: str) -> None:
    """The words would be there and not be used."""
    told = tell_event(kind, name)
    assert not re.search(r"[A-Za-z_{]", told.zh)
    assert not re.search(r"[_{\u4e00-\u9fff]", told.en)
    assert told.zh.endswith((ACTIVITIES.get(name) or ACTIONS[name])[0])


def test_what_has_no_words_is_told_without_its_name() -> None:
    """An event that a later engine records, or an action of later code, would be told by its identifier."""
    assert tell_event("workflow_execution_paused", "") == Told(UNKNOWN_EVENT[0], "The workflow engine noted something")
    accepted = tell_event("workflow_execution_update_accepted", "do_something_new")
    assert accepted == Told("流程受理操作", "The workflow accepted an action")


@pytest.mark.parametrize("kind", [*WAYS, RUNG_FIRED])
def test_what_is_worded_apart_is_recorded(kind: str) -> None:
    """The words would be kept for what nobody records any more."""
    subject, _, transition = kind.rpartition(".")
    assert kind in TOLD or {f"{subject}.", transition} <= set(TOLD)


def test_a_rung_is_told_with_its_number() -> None:
    """Five lines of a story would read alike, and nobody see how far the matter has climbed."""
    line = tell_entry(RUNG_FIRED, ["supervisionCases/1"], {"fired_rung_count": 2})
    assert line == Told(
        "督办事项 supervisionCases/1 已触发第 2 级措施", "The supervision case supervisionCases/1 climbed rung 2"
    )


def test_the_way_in_which_a_thing_happened_is_told() -> None:
    """A reminder that a task is overdue would read as one that it comes due, a sanction as a decision."""
    reminded = tell_entry("plan.task.reminded", ["tasks/1"], {"kind": "DUE_SOON", "overdue": False})
    assert reminded == Told("任务 tasks/1 已提醒：即将到期", "The task tasks/1 was reminded of: due soon")
    kind = "accountability.accountability_case.decided"
    assert tell_entry(kind, [], {"decision": "SANCTION"}).zh == "问责案件已作出决定：处分"
    assert tell_entry(kind, [], {"decision": "UNSPECIFIED"}).zh == "问责案件已作出决定"


def test_a_line_names_what_its_words_are_about() -> None:
    """The number of an order would be taken for an enterprise, that of an acknowledgement for a list."""
    suspended = tell_entry("hazard.site.suspended", ["siteOrders/1", "sites/2"], {"instrument_number": "停产〔018〕号"})
    assert suspended.zh == "检查对象 sites/2 已责令停产整改：停产〔018〕号"
    acknowledged = tell_entry("duty.list.acknowledged", ["acknowledgements/1", "responsibilityLists/2"], {})
    assert acknowledged.zh == "清单 responsibilityLists/2 已知责确认"
    assert tell_entry("plan.list.published", ["annualTaskLists/1"], {}).zh == "年度任务清单 annualTaskLists/1 已发布"


def test_every_method_for_people_has_words() -> None:
    """Whoever reads the ledger, or the help, would read the name of a method."""
    wanted = {
        f"{service.full_name.split('.')[1]}.{method.name}"
        for context in (*CONTEXTS, audit_pb2, directory_pb2)
        for service in context.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if method.GetOptions().Extensions[policy_pb2.method].kind not in PERSONS_NEVER
    }
    assert set(METHODS) == wanted, "word it in services/kit/methods.py"


def test_a_refused_call_is_told_in_words() -> None:
    """An auditor would read ``DecideExtension``; a type shown alone, without its payload, would not be shown at all."""
    payload = {
        "method": "/dutyloop.hazard.v1.HazardService/DecideExtension",
        "reason": "SEPARATION_OF_DUTIES",
        "metadata": {"first": "request_extension", "second": "decide_extension"},
    }
    told = tell_entry("access.call.refused", [], payload)
    assert told.zh == "请求“审批延期”被拒绝（同一人不得既办理“申请延期”又办理“审批延期”）"
    assert told.en.startswith("The call “decide an extension” was refused (One person may not both")
    assert tell_entry("access.call.refused", [], {}) == Told("请求被拒绝", "The call was refused")


def test_every_batch_is_told_as_one() -> None:
    """Of the thousand hazards of a batch, all but the first would have no beginning, or another one's name."""
    batches = {
        value
        for path in (ROOT / "services").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.keyword) and node.arg == "batch_type"
        for value in strings(node.value, {})
    }
    assert batches == BATCHES


def states() -> Iterator[str]:
    """Yield every state of every resource, without prefix."""
    for context in CONTEXTS:
        file: FileDescriptor = context.DESCRIPTOR
        for name, enum in file.enum_types_by_name.items():
            if name.endswith("State"):
                prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
                yield from (value.name.removeprefix(prefix) for value in enum.values[1:])


@pytest.mark.parametrize("state", sorted(set(states())))
def test_every_state_has_words(state: str) -> None:
    """The line would end in a constant of the interface, in neither language."""
    assert all(STATES[state])


def test_a_state_is_told_in_both_languages() -> None:
    """The words would be there and not be used."""
    line = tell_entry("accountability.supervision_case.opened", ["supervisionCases/1"], {"state": "STUDY"})
    assert line.zh == "督办事项 supervisionCases/1 已立案（状态：研究）"
    assert line.en == "The supervision case supervisionCases/1 was opened (state: under study)"


@pytest.mark.parametrize("name", sorted(OBJECTS.keys() & LABELS.keys() - {"clock"}))
def test_the_timeline_calls_things_what_the_verbs_call_them(name: str) -> None:
    """A tour that is 巡查 on the command line would be 督查 in its own story."""
    assert OBJECTS[name][0] == LABELS[name][0]


def test_a_measure_is_told_with_its_rung() -> None:
    """Four rungs would read alike, and a reminder as if somebody were already called to account."""
    line = tell_entry("accountability.measure.taken", ["measures/1"], {"kind": "REMINDER"})
    assert (line.zh, line.en) == ("措施 measures/1 已采取：提醒", "The measure measures/1 was taken: reminder")


def test_a_term_counted_anew_is_told_with_its_days() -> None:
    """Nobody could say why the day of a term is another than before, or whether it is."""
    payload = {"notice": 2027, "former_due_time": "2027-05-27T16:00:00Z", "due_time": "2027-06-08T16:00:00Z"}
    line = tell_entry("hazard.hazard.reprojected", ["hazards/1"], payload)
    assert line.zh == "隐患 hazards/1 期限已按新公布的放假通知重新推算：2027 年，到期日由 2027-05-27 改为 2027-06-08"
    assert line.en == (
        "The hazard hazards/1 had its term counted anew by a new holiday notice: "
        "2027, due on 2027-06-08 instead of 2027-05-27"
    )
    settled = tell_entry(
        "hazard.hazard.reprojected", ["hazards/1"], {**payload, "due_time": payload["former_due_time"]}
    )
    assert settled.zh.endswith("：2027 年，到期日仍为 2027-05-27")
    assert settled.en.endswith(": 2027, still due on 2027-05-27")


@pytest.mark.parametrize("kind", HISTORY)
def test_an_event_of_a_history_is_told_word_for_word(kind: str) -> None:
    """The first word would run into the second."""
    zh, en = (words.format(name=name) for words, name in zip(HISTORY[kind], ("：了结", ": settle"), strict=True))
    told = tell_event(kind, "settle")
    assert (told.zh, told.en.lower()) == (zh, en.lower())


def test_the_name_of_a_local_activity_marker() -> None:
    """The timeline would fill with the engine's markers."""
    assert LOCAL_ACTIVITY == "core_local_activity"
