"""The worked example of CONTRIBUTING.md, carried out in a copy of the project."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = shutil.ignore_patterns(".*", "build", "__pycache__")
SECTION = re.compile(r"^### \d\. (.+)$", re.MULTILINE)
BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
METHOD = "/dutyloop.directory.v1.DirectoryService/RenamePost"
MINUTES = 5


class Copy:
    """A copy of the project in which a newcomer works."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT, folder, ignore=LEFT_OUT)

    def insert(self, path: str, snippet: str, *, before: str = "") -> None:
        """Put a snippet before the only place that starts with some words, or at the end of a file."""
        file = self.folder / path
        text = file.read_text()
        if not before:
            file.write_text(f"{text}\n\n{snippet}")
            return
        assert text.count(before) == 1, f"{path} has {text.count(before)} of: {before}"
        file.write_text(text.replace(before, f"{snippet}{before}"))

    def python(self, *arguments: str) -> str:
        """Run a program of the copy with what it generated; its output is what fails the test."""
        paths = os.pathsep.join([str(self.folder), str(self.folder / "protos" / "gen")])
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            timeout=60 * MINUTES,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def snippets(language: str = "") -> dict[str, list[str]]:
    """Return the code of each numbered section, by its title."""
    _, *parts = SECTION.split((ROOT / "CONTRIBUTING.md").read_text())
    return {
        title: [block["text"] for block in BLOCK.finditer(text) if not language or block["language"] == language]
        for title, text in zip(parts[::2], parts[1::2], strict=True)
    }


def test_a_newcomer_who_follows_the_worked_example_has_a_method_that_works(tmp_path: Path) -> None:
    """The first thing a newcomer does here would fail, and he would not know whether he or the page is wrong."""
    proto, python = snippets("proto"), snippets("python")
    copy = Copy(tmp_path / "copy")

    rpc, request = proto["The proto, with its policy"]
    definitions = "protos/dutyloop/directory/v1/directory.proto"
    copy.insert(definitions, rpc, before="  // Lists posts in the caller's scope.\n")
    copy.insert(definitions, request)
    copy.insert("services/directory/rules.py", python["The rule"][0])
    store = "services/directory/store.py"
    copy.insert(store, python["The store"][0] + "\n", before="    LOCK_POST = ")
    copy.insert(
        store, "unit_id, ", before="reach, region_code, unit_path\n    FROM post\n    WHERE id = $1\n    FOR NO"
    )
    copy.insert("services/directory/service.py", python["The service"][0] + "\n", before="    async def ListPosts(")
    unit_test, wire_test = python["The tests"]
    copy.insert("tests/unit/test_directory_rules.py", unit_test)
    (copy.folder / "tests/integration/test_posts.py").write_text(wire_test)
    copy.insert("services/audit/words.py", python["The ledger's words"][0], before='    "changed": ')
    words, verb = python["The verb"]
    copy.insert("services/kit/methods.py", words, before='    "directory.ListPosts": ')
    copy.insert("services/cli/directory.py", verb, before='    Verb("create-post", ')

    copy.python("protos/generate.py")
    copy.python("-m", "ruff", "check", "services", "tests")
    copy.python("-m", "pytest", "-q", "tests/integration/test_access_matrix.py", "-k", "RenamePost", "--update-golden")
    measured = [
        line for line in (copy.folder / "tests/golden/access_matrix.csv").read_text().splitlines() if METHOD in line
    ]
    shown = snippets()["The golden matrix"][1].splitlines()
    assert [abridged(line) for line in measured] == [abridged(line) for line in shown]
    copy.python("-m", "pytest", "-q", "tests/unit/test_words.py")
    copy.python("-m", "pytest", "-q", "tests/unit/test_cli.py", "-k", "rename-post or every")
    wire = ("tests/integration/test_posts.py", "tests/integration/test_bad_input.py")
    copy.python("-m", "pytest", "-q", "tests/unit/test_directory_rules.py", *wire, "-k", "post or RenamePost")


def abridged(row: str) -> tuple[list[str], str]:
    """Return what the page shows of a row: its first five cells and the last."""
    cells = row.split(",")
    return cells[:5], cells[-1]
