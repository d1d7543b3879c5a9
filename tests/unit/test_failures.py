"""What keeps the product from running is told in the reader's language: every failure has words in both."""

import ast
import errno
import os
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.embedded.process import StackError, prepare_data_dir, require_free_port
from infra.embedded.stack import running_environment
from services.kit.failures import FAILURES, WHATS, Failure
from services.kit.library_words import ERRNO, describe_os_error
from services.kit.settings import Settings, SettingsError, required, settings

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [path for folder in ("services", "workflows", "infra") for path in sorted((ROOT / folder).rglob("*.py"))]
TREES = {path: ast.parse(path.read_text()) for path in SOURCES}
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def kinds() -> frozenset[str]:
    """Return the names of the classes of failures, found in the sources."""
    bases = {
        node.name: {getattr(base, "id", "") for base in node.bases}
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found = {"Failure"}
    while more := {name for name, over in bases.items() if over & found} - found:
        found |= more
    return frozenset(found)


KINDS = kinds()


def made() -> Iterator[tuple[str, ast.Call]]:
    """Yield where each failure is made, and how."""
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in KINDS:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


MADE = dict(made())
CODES = {
    code.value for call in MADE.values() for code in call.args if isinstance(code, ast.Constant)
}  # fmt: skip


def blanks(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def test_the_search_finds_what_is_there() -> None:
    """A search that finds nothing would let every failure without words pass."""
    assert {"StackError", "SettingsError", "MigrationError", "NoteError", "OtherSchema", "ServerGone"} < KINDS
    assert len(MADE) > 70


@pytest.mark.parametrize("place", sorted(MADE))
def test_every_failure_has_words_and_the_facts_they_need(place: str) -> None:
    """A start that fails would be told by a traceback of its own wording."""
    call = MADE[place]
    if ast.unparse(call) == "StackError(error.code, **error.facts)":
        return  # another failure, told on
    assert len(call.args) == 1, "a failure is made of a code and facts"
    code = ast.literal_eval(call.args[0])
    assert code in FAILURES, "word it in services/kit/failures.py"
    for template in FAILURES[code]:
        assert blanks(template) <= {keyword.arg for keyword in call.keywords}


@pytest.mark.parametrize("code", FAILURES)
def test_the_words_of_a_failure_say_the_same_in_both_languages(code: str) -> None:
    """One reader would be told less than the other, or in the other's language."""
    assert code in CODES, "nothing fails so any more"
    chinese, english = FAILURES[code]
    assert blanks(chinese) == blanks(english)
    assert not CHINESE.search(english)
    # What is only a name and a reason has no words of its own.
    assert CHINESE.search(chinese) or not re.search(r"[a-z]", re.sub(r"\{\w+\}", "", english))


def test_the_embedded_stack_fails_in_words_only() -> None:
    """An exception of another kind would reach the terminal as a traceback, in English."""
    for path, tree in TREES.items():
        if path.is_relative_to(ROOT / "infra" / "embedded"):
            for node in ast.walk(tree):
                if isinstance(node, ast.Raise) and node.exc is not None:
                    raised = ast.unparse(node.exc)
                    assert re.match(rf"({'|'.join(KINDS)})\(|self\.failure\(|child\.failure\(|result$", raised), (
                        f"{path.name}:{node.lineno}"
                    )


def test_what_a_failure_is_about_has_words() -> None:
    """A port would be said to be for ``temporal_ui``."""
    told = {
        each.value
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for each in (
            *(keyword.value for keyword in node.keywords if keyword.arg in ("what", "purpose")),
            *(node.args if getattr(node.func, "attr", "") == "acquire" else ()),
            *(node.args[1:] if getattr(node.func, "id", "") == "require_free_port" else ()),
        )
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    }
    assert {text for text in told if text == text.lower()} == set(WHATS)
    assert all(CHINESE.search(chinese) or "gRPC" in chinese for chinese, _ in WHATS.values())


def test_failures_of_the_stack_are_read_in_chinese(tmp_path: Path) -> None:
    """The operator of a county would look up what ``Address already in use`` may mean."""
    (tmp_path / "file").touch()
    with pytest.raises(StackError) as told:
        prepare_data_dir(tmp_path / "file" / "below")
    assert told.value.worded("zh-CN") == f"数据目录 {tmp_path}/file/below 不可用：不是目录"
    assert str(told.value) == f"data directory {tmp_path}/file/below cannot be used: Not a directory"
    with pytest.raises(StackError) as told:
        running_environment(tmp_path)
    assert told.value.worded("zh-CN") == f"{tmp_path} 中没有正在运行的系统"
    with pytest.raises(StackError) as told:
        require_free_port(99_999, "temporal_ui")
    assert told.value.worded("zh-CN") == "端口 99999（Temporal 界面）不在 0 到 65535 之间"
    ended = Failure("child_ended", name="worker", exit_code=1, last="", log="worker.log")
    assert ended.worded("zh-CN") == "worker 已退出（退出码 1）：没有留下日志（日志：worker.log）"
    broken = Failure("cannot_start_in", what="stack", data_dir="d", error=PermissionError(errno.EACCES, "no", "d/lock"))
    assert broken.worded("zh-CN") == "系统无法在 d 启动：权限不足：d/lock"
    assert broken.worded("en") == "the stack cannot start in d: Permission denied: d/lock"


def test_a_failure_is_one_line() -> None:
    """A library's text of several lines would tear a log, or hide what comes after it."""
    refused = Failure("database_refuses", error=ValueError("one\n  two"))
    assert str(refused) == "the database refuses the connection: one two"


WRONG_SETTINGS = {
    "database_url": None,
    "pool_size": "6",
    "command_retention_days": "x",
    "max_concurrent_calls": "7",
    "worker_call_share": "1",
    "default_deadline_seconds": "0",
    "max_deadline_seconds": "x",
    "shutdown_grace_seconds": "-1",
    "allow_plaintext": "perhaps",
    "virtual_time": "2",
    "locale": "fr",
    "log_format": "xml",
    "log_level": "loud",
    "api_addresses": "[1]",
}


@pytest.mark.parametrize("name", [*WRONG_SETTINGS, "api_addresses of numbers", "api_addresses cut"])
def test_a_malformed_setting_is_told_in_chinese(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever installs the product would read what a library thinks of a value, in English."""
    values = {**WRONG_SETTINGS, "api_addresses of numbers": '{"duty": 1}', "api_addresses cut": "{"}
    field = name.partition(" ")[0]
    settings.cache_clear()
    with pytest.raises(SettingsError) as told:
        if (value := values[name]) is None:
            required(None, field)
        else:
            monkeypatch.setenv(f"DUTYLOOP_{field.upper()}", value)
            settings()
    settings.cache_clear()
    chinese = told.value.worded("zh-CN")
    assert f"DUTYLOOP_{field.upper()}" in chinese
    assert CHINESE.search(chinese)
    assert not re.search(r"input|should|valid|\bor\b|error", re.sub(r"'\w+'", "", chinese), re.IGNORECASE)
    assert f"DUTYLOOP_{field.upper()}" in str(told.value)
    assert not CHINESE.search(str(told.value))


def test_every_setting_that_may_be_malformed_is_tried() -> None:
    """A new kind of setting would be told of in English."""
    anything = {"str", "str | None", "SecretStr | None", "Path", "Path | None"}
    kinds = {name: str(field.annotation) for name, field in Settings.model_fields.items()}
    free = {
        name for name, kind in kinds.items() if re.sub(r"<class '(\w+\.)*(\w+)'>|(\w+\.)+", r"\2", kind) in anything
    }
    assert set(kinds) - free <= set(WRONG_SETTINGS)


@pytest.mark.parametrize("number", ERRNO)
def test_the_systems_errors_are_worded_as_the_system_means_them(number: int) -> None:
    """``Permission denied`` would be told as another fault."""
    chinese, english = ERRNO[number]
    assert CHINESE.search(chinese)
    if number > 0:
        assert english == os.strerror(number)
    error = OSError(number, english, "a/file")
    assert describe_os_error(error, "zh-CN") == f"{chinese}：a/file"
    assert describe_os_error(error, "en", with_file=False) == english
