"""Legacy run: what a ledger means as hazards, how tables are read, and that a repeated import is the same."""

import csv
import gzip
import itertools
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from google.protobuf.message import Message

from dutyloop.kit.v1 import kit_pb2
from services.cli import import_runs
from services.cli.import_runs import CHUNK_ROWS, MESSAGE_ROWS, ImportRun, Outcome, Source, carry_out, chunk_id
from services.cli.layouts import HAZARDS, REGIONS, RESULTS, SITES, VISITS, Layout, Place
from services.cli.legacy import Disposition, Figures, Grade, LegacyHazard, Result, figures_of, hazards_of
from services.cli.sheets import (
    Format,
    Row,
    SheetError,
    Table,
    columns_of,
    harmless,
    opened,
    rows_of,
    sha256_of,
    write_errors,
)
from services.cli.words import label, say
from tests.shared_data import DATA, needs_shared

FIRST_DAY = date(2012, 1, 1)
NOWHERE = Place()


def result(row: int, word: str, *, day: int = 0, site: str = "S1", critical: int = 0) -> Result:
    return Result(row, f"r{row}", site, FIRST_DAY + timedelta(days=day), word, critical)


def table(path: Path, header: Sequence[str], *rows: Sequence[object]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


# The derivation


def test_a_fail_is_written_off_on_the_first_later_pass() -> None:
    """A ledger whose hazards stay open after a passing visit would accuse sites that rectified."""
    hazards = list(hazards_of([result(1, "Fail"), result(2, "Pass", day=3), result(3, "Pass", day=9)]))
    assert [(hazard.open_day, hazard.write_off_day) for hazard in hazards] == [
        (FIRST_DAY, FIRST_DAY + timedelta(days=3)),
    ]
    assert hazards[0].disposition is Disposition.TIME_LIMITED


def test_a_pass_on_the_same_day_does_not_write_off() -> None:
    """Two results of one day have no order: taking the pass as later would close hazards nobody checked."""
    for first, second in itertools.permutations(("Fail", "Pass")):
        hazards = list(hazards_of([result(1, first), result(2, second)]))
        assert [hazard.write_off_day for hazard in hazards] == [None]


def test_several_fails_before_one_pass_are_each_written_off_by_it() -> None:
    """A supervisor counting open hazards would see some closed and their twins open for ever."""
    rows = [result(1, "Fail"), result(2, "Fail", day=1), result(3, "Fail", day=1), result(4, "Pass", day=2)]
    hazards = list(hazards_of(rows))
    assert [hazard.write_off_day for hazard in hazards] == [FIRST_DAY + timedelta(days=2)] * 3
    assert [hazard.legacy_id for hazard in hazards] == ["r1", "r2", "r3"]


def test_a_conditional_pass_is_a_hazard_of_that_day_and_writes_earlier_fails_off() -> None:
    """The inspector's on-the-spot corrections would be lost, or the older hazard kept open."""
    failed, spot = hazards_of([result(1, "Fail"), result(2, "Pass w/ Conditions", day=5, critical=2)])
    assert failed.write_off_day == spot.open_day == spot.write_off_day == FIRST_DAY + timedelta(days=5)
    assert (spot.grade, spot.disposition) == (Grade.GENERAL, Disposition.ON_THE_SPOT)


def test_another_site_and_other_words_change_nothing() -> None:
    """A pass of a neighbour, or a closed door, must not close somebody's hazard."""
    rows = [
        result(1, "Fail"),
        result(2, "Pass", day=1, site="S2"),
        result(3, "Out of Business", day=2),
        result(4, "No Entry", day=3),
        result(5, "pass", day=4),
    ]
    assert [hazard.write_off_day for hazard in hazards_of(rows)] == [None]


def test_only_a_critical_violation_makes_a_fail_major() -> None:
    """Grades decide who is told and how soon."""
    hazards = hazards_of([result(1, "Fail", critical=0), result(2, "Fail", critical=1)])
    assert [hazard.grade for hazard in hazards] == [Grade.GENERAL, Grade.MAJOR]


def recomputed(rows: Sequence[Result]) -> dict[str, tuple[str, str, date, date | None]]:
    """Derive the hazards another way: a sweep over the days, with the open ones of each site at hand."""
    found: dict[str, tuple[str, str, date, date | None]] = {}
    open_of: defaultdict[str, list[str]] = defaultdict(list)
    for day, of_day in itertools.groupby(sorted(rows, key=lambda row: row.day), key=lambda row: row.day):
        today = list(of_day)
        for row in today:
            if row.word.startswith("Pass"):
                for identifier in open_of.pop(row.site, ()):
                    grade, disposition, opened, _ = found[identifier]
                    found[identifier] = (grade, disposition, opened, day)
        for row in today:
            if row.word == "Pass w/ Conditions":
                found[row.legacy_id] = ("general", "on-the-spot", day, day)
            elif row.word == "Fail":
                found[row.legacy_id] = ("major" if row.critical else "general", "time-limited", day, None)
                open_of[row.site].append(row.legacy_id)
    return found


def told(hazard: LegacyHazard) -> tuple[str, str, date, date | None]:
    return (hazard.grade, hazard.disposition, hazard.open_day, hazard.write_off_day)


def test_every_short_history_agrees_with_the_sweep() -> None:
    """An ordering that the derivation gets wrong would be migrated into somebody's record."""
    words = ("Pass", "Fail", "Pass w/ Conditions", "No Entry")
    cases = list(itertools.product(itertools.product(words, (0, 1, 2)), repeat=3))
    for case in cases:
        rows = [result(number, word, day=day) for number, (word, day) in enumerate(case)]
        assert {hazard.legacy_id: told(hazard) for hazard in hazards_of(rows)} == recomputed(rows), case
    assert len(cases) == 12**3


def test_the_order_of_the_rows_does_not_matter() -> None:
    """A ledger sorted by site instead of by day must come to the same hazards."""
    rows = [result(1, "Fail"), result(2, "Pass", day=4), result(3, "Fail", day=2), result(4, "Pass", day=3)]
    expected = {hazard.legacy_id: told(hazard) for hazard in hazards_of(rows)}
    for shuffled in itertools.permutations(rows):
        assert {hazard.legacy_id: told(hazard) for hazard in hazards_of(shuffled)} == expected


def test_figures_count_what_is_open_at_the_end_of_a_day() -> None:
    """A hazard written off on the day itself is closed at its end: reports would differ from the ledger's."""
    hazards = list(hazards_of([result(1, "Fail"), result(2, "Pass", day=1), result(3, "Fail", day=1)]))
    assert [hazard.is_open_on(FIRST_DAY) for hazard in hazards] == [True, False]
    assert [hazard.is_open_on(FIRST_DAY + timedelta(days=1)) for hazard in hazards] == [False, True]
    assert figures_of([FIRST_DAY], hazards) == Figures(
        {2012: 1}, {"general": 2}, {"time-limited": 2}, 1, {2012: 1}, {2012: 1}
    )


@needs_shared
def test_the_real_ledger_agrees_with_an_independent_computation() -> None:
    """Twelve thousand sites would be migrated with hazards that the file does not hold."""
    path = DATA / "inspection_results.csv.gz"
    with gzip.open(path, "rt", newline="") as file:
        raw = list(csv.DictReader(file))
    rows = [
        Result(
            number,
            each["inspection_id"],
            each["site"],
            datetime.strptime(each["inspection_date"], "%Y-%m-%d").date(),  # noqa: DTZ007 (a day has no zone)
            each["result"],
            int(each["critical"]),
        )
        for number, each in enumerate(raw, 1)
    ]
    expected = recomputed(rows)
    outcome, sent = run(Source(path, RESULTS), place=Place("130302"))
    hazards = {row.legacy_id: row for row in sent["hazard.ImportHazards"]}
    assert not outcome.faults
    assert len(sent["inspection.ImportVisits"]) == len(raw)
    assert {row.site.legacy_id for row in sent["directory.ImportSites"]} == {each["site"] for each in raw}
    assert {name: of_message(row) for name, row in hazards.items()} == expected

    derived = list(hazards_of(rows))
    figures = figures_of((row.day for row in rows), derived)
    assert figures.visits_by_year == Counter(int(each["inspection_date"][:4]) for each in raw)
    assert figures.hazards_by_grade == Counter(grade for grade, *_ in expected.values())
    for day in (date(2011, 12, 31), date(2012, 12, 31), date(2013, 12, 31), date(2014, 6, 30)):
        open_then = {
            name for name, (_, _, opened, off) in expected.items() if opened <= day and not (off and off <= day)
        }
        assert {hazard.legacy_id for hazard in derived if hazard.is_open_on(day)} == open_then
        assert open_then


def of_message(row: Any) -> tuple[str, str, date, date | None]:
    grades = {1: "general", 2: "major"}
    dispositions = {1: "on-the-spot", 2: "time-limited"}
    opened = date(row.open_date.year, row.open_date.month, row.open_date.day)
    off = row.write_off_date
    written_off = date(off.year, off.month, off.day) if row.HasField("write_off_date") else None
    return grades[row.grade], dispositions[row.disposition], opened, written_off


@needs_shared
def test_exact_duplicates_of_the_real_visits_are_reported_and_sent_once() -> None:
    """A visit counted twice inflates an inspector's work."""
    path = DATA / "inspections.csv.gz"
    with gzip.open(path, "rt", newline="") as file:
        rows = [tuple(row) for row in csv.reader(file)][1:]
    outcome, sent = run(Source(path, VISITS), place=Place("130302"))
    distinct = {(row[0], row[2], row[3], row[4]) for row in rows}
    assert len(sent["inspection.ImportVisits"]) == len(distinct)
    assert len(outcome.faults) == len(rows) - len(distinct) == outcome.tallies["visits"].rejected
    assert outcome.tallies["visits"].rows == len(rows)


# Reading tables


def read(path: Path, layout: Layout, **how: Any) -> list[Row]:
    return list(Source(path, layout, **how).rows())


def test_columns_are_found_by_heading_in_both_languages_or_chosen(tmp_path: Path) -> None:
    """A Chinese export would have to be rewritten by hand."""
    path = table(tmp_path / "a.csv", ("编号", "企业编号", "Datum", "检查目的"), ("7", "S1", "2012-01-02", "专项"))
    (row,) = read(path, VISITS, chosen={"visit_date": "Datum"})
    assert {name: row[name] for name in ("legacy_id", "site", "visit_date", "purpose", "inspector")} == {
        "legacy_id": "7",
        "site": "S1",
        "visit_date": "2012-01-02",
        "purpose": "专项",
        "inspector": "",
    }


@pytest.mark.parametrize(
    ("header", "chosen"),
    [(("a", "a"), {"x": "a"}), (("a",), {"x": "b"}), (("a",), {"y": "a"})],
    ids=["heading stands twice", "no such column", "no such field"],
)
def test_a_choice_that_cannot_hold_is_refused(header: Sequence[str], chosen: dict[str, str]) -> None:
    """The wrong column would be imported silently."""
    with pytest.raises(SheetError):
        columns_of(header, {"x": ("x",)}, chosen)


def test_a_missing_required_column_is_named(tmp_path: Path) -> None:
    """The operator would get one error for each of a million rows."""
    path = table(tmp_path / "a.csv", ("legacy_id",), ("1",))
    with pytest.raises(SheetError) as told:
        Source(path, VISITS).columns()
    assert all(name in str(told.value) for name in VISITS.required), "one missing column after the other"


def test_csv_gz_and_xlsx_give_the_same_rows(tmp_path: Path) -> None:
    """A ledger saved by Excel would import as other sites and days than its CSV."""
    header = ("编号", "site", "date", "purpose")
    plain = table(tmp_path / "a.csv", header, ("1", "007", "2012-03-04", "例行, 检查"), ("2", "8", "2012-03-05", ""))
    packed = tmp_path / "a.csv.gz"
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + plain.read_bytes()))
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(header)
    sheet.append((1, "007", date(2012, 3, 4), "例行, 检查"))
    sheet.append((2.0, 8, datetime(2012, 3, 5), None))  # noqa: DTZ001 (a cell has no zone)
    excel = tmp_path / "a.xlsx"
    book.save(excel)
    expected = [
        (row.number, row["legacy_id"], row["site"], row["visit_date"], row["purpose"]) for row in read(plain, VISITS)
    ]
    assert expected[0] == (2, "1", "007", "2012-03-04", "例行, 检查")
    for path in (packed, excel):
        rows = read(path, VISITS)
        assert [
            (row.number, row["legacy_id"], row["site"], row["visit_date"], row["purpose"]) for row in rows
        ] == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_usual_encodings_are_found_out(tmp_path: Path, encoding: str) -> None:
    """Chinese Excel writes GB 18030: the clerk would have to know what an encoding is."""
    path = tmp_path / "a.csv"
    path.write_bytes("site,date,purpose\nS1,2012-01-01,专项检查\n".encode(encoding))
    assert read(path, VISITS)[0]["purpose"] == "专项检查"
    packed = tmp_path / "b.csv"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read(packed, VISITS)[0]["purpose"] == "专项检查"
    assert read(path, VISITS, how=Format(encoding=encoding))[0]["purpose"] == "专项检查"
    path.write_bytes("site,date\nS1,2012-01-01\n".encode("ascii"))
    assert len(read(path, VISITS)) == 1, "what was found out of another file of this name is used for this one"


