"""The main job from end to end: a composed city lives through its 100-day campaign, and the record is checked."""

import asyncio
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.demo import accounts, campaign, cast, city, figures, lists, tour
from infra.demo.actors import Stage
from infra.embedded.postgres import EmbeddedPostgres
from infra.embedded.stack import Stack, StackConfig, free_port
from services.audit.verify import verify
from services.kit import temporal
from services.kit.settings import settings
from services.kit.tokens import PERSON_ISSUER, TokenSigner
from workflows.replay import replay_closed

Say = Callable[[str, str, int | None], None]
"""Takes the words in Chinese and English, and the campaign day when it is known."""
TASK_DAYS = (12, 28, 44, 60, 76, 92)
TASK_LOOK_AHEAD_DAYS = 20
IDLE_CATCH_UP_DAY = 40
REFUSAL_DAY = 12
AT_LEAST = ("hazards_reopened", "cases_decided", "cases_exempted", "tasks_generated", "tasks_overdue")
MINIMUM = {"rungs_fired": 5, "refusals": 3, "rung_kinds": 5}
LAST_DAY = 112
"""The campaign's hundred days, then until the appeal window has closed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The figures, and what does not match: lines for people, in Chinese and English."""

    figures: Mapping[str, Any]
    mismatches: list[tuple[str, str]]


async def fresh_directory(data_dir: Path) -> None:
    """Remove what an earlier demo left in its data directory."""
    if await asyncio.to_thread(data_dir.exists):
        await EmbeddedPostgres(data_dir).destroy()
        await asyncio.to_thread(shutil.rmtree, data_dir)


def stack_for(data_dir: Path) -> Stack:
    """Return a stack of its own for the demo, on free ports and in virtual time."""
    return Stack(
        StackConfig(
            data_dir=data_dir,
            grpc_port=free_port(),
            temporal_port=free_port(),
            ui_port=None,
            virtual_time=True,
        )
    )


async def live_through(stack: Stack, scale: int, say: Say) -> Outcome:
    """Play the whole story against a running stack, then recompute, verify and replay."""
    began = time.monotonic()
    os.environ.update(stack.environment)
    settings.cache_clear()
    current = settings()
    if current.issuer_key_file is None:
        raise AssertionError("the embedded stack has no development issuer")
    stage = Stage(stack.grpc_address, TokenSigner(current.issuer_key_file, PERSON_ISSUER, current.audience), "demo")
    try:
        numbers = city.figures(scale)
        say("搭建城市：区划、单位、岗位", "building the city: regions, units, posts", 0)
        people = await cast.set_the_stage(stage)
        plans = city.site_plans(numbers, people.counties)
        sites = await cast.register_sites(people, plans)
        say("发布清单并生成年度任务", "publishing lists, generating annual tasks", 0)
        leaders = await lists.publish_lists(people)
        await lists.perform_every_duty(people, leaders[lists.EXEMPTED_LEADER])
        running = campaign.Campaign(people, campaign.Timetable(), sites)
        running.schedule(plans)
        await _plan_chapters(running, people, leaders)
        await running.timetable.live_through(people, lambda day: say("百日行动", "the hundred days", day))
        covered = await tour.covered_units(people)
        say("由台账重算各项数字", "recomputing every figure from the ledger", None)
        found = await figures.from_ledger(people.auditor)
        found["virtual_days"] = (await people.now() - people.start).days
        if covered != found["units_covered"]:
            raise AssertionError(f"the coverage ledger says {covered} units, the audit ledger {found['units_covered']}")
        await _check_record(found, say)
        found["wall_seconds"] = round(time.monotonic() - began, 1)
        return Outcome(found, mismatches(found, numbers))
    finally:
        await stage.close()


