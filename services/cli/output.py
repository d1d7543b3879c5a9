"""What the command line prints, how it fails, and how it leaves."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Any, NoReturn

import orjson
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from services.cli.words import LOCALE, say
from services.kit.catalogue import describe_field, describe_problem, describe_reason
from services.kit.errors import STATUS, DomainError

PIPED_WIDTH = 240
"""Columns of a table that goes to a file or a pipe, where Rich would fold it to eighty."""
out = Console(soft_wrap=True, width=None if sys.stdout.isatty() else PIPED_WIDTH)
err = Console(stderr=True, soft_wrap=True)


class Exit(IntEnum):
    """Exit codes that scripts can rely on."""

    OK = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    NOT_FOUND = 4
    UNAVAILABLE = 5
    MISMATCH = 6


EXIT_BY_STATUS: Mapping[str, Exit] = {
    "INVALID_ARGUMENT": Exit.USAGE,
    "UNAUTHENTICATED": Exit.REFUSED,
    "PERMISSION_DENIED": Exit.REFUSED,
    "FAILED_PRECONDITION": Exit.REFUSED,
    "ALREADY_EXISTS": Exit.REFUSED,
    "ABORTED": Exit.REFUSED,
    "NOT_FOUND": Exit.NOT_FOUND,
    "UNAVAILABLE": Exit.UNAVAILABLE,
    "RESOURCE_EXHAUSTED": Exit.UNAVAILABLE,
    "DEADLINE_EXCEEDED": Exit.UNAVAILABLE,
}


def leave(code: int) -> NoReturn:
    """Flush and leave at once.

    A process that held a Temporal client sometimes aborts while the interpreter shuts down, after its
    work is done; that must not change the exit code.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(code))


def fail(text: str, code: Exit = Exit.FAILED) -> NoReturn:
    """Say what went wrong in one line and leave."""
    err.print(f"[red]dutyloop:[/red] {escape(text)}", highlight=False)
    leave(code)


def fail_refused(error: DomainError) -> NoReturn:
    """Say why a call was refused, field by field, and leave with the code for its kind."""
    lines = [describe_reason(error.reason, error.metadata, LOCALE)]
    lines += [
        f"  {describe_field(each.field, LOCALE)}: {describe_problem(each.problem, LOCALE)}" for each in error.violations
    ]
    fail("\n".join(lines), EXIT_BY_STATUS.get(STATUS[type(error)].name, Exit.FAILED))


def as_dict(message: Message) -> dict[str, Any]:
    """Return a message as JSON-able data with proto field names."""
    data: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    return data


def print_json(data: Any) -> None:
    """Print JSON for scripts."""
    sys.stdout.buffer.write(orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    sys.stdout.flush()


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table for people; cell text is shown as it is, never as markup."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    count = 0
    for row in rows:
        table.add_row(*[str(cell).replace("[", "\\[") for cell in row])
        count += 1
    out.print(table if count else say(f"{title}：无", f"{title}: none"))
