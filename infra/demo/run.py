"""The main job from end to end: a composed city lives through its 100-day campaign, and the record is checked."""

import asyncio
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import orjson
from temporalio.client import Client

from infra.demo import accounts, campaign, cast, city, figures, lists, tour
from infra.demo.actors import Stage
from infra.embedded.postgres import EmbeddedPostgres
from infra.embedded.process import DirectoryLock, write_private
from infra.embedded.stack import Stack, StackConfig, StackError, free_port
from services.audit.verify import verify
from services.kit import temporal
from services.kit.settings import Settings
from services.kit.tokens import PERSON_ISSUER, TokenSigner
from workflows.replay import CLOSED, replay_closed

Say = Callable[[str, str, int | None], None]
"""Takes the words in Chinese and English, and the campaign day when it is known."""
TASK_DAYS = (12, 28, 44, 60, 76, 92)
TASK_LOOK_AHEAD_DAYS = 20
IDLE_CATCH_UP_DAY = 40
AT_LEAST = (
    "hazards_reopened",
    "cases_decided",
    "cases_exempted",
    "tasks_generated",
    "tasks_overdue",
    "task_lists_finished",
)
MINIMUM = {"rungs_fired": 5, "refusals": 3, "rung_kinds": 5}
REFUSALS = (*["SEPARATION_OF_DUTIES"] * 3, "RULE_NOT_MET", *["ROLE_MISSING"] * 3)
"""What the house must answer to the attempts of ``accounts.be_refused``, in their order."""
VISIBLE_SECONDS, VISIBLE_POLL_SECONDS = 60.0, 0.5
"""How long Temporal's list of closed workflows may lag behind the ledger."""
WALL_SECONDS_LIMITS = {1: 360, 10: 120}
"""By scale, from that scale on: what a run may take on the reference machine; more is told, not a failure."""
TOLD_FILE = "demo.json"
"""In a data directory: that the city was put there, and its figures once the whole story was told."""
KEPT_FILES = ("lock", "postgres.lock")
LAST_DAY = 112
"""The campaign's hundred days, then until the appeal window has closed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The figures, and what does not match: lines for people, in Chinese and English."""

    figures: Mapping[str, Any]
    mismatches: list[tuple[str, str]]


async def fresh_directory(data_dir: Path) -> None:
    """Remove what an earlier demo left in its data directory. Raises StackError when a stack runs there."""
    if not await asyncio.to_thread(data_dir.is_dir):
        return
    lock = DirectoryLock(data_dir / "lock")
    lock.acquire("data_dir")
    try:
        await EmbeddedPostgres(data_dir).destroy()
        await asyncio.to_thread(_empty, data_dir)
    except OSError as error:
        raise StackError("demo_undeletable", data_dir=data_dir, error=error) from None
    finally:
        lock.release()


def _empty(data_dir: Path) -> None:
    """Delete all but the lock files: one that is held must stay the one that others try to take."""
    for path in data_dir.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name not in KEPT_FILES:
            path.unlink()


def told_before(data_dir: Path) -> Outcome | None:
    """Return the outcome of the story that a data directory already holds; None when it holds none.

    Raises StackError when the story was begun there and never finished.
    """
    file = data_dir / TOLD_FILE
    try:
        kept = orjson.loads(file.read_bytes())
        if not kept["finished"]:
            raise StackError("demo_interrupted", data_dir=data_dir)
        return Outcome(kept["figures"], [(chinese, english) for chinese, english in kept["mismatches"]])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise StackError("not_a_demo", path=file) from None


def _note(data_dir: Path, outcome: Outcome | None) -> None:
    """Note in the data directory that the story was begun, or how it came out."""
    kept: dict[str, Any] = {"finished": outcome is not None}
    if outcome is not None:
        kept |= {"figures": dict(outcome.figures), "mismatches": outcome.mismatches}
    write_private(data_dir / TOLD_FILE, orjson.dumps(kept, default=str, option=orjson.OPT_INDENT_2))


