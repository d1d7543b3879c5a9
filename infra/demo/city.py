"""The composed city: what its data files say, and how the campaign's hazards are spread over sites and days."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from services.directory.rules import credit_check_character

DATA = Path(__file__).resolve().parent / "data"
SECTORS = ("化工", "机械制造", "建材", "食品加工", "仓储物流", "纺织")
GROUPS = ("party_chief", "government_chief", "leader_in_charge")
"""The first three leaders; every further one is a member of the leadership."""
CAMPAIGN_GROUP = "campaign"
"""The duties of who commands the campaign; they fall into its hundred days and end with it."""
STEP_DAYS = 4
"""The campaign acts every fourth day, so that virtual time moves in few, large steps."""
LAST_VISIT_DAY = 64
ROUGH_TERM_DAYS = 16


@dataclass(frozen=True, slots=True)
class Figures:
    """The published figures, divided by the scale."""

    region: str
    campaign_days: int
    leaders: int
    sites: int
    on_the_spot: int
    time_limited: int
    suspended: int
    closed_down: int


@dataclass(frozen=True, slots=True)
class DutySpec:
    """One duty of a leader."""

    group: str
    number: str
    text: str
    law: str
    article: str
    type: str
    involvement: str
    recurrence: str
    term_days: int
    evidence: str


@dataclass(frozen=True, slots=True)
class SitePlan:
    """One enterprise: where, when it is visited, how many hazards are found, and what is ordered."""

    number: int
    display_name: str
    credit_code: str
    region_code: str
    sector: str
    visit_day: int
    on_the_spot: int
    time_limited: int
    order: str


def figures(scale: int) -> Figures:
    """Return the figures for a scale; each is divided by it and rounded down."""
    raw = json.loads((DATA / "city.json").read_text(encoding="utf-8"))
    return Figures(
        region=raw["region"],
        campaign_days=raw["campaign_days"],
        leaders=raw["leaders"],
        sites=raw["sites"] // scale,
        on_the_spot=raw["hazards_on_the_spot"] // scale,
        time_limited=raw["hazards_time_limited"] // scale,
        suspended=raw["sites_suspended"] // scale,
        closed_down=raw["sites_closed_down"] // scale,
    )


def rows(name: str) -> list[dict[str, str]]:
    """Return the rows of a data file."""
    with (DATA / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@cache
def duties() -> dict[str, tuple[DutySpec, ...]]:
    """Return the duties of each group of leaders."""
    specs = [DutySpec(**{**row, "term_days": int(row["term_days"])}) for row in rows("duty_items.csv")]  # type: ignore[arg-type]
    return {group: tuple(each for each in specs if each.group == group) for group in {each.group for each in specs}}


def group_of(leader: int) -> str:
    """Return the group of leader ``leader`` (from 0)."""
    return GROUPS[leader] if leader < len(GROUPS) else "member"


def credit_code(number: int) -> str:
    """Return a made-up unified social credit code with its GB 32100 check character."""
    body = f"91130300MA{number:07d}"
    return body + credit_check_character(body)


def spread(total: int, places: int) -> list[int]:
    """Share ``total`` out over ``places`` as evenly as it goes."""
    return [total * (index + 1) // places - total * index // places for index in range(places)]


def site_plans(numbers: Figures, counties: Sequence[str]) -> list[SitePlan]:
    """Lay the campaign out. Orders go to sites that have a time-limited hazard, spread over the campaign."""
    on_the_spot = spread(numbers.on_the_spot, numbers.sites)
    time_limited = spread(numbers.time_limited, numbers.sites)
    fit = [index for index, count in enumerate(time_limited) if count]
    orders = dict.fromkeys(_pick(fit, numbers.suspended), "SUSPEND")
    left = [index for index in fit if index not in orders]
    orders |= dict.fromkeys(_pick(left, numbers.closed_down), "CLOSE_DOWN")
    days = [STEP_DAYS * (1 + index) for index in range(LAST_VISIT_DAY // STEP_DAYS)]
    return [
        SitePlan(
            number=index + 1,
            display_name=f"园区企业{index + 1:03d}",
            credit_code=credit_code(index + 1),
            region_code=counties[index % len(counties)],
            sector=SECTORS[index % len(SECTORS)],
            visit_day=days[index * len(days) // numbers.sites],
            on_the_spot=on_the_spot[index],
            time_limited=time_limited[index],
            order=orders.get(index, ""),
        )
        for index in range(numbers.sites)
    ]


def _pick(indexes: Sequence[int], count: int) -> list[int]:
    """Pick ``count`` of the indexes, evenly spaced and none at the very start, where the late hazards are."""
    return [indexes[(2 * position + 1) * len(indexes) // (2 * count)] for position in range(count)]
