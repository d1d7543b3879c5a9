"""Documents that exist in Chinese and in English: neither may fall behind the other."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHINESE = sorted(path for pattern in ("*", "docs/**/*", "infra/**/*") for path in ROOT.glob(f"{pattern}.zh-CN.md"))
FENCE = "```"
PROPER_TO_A_LANGUAGE = ("mermaid", "python", "")
"""Code blocks that are words as much as code: a drawing, a program that prints a sentence, a list of folders."""
WORDS_IN_CODE = re.compile(r"\s+#\s.*|DUTYLOOP_LOCALE=\S+ |\S+\.(csv|xlsx)\b")
"""Comments, the choice of a language, and the names of a user's own files."""


@dataclass
class Structure:
    """What of a document does not depend on its language."""

    headings: list[int] = field(default_factory=list)
    """Their levels."""
    code: list[list[str]] = field(default_factory=list)
    """The blocks' lines, the first of which names the language; without words."""
    rows: list[list[str]] = field(default_factory=list)
    """What each row of a table has as code, in order of the alphabet."""


def english_of(chinese: Path) -> Path:
    """Return the English counterpart of a Chinese document."""
    return chinese.with_name(chinese.name.replace(".zh-CN", ""))


def structure_of(document: Path) -> Structure:
    """Read a document's structure."""
    found, inside = Structure(), False
    for line in document.read_text().splitlines():
        if line.startswith(FENCE):
            inside = not inside
            if inside:
                found.code.append([line.removeprefix(FENCE)])
        elif inside:
            words = found.code[-1][0] in PROPER_TO_A_LANGUAGE
            found.code[-1].append("" if words else WORDS_IN_CODE.sub("", line))
        elif line.startswith("#"):
            found.headings.append(len(line.split()[0]))
        elif line.startswith("|"):
            found.rows.append(sorted(re.findall(r"`[^`]+`", line)))
    return found


def anchors_of(document: Path) -> set[str]:
    """Return the anchors that a page of the document gives its headings."""
    titles = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("chinese", CHINESE, ids=lambda path: str(path.relative_to(ROOT)))
def test_both_languages_have_the_same_headings_code_and_rows(chinese: Path) -> None:
    """Who runs the system by the Chinese document would lack a section, a command or a setting of the English one."""
    ours, theirs = structure_of(chinese), structure_of(english_of(chinese))
    assert ours.headings == theirs.headings
    assert ours.code == theirs.code
    assert ours.rows == theirs.rows


@pytest.mark.parametrize("chinese", CHINESE, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_language_leads_to_the_other_and_links_lead_somewhere(chinese: Path) -> None:
    """A reader who landed on the wrong language, or follows a link, would find nothing."""
    english = english_of(chinese)
    assert f"[English]({english.name})" in chinese.read_text().splitlines()[:5]
    assert f"[中文]({chinese.name})" in english.read_text().splitlines()[:5]
    for document in (chinese, english):
        for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
            path, _, anchor = link.partition("#")
            target = document.parent / path if path else document
            if "://" not in link:
                assert target.exists() and (not anchor or anchor in anchors_of(target)), link


def test_make_lists_its_targets_in_both_languages() -> None:
    """Whoever starts with ``make`` would read half of the first thing the product says in the other language."""
    listed = re.findall(r"^[a-z-]+:.*## (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert len(listed) > 5
    for words in listed:
        english, _, chinese = words.partition(" | ")
        assert english.isascii()
        assert re.search(r"[\u4e00-\u9fff]", chinese), words
