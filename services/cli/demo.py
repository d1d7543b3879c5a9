"""Progress of the demo on the terminal: one bar for the hundred days, one line for what is being done."""

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from infra.demo.run import LAST_DAY
from services.cli.cells import yes_or_no
from services.cli.output import err
from services.cli.words import say

FIGURES: Mapping[str, str] = {
    "units_covered": "巡查覆盖单位",
    "leaders_acknowledged": "知责确认的领导",
    "sites_visited": "检查企业",
    "hazards_on_the_spot": "现场整改的隐患",
    "hazards_time_limited": "限期整改的隐患",
    "sites_suspended": "停产整改的企业",
    "sites_closed_down": "关闭取缔的企业",
    "hazards_written_off": "销号的隐患",
    "hazards_reopened": "回头看后重新立案",
    "tasks_generated": "生成的任务",
    "tasks_overdue": "逾期的任务",
    "task_lists_finished": "任务全部完成的清单",
    "rungs_fired": "触发的措施",
    "rung_kinds": "措施种类",
    "rung_duplicates": "重复触发",
    "cases_decided": "问责处理",
    "cases_exempted": "尽职免责",
    "cases_closed": "已结束的流程",
    "refusals": "被拒绝的操作",
    "wrong_refusals": "不应有的拒绝",
    "virtual_days": "虚拟天数",
    "ledger_entries": "台账记录",
    "ledger_verified": "台账核验通过",
    "ledger_problems": "台账问题",
    "histories_replayed": "重放的流程",
    "replay_failures": "重放失败",
    "replayed_by_workflow": "各种流程重放数",
    "closed_not_replayed": "已结束而未重放",
    "wall_seconds": "用时（秒）",
    "wall_seconds_limit": "用时上限（秒）",
}
"""What the figures of the demo are called in Chinese; in English their names are words already."""


def figure_rows(figures: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the demo's figures for people, each with the name that it has in the report."""
    for name, value in figures.items():
        yield say(f"{FIGURES.get(name, '')} {name}".strip(), name), _written(value)


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return yes_or_no(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or say("无", "none")
    return str(value)


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
