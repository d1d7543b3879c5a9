"""Reading legacy tables (CSV, plain or gzipped, and XLSX) and writing the rows that were refused."""

import csv
import gzip
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from itertools import chain
from pathlib import Path
from typing import TextIO

from python_calamine import CalamineError, CalamineWorkbook

from services.cli.words import say

EXCEL_SUFFIXES = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
MAX_CELL_CHARACTERS = 1_000_000
BLOCK_BYTES = 1024 * 1024


class SheetError(Exception):
    """A file cannot be read as a table; the text is for people."""


@dataclass(frozen=True, slots=True)
class Row:
    """One data row: its number, the first being 1, and its cells by field of ours; absent columns are empty."""

    number: int
    cells: Mapping[str, str]
    surplus: bool = False
    """The row has more cells than the header."""

    def __getitem__(self, field: str) -> str:
        return self.cells.get(field, "")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def is_workbook(path: Path) -> bool:
    """Tell workbooks from text tables by the file's name."""
    return path.suffix.lower() in EXCEL_SUFFIXES


@contextmanager
def raw_rows(path: Path, encoding: str = "utf-8-sig", sheet: str = "") -> Iterator[Iterator[Sequence[str]]]:
    """Open a table and give its rows as text, the header first. Raises SheetError."""
    try:
        if is_workbook(path):
            yield _workbook_rows(path, sheet)
        else:
            with _open_text(path, encoding) as file:
                csv.field_size_limit(MAX_CELL_CHARACTERS)
                yield iter(csv.reader(file, strict=True))
    except UnicodeDecodeError as error:
        raise SheetError(
            say(
                f"{path} 不是 {encoding} 编码；如为国标编码请加 --encoding gb18030",
                f"{path} is not encoded in {encoding}; try --encoding gb18030 for files from Chinese Excel",
            )
        ) from error
    except (csv.Error, CalamineError, EOFError, OSError, LookupError) as error:
        raise SheetError(say(f"无法读取 {path}：{error}", f"cannot read {path}: {error}")) from error


def _open_text(path: Path, encoding: str) -> TextIO:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding=encoding, newline="")
    return path.open(encoding=encoding, newline="")


def _workbook_rows(path: Path, sheet: str) -> Iterator[Sequence[str]]:
    book = CalamineWorkbook.from_path(str(path))
    if sheet and sheet not in book.sheet_names:
        raise SheetError(say(f"没有工作表“{sheet}”", f"there is no sheet {sheet!r}"))
    chosen = book.get_sheet_by_name(sheet) if sheet else book.get_sheet_by_index(0)
    # iter_rows starts at row 1 of the sheet; leading empty rows are dropped so that the header comes first.
    rows = ([_cell_text(cell) for cell in row] for row in chosen.iter_rows())
    for row in rows:
        if any(row):
            return chain([row], rows)
    return iter(())


def _cell_text(cell: object) -> str:
    """Write a cell as a CSV export would: whole numbers without a point, midnights as days."""
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
    header: Sequence[str], fields: Mapping[str, Sequence[str]], chosen: Mapping[str, str]
) -> Mapping[str, str]:
    """Map each field of ours to a column of the header: the chosen one, else the first known heading present.

    ``fields`` gives the known headings of each field. Raises SheetError for a choice that does not exist
    and for a heading that stands twice.
    """
    headings = [heading.strip() for heading in header]
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


def rows_of(raw: Iterator[Sequence[str]], header: Sequence[str], columns: Mapping[str, str]) -> Iterator[Row]:
    """Yield the data rows below the header; empty rows count but are not yielded."""
    headings = [heading.strip() for heading in header]
    places = {field: headings.index(heading) for field, heading in columns.items()}
    width = len(headings)
    for number, cells in enumerate(raw, 1):
        if any(cells):
            texts = {field: cells[place].strip() for field, place in places.items() if place < len(cells)}
            yield Row(number, texts, surplus=any(cells[width:]))


def harmless(cell: str) -> str:
    """Return a cell that a spreadsheet shows as text and never runs as a formula."""
    return f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell


def write_errors(path: Path, faults: Iterable[tuple[int, str, str]]) -> None:
    """Write the refused rows (row, column, reason), replacing the file of an earlier run in one step."""
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("row", "column", "reason"))
        writer.writerows((row, harmless(column), harmless(reason)) for row, column, reason in faults)
    unfinished.replace(path)