async def tell(stack: Stack, scale: int, say: Say) -> Outcome | None:
    """Play the story against a running stack for as long as that runs; None when a stop was asked for.

    Raises StackError when a process of the stack ends by itself.
    """
    await asyncio.to_thread(_note, stack.data_dir, None)
    story = asyncio.create_task(live_through(stack, scale, say))
    stopped = asyncio.create_task(stack.wait())
    try:
        await asyncio.wait({story, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if stopped.done():
            stopped.result()
            return None
        outcome = story.result()
    finally:
        story.cancel()
        stopped.cancel()
        await asyncio.gather(story, stopped, return_exceptions=True)
    await asyncio.to_thread(_note, stack.data_dir, outcome)
    return outcome


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
    current = stack.settings()
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
        special = await lists.publish_campaign_list(people)
        running = campaign.Campaign(people, campaign.Timetable(), sites)
        running.schedule(plans)
        refused: list[str] = []
        await _plan_chapters(running, people, leaders, special, refused)
        await running.timetable.live_through(people, lambda day: say("百日行动", "the hundred days", day))
        covered = await tour.covered_units(people)
        say("由台账重算各项数字", "recomputing every figure from the ledger", None)
        account = await figures.from_ledger(people.auditor)
        found = account.figures()
        found["wrong_refusals"] = wrong_refusals(refused)
        if covered != found["units_covered"]:
            raise AssertionError(f"the coverage ledger says {covered} units, the audit ledger {found['units_covered']}")
        await _check_record(current, found, account.ended_cases, say)
        found["wall_seconds"] = round(time.monotonic() - began, 1)
        found["wall_seconds_limit"] = max((at, limit) for at, limit in WALL_SECONDS_LIMITS.items() if scale >= at)[1]
        return Outcome(found, mismatches(found, numbers))
    finally:
        await stage.close()


async def _plan_chapters(
    running: campaign.Campaign,
    people: cast.Cast,
    leaders: list[lists.LeaderLists],
    special: lists.LeaderLists,
    refused: list[str],
) -> None:
    """Put the tour, the tasks and the accountability chapter on the timetable; ``refused`` takes the reasons given."""
    on = running.timetable.on

    async def be_refused() -> None:
        refused.extend(await accounts.be_refused(running, running.contested))

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
    for day in lists.CAMPAIGN_TASK_DAYS:
        on(day, lambda day=day: lists.complete_due(people, special, day + city.STEP_DAYS))  # type: ignore[misc]
    on(IDLE_CATCH_UP_DAY, lambda: lists.catch_up(people, leaders, IDLE_CATCH_UP_DAY))
    on(running.contested_day, be_refused)
    on(accounts.FACTS_DAY, lambda: accounts.submit_facts(running))
    on(accounts.DECISION_DAY, lambda: accounts.decide(running))
    on(accounts.APPEAL_DAY, lambda: accounts.appeal(running))
    on(LAST_DAY, _nothing)


async def _nothing() -> None:
    """Let the last day pass: only time has to move."""


def wrong_refusals(reasons: list[str]) -> int:
    """Count the attempts that were refused for another reason than the expected one, or not made."""
    pairs = zip_longest(REFUSALS, reasons)
    return sum(wanted != given for wanted, given in pairs)


async def _check_record(current: Settings, found: dict[str, Any], closed: set[str], say: Say) -> None:
    """Verify the ledger offline; replay every closed history, all those that the ledger calls closed among them."""
    say("核验台账", "verifying the ledger", None)
    verified = await verify(current)
    found["ledger_entries"] = verified.entries + verified.unsequenced
    found["ledger_verified"] = verified.ok
    found["ledger_problems"] = [str(problem) for problem in verified.problems[:10]]
    say("重放全部已结案流程", "replaying every closed history", None)
    client = await temporal.connect(current, lazy=False)
    await _until_listed(client, closed)
    report = await replay_closed(client)
    found["histories_replayed"] = report.replayed
    found["replay_failures"] = len(report.failures)
    found["replayed_by_workflow"] = report.by_workflow
    found["closed_not_replayed"] = len(closed - report.workflow_ids)


async def _until_listed(client: Client, closed: set[str]) -> None:
    """Wait for a while until every closed case is in Temporal's list, which lags behind."""
    end = time.monotonic() + VISIBLE_SECONDS
    while time.monotonic() < end:
        listed = {each.id async for each in client.list_workflows(CLOSED, page_size=1_000)}
        if closed <= listed:
            return
        await asyncio.sleep(VISIBLE_POLL_SECONDS)


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
        "closed_not_replayed": 0,
        "wrong_refusals": 0,
        "ledger_verified": True,
    }
    least = {
        **dict.fromkeys(AT_LEAST, 1),
        **MINIMUM,
        "virtual_days": numbers.campaign_days,
        "cases_closed": 1,
        "histories_replayed": found["cases_closed"],
    }
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
    """Run the demo on a fresh embedded stack of its own and stop it again; its data stays until the next run."""
    await fresh_directory(data_dir)
    began = time.monotonic()
    stack = stack_for(data_dir)
    try:
        say("启动嵌入式系统", "starting the embedded stack", 0)
        await stack.start()
        outcome = await tell(stack, scale, say)
        if outcome is None:
            raise StackError("demo_stopped")
    finally:
        await stack.stop()
    return Outcome({**outcome.figures, "wall_seconds": round(time.monotonic() - began, 1)}, outcome.mismatches)