async def _plan_chapters(running: campaign.Campaign, people: cast.Cast, leaders: list[lists.LeaderLists]) -> None:
    """Put the tour, the tasks and the accountability chapter on the timetable."""
    on = running.timetable.on
    city_tour = await tour.plan_tour(people)
    on(tour.START_DAY, lambda: tour.start_tour(people, city_tour))
    visit_days = range(tour.START_DAY + city.STEP_DAYS, tour.END_DAY, city.STEP_DAYS)
    for part, day in enumerate(visit_days):
        on(day, lambda part=part: tour.visit_units(people, city_tour, part, len(visit_days)))  # type: ignore[misc]
    on(tour.LETTER_DAY, lambda: tour.issue_letter(people, city_tour))
    on(tour.REPORT_DAY, lambda: tour.report_rectification(people, city_tour))
    on(tour.CLOSE_DAY, lambda: tour.close_tour(people, city_tour))
    for day in TASK_DAYS:
        on(day, lambda day=day: lists.work_on_tasks(people, leaders, day + TASK_LOOK_AHEAD_DAYS))  # type: ignore[misc]
    on(IDLE_CATCH_UP_DAY, lambda: lists.catch_up(people, leaders, IDLE_CATCH_UP_DAY))
    on(REFUSAL_DAY, lambda: accounts.be_refused(running, running.contested))
    on(accounts.FACTS_DAY, lambda: accounts.submit_facts(running))
    on(accounts.DECISION_DAY, lambda: accounts.decide(running))
    on(accounts.APPEAL_DAY, lambda: accounts.appeal(running))
    on(LAST_DAY, _nothing)


async def _nothing() -> None:
    """Let the last day pass: only time has to move."""


async def _check_record(found: dict[str, Any], say: Say) -> None:
    """Verify the ledger offline and replay every closed history against the present code."""
    say("核验台账", "verifying the ledger", None)
    verified = await verify(settings())
    found["ledger_entries"] = verified.entries + verified.unsequenced
    found["ledger_verified"] = verified.ok
    found["ledger_problems"] = [str(problem) for problem in verified.problems[:10]]
    say("重放全部已结案流程", "replaying every closed history", None)
    report = await replay_closed(await temporal.connect(settings(), lazy=False))
    found["histories_replayed"] = report.replayed
    found["replay_failures"] = len(report.failures)
    found["replayed_by_workflow"] = report.by_workflow


def mismatches(found: Mapping[str, Any], numbers: city.Figures) -> list[tuple[str, str]]:
    """Compare the figures with the published ones; an empty list means that everything matches."""
    exact = {
        "units_covered": 37,
        "leaders_acknowledged": numbers.leaders,
        "sites_visited": numbers.sites,
        "hazards_on_the_spot": numbers.on_the_spot,
        "hazards_time_limited": numbers.time_limited,
        "sites_suspended": numbers.suspended,
        "sites_closed_down": numbers.closed_down,
        "hazards_written_off": numbers.on_the_spot + numbers.time_limited,
        "rung_duplicates": 0,
        "replay_failures": 0,
        "ledger_verified": True,
    }
    least = {**dict.fromkeys(AT_LEAST, 1), **MINIMUM, "virtual_days": numbers.campaign_days, "histories_replayed": 1}
    wrong = [
        (f"{key} 应为 {wanted}，实为 {found[key]}", f"{key} should be {wanted} but is {found[key]}")
        for key, wanted in exact.items()
        if found[key] != wanted
    ]
    wrong += [
        (f"{key} 至少应为 {wanted}，实为 {found[key]}", f"{key} should be at least {wanted} but is {found[key]}")
        for key, wanted in least.items()
        if found[key] < wanted
    ]
    return wrong


def write_report(outcome: Outcome, scale: int, file: Path) -> None:
    """Write the figures for machines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    report = {"scale": scale, **outcome.figures, "ok": not outcome.mismatches}
    file.write_text(json.dumps(report, ensure_ascii=False, indent=2, default=str) + "\n")


async def demo(data_dir: Path, scale: int, say: Say) -> Outcome:
    """Run the demo on a fresh embedded stack of its own and stop it again."""
    await fresh_directory(data_dir)
    began = time.monotonic()
    stack = stack_for(data_dir)
    try:
        say("启动嵌入式系统", "starting the embedded stack", 0)
        await stack.start()
        story = asyncio.create_task(live_through(stack, scale, say))
        crash = asyncio.create_task(stack.wait())
        await asyncio.wait({story, crash}, return_when=asyncio.FIRST_COMPLETED)
        if not story.done():
            story.cancel()
            await crash
        crash.cancel()
        outcome = await story
    finally:
        await stack.stop()
    return Outcome({**outcome.figures, "wall_seconds": round(time.monotonic() - began, 1)}, outcome.mismatches)