def test_an_encoding_that_does_not_fit_is_told(tmp_path: Path) -> None:
    """Site names would be garbled, or a traceback shown."""
    path = tmp_path / "a.csv"
    path.write_bytes("site,date,purpose\nS1,2012-01-01,专项检查\n".encode("gb18030"))
    with pytest.raises(SheetError, match="GB 18030"):
        read(path, VISITS, how=Format(encoding="utf-8"))
    with pytest.raises(SheetError, match="utf-9"):
        read(path, VISITS, how=Format(encoding="utf-9"))
    path.write_bytes(b"site,date\nS\xff\xff,2012-01-01\n")
    with pytest.raises(SheetError, match="--encoding"):
        read(path, VISITS)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_usual_delimiters_are_found_out(tmp_path: Path, delimiter: str) -> None:
    """A table saved by another office program would have one column, and none that is known."""
    path = tmp_path / "a.csv"
    path.write_text(
        delimiter.join(("site", "date", "purpose")) + "\n" + delimiter.join(("S1", "2012-01-01", "x")) + "\n"
    )
    assert read(path, VISITS)[0]["purpose"] == "x"
    path.write_text("site^date^inspector,deputy\nS1^2012-01-01^a\n")
    assert read(path, VISITS, how=Format(delimiter="^"))[0]["site"] == "S1"


