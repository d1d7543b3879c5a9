"""Figures: measured in turns, so that a busy machine slows both sides, and told as ratios with their goals."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

ROUNDS = 5
Measure = Callable[[], Awaitable[float]]
console = Console()


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. ``ours`` and ``against`` are medians, ``ratio`` is the median of the rounds' ratios."""

    name: str
    ours: float
    against: float
    ratio: float
    goal: str
    ok: bool


@dataclass(frozen=True, slots=True)
class Goal:
    """What ours is compared with and the ratio to reach: at least, or ``at_most`` where less is better."""

    name: str
    against: str
    ratio: float
    at_most: bool = False

    def row(self, figures: Mapping[str, Sequence[float]]) -> Row:
        """Return the line for figures measured round by round."""
        ours, against = figures["ours"], figures[self.against]
        ratio = median(one / other for one, other in zip(ours, against, strict=True))
        reached = ratio <= self.ratio if self.at_most else ratio >= self.ratio
        goal = f"{'≤' if self.at_most else '≥'} {self.ratio:.2f}"
        return Row(self.name, round(median(ours), 1), round(median(against), 1), round(ratio, 3), goal, reached)


async def in_turns(measures: Mapping[str, Measure], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Measure everything once to warm up, then round by round: ours, against, ours, against, …"""
    for measure in measures.values():
        await measure()
    figures: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            figures[name].append(await measure())
    console.log({name: [round(each, 1) for each in values] for name, values in figures.items()})
    return figures


def not_measured(goal: Goal, why: str) -> Row:
    """Return the line of what could not be measured here: missed, and why."""
    return Row(f"{goal.name} — NOT MEASURED: {why}", 0.0, 0.0, 0.0, f"≥ {goal.ratio:.2f}", ok=False)


def tell(rows: Sequence[Row], remark: str, report: Path) -> None:
    """Print the table and write the report."""
    table = Table(title="dutyloop bench", caption=remark, caption_justify="left")
    for column in ("work", "ours", "against", "ratio", "goal", "reached"):
        table.add_column(column, justify="left" if column == "work" else "right")
    for row in rows:
        reached = "[green]yes" if row.ok else "[red]no"
        table.add_row(row.name, f"{row.ours:,}", f"{row.against:,}", f"{row.ratio:.2f}", row.goal, reached)
    console.print(table)
    report.parent.mkdir(exist_ok=True)
    report.write_text(json.dumps([asdict(row) for row in rows], ensure_ascii=False, indent=2) + "\n")
