"""The one log line that is not composed by structlog must look as if it were."""

import subprocess
import sys
from datetime import UTC, datetime

import orjson
import pytest

SAY_IT_TWICE = """
from services.kit import logs
from services.kit.settings import Settings

logs.configure(Settings(log_format="{format}", log_level="{level}"))
said = dict(rpc="/a.B/C", code="OK", reason="", principal="people/张", request_id="r1", milliseconds=1.25)
logs.logger().info("rpc_served", **said)
logs.log_served(**said)
"""


def said(log_format: str, level: str) -> list[bytes]:
    """Return the lines of a process of its own, for logging is set up once per process."""
    script = SAY_IT_TWICE.format(format=log_format, level=level)
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    return run.stderr.splitlines()


def test_a_served_call_is_logged_as_structlog_would_log_it() -> None:
    """Whoever searches the logs would find calls under other keys than everything else, or at other times."""
    by_structlog, by_hand = (orjson.loads(line) for line in said("json", "info"))
    assert list(by_hand) == list(by_structlog)
    for line in (by_structlog, by_hand):
        time = line.pop("timestamp")
        assert time.endswith("Z")
        assert abs(datetime.fromisoformat(time) - datetime.now(UTC)).total_seconds() < 60
    assert by_hand == by_structlog


@pytest.mark.parametrize("level", ["warning", "error"])
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_quiet_process_logs_no_served_calls(log_format: str, level: str) -> None:
    """A full disk of lines that nobody asked for."""
    assert said(log_format, level) == []


def test_a_served_call_is_readable_on_a_terminal() -> None:
    """A developer would read JSON."""
    lines = [line.decode() for line in said("console", "info")]
    assert len(lines) == 2
    for line in lines:
        assert "rpc_served" in line
        assert not line.startswith("{")