def test_a_workbook_is_known_by_its_content(tmp_path: Path) -> None:
    """Whoever renames a file would be told that its bytes are in no encoding."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet["B2"], sheet["C2"], sheet["B4"], sheet["C4"] = "site", "date", "S1", date(2012, 3, 4)
    path = tmp_path / "a.csv"
    book.save(path)
    (row,) = read(path, VISITS)
    assert (row.number, row["site"], row["visit_date"]) == (4, "S1", "2012-03-04"), "row 4 of the sheet"
    with pytest.raises(SheetError, match="Sheet"):
        read(path, VISITS, how=Format(sheet="absent"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv.gz", b"not gzip"),
        ("b.csv.gz", gzip.compress(b"site,date\nS1,2012-01-01\n" * 9)[:-9]),
        ("c.csv.gz", gzip.compress(b"site,date")[:10] + b"\xff" * 9),
        ("a.xlsx", b"not a workbook"),
        ("b.xlsx", b"PK\x03\x04 cut off"),
        ("a.csv", b'a,b\n"x'),
        ("b.csv", b'a,b\n1,"x" y\n'),
        ("c.csv", b"\x00\xff"),
        ("d.csv", b""),
        ("e.csv", b"\n,,\n"),
        ("a.xls", b"<html><table><tr><td>site</td></tr></table></html>"),
    ],
)
def test_a_broken_file_is_a_clear_error(tmp_path: Path, name: str, content: bytes) -> None:
    """The operator would see a traceback instead of the file's name."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SheetError, match=path.name), opened(path) as table:
        list(table.below)


