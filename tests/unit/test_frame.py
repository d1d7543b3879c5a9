"""What surrounds our words on the command line: usage, help and usage errors, in Chinese and English."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import typer
from pydantic_core import PydanticKnownError
from typer.testing import CliRunner

from services.cli.frame import FramedTyper
from services.cli.main import app
from services.cli.typer_words import COMPLETION, ERRORS, HELP, TYPES, USAGE
from services.kit.library_words import PYDANTIC, blanked

TYPER = Path(typer.__file__).parent
CHINESE = re.compile(r"[\u4e00-\u9fff]")
ENGLISH_FRAME = re.compile(
    r"\b(usage|options?|arguments?|commands?|args|required|default|show|exit|install|try|missing|invalid|value|such"
    r"|input|should|unexpected|error|int|str|float|bool|file|path|text|range)\b",
    re.IGNORECASE,
)
UNSAID = {
    "Value {} is not a valid {}.": "a type without a schema of pydantic's; no parameter has one",
    "Value must be an iterable.": "no parameter takes several values at once",
    "value is not a valid tuple": "no parameter takes several values at once",
    "{} values are required, but {} given.": "no parameter takes several values at once",
    "Expected one list item type, got: {}": "a fault of the program; every list has the type of its items",
    "None is not a valid string": "whatever is typed is a string",
    "{} does not match the formats {}.": "no parameter has formats of its own for days; ours are read by fields.day_of",
    "'{}': {}": "no parameter is an open file",
}
"""Texts that Typer raises and nobody reads here, with the reason."""
FAILING = ("UsageError", "BadParameter", "BadOptionUsage", "BadArgumentUsage", "ValueError", "fail")
OF_VALUES = ("_adapters.py", "_coercion.py", "_param_types.py")
"""Modules whose ValueErrors are about what was typed, not about the program."""


def raised() -> Iterator[str]:
    """Yield the texts, blanks empty, with which Typer tells that a command was called wrongly."""
    for path in sorted(TYPER.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            called = getattr(node.func, "id", getattr(node.func, "attr", "")) if isinstance(node, ast.Call) else ""
            if called in FAILING and (called != "ValueError" or path.name in OF_VALUES):
                assert isinstance(node, ast.Call)
                yield from filter(None, map(text_of, node.args))


def text_of(node: ast.expr) -> str:
    """Return the text of a literal, of an f-string, or of ``_("…").format(…)``; of anything else nothing."""
    match node:
        case ast.Constant(value=str(text)) if " " in text:
            return re.sub(r"\{\w*(![rs])?\}", "{}", text)
        case ast.JoinedStr(values=values):
            parts = (each.value if isinstance(each, ast.Constant) else "{}" for each in values)
            return "".join(map(str, parts))
        case ast.Call(func=ast.Attribute(value=ast.Call(args=[given]), attr="format")) | ast.Call(args=[given]):
            return text_of(given)
    return ""


@pytest.mark.parametrize("text", sorted(set(raised())))
def test_whatever_typer_raises_is_worded(text: str) -> None:
    """A new version's new text would stand in English among Chinese."""
    filled = "Option '--x' requires 2 arguments." if text == "Option {} requires {}" else text.replace("{}", "'x'")
    assert any(re.fullmatch(blanked(each), filled) for each in ERRORS) or text in UNSAID


def test_the_search_finds_what_typer_raises() -> None:
    """A search that finds nothing would let every new text pass."""
    assert {"Missing command.", "{} is not one of {}.", "Option {} requires {}", *UNSAID} <= set(raised())


def sources() -> str:
    found = (path.read_text() for path in sorted(TYPER.rglob("*.py")))
    return re.sub(r"\"\s*\n\s*f?\"", "", "\n".join(found))


@pytest.mark.parametrize("template", [*USAGE, *HELP, *COMPLETION])
def test_texts_that_are_reworded_are_typers(template: str) -> None:
    """A template that a new version of Typer no longer has would word nothing any more."""
    assert re.sub(r"\{\w+\}", "{", template).partition("{")[0] in sources()


