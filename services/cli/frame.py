"""The frame around our words: usage lines, help pages and usage errors, in the reader's language.

Typer's own pages would be English in parts and would cut Chinese help, which has no spaces to break a line at.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from io import StringIO
from typing import Any

import typer
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from services.cli.output import Exit, err, out
from services.cli.typer_words import in_words, typed_in_words
from services.cli.words import say

INSTALL = "--install-completion"


class _Framed:
    """What a command and a group of commands show in the same way."""

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        """Write the usage line."""
        pieces = [in_words(piece) for piece in ctx.command.collect_usage_pieces(ctx)]
        formatter.write_usage(ctx.command_path, " ".join(pieces), prefix=say("用法：", "Usage: "))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help page."""
        console = Console()
        with console.capture() as page:
            console.print(Text(ctx.get_usage()), Text(f"\n{ctx.command.help or ''}\n"), sep="\n")
            for title, rows in _sections(ctx):
                if rows:
                    console.print(_panel(title, rows))
        formatter.write(page.get())


class FramedCommand(_Framed, TyperCommand):
    """A command whose frame is in the reader's language."""


class FramedGroup(_Framed, TyperGroup):
    """A group of commands whose frame, and whose usage errors, are in the reader's language."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Show the help when nothing at all was given."""
        if not args and self.no_args_is_help and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            ctx.exit(Exit.USAGE)
        return super().parse_args(ctx, args)

    def main(  # type: ignore[override]  # whatever else there is comes by name
        self, args: Sequence[str] | None = None, *, standalone_mode: bool = True, **more: Any
    ) -> Any:
        """Run, and leave as Typer would; what it would say is said in the reader's language."""
        if not standalone_mode:
            return super().main(args, standalone_mode=False, **more)
        installs = INSTALL in (sys.argv[1:] if args is None else args)
        try:
            with _reworded_output() if installs else nullcontext():
                code = super().main(args, standalone_mode=False, **more)
        except typer.TyperException as error:
            _tell_error(error)
            sys.exit(error.exit_code)
        except typer.Abort:
            err.print(say("已中止", "Aborted."))
            sys.exit(Exit.FAILED)
        sys.exit(code if isinstance(code, int) else Exit.OK)


class FramedTyper(typer.Typer):
    """An app whose commands and groups are framed."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=FramedGroup, no_args_is_help=True, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Any:
        """Register a framed command."""
        return super().command(name, cls=FramedCommand, **settings)


def _sections(ctx: Any) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Yield title and rows (mark, what is typed, help) of what a help page lists."""
    shown: dict[str, list[tuple[str, str, str]]] = {"argument": [], "option": []}
    for parameter in ctx.command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is not None:
            typed, help_text = record
            if parameter.param_type_name == "argument" and parameter.metavar:  # which says more than its type
                typed = parameter.metavar
            mark = "*" if parameter.required else ""
            shown[parameter.param_type_name].append((mark, typed_in_words(typed), _help_in_words(help_text)))
    yield say("参数", "Arguments"), shown["argument"]
    yield say("选项", "Options"), shown["option"]
    if isinstance(ctx.command, TyperGroup):
        commands = ((name, ctx.command.get_command(ctx, name)) for name in ctx.command.list_commands(ctx))
        rows = [("", name, each.help or "") for name, each in commands if each is not None and not each.hidden]
        yield say("命令", "Commands"), rows


def _help_in_words(text: str) -> str:
    """Reword a help text and what Typer adds to it: ``help  [default: 1; required]``."""
    help_text, found, added = text.rpartition("  [")
    if not found:
        return in_words(text) if not text.startswith("[") else f"[{_added_in_words(text[1:-1])}]"
    return f"{in_words(help_text)} [{_added_in_words(added[:-1])}]"


def _added_in_words(added: str) -> str:
    return say("；", "; ").join(in_words(each) for each in added.split("; "))


def _panel(title: str, rows: Sequence[tuple[str, str, str]]) -> Panel:
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(style="red")
    table.add_column(style="bold cyan", overflow="fold", max_width=40)
    table.add_column(overflow="fold", ratio=1)
    for row in rows:
        table.add_row(*map(Text, row))
    return Panel(table, title=title, title_align="left", border_style="dim")


def _tell_error(error: typer.TyperException) -> None:
    """Say what is wrong with the way a command was called, and where its help is."""
    ctx = getattr(error, "ctx", None)
    if ctx is not None:
        words = say(f"详见 {ctx.command_path} --help", f"Try {ctx.command_path} --help")
        err.print(f"{ctx.get_usage()}\n{words}", highlight=False, markup=False)
    err.print(Text.assemble(("dutyloop:", "red"), " ", in_words(error.format_message())))


@contextmanager
def _reworded_output() -> Iterator[None]:
    """Put what Typer prints when it has installed the completion into words."""
    printed = StringIO()
    try:
        with redirect_stdout(printed):
            yield
    finally:
        for line in printed.getvalue().splitlines():
            out.print(in_words(line), highlight=False, markup=False)
