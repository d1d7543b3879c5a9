"""Every stored history of a released workflow replays against the present code."""

import asyncio
import base64
import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from services.kit.codec import data_converter
from workflows.worker import WORKFLOWS

HISTORIES = Path(__file__).resolve().parents[1] / "histories"
STORED = sorted(HISTORIES.glob("*.json"))


def test_every_workflow_has_a_stored_history() -> None:
    """A workflow without one could be changed incompatibly and break the cases of those who run it."""
    stored = {path.name.partition(".")[0] for path in STORED}
    assert {workflow.__temporal_workflow_definition.name for workflow in WORKFLOWS} <= stored  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
async def test_a_stored_history_replays(path: Path) -> None:
    """Cases opened with an earlier release would otherwise stand still after an upgrade."""
    history = WorkflowHistory.from_json(path.stem, await asyncio.to_thread(path.read_text))
    replayer = Replayer(workflows=WORKFLOWS, data_converter=data_converter(None))
    await replayer.replay_workflow(history)


def changed(path: Path) -> str:
    """Return a history with another name for the activity that records; local ones are named inside a marker."""
    told = json.loads(path.read_text())
    before = json.dumps(told)
    for event in told["events"]:
        for payloads in event.get("markerRecordedEventAttributes", {}).get("details", {}).values():
            for payload in payloads["payloads"]:
                data = base64.b64decode(payload.get("data", ""))
                data = data.replace(b"record_hazard_transition", b"another_activity")
                payload["data"] = base64.b64encode(data).decode()
    assert json.dumps(told) != before
    return json.dumps(told)


async def test_a_changed_history_is_noticed() -> None:
    """A replay that accepts anything would let incompatible code through."""
    path = next(path for path in STORED if path.name.startswith("rectification."))
    text = await asyncio.to_thread(changed, path)
    history = WorkflowHistory.from_json(path.stem, text)
    replayer = Replayer(workflows=WORKFLOWS, data_converter=data_converter(None))
    result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
    assert result.replay_failure is not None
