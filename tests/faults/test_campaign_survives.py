"""The demo's campaign, small, with its worker killed again and again: it comes out as if nothing had happened."""

import asyncio
import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from infra.demo import city, run
from infra.embedded.stack import Stack
from services.kit.settings import settings
from tests.faults.link import Moment
from tests.faults.parts import Parts

SMALL = dataclasses.replace(
    city.figures(10), leaders=7, sites=20, on_the_spot=20, time_limited=20, suspended=1, closed_down=1
)
LAST_VISIT_DAY = 12
"""Early enough for the chapters of the story that need a hazard by then."""
COUNTED_BY_THE_CLOCK = ("wall_seconds", "ledger_entries")
KILLS: tuple[tuple[Moment, str], ...] = (
    ("before", "/dutyloop.hazard.v1.HazardService/RecordHazardTransition"),
    ("after", "/dutyloop.hazard.v1.HazardService/RecordHazardTransition"),
    ("after", "/dutyloop.accountability.v1.AccountabilityService/RecordRung"),
    ("after", "/dutyloop.accountability.v1.AccountabilityService/RecordCaseTransition"),
)


async def campaign(parts: Parts) -> Mapping[str, Any]:
    """Live through the small campaign; return its figures."""
    outcome = await run.live_through(cast(Stack, parts), 10, lambda chinese, english, day: None)
    assert outcome.mismatches == []
    return {key: value for key, value in outcome.figures.items() if key not in COUNTED_BY_THE_CLOCK}


async def kill_at_each_moment(parts: Parts) -> int:
    """Kill the worker at every moment of ``KILLS`` in turn, and start another; count the kills."""
    for moment, method in KILLS:
        with parts.link.trap(moment, method) as trap:
            await trap.caught(600)
            await parts.kill_worker()
    return len(KILLS)


async def test_a_campaign_with_its_worker_killed(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a night of crashes somebody would be pressed twice for one hazard, or a deadline pass in silence."""
    monkeypatch.setattr(city, "figures", lambda scale: SMALL)
    monkeypatch.setattr(city, "LAST_VISIT_DAY", LAST_VISIT_DAY)
    for name in [each for each in os.environ if each.startswith("DUTYLOOP_")]:
        monkeypatch.delenv(name)
    undisturbed = await lived_in(tmp_path_factory.mktemp("undisturbed"), disturbed=False)
    assert undisturbed == await lived_in(tmp_path_factory.mktemp("disturbed"), disturbed=True)


async def lived_in(data_dir: Path, *, disturbed: bool) -> Mapping[str, Any]:
    """Run a house of its own, and the campaign in it."""
    parts = Parts(data_dir, virtual_time=True)
    try:
        await parts.start()
        killing = asyncio.create_task(kill_at_each_moment(parts)) if disturbed else None
        figures = await campaign(parts)
        if killing is not None:
            assert killing.done(), "the campaign ended before the last kill"
            assert await killing == len(KILLS)
        return figures
    finally:
        settings.cache_clear()
        await parts.destroy()
