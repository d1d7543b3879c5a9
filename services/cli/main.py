"""The ``dutyloop`` command."""

import sys

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
from services.cli.frame import FramedTyper
from services.cli.output import Exit, err, fail, fail_refused, leave
from services.cli.words import say, worded
from services.kit.errors import DomainError, ServiceUnavailable
from services.kit.failures import Failure
from services.kit.settings import settings

app = FramedTyper(
    name="dutyloop",
    pretty_exceptions_enable=False,
    help=say("责任清单与闭环监管", "responsibility lists and the closed loop"),
)
for module in (processes, lists, tasks, tours, hazards, cases, audit, directory, imports, call):
    module.register(app)


def main() -> None:
    """Run a command; every way out has an exit code that means something."""
    try:
        app()
    except ServiceUnavailable as error:
        err.print(say("所联系的服务：", "the services called:"), settings().api_address, highlight=False)
        fail_refused(error)
    except DomainError as error:
        fail_refused(error)
    except (Failure, OSError) as error:
        fail(worded(error))
    except SystemExit as stop:  # Typer has told of usage errors and interruptions
        sys.stdout.flush()
        leave(stop.code if isinstance(stop.code, int) else Exit.OK if stop.code is None else Exit.FAILED)
    leave(Exit.OK)


if __name__ == "__main__":
    main()