def test_what_pydantic_says_is_known_to_it() -> None:
    """A new version's new text would stand in English among Chinese, and a template word nothing any more."""
    bounds = ("greater_than_equal", {"ge": 7}), ("greater_than", {"gt": 7}), ("less_than_equal", {"le": 7})
    kinds: list[tuple[Any, dict[str, Any] | None]] = [
        *((kind, None) for kind in ("int_parsing", "int_parsing_size", "float_parsing", "bool_parsing")),
        *((kind, None) for kind in ("string_type", "dict_type")),
        *(*bounds, ("less_than", {"lt": 7}), ("literal_error", {"expected": "'a', 'b' or 'c'"})),
    ]
    said = [PydanticKnownError(kind, context).message() for kind, context in kinds]
    fitting = [next(template for template in PYDANTIC if re.fullmatch(blanked(template), text)) for text in said]
    assert sorted(fitting) == sorted(PYDANTIC)


WRONG: Sequence[Sequence[str]] = (
    ("hazards", "assign"),
    ("hazards", "assign", "h1"),
    ("token",),
    ("up", "--port", "x"),
    ("up", "--port", "7" * 5_000),
    ("up", "--scale", "0"),
    ("up", "--scale", "11"),
    ("token", "--person", "people/x", "--hours", "x"),
    ("token", "--person", "people/x", "--hours", "0"),
    ("token", "--person", "people/x", "--hours", "nan"),
    ("import", "sites", "/nonexistent"),
    ("import", "sites", "/"),
    ("import", "hazards", "--layout", "x", "/etc/hosts"),
    ("import", "hazards", "--map", "x", "/etc/hosts"),
    ("foo",),
    ("hazards", "--"),
    ("tasks", "lst"),
    ("tasks", "list", "--limt", "3"),
    ("tasks", "list", "--zzz"),
    ("tasks", "list", "-z"),
    ("tasks", "list", "x"),
    ("tasks", "list", "--limit"),
    ("tasks", "list", "--json=3"),
    ("tasks", "progress", "t1", "--progress-percent", "x"),
    ("tasks", "progress", "t1", "--progress-percent", "99999999999"),
    ("tasks", "complete", "t1", "--evidence", "{"),
    ("tasks", "complete", "t1", "--evidence", '{"nothing": 1}'),
    ("tasks", "complete", "t1", "--evidence", "nothing=1"),
    ("hazards", "list", "--grade", "banana"),
    ("hazards", "list", "--as-of-date", "2024-02-30"),
    ("directory", "advance-clock", "tomorrow"),
    ("directory", "update-unit", "u1"),
    ("tours", "report", "t1", "--target", "x", "--number", "9", "--document-hash", "@/nowhere"),
    ("call", "nothing.Nothing"),
    ("call", "duty.ListDutyItems", "{"),
    ("call", "duty.ListDutyItems", ""),
    ("call", "duty.ListDutyItems", "null"),
    ("call", "duty.ListDutyItems", '{"nothing": 1}'),
    ("call", "duty.ListDutyItems", '{"page_size": "x"}'),
    ("call", "duty.ListDutyItems", "@/nowhere"),
    ("call", "duty.ListDutyItems", "@/bin/sh"),
)
"""Every way to call a command wrongly that Typer, or what reads our fields, tells of."""
SPEAK = """
import sys
import orjson
from typer.main import get_command
from typer.testing import CliRunner
from services.cli.frame import _sections
from services.cli.frame import FramedTyper
from services.cli.main import app

def walk(command, path, parent):
    context = command.context_class(command, info_name=path[-1], parent=parent)
    sections = {title: rows for title, rows in _sections(context)}
    yield {"path": path, "usage": context.get_usage(), "help": command.help, "sections": sections,
           "page": context.get_help()}
    for name, each in getattr(command, "commands", {}).items():
        yield from walk(each, [*path, name], context)

pages = list(walk(get_command(app), ["dutyloop"], None))
runner = CliRunner()
wrong = []
for arguments in orjson.loads(sys.argv[1]):
    done = runner.invoke(app, arguments)
    wrong.append({"arguments": arguments, "code": done.exit_code, "said": done.output})
sys.stdout.buffer.write(orjson.dumps({"pages": pages, "wrong": wrong}))
"""