def test_empty_rows_count_but_are_not_taken_and_surplus_cells_are_noticed() -> None:
    """Row numbers in the error file would not be those of the sheet; shifted cells would be taken."""
    raw = iter([["S1", "2012-01-01"], [], ["", ""], ["S2", "2012-01-02", "shifted"]])
    rows = list(rows_of(Table(["site", "date"], 3, raw), {"site": "site", "visit_date": "date"}))
    assert [(row.number, row["site"], row.surplus) for row in rows] == [(4, "S1", False), (7, "S2", True)]


def test_a_row_s_number_is_the_one_that_the_spreadsheet_shows(tmp_path: Path) -> None:
    """The clerk would mend the row above, or one far away below a cell with line breaks."""
    path = tmp_path / "a.csv"
    path.write_text('\nsite,date,purpose\nS1,2012-01-01,"one\ntwo\nthree"\n\nS2,2012-01-02,x\n')
    assert [(row.number, row["site"]) for row in read(path, VISITS)] == [(3, "S1"), (5, "S2")]


# Errors


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_cells_of_the_error_file_are_never_formulas(tmp_path: Path, start: str) -> None:
    """Opening the file would run what a stranger wrote into a ledger."""
    cell = f"{start}cmd|' /C calc'!A0"
    assert harmless(cell) == f"'{cell}"
    assert harmless("plain") == "plain"
    path = tmp_path / "errors.csv"
    write_errors(path, [(3, cell, cell)])
    with path.open(encoding="utf-8-sig", newline="") as file:
        assert list(csv.reader(file))[1:] == [["3", f"'{cell}", f"'{cell}"]]


