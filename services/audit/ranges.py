"""Checking one range of positions, in this process or in helpers of its own.

A helper is ``python -m services.audit.ranges``: it is told the login and then ranges on its standard input
and answers on its standard output. It imports next to nothing, so that starting one pays early.
"""

import asyncio
import os
import struct
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Protocol, TypeAlias

import asyncpg
import orjson
import uvloop

from services.audit.express import BATCH, COPY_BATCHES, SEPARATOR, Express
from services.audit.rows import COPY_SEQUENCED, Problem, RowChecker
from services.kit.contexts import AUDITOR

CONNECT_SECONDS = 10.0
SESSION = {
    "timezone": "UTC",
    "datestyle": "ISO",
    "application_name": "dutyloop-verify",
    "jit": "off",
    "work_mem": "64MB",
    "search_path": "pg_catalog",  # no function or operator of somebody's own stands in for PostgreSQL's
}
REPLY = struct.Struct(">II")
"""Lengths of a reply's JSON and of its leaf hashes."""
HASH_BYTES = 32

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class HelperDied(Exception):
    """A helper ended in the middle of its work."""


@dataclass(frozen=True, slots=True)
class Login:
    """How a process of the verification reaches the database."""

    url: str
    password: str = field(repr=False)
    snapshot: str = ""


@dataclass(frozen=True, slots=True)
class CheckedRange:
    """What checking one range of positions found; ``leaves`` are the computed hashes."""

    rows: int
    shredded: int
    hashed_bytes: int
    leaves: Sequence[bytes]
    problems: Sequence[Problem]


@asynccontextmanager
async def session(login: Login) -> AsyncIterator[Connection]:
    """Open a read-only transaction, in the snapshot that the login names when it names one."""
    connection = await asyncpg.connect(
        login.url, user=AUDITOR, password=login.password, timeout=CONNECT_SECONDS, server_settings=SESSION
    )
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            if login.snapshot:
                # SET TRANSACTION takes no parameters; the text is PostgreSQL's own pg_export_snapshot().
                await connection.execute("SET TRANSACTION SNAPSHOT '" + login.snapshot.replace("'", "") + "'")
            yield connection
    finally:
        await connection.close()


async def check_range(connection: Connection, start: int, end: int) -> CheckedRange:
    """Check the positions [start, end): by the express lane, and row by row what that does not pass."""
    express = Express(start, end)

    async def feed(data: bytes) -> None:
        express.feed(data)

    await connection.copy_from_query(COPY_BATCHES, start, end, BATCH, SEPARATOR, output=feed, format="binary")
    leaves, rows, shredded, hashed = express.leaves, express.rows, 0, express.hashed_bytes
    problems: list[Problem] = []
    for first, last in _stretches(express.irregular, end):
        checker = await check_rows(connection, first, last)
        leaves[first] = checker.leaves
        rows, shredded, hashed = rows + checker.rows, shredded + checker.shredded, hashed + checker.hashed_bytes
        problems += checker.problems
    if rows == 0:
        problems.clear()  # the caller looks for the next entry and names the whole gap
    in_order = [leaf for first in sorted(leaves) for leaf in leaves[first]]
    return CheckedRange(rows, shredded, hashed, in_order, problems)


def _stretches(firsts: Sequence[int], end: int) -> Iterator[tuple[int, int]]:
    """Join neighbouring batches."""
    start = None
    for number, first in enumerate(firsts):
        start = first if start is None else start
        if firsts[number + 1 : number + 2] != [first + BATCH]:
            yield start, min(first + BATCH, end)
            start = None


async def check_rows(connection: Connection, start: int, end: int) -> RowChecker:
    """Check the positions [start, end) row by row, naming what is wrong."""
    checker = RowChecker(start)

    async def feed(data: bytes) -> None:
        checker.feed(data)

    await connection.copy_from_query(COPY_SEQUENCED, start, end, output=feed, format="binary")
    if checker.expected < end:
        missing = f"{end - checker.expected} entries from here on are missing"
        checker.problems.append(Problem("missing_entry", checker.expected, missing))
    return checker


class Checker(Protocol):
    """Checks ranges, one at a time; more may be asked for and wait."""

    async def check(self, start: int, end: int) -> CheckedRange:
        """Have a range checked."""


class Here:
    """Checks ranges in this process, on a connection of its own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._one_at_a_time = asyncio.Lock()

    async def check(self, start: int, end: int) -> CheckedRange:
        """Check a range."""
        async with self._one_at_a_time:
            return await check_range(self._connection, start, end)


class Helper:
    """A process that checks ranges."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._one_at_a_time = asyncio.Lock()

    @classmethod
    async def start(cls, login: Login) -> "Helper":
        """Start a helper; the password goes through its standard input, where nobody else reads."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.audit.ranges"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        helper = cls(process)
        helper._send(asdict(login))
        return helper

    def _send(self, message: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(orjson.dumps(message) + b"\n")

    async def check(self, start: int, end: int) -> CheckedRange:
        """Have a range checked. Raises HelperDied."""
        async with self._one_at_a_time:
            stdout = self._process.stdout
            if stdout is None:
                raise HelperDied
            self._send([start, end])
            try:
                told, hashes = REPLY.unpack(await stdout.readexactly(REPLY.size))
                reply = orjson.loads(await stdout.readexactly(told))
                blob = await stdout.readexactly(hashes)
            except asyncio.IncompleteReadError:
                raise HelperDied from None
            problems = [Problem(**each) for each in reply.pop("problems")]
            leaves = [blob[offset : offset + HASH_BYTES] for offset in range(0, hashes, HASH_BYTES)]
            return CheckedRange(**reply, leaves=leaves, problems=problems)

    async def stop(self) -> None:
        """Let the helper end."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), CONNECT_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


async def help_out() -> None:
    """Serve ranges until standard input ends."""
    lines = iter(sys.stdin.buffer.readline, b"")
    async with session(Login(**orjson.loads(next(lines)))) as connection:
        for line in lines:
            checked = await check_range(connection, *orjson.loads(line))
            reply = {
                "rows": checked.rows,
                "shredded": checked.shredded,
                "hashed_bytes": checked.hashed_bytes,
                "problems": [asdict(each) for each in checked.problems],
            }
            told, hashes = orjson.dumps(reply), b"".join(checked.leaves)
            sys.stdout.buffer.write(REPLY.pack(len(told), len(hashes)) + told + hashes)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    uvloop.run(help_out())
