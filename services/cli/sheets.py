"""Reading legacy tables (CSV in any usual encoding, gzipped too, and workbooks) and writing what was refused.

A row's number is the one that a spreadsheet shows: the header counts, so do empty rows, and a cell with line breaks
is still in one row.
"""

import codecs
import csv
import gzip
import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from python_calamine import CalamineError, CalamineWorkbook, PasswordError

from services.cli.words import say, worded
from services.kit.failures import Failure

WORKBOOK_SUFFIXES = (".xlsx", ".xlsm", ".xlsb", ".ods")
"""Not .xls: many systems give that name to text."""
WORKBOOK_STARTS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
GZIP_START = b"\x1f\x8b"
MARKUP_STARTS = ("<html", "<!doctype", "<table", "<?xml")
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
ENCODINGS = ("utf-8", "gb18030")
"""Tried in this order on the whole file: hardly any Chinese text in GB 18030 happens to be UTF-8."""
DELIMITERS = (",", "\t", ";", "|")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
MAX_CELL_CHARACTERS = 1_000_000
BLOCK_BYTES = 1024 * 1024
HEAD_CHARACTERS = 65_536


class SheetError(Exception):
    """A file cannot be read as a table; the text is for people."""


@dataclass(frozen=True, slots=True)
class Row:
    """One data row: its number in the sheet, and its cells by field of ours; absent columns are empty."""

    number: int
    cells: Mapping[str, str]
    surplus: bool = False
    """The row has more cells than the header."""

    def __getitem__(self, field: str) -> str:
        return self.cells.get(field, "")


