"""The command line's connection: whose token it sends, and for how long."""

import itertools
from typing import Any

import pytest

from services.cli import connection
from services.kit.settings import Settings


class Clock:
    """A monotonic clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        """Return what it shows."""
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stands in for the clock, where tokens are issued by number; no stack is needed."""
    hand, numbers = Clock(), itertools.count(1)
    monkeypatch.setattr(connection, "time", hand)
    monkeypatch.setattr(connection, "use_running_stack", lambda: None)
    monkeypatch.setattr(connection, "issue_token", lambda person: f"{person}:{next(numbers)}")
    return hand


def bearer(of: connection.Connection) -> str:
    """Return the token that the next call would carry."""
    metadata: Any = dict(of._metadata())
    return str(metadata["authorization"]).removeprefix("Bearer ")


def test_who_follows_for_hours_gets_a_fresh_token_in_time(clock: Clock) -> None:
    """A follower of the ledger would be refused after an hour, in the middle of the night."""
    follower = connection.Connection("people/1")
    sent = []
    for _ in range(3):
        sent.append(bearer(follower))
        clock.seconds += connection.TOKEN_SECONDS / 2
    assert sent == ["people/1:1", "people/1:2", "people/1:3"]


def test_a_token_of_one_s_own_is_sent_as_it_is(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever logs in by his office's identity provider would suddenly be somebody of the development issuer."""
    monkeypatch.setattr(connection, "settings", lambda: Settings(token="from.my.office"))
    own = connection.Connection()
    clock.seconds += connection.TOKEN_SECONDS
    assert bearer(own) == "from.my.office"
