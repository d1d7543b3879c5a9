"""Writes histories of closed cases of a running stack beside this file; test_stored_histories.py replays them.

In one terminal: ``dutyloop up --demo --scale 10 --data-dir DIR``; in another, when the story is told:
``python tests/histories/record.py DIR``. Only ever record a demo: the histories hold the texts of the cases.
"""

import argparse
import asyncio
import base64
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from temporalio.client import Client, WorkflowHistory
from temporalio.worker import Replayer

from infra.embedded.stack import running_environment
from services.audit.histories import Histories
from services.kit import temporal
from services.kit.codec import data_converter
from services.kit.settings import settings
from workflows.replay import CLOSED
from workflows.worker import WORKFLOWS

HERE = Path(__file__).resolve().parent
LOOKED_AT = 1_000
"""Histories of a workflow that are looked at for the kinds wanted."""


@dataclass(frozen=True, slots=True)
class Found:
    """One closed history: its JSON, the updates and activities it names, and what its workflow returned."""

    workflow_id: str
    text: bytes
    names: frozenset[str]
    result: Mapping[str, Any] = field(default_factory=dict)


Kind = Callable[[Found], bool]
KINDS: Mapping[str, Mapping[str, Kind]] = {
    "rectification": {
        "plain": lambda found: (
            not found.result["reopen_count"]
            and not found.names & {"open_supervision", "request_extension", "close_down"}
        ),
        "reopened": lambda found: bool(found.result["reopen_count"]),
        "supervised": lambda found: "open_supervision" in found.names,
        "extended": lambda found: "decide_extension" in found.names,
    },
    "supervision_case": {
        "concluded": lambda found: "open_accountability" not in found.names,
        "inquiry": lambda found: "open_accountability" in found.names,
    },
    "accountability_case": {
        "decided": lambda found: found.result["state"] == "CLOSED",
        "exempted": lambda found: found.result["state"] == "EXEMPTED",
    },
    "tour": {"closed": lambda found: True},
    "task_supervision": {"finished": lambda found: True},
}
"""By workflow, the kinds of closed history that are kept: the shortest of each kind."""


async def look(client: Client, histories: Histories, workflow: str) -> list[Found]:
    """Return the closed histories of a workflow as the audit service exports them."""
    found = []
    query = f"{CLOSED} AND WorkflowType = '{workflow}'"
    async for execution in client.list_workflows(query, limit=LOOKED_AT):
        chunks = [part.chunk async for part in histories.export(execution.id, execution.run_id)]
        text = b"".join(chunks)
        events = orjson.loads(text)["events"]
        found.append(Found(execution.id, text, frozenset(_names(events)), _result(events[-1])))
    return found


def _names(value: Any) -> Iterator[str]:
    """Yield every "name" in a history: of updates, activity types and workflow types."""
    if isinstance(value, dict):
        if isinstance(value.get("name"), str):
            yield value["name"]
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _names(each)


def _result(last: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the workflow returned; nothing when it went on in another run."""
    completed = last.get("workflowExecutionCompletedEventAttributes", {})
    payloads = completed.get("result", {}).get("payloads", [])
    result: Mapping[str, Any] = orjson.loads(base64.b64decode(payloads[0]["data"])) if payloads else {}
    return result


async def record(data_dir: Path, target: Path) -> list[str]:
    """Record what is wanted and return what was not found. Nothing is written that does not replay."""
    os.environ.update(running_environment(data_dir))
    settings.cache_clear()
    client = await temporal.connect(settings(), lazy=False)
    histories = Histories(client)
    replayer = Replayer(workflows=WORKFLOWS, data_converter=data_converter(None))
    missing = []
    for workflow, kinds in KINDS.items():
        found = await look(client, histories, workflow)
        for number, (kind, fits) in enumerate(kinds.items(), 1):
            fitting = sorted((each for each in found if fits(each)), key=lambda each: len(each.text))
            if not fitting:
                missing.append(f"{workflow}: {kind}")
                continue
            chosen = fitting[0]
            await replayer.replay_workflow(WorkflowHistory.from_json(chosen.workflow_id, chosen.text.decode()))
            file = target / f"{workflow}.{number}.json"
            file.write_bytes(orjson.dumps(orjson.loads(chosen.text), option=orjson.OPT_INDENT_2) + b"\n")
            print(f"{file.name}: {kind}, {len(chosen.text)} bytes, {chosen.workflow_id}")  # noqa: T201
    return missing


def main() -> None:
    """Record beside this file, or where ``--to`` says; exit 1 when a kind was not found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_dir", type=Path, help="data directory of the running stack")
    parser.add_argument("--to", type=Path, default=HERE, help="folder to write to")
    arguments = parser.parse_args()
    missing = asyncio.run(record(arguments.data_dir.resolve(), arguments.to))
    for each in missing:
        print(f"not found: {each}", file=sys.stderr)  # noqa: T201
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1 if missing else 0)  # a process with a Temporal client may abort on its way out


if __name__ == "__main__":
    main()