@pytest.mark.parametrize(
    ("locale", "heading"), [("zh-CN", "行,列,原因"), ("en", "row,column,reason")], ids=["Chinese", "English"]
)
def test_the_error_file_is_one_that_spreadsheets_show_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locale: str, heading: str
) -> None:
    """Without the byte order mark Excel shows Chinese as gibberish, under headings in a language not the reader's."""
    monkeypatch.setattr("services.cli.words.LOCALE", locale)
    path = tmp_path / "errors.csv"
    write_errors(path, [(3, "销号日期", "重复")])
    assert path.read_bytes() == b"\xef\xbb\xbf" + f"{heading}\r\n3,销号日期,重复\r\n".encode()


def test_bad_cells_are_told_by_row_and_column_of_the_file(tmp_path: Path) -> None:
    """Whoever mends the ledger could not find what to mend."""
    header = ("编号", "site", "grade", "disposition", "description", "发现日期", "write_off_date")
    good = ("1", "S1", "重大", "限期整改", "x", "2012/1/2", "")
    path = table(
        tmp_path / "a.csv",
        header,
        good,
        ("2", "S1", "huge", "time-limited", "x", "2012-01-02", ""),
        ("3", "S1", "major", "time-limited", "x", "2012-13-02", ""),
        ("4", "S1", "major", "time-limited", "", "2012-01-02", ""),
        good,
        (*good, "shifted"),
    )
    outcome, sent = run(Source(path, HAZARDS), place=Place("130302"))
    assert [row.legacy_id for row in sent["hazard.ImportHazards"]] == ["1"]
    assert [(row, column) for row, column, _ in outcome.faults] == [
        (3, "grade"),
        (4, "发现日期"),
        (5, "description"),
        (6, "编号"),
        (7, say("整行", "whole row")),
    ]
    tally = outcome.tallies["hazards"]
    assert (tally.rows, tally.rejected, tally.created) == (6, 5, 1)


# Sending


def run(
    source: Source, *, place: Place = NOWHERE, dry_run: bool = False, send: Any = None
) -> tuple[Outcome, dict[str, list[Any]]]:
    """Migrate against services that take everything, and return what they were sent."""
    sent: defaultdict[str, list[Any]] = defaultdict(list)

    def take(method: str, messages: Iterator[Message]) -> kit_pb2.ImportReport:
        rows = [row for message in messages for row in message.rows]  # type: ignore[attr-defined]
        sent[method].extend(rows)
        return kit_pb2.ImportReport(rows=len(rows), created=len(rows))

    run = ImportRun("test", source, place, dry_run)
    outcome = sent_by(send or take, run, run.key(sha256_of(source.path)))
    return outcome, sent


Take = Callable[[str, Iterator[Message]], kit_pb2.ImportReport]


def sent_by(take: Take, run: ImportRun, key: str) -> Outcome:
    """Migrate to what answers a chunk when it has all of it, as a service does, while the next one comes in."""
    with ThreadPoolExecutor() as pool:

        def send(method: str, messages: Iterator[Message]) -> Future[kit_pb2.ImportReport]:
            return pool.submit(take, method, messages)

        return carry_out(run, run.source.columns(), key, send, lambda phase, rows: None)


class Cut(Exception):
    """The service has gone."""