@pytest.fixture(scope="module", params=["zh-CN", "en"])
def spoken(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Every help page, and the answer to every wrong call, as a reader of the language gets them."""
    done = subprocess.run(
        [sys.executable, "-c", SPEAK, orjson.dumps(WRONG).decode()],
        env={**os.environ, "DUTYLOOP_LOCALE": request.param, "COLUMNS": "60", "DUTYLOOP_DATA_DIR": "/nonexistent"},
        stdout=subprocess.PIPE,
        timeout=120,
        check=True,
    )
    return request.param, orjson.loads(done.stdout)


def ours(text: str) -> str:
    """Return a text without what is typed as it is in every language: options, paths, quoted values, JSON keys."""
    return re.sub(r"'[^']*'|--?[\w-]+|@?/[\w/]+|dutyloop( [a-z-]+)*|<[^>]*>|\.\.\.|\bunits/|\w+/…", "", text)


def test_every_help_page_is_in_the_readers_language(spoken: tuple[str, dict[str, Any]]) -> None:
    """A county office would find English around its own words, or an English reader Chinese."""
    locale, found = spoken
    assert len(found["pages"]) > 100
    for page in found["pages"]:
        if locale == "en":
            assert not CHINESE.search(page["page"]), page["path"]
            continue
        assert CHINESE.search(page["help"]), page["path"]
        assert not ENGLISH_FRAME.search(ours(page["usage"])), page["usage"]
        for title, rows in page["sections"].items():
            assert CHINESE.search(title)
            for _, typed, words in rows:
                assert CHINESE.search(words), (page["path"], typed, words)
                assert not ENGLISH_FRAME.search(words), (page["path"], typed, words)
                assert not re.search(r"<[a-z]+( range)?>|list\[", typed), (page["path"], typed)


def test_help_is_shown_whole_in_a_narrow_terminal(spoken: tuple[str, dict[str, Any]]) -> None:
    """Chinese has no spaces to break a line at: the end of a long help would be cut off."""
    for page in spoken[1]["pages"]:
        shown = re.sub(r"[\s│]", "", page["page"])
        for rows in page["sections"].values():
            for _, typed, words in rows:
                if len(typed) <= 12:  # otherwise what is typed stands between the lines of the help
                    assert re.sub(r"\s", "", words) in shown, (page["path"], typed, words)


def test_every_wrong_call_is_told_in_the_readers_language(spoken: tuple[str, dict[str, Any]]) -> None:
    """Whoever mistypes a command would be told so in the words of a library, in English."""
    locale, found = spoken
    for each in found["wrong"]:
        said = each["said"]
        assert each["code"] == 2, each
        assert "dutyloop: " in said, each
        if locale == "zh-CN":
            assert CHINESE.search(said.rpartition("dutyloop: ")[2]), said
            assert not ENGLISH_FRAME.search(ours(said)), said
        else:
            assert not CHINESE.search(said), said


def test_every_type_of_a_parameter_has_words(spoken: tuple[str, dict[str, Any]]) -> None:
    """A new type of option would show as ``<UUID>`` among Chinese."""
    locale, found = spoken
    shown = {typed for page in found["pages"] for rows in page["sections"].values() for _, typed, _ in rows}
    types = {found for typed in shown for found in re.findall(r"<[^<>|]+>", typed)}
    assert types <= (set(TYPES) if locale == "en" else {each.removesuffix("...") for each in TYPES.values()})


@pytest.mark.parametrize(("locale", "expected"), [("zh-CN", "命令补全已安装于"), ("en", "completion installed in")])
def test_installing_the_completion_is_told_in_the_readers_language(locale: str, expected: str, tmp_path: Path) -> None:
    """The only thing the option says would be English."""
    done = subprocess.run(
        ["/bin/bash", "-c", f"{sys.executable} -m services.cli.main --install-completion; exit $?"],
        env={**os.environ, "DUTYLOOP_LOCALE": locale, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    assert bool(CHINESE.search(done.stdout)) == (locale == "zh-CN")


def test_nothing_at_all_shows_the_help_and_is_wrong_usage() -> None:
    """A script that forgot the command would go on as if something had been done."""
    done = CliRunner().invoke(app, ["hazards"])
    assert done.exit_code == 2
    assert "lookback" in done.stdout


@pytest.mark.parametrize(("way", "code"), [(KeyboardInterrupt, 130), (typer.Abort, 1), (EOFError, 1)])
def test_what_is_broken_off_leaves_as_it_would_without_our_frame(way: type[BaseException], code: int) -> None:
    """A script could not tell that somebody has pressed Ctrl-C."""
    own = FramedTyper()

    def wait() -> None:
        raise way

    own.command("wait")(wait)
    own.command("other")(lambda: None)  # one command alone would not make a group of the app
    assert CliRunner().invoke(own, ["wait"]).exit_code == code
    assert CliRunner().invoke(own, ["other"]).exit_code == 0


def test_who_calls_the_app_from_python_gets_its_errors() -> None:
    """A program that embeds the command would be ended by a wrong option."""
    with pytest.raises(typer.TyperException):
        app(["hazards", "nothing"], standalone_mode=False)
