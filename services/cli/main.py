"""The ``dutyloop`` command."""

import sys

import typer
from typer import rich_utils

from services.cli import (
    audit,
    call,
    cases,
    directory,
    hazards,
    imports,
    lists,
    processes,
    tasks,
    tours,
)
from services.cli.output import Exit, fail, fail_refused, leave
from services.cli.words import LOCALE, say
from services.kit.errors import DomainError
from services.kit.settings import SettingsError

if LOCALE == "zh-CN":  # the frame that Typer draws around our words
    rich_utils.ARGUMENTS_PANEL_TITLE, rich_utils.OPTIONS_PANEL_TITLE = "参数", "选项"
    rich_utils.COMMANDS_PANEL_TITLE, rich_utils.ERRORS_PANEL_TITLE = "命令", "有误"
    rich_utils.DEFAULT_STRING, rich_utils.REQUIRED_LONG_STRING = "[默认：{}]", "[必填]"
    rich_utils.RICH_HELP = "用法见 [blue]{command_path} {help_option}[/]"

app = typer.Typer(
    name="dutyloop",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help=say("责任清单与闭环监管", "responsibility lists and the closed loop"),
)
for module in (processes, lists, tasks, tours, hazards, cases, audit, directory, imports, call):
    module.register(app)


def main() -> None:
    """Run a command; every way out has an exit code that means something."""
    try:
        app()
    except DomainError as error:
        fail_refused(error)
    except SettingsError as error:
        fail(str(error))
    except SystemExit as stop:  # Typer has told of usage errors and interruptions
        sys.stdout.flush()
        leave(stop.code if isinstance(stop.code, int) else Exit.OK if stop.code is None else Exit.FAILED)
    leave(Exit.OK)


if __name__ == "__main__":
    main()