def test_a_chunk_is_sent_while_the_one_before_is_merged_but_never_overtakes_it(tmp_path: Path) -> None:
    """Reading, checking and merging would wait for each other; or children come in before their parents."""
    rows = [(f"{number:06}", "x", "y") for number in range(3 * CHUNK_ROWS)]
    path = table(tmp_path / "a.csv", ("code", "parent_code", "name"), *rows)
    second_came = threading.Event()
    ended: list[int] = []

    def take(method: str, messages: Iterator[Message]) -> kit_pb2.ImportReport:
        count, first = 0, ""
        for message in messages:
            count += len(message.rows)  # type: ignore[attr-defined]
            first = first or (message.rows[0].code if message.rows else "")  # type: ignore[attr-defined]
            if count == CHUNK_ROWS and first == rows[CHUNK_ROWS][0]:
                assert not ended
                second_came.set()
        if not ended:
            assert second_came.wait(30), "the second chunk waits for the first to be merged"
        ended.append(int(first))
        return kit_pb2.ImportReport(rows=count, created=count)

    outcome, _ = run(Source(path, REGIONS), send=take)
    assert ended == [0, CHUNK_ROWS, 2 * CHUNK_ROWS]
    assert outcome.tallies["regions"].created == len(rows)


def test_a_chunk_after_a_cut_is_given_up(tmp_path: Path) -> None:
    """It would be merged without the one before it, and its refused rows stay refused when the import is resumed."""
    rows = [(f"{number:06}", "x", "y") for number in range(2 * CHUNK_ROWS)]
    path = table(tmp_path / "a.csv", ("code", "parent_code", "name"), *rows)
    run = ImportRun("test", Source(path, REGIONS), NOWHERE)
    begun: list[Any] = []

    class Answer:
        """Fails, as a cut call does."""

        def __init__(self, messages: Iterator[Message]) -> None:
            self.messages, self.cancelled = messages, False
            begun.append(self)

        def result(self) -> kit_pb2.ImportReport:
            raise Cut

        def cancel(self) -> bool:
            self.cancelled = True
            return True

    with pytest.raises(Cut):
        carry_out(run, run.source.columns(), "k", lambda _, rows: Answer(rows), lambda phase, rows: None)
    assert [each.cancelled for each in begun] == [False, True]
    assert all(list(each.messages) for each in begun), "who reads on waits for ever"


def test_every_chunk_names_the_register(tmp_path: Path) -> None:
    """The first chunk would go to the county's register and the others to that of the operator's post."""
    path = table(
        tmp_path / "a.csv", ("legacy_id", "site", "date"), ("1", "S1", "2012-01-01"), ("2", "S2", "2012-01-02")
    )
    for given, expected in (("130302", "regions/130302"), ("regions/13", "regions/13"), ("", "")):
        named: list[str] = []

        def take(_: str, messages: Iterator[Message], named: list[str] = named) -> kit_pb2.ImportReport:
            headed = [message for message in messages if message.HasField("header")]
            named.extend(message.header.source_region for message in headed)  # type: ignore[attr-defined]
            return kit_pb2.ImportReport()

        run = ImportRun("visits", Source(path, VISITS), Place("130302"), source_region=given)
        sent_by(take, run, run.key("x"))
        assert named == [expected] * 2


def test_chunk_ids_are_those_of_the_content_the_options_and_the_place(tmp_path: Path) -> None:
    """A resumed import would send its rows under new ids, and an edited file get the old file's answers."""
    path = table(tmp_path / "a.csv", ("legacy_id", "name"), ("1", "a"))

    def key(content: str = sha256_of(path), **options: Any) -> str:
        chosen = options.pop("chosen", {})
        return ImportRun("sites", Source(path, SITES, chosen), **{"place": Place("1303"), **options}).key(content)

    assert key() == key()
    assert key(source_region="130302") not in (key(), key(source_region="130303"))
    others = [
        key("0" * 64),
        key(place=Place("1304")),
        key(chosen={"display_name": "name"}),
        key(place=Place("1303", "u")),
    ]
    assert len({key(), *others}) == len(others) + 1
    ids = [chunk_id(key(), phase, number) for phase in ("sites", "visits") for number in range(3)]
    assert len(set(ids)) == len(ids)
    assert ids[0] == chunk_id(key(), "sites", 0)
    assert max(len(each) for each in ids) <= 128


