"""``dutyloop audit follow``: the ledger as it grows, entry by entry, over as many streams as it takes."""

import signal
import time
from collections.abc import Iterator
from typing import Annotated

import orjson
import typer

from dutyloop.audit.v1 import audit_pb2
from dutyloop.audit.v1.audit_pb2_grpc import AuditServiceStub
from services.audit.words import tell_entry
from services.cli.cells import Names, cell_of, instant_text
from services.cli.connection import Connection
from services.cli.output import as_dict, err, out
from services.cli.tables import look_up
from services.cli.verbs import AsJson, Person
from services.cli.words import say
from services.kit.dates import time_of
from services.kit.errors import DeadlinePassed, DomainError, Overloaded, ServiceUnavailable

STREAM_SECONDS = 300.0
"""A stream ends after this, and the next one goes on where it ended."""
PATIENCE_SECONDS = 5.0
PASSING: tuple[type[DomainError], ...] = (ServiceUnavailable, Overloaded)
"""Refusals after which a follower comes back."""


class Follower:
    """Follows the ledger from a position; knows at every moment where to go on."""

    def __init__(self, connection: Connection, type_prefix: str, position: int | None) -> None:
        self._connection = connection
        self._type_prefix = type_prefix
        self.position = position
        self._stopped = False
        self._handling = False

    def stop(self, signal_number: int = 0, frame: object = None) -> None:
        """Stop on a signal: at once while nothing is handled, else when that is done and the position known."""
        self._stopped = True
        if not self._handling:
            raise KeyboardInterrupt

    def answers(self, seconds: float | None) -> Iterator[audit_pb2.FollowLedgerResponse]:
        """Yield what comes in, for so many seconds or for ever; a broken stream is taken up again."""
        ends = None if seconds is None else time.monotonic() + seconds
        stub = self._connection.stub(AuditServiceStub)
        while ends is None or time.monotonic() < ends:
            left = STREAM_SECONDS if ends is None else min(STREAM_SECONDS, ends - time.monotonic())
            request = audit_pb2.FollowLedgerRequest(after_position=self.position, type_prefix=self._type_prefix)
            try:
                for answer in self._connection.stream(stub.FollowLedger, request, left):
                    self._handling = True
                    yield answer
                    self.position, self._handling = answer.position, False
                    if self._stopped:
                        raise KeyboardInterrupt
            except DeadlinePassed:
                continue
            except PASSING:
                if ends is not None and time.monotonic() + PATIENCE_SECONDS >= ends:
                    raise
                err.print(say("连接中断，正在重试…", "the connection was cut; trying again…"), highlight=False)
                time.sleep(PATIENCE_SECONDS)


def follow(
    after_position: Annotated[
        int | None,
        typer.Option(
            "--after-position",
            min=-1,
            help=say(
                "从该序号之后接续，-1 为从头（默认从头）",
                "go on after this position, -1 and the default: from the first",
            ),
        ),
    ] = None,
    type_prefix: Annotated[
        str,
        typer.Option("--type-prefix", help=say("只看该类型，如 hazard.", "only types that begin so, such as hazard.")),
    ] = "",
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", min=1, help=say("跟随秒数，默认直到 Ctrl-C", "for so long; until Ctrl-C by default")),
    ] = None,
    person: Person = None,
    as_json: AsJson = False,
) -> None:
    """Print entries as they come, as JSON one a line; say at the end where to go on."""
    connection = Connection(person)
    position = None if after_position is None or after_position < 0 else after_position
    follower = Follower(connection, type_prefix, position)
    signal.signal(signal.SIGINT, follower.stop)
    try:
        for answer in follower.answers(seconds):
            if as_json:
                _print_lines(answer)
            else:
                _print_entries(answer, look_up(connection, answer.ledger_entries))
    except KeyboardInterrupt:
        err.print()
    finally:  # also where the follower is refused
        if follower.position is not None:
            words = say("接续位置：", "go on with: ")
            err.print(f"{words}--after-position {follower.position}", highlight=False)


def _print_lines(answer: audit_pb2.FollowLedgerResponse) -> None:
    lines = [orjson.dumps(as_dict(entry)).decode() for entry in answer.ledger_entries]
    if lines:
        typer.echo("\n".join(lines))


def _print_entries(answer: audit_pb2.FollowLedgerResponse, names: Names) -> None:
    for entry in answer.ledger_entries:
        payload = orjson.loads(entry.payload_json) if entry.payload_json else {}
        told = tell_entry(entry.type, list(entry.objects), payload if isinstance(payload, dict) else {})
        at, actor = instant_text(time_of(entry.business_time)), cell_of(entry, "actor", names)
        line = f"{entry.position:>8}  {at}  {say(told.zh, told.en)}  {actor}"
        out.print(line, highlight=False, markup=False)
