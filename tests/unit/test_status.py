"""``dutyloop status`` for people: parts, whether they answer, and what the whole is."""

import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from services.cli import status
from services.cli.words import say

PARTS = {"postgres": 1, "temporal": 1, "services": 1, "worker": 2**22 + 1}
RUNNING = {
    "pid": 1,
    "started_at": "2026-11-22T04:23:04+00:00",
    "grpc_address": "127.0.0.1:7400",
    "temporal_address": "127.0.0.1:7233",
    "temporal_ui_url": None,
    "external_database": False,
    "external_temporal": False,
    "virtual_time": True,
    "pids": PARTS,
}


def test_status_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Whoever looks after the system would read keys, a dictionary and True, and not whether it answers."""
    monkeypatch.setattr(status, "_is_listening", lambda address: True)
    monkeypatch.setattr(status, "_is_serving", lambda address: False)
    status.show_status(RUNNING, tmp_path)
    told = capsys.readouterr().out
    assert not re.search(r"[a-z]_[a-z]|True|False|None|\{", told.replace(str(tmp_path), ""))
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in told.splitlines() if "│" in line]
    states = [row[1] for row in rows]
    assert states == [
        say("运行中", "running"),
        say("正常", "answers"),
        say("无应答", "does not answer"),
        say("已停止", "gone"),
    ]
    assert [row[2] for row in rows][1:3] == ["127.0.0.1:7233", "127.0.0.1:7400"]
    assert "2026-11-22 12:23" in told
    assert str(tmp_path) in told


def test_servers_of_one_s_own_are_not_taken_for_stopped_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator with a database server of his own would be told that it is gone."""
    monkeypatch.setattr(status, "_is_listening", lambda address: True)
    monkeypatch.setattr(status, "_is_serving", lambda address: True)
    found = RUNNING | {"external_database": True, "external_temporal": True, "pids": {"services": 1}}
    rows = list(status.part_rows(found))
    assert [row[1] for row in rows] == [say("未检查", "not checked"), say("正常", "answers"), say("正常", "answers")]
    own = say("自备服务器", "your own server")
    assert [own in row[2] for row in rows] == [True, True, False]


@pytest.mark.parametrize(
    ("minutes", "zh", "en"),
    [(0, "不到 1 分钟", "less than a minute"), (61, "1 小时 1 分钟", "1 h 1 min"), (2_880, "2 天", "2 d")],
)
def test_how_long_it_runs_is_told(minutes: int, zh: str, en: str, tmp_path: Path) -> None:
    """Nobody could tell a restart of this morning from one of last week without counting."""
    now = datetime.fromisoformat("2026-11-22T04:23:04+00:00") + timedelta(minutes=minutes)
    assert say(zh, en) in dict(status.facts(RUNNING, tmp_path, now))[say("启动于", "running since")]