def test_a_second_run_sends_byte_for_byte_the_same(tmp_path: Path) -> None:
    """The services would refuse the reused request id instead of answering with the stored report."""
    path = table(
        tmp_path / "a.csv", ("site", "date"), *((f"S{n % 7}", f"2012-01-{n % 28 + 1:02}") for n in range(2_500))
    )
    streams: list[list[bytes]] = []

    def take(method: str, messages: Iterator[Message]) -> kit_pb2.ImportReport:
        streams.append([message.SerializeToString() for message in messages])
        return kit_pb2.ImportReport()

    for _ in range(2):
        run(Source(path, VISITS), place=Place("1303"), send=take)
    assert streams[: len(streams) // 2] == streams[len(streams) // 2 :]
    assert streams


def test_chunks_and_messages_stay_within_what_the_services_take(tmp_path: Path) -> None:
    """A big file would be refused whole for one message too many or too large."""
    count = CHUNK_ROWS + MESSAGE_ROWS + 1
    path = table(tmp_path / "a.csv", ("code", "parent_code", "name"), *((n, "", "x" * 90) for n in range(count)))
    chunks: list[list[Any]] = []

    def take(method: str, messages: Iterator[Message]) -> kit_pb2.ImportReport:
        chunks.append(list(messages))
        return kit_pb2.ImportReport()

    run(Source(path, REGIONS), send=take)
    chunks.sort(key=lambda chunk: chunk[1].rows[0].row)
    assert [sum(len(message.rows) for message in chunk) for chunk in chunks] == [CHUNK_ROWS, MESSAGE_ROWS + 1]
    for chunk in chunks:
        assert [message.HasField("header") for message in chunk] == [True] + [False] * (len(chunk) - 1)
        assert max(len(message.rows) for message in chunk) <= MESSAGE_ROWS
    assert len({chunk[0].header.request_id for chunk in chunks}) == 2


def test_long_rows_are_packed_by_size(tmp_path: Path) -> None:
    """A thousand long descriptions pass the four mebibytes that a message may have."""
    rows = [(f"r{n}", "S1", "major", "time-limited", "长" * 2_000, "2012-01-01", "") for n in range(1_000)]
    header = ("legacy_id", "site", "grade", "disposition", "description", "open_date", "write_off_date")
    path = table(tmp_path / "a.csv", header, *rows)
    sizes: list[int] = []

    def take(method: str, messages: Iterator[Message]) -> kit_pb2.ImportReport:
        sizes.extend(message.ByteSize() for message in messages)
        return kit_pb2.ImportReport()

    run(Source(path, HAZARDS), place=Place("1303"), send=take)
    assert max(sizes) < 4 * 1024 * 1024
    assert sum(sizes) > 6_000_000


def test_a_dry_run_does_not_blame_rows_for_sites_it_did_not_keep(tmp_path: Path) -> None:
    """Every row of a first run would be called faulty."""
    path = table(tmp_path / "a.csv", ("site", "date"), ("S1", "2012-01-01"), ("S2", "2012-01-01"))

    def take(method: str, messages: Iterator[Message]) -> kit_pb2.ImportReport:
        if method == "directory.ImportSites":
            refused = kit_pb2.RowError(row=3, column="region", description="far away")
            return kit_pb2.ImportReport(rows=2, created=1, rejected=1, errors=[refused], dry_run=True)
        unknown = [kit_pb2.RowError(row=row, column="site_legacy_id", description="unknown") for row in (2, 3)]
        return kit_pb2.ImportReport(rows=2, rejected=2, errors=unknown, dry_run=True)

    outcome, _ = run(Source(path, VISITS), place=Place("1303"), dry_run=True, send=take)
    assert outcome.faults == [(3, label("region"), "far away"), (3, "site", "unknown")]
    assert (outcome.tallies["visits"].rejected, outcome.tallies["visits"].unchecked) == (1, 1)


def test_what_a_row_means_is_versioned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows derived by a newer rule under an old request id would be refused as a reuse."""
    path = table(tmp_path / "a.csv", ("site", "date"), ("S1", "2012-01-01"))
    of_now = ImportRun("visits", Source(path, VISITS), Place("1303"))
    before = of_now.key("content")
    assert before == of_now.key("content")
    monkeypatch.setattr(import_runs, "DERIVATION", import_runs.DERIVATION + 1)
    assert before != of_now.key("content")
