"""Progress of the demo on the terminal: one bar for the hundred days, one line for what is being done."""

from types import TracebackType

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from infra.demo.run import LAST_DAY
from services.cli.output import err
from services.cli.words import say


class DemoProgress:
    """Shows the campaign day; on a pipe it prints a line per chapter instead of a bar."""

    def __init__(self) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}"),
            TimeElapsedColumn(),
            console=err,
        )
        self._task = self._bar.add_task("", total=LAST_DAY)
        self._said = ""

    def __enter__(self) -> "DemoProgress":
        if err.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, chinese: str, english: str, day: int | None) -> None:
        """Take the present chapter and campaign day."""
        words = say(chinese, english)
        if day is not None:
            self._bar.update(self._task, completed=day)
        self._bar.update(self._task, description=words)
        if not err.is_terminal and words != self._said:
            err.print(words)
        self._said = words
