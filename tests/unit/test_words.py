"""People read sentences in their language: every rule, state, action, setting and enum value has words."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import EnumDescriptor

from dutyloop.kit.v1 import kit_pb2
from services.kit.catalogue import (
    LOCALES,
    PROBLEMS,
    Locale,
    describe_field,
    describe_reason,
    describe_state,
    describe_value,
)
from services.kit.contexts import CONTEXTS
from services.kit.rulebook import KEYS, RULES
from services.kit.vocabulary import ACTIONS, SETTINGS, STATES, VALUES

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for folder in ("services", "workflows") for path in (ROOT / folder).rglob("*.py"))
TREES = [ast.parse(path.read_text()) for path in SOURCES]
MIGRATIONS = "\n".join(path.read_text() for path in sorted((ROOT / "services").glob("*/migrations/*.sql")))
CHECKED = re.compile(r"CONSTRAINT\s+(\w+)\s+(?:CHECK|EXCLUDE)\b|USING\s+CONSTRAINT\s*=\s*'(\w+)'")
KEYED = re.compile(r"CONSTRAINT\s+(\w+)\s+UNIQUE\b|UNIQUE\s+INDEX\s+(\w+)")
ACTING = frozenset(
    {
        "wrong_state",
        "same_person",
        "_require",
        "_require_open",
        "_require_decider",
        "_require_independent",
        "_require_other_than_subject",
        "check_state",
        "check_judge",
        "check_open",
        "_holder_refusal",
        "_judge_refusal",
    }
)
"""Functions that are told an action, and perhaps a state, by position."""
TOKEN = re.compile(r"[a-z][a-z_]+")
RULE_TOKEN = re.compile(r"[a-z][a-z0-9_]+")
STATE_TOKEN = re.compile(r"[A-Z][A-Z_]+(?<!_)")


def keywords(*names: str) -> Iterator[str]:
    """Yield the literal texts given for keywords of these names."""
    for tree in TREES:
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg in names:
                for each in ast.walk(node.value):
                    if isinstance(each, ast.Constant) and isinstance(each.value, str):
                        yield each.value


def told() -> Iterator[str]:
    """Yield the literal texts by which functions are told an action or a state, and the names of updates."""
    for tree in TREES:
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=args) if name in ACTING:
                    for each in args:
                        if isinstance(each, ast.Constant) and isinstance(each.value, str):
                            yield each.value
                case (
                    ast.AsyncFunctionDef(name=name, decorator_list=made)
                    | ast.FunctionDef(name=name, decorator_list=made)
                ):
                    if any(ast.unparse(each) in ("workflow.update", "workflow.signal") for each in made):
                        yield name


def problems() -> Iterator[str]:
    """Yield the literal problems with which a field is refused."""
    for tree in TREES:
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Name(id="invalid" | "Violation"), args=[_, problem, *_]):
                    for each in (problem.body, problem.orelse) if isinstance(problem, ast.IfExp) else (problem,):
                        if isinstance(each, ast.Constant) and isinstance(each.value, str):
                            yield each.value


FOUND = sorted(set(problems()))
RAISED = sorted(filter(RULE_TOKEN.fullmatch, set(keywords("rule"))))
CHECKS = sorted({name for pair in CHECKED.findall(MIGRATIONS) for name in pair if name})
UNIQUES = sorted({name for pair in KEYED.findall(MIGRATIONS) for name in pair if name})
NAMED = sorted(filter(TOKEN.fullmatch, set(keywords("resource"))))
"""Keys by which the code refuses before the database does."""
TAKEN = sorted({*filter(TOKEN.fullmatch, told()), *keywords("action", "first", "second")})
SEEN = sorted({*filter(STATE_TOKEN.fullmatch, told()), *filter(STATE_TOKEN.fullmatch, keywords("state"))})


def enums() -> Iterator[EnumDescriptor]:
    """Yield every enum of the API that a field of a message holds."""
    for file in (*(each.file for each in CONTEXTS.values()), kit_pb2.DESCRIPTOR):
        for message in file.message_types_by_name.values():
            yield from (field.enum_type for field in message.fields if field.enum_type is not None)


SHOWN = sorted({value.name for enum in enums() for value in enum.values if value.number})


def test_the_searches_find_what_is_there() -> None:
    """A search that finds nothing would let every missing word pass."""
    assert {"reassigned_to_another_unit_only", "the_successor_is_in_force", "site_is_not_closed_down"} <= set(RAISED)
    assert {"tour_reporter_never_closes", "task_scheduled_date_never_changes", "hazard_grade_is_known"} <= set(CHECKS)
    assert {"site_credit_code_is_unique", "site_order_in_force_is_one_of_a_kind"} <= set(UNIQUES)
    assert {"duplicate", "not_the_parent", "out_of_range"} <= set(FOUND)
    assert {"reinspect", "submit_list", "approve_list", "file_appeal", "note", "exempt"} <= set(TAKEN)
    assert {"APPEAL_FILED", "NO_EXTENSION_ASKED", "ENDED", "FACTS_SUBMITTED"} <= set(SEEN)
    assert {"HAZARD_GRADE_MAJOR", "VERDICT_PASS", "TERM_UNIT_WORKING_DAYS"} <= set(SHOWN)


@pytest.mark.parametrize("problem", FOUND)
def test_every_problem_of_a_field_has_words(problem: str) -> None:
    """Whoever sent the field would be told of an internal error, and not what is wrong with it."""
    assert problem in PROBLEMS, "word it in PROBLEMS of services/kit/catalogue.py"


@pytest.mark.parametrize("rule", sorted({*RAISED, *CHECKS}))
@pytest.mark.parametrize("locale", LOCALES)
def test_every_rule_is_a_sentence(rule: str, locale: Locale) -> None:
    """A county office would read the name of a constraint and have to guess what it did wrong."""
    shown = describe_reason("RULE_NOT_MET", {"rule": rule}, locale)
    assert rule in RULES, "word it in RULES of services/kit/rulebook.py"
    assert "_" not in shown
    assert bool(re.search(r"[\u4e00-\u9fff]", shown)) == (locale == "zh-CN")


@pytest.mark.parametrize("key", sorted({*UNIQUES, *NAMED}))
@pytest.mark.parametrize("locale", LOCALES)
def test_every_key_says_what_exists(key: str, locale: Locale) -> None:
    """Who enters a thing twice would read the name of an index."""
    shown = describe_reason("ALREADY_EXISTS", {"resource": key}, locale)
    assert key in KEYS, "word it in KEYS of services/kit/rulebook.py"
    assert "_" not in shown


def test_every_rule_is_refused_by_name_in_a_test() -> None:
    """A rule could be lost, or another refusal be told in its place, and no test would notice."""
    named = {
        each.value
        for path in (ROOT / "tests").rglob("test_*.py")
        if path.name != Path(__file__).name
        for each in ast.walk(ast.parse(path.read_text()))
        if isinstance(each, ast.Constant)
    }
    assert set(RAISED) <= named


def test_words_are_kept_for_what_there_is_only() -> None:
    """Words of rules that are gone would hide that a rule was renamed."""
    assert set(RULES) == {*RAISED, *CHECKS}
    assert set(KEYS) == {*UNIQUES, *NAMED}
    assert not set(VALUES) - set(SHOWN)
    assert set(ACTIONS) == set(TAKEN)
    assert set(SETTINGS) == set(keywords("setting"))
    assert not set(STATES) - {*SEEN, *(re.sub(".*_STATE_|SITE_ORDER_KIND_", "", value) for value in SHOWN)}


@pytest.mark.parametrize("action", TAKEN)
def test_every_action_has_words(action: str) -> None:
    """Whoever acts in a wrong state, or in two roles, would read the names of our functions."""
    assert action in ACTIONS, "word it in ACTIONS of services/kit/vocabulary.py"
    assert all(ACTIONS[action])
    shown = describe_reason("SEPARATION_OF_DUTIES", {"first": action, "second": action}, "zh-CN")
    assert shown == f"同一人不得既办理“{ACTIONS[action][0]}”又办理“{ACTIONS[action][0]}”"


@pytest.mark.parametrize("state", SEEN)
def test_every_state_named_in_a_refusal_has_words(state: str) -> None:
    """The refusal would name a constant of the interface, in neither language."""
    assert state in STATES, "word it in STATES of services/kit/vocabulary.py"
    assert (describe_state(state, "zh-CN"), describe_state(state, "en")) == STATES[state]


@pytest.mark.parametrize("setting", sorted(set(keywords("setting"))))
def test_every_setting_has_words(setting: str) -> None:
    """Whoever needs a setting switched on could not say which."""
    assert setting in SETTINGS, "word it in SETTINGS of services/kit/vocabulary.py"
    assert all(SETTINGS[setting])


@pytest.mark.parametrize("value", SHOWN)
def test_every_value_shown_has_words(value: str) -> None:
    """A Chinese table would be full of English constants."""
    where = "word it in VALUES of services/kit/vocabulary.py, a state in STATES"
    assert re.search(r"[\u4e00-\u9fff]", describe_value(value, "zh-CN")), where
    assert re.fullmatch(r"[a-z' ]+", describe_value(value, "en"))


def test_a_refusal_is_read_in_words() -> None:
    """The words would be there and not be used."""
    wrong = {"state": "WRITTEN_OFF", "action": "submit_plan"}
    assert describe_reason("WRONG_STATE", wrong, "zh-CN") == "当前状态（已销号）不允许此操作（制定整改方案）"
    expected = "The present state (written off) does not allow this action (plan the rectification)"
    assert describe_reason("WRONG_STATE", wrong, "en") == expected
    unfit = {"field": "visit.inspectors[1]", "resource": "people/p7"}
    assert describe_reason("UNFIT_REFERENCE", unfit, "zh-CN").startswith("检查人员（visit.inspectors[1]） 所指的")
    assert describe_field("nowhere.known_field", "en") == "nowhere.known_field"
    assert describe_reason("ALREADY_EXISTS", {"resource": "task_key"}, "zh-CN") == "已存在：编号相同的记录"
    assert describe_reason("ALREADY_EXISTS", {"resource": "units/u1"}, "en") == "It exists already: units/u1"
    rule = describe_reason("RULE_NOT_MET", {"rule": "reassigned_to_another_unit_only"}, "zh-CN")
    assert rule == "不符合规定：已交办的隐患只能改交其他单位"