@dataclass(frozen=True, slots=True)
class Table:
    """An open table: its headings, the number of their row, and the rows below, empty ones too."""

    headings: Sequence[str]
    number: int
    below: Iterator[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Format:
    """How a file is to be read; what is empty is found out: encoding, delimiter, and the first sheet."""

    encoding: str = ""
    delimiter: str = ""
    sheet: str = ""


AS_FOUND = Format()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def opened(path: Path, how: Format = AS_FOUND) -> Iterator[Table]:
    """Open a table for reading: the first row that is not empty is its header. Raises SheetError."""
    if how.encoding:
        _require_encoding(how.encoding)
    try:
        with path.open("rb") as file:
            start = file.read(4)
        if start.startswith(WORKBOOK_STARTS) or path.suffix.lower() in WORKBOOK_SUFFIXES:
            yield _headed(path, _workbook_rows(path, how.sheet))
        else:
            encoding = how.encoding or _encoding_of(path, path.stat().st_mtime_ns)
            with _open_text(path, encoding) as text:
                yield _headed(path, _text_rows(path, text, how.delimiter))
    except UnicodeError as error:
        raise SheetError(
            say(
                f"{path} 不是 {how.encoding} 编码；不写 --encoding 则自动识别 UTF-8 和国标 GB 18030",
                f"{path} is not encoded in {how.encoding}; without --encoding, UTF-8 and GB 18030 are recognised",
            )
        ) from error
    except PasswordError as error:
        told = say(f"{path} 有密码保护：请先取消密码", f"{path} is protected by a password: save it without one")
        raise SheetError(told) from error
    except CalamineError as error:
        told = say(
            f"无法读取 {path}：文件已损坏，或不是电子表格",
            f"cannot read {path}: it is damaged, or no workbook",
        )
        raise SheetError(told) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        told = say(
            f"无法解压 {path}：文件已损坏或不完整",
            f"cannot decompress {path}: it is damaged or cut off",
        )
        raise SheetError(told) from error
    except OSError as error:
        raise SheetError(worded(Failure("unreadable", path=path, reason=error))) from error


def _require_encoding(name: str) -> None:
    try:
        codecs.lookup(name)
    except LookupError as error:
        raise SheetError(say(f"未知编码 {name}", f"there is no encoding {name}")) from error


def _headed(path: Path, rows: Iterator[Sequence[str]]) -> Table:
    for number, cells in enumerate(rows, 1):
        if any(cells):
            return Table([heading.strip() for heading in cells], number, rows)
    raise SheetError(say(f"{path} 是空文件", f"{path} is empty"))


def _is_gzipped(path: Path) -> bool:
    with path.open("rb") as file:
        return path.suffix.lower() == ".gz" or file.read(len(GZIP_START)) == GZIP_START


def _open_bytes(path: Path) -> BinaryIO:
    return cast("BinaryIO", gzip.open(path, "rb")) if _is_gzipped(path) else path.open("rb")


def _open_text(path: Path, encoding: str) -> TextIO:
    if _is_gzipped(path):
        return gzip.open(path, "rt", encoding=encoding, newline="")
    return path.open(encoding=encoding, newline="")


@lru_cache(maxsize=4)
def _encoding_of(path: Path, changed: int) -> str:
    """Find out by the mark at the beginning, else by trying; a file ``changed`` is another. Raises SheetError."""
    with _open_bytes(path) as file:
        start = file.read(3)
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if start.startswith(mark):
            return encoding
    for encoding in ENCODINGS:
        decoder = codecs.getincrementaldecoder(encoding)()
        with _open_bytes(path) as file:
            try:
                while block := file.read(BLOCK_BYTES):
                    decoder.decode(block)
                decoder.decode(b"", final=True)
            except UnicodeDecodeError:
                continue
        return encoding
    raise SheetError(
        say(
            f"{path} 既不是 UTF-8 也不是国标 GB 18030 编码；请用 --encoding 指明",
            f"{path} is encoded neither in UTF-8 nor in GB 18030; name its encoding with --encoding",
        )
    )


def _text_rows(path: Path, text: TextIO, delimiter: str) -> Iterator[Sequence[str]]:
    """Yield the rows of delimited text. Raises SheetError."""
    head = text.read(HEAD_CHARACTERS)
    if head.lstrip().lower().startswith(MARKUP_STARTS):
        raise SheetError(
            say(
                f"{path} 是网页或 XML，不是表格：请用电子表格软件打开后另存为 XLSX",
                f"{path} is a web page or XML, not a table: open it in a spreadsheet program and save it as XLSX",
            )
        )
    text.seek(0)
    csv.field_size_limit(MAX_CELL_CHARACTERS)
    rows = csv.reader(text, delimiter=delimiter or _delimiter_of(head), strict=True)
    try:
        yield from rows
    except csv.Error as error:
        raise SheetError(
            say(
                f"无法读取 {path}：第 {rows.line_num} 行附近引号不配对，或单元格超过 {MAX_CELL_CHARACTERS} 字",
                f"cannot read {path}: near line {rows.line_num} quotation marks do not pair,"
                f" or a cell has more than {MAX_CELL_CHARACTERS} characters",
            )
        ) from error


def _delimiter_of(head: str) -> str:
    """Return the delimiter that cuts the first line into the most cells; the comma, where none does."""
    line = StringIO(head.lstrip("\r\n"), newline="").readline()
    return max(DELIMITERS, key=lambda delimiter: len(next(csv.reader([line], delimiter=delimiter), ())))


def _workbook_rows(path: Path, sheet: str) -> Iterator[Sequence[str]]:
    """Yield the rows of a sheet, from its very first."""
    with path.open("rb") as file:
        book = CalamineWorkbook.from_filelike(file)
    if sheet and sheet not in book.sheet_names:
        there = ", ".join(book.sheet_names)
        raise SheetError(
            say(f"没有工作表“{sheet}”（现有：{there}）", f"there is no sheet {sheet!r} (there are {there})")
        )
    chosen = book.get_sheet_by_name(sheet) if sheet else book.get_sheet_by_index(0)
    for row in chosen.iter_rows():
        yield [_cell_text(cell) for cell in row]


def _cell_text(cell: object) -> str:
    """Write a cell as a CSV export would: whole numbers without a point, midnights as days."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, datetime):
        return cell.date().isoformat() if cell.time() == datetime.min.time() else cell.isoformat(" ")
    if isinstance(cell, date):
        return cell.isoformat()
    return "" if cell is None else str(cell)


def columns_of(
    headings: Sequence[str], fields: Mapping[str, Sequence[str]], chosen: Mapping[str, str]
) -> Mapping[str, str]:
    """Map each field of ours to a heading: the chosen one, else the first known heading present.

    ``fields`` gives the known headings of each field. Raises SheetError for a choice that does not exist
    and for a heading that stands twice.
    """
    if unknown := sorted(set(chosen) - set(fields)):
        known = ", ".join(fields)
        raise SheetError(
            say(f"未知字段 {unknown[0]}（可用：{known}）", f"unknown field {unknown[0]} (there are {known})")
        )
    found: dict[str, str] = {}
    for field, known_headings in fields.items():
        candidates = [chosen[field]] if field in chosen else list(known_headings)
        for heading in candidates:
            if headings.count(heading) > 1:
                raise SheetError(say(f"列名“{heading}”重复", f"the column {heading!r} stands twice"))
            if heading in headings:
                found[field] = heading
                break
        else:
            if field in chosen:
                raise SheetError(say(f"没有列“{chosen[field]}”", f"there is no column {chosen[field]!r}"))
    return found


def rows_of(table: Table, columns: Mapping[str, str]) -> Iterator[Row]:
    """Yield the data rows; empty rows are numbered and left out."""
    places = [(field, table.headings.index(heading)) for field, heading in columns.items()]
    width = len(table.headings)
    last = max((place for _, place in places), default=0)
    for number, cells in enumerate(table.below, table.number + 1):
        if len(cells) > last:
            texts = {field: cells[place].strip() for field, place in places}
        elif any(cells):
            texts = {field: cells[place].strip() for field, place in places if place < len(cells)}
        else:
            continue
        if any(texts.values()) or any(cells):
            yield Row(number, texts, len(cells) > width and any(cells[width:]))


def harmless(cell: str) -> str:
    """Return a cell that a spreadsheet shows as text and never runs as a formula."""
    return f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell


def write_errors(path: Path, faults: Iterable[tuple[int, str, str]]) -> None:
    """Write the refused rows (row, column, reason), replacing the file of an earlier run in one step.

    The byte order mark tells spreadsheet programs that it is UTF-8.
    """
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow((say("行", "row"), say("列", "column"), say("原因", "reason")))
        writer.writerows((row, harmless(column), harmless(reason)) for row, column, reason in faults)
    unfinished.replace(path)
