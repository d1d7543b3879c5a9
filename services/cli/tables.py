"""How resources are laid out: lists as tables as wide as the reader has room for, one resource as rows under rows."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from rich import box
from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dutyloop.directory.v1 import directory_pb2
from dutyloop.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from services.cli.cells import NOBODY, Names, cell_of, is_nested, names_in, values_of
from services.cli.connection import Connection
from services.cli.output import out, print_table
from services.cli.words import label
from services.kit.errors import DomainError

NAMES_PER_CALL = 1_000
NAMES_SECONDS = 5.0
ROOM_FOR_WORDS = 8
"""Columns that words keep at least: four Chinese characters a line."""
LIGHT_GAP = 3
"""Columns between two columns of a table without lines."""
LINES_FROM = 3
"""So many values of one field, or more, stand one under the other."""
UNBROKEN = re.compile(r"[!-~]+")
"""What is never folded: ids, days, numbers."""


def look_up(connection: Connection, messages: Sequence[Message], columns: frozenset[str] | None = None) -> Names:
    """Ask directory what the resources that are going to be shown are called; a table without names beats none."""
    wanted = sorted({name for message in messages for name in names_in(message, columns)})
    found: dict[str, str] = {}
    stub = connection.stub(DirectoryServiceStub) if wanted else None
    for start in range(0, len(wanted), NAMES_PER_CALL):
        request = directory_pb2.BatchGetDisplayNamesRequest(names=wanted[start : start + NAMES_PER_CALL])
        try:
            answer = connection.call(cast("Any", stub).BatchGetDisplayNames, request, NAMES_SECONDS)
        except DomainError:
            break
        found |= {each.name: each.display_name for each in answer.display_names}
    return found


def print_list(title: str, columns: Sequence[str], rows: Sequence[Message], names: Names = NOBODY) -> None:
    """Print a list: a table with names and ids; on a narrow terminal one with names only, or record after record."""
    headings = [label(name) for name in columns]
    full = [[cell_of(row, name, names) for name in columns] for row in rows]
    if not out.is_terminal or _width_of_table(headings, full) <= out.width:
        print_table(title, headings, full)
        return
    brief = [[cell_of(row, name, names, ids=False) for name in columns] for row in rows]
    widths = widths_within(out.width, headings, brief)
    if widths is not None:
        out.print(_light_table(headings, brief, widths, title))
        return
    out.print(title, style="italic", highlight=False)
    for cells in full:
        given = ((heading, Text(cell)) for heading, cell in zip(headings, cells, strict=True) if cell)
        out.print(_grid(given), "")


def print_message(message: Message, names: Names = NOBODY) -> None:
    """Print one resource: its fields one under the other, in words."""
    out.print(_fields(message, names))


def print_fields(rows: Iterable[tuple[str, str]]) -> None:
    """Print what there is to say one under the other."""
    out.print(_grid((heading, Text(value)) for heading, value in rows))


def _fields(message: Message, names: Names) -> Table:
    return _grid((label(field.name), _value(message, field, names)) for field, _ in message.ListFields())


def _value(message: Message, field: FieldDescriptor, names: Names) -> RenderableType:
    if not is_nested(field):
        values = values_of(message, field.name, names)
        return Text(("\n" if len(values) >= LINES_FROM else ", ").join(values))
    value = getattr(message, field.name)
    if not field.is_repeated:
        return _fields(value, names)
    given = {each.name for row in value for each, _ in row.ListFields()}
    columns = [each.name for each in cast("Descriptor", field.message_type).fields if each.name in given]
    cells = [[cell_of(row, name, names) for name in columns] for row in value]
    return _light_table([label(name) for name in columns], cells, [None] * len(columns))


def _grid(rows: Iterable[tuple[str, RenderableType]]) -> Table:
    grid = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for heading, value in rows:
        grid.add_row(heading, value)
    return grid


def _light_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int | None], title: str | None = None
) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading, width in zip(headings, widths, strict=True):
        table.add_column(heading, overflow="fold", width=width)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _width_of_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return how wide a table with lines is when nothing is folded."""
    return sum(max(map(cell_len, column)) + 3 for column in zip(headings, *rows, strict=True)) + 1


def widths_within(width: int, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int] | None:
    """Share a width among the columns so that only words are folded, None when there is not room enough."""
    columns = list(zip(headings, *rows, strict=True))
    least = [max(map(_least, column)) for column in columns]
    needs = [max(map(cell_len, column)) - at_least for column, at_least in zip(columns, least, strict=True)]
    spare = width - sum(least) - LIGHT_GAP * (len(columns) - 1)
    if spare < 0:
        return None
    share = min(1.0, spare / sum(needs)) if any(needs) else 0.0
    return [at_least + int(need * share) for at_least, need in zip(least, needs, strict=True)]


def _least(cell: str) -> int:
    unbroken = max((len(each) for each in UNBROKEN.findall(cell)), default=0)
    return max(unbroken, min(cell_len(cell), ROOM_FOR_WORDS))
