"""The link between the services and PostgreSQL, with a trap in it that shuts when a chosen change is committed.

A change is committed by COMMIT, or by a statement that writes a ledger entry outside any transaction.
"""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

SOCKET = ".s.PGSQL.5432"
COMMIT = b"COMMIT;\x00"
ROLLBACK = b"ROLLBACK;\x00"
BEGIN = b"BEGIN;\x00"
ENTRY = b'"payload_commitment"'
"""Stands in the envelope of every ledger entry."""
CHUNK = 256 * 1024
Moment = Literal["before", "after"]
"""Whether what commits is stopped on its way, or PostgreSQL's word that it is done."""


class Trap:
    """Shuts once, on the first transaction that sends every one of ``marks``."""

    def __init__(self, moment: Moment, *marks: str) -> None:
        self.moment = moment
        self._marks = [mark.encode() for mark in marks]
        self._caught = asyncio.Event()
        self._released = asyncio.Event()
        self._cut = False

    def wants(self, sent: bytes) -> bool:
        """Tell whether the transaction that sent these bytes is the one waited for."""
        return not self._caught.is_set() and all(mark in sent for mark in self._marks)

    async def hold(self) -> bool:
        """Keep what passes until released; True when the link is then to be cut."""
        self._caught.set()
        await self._released.wait()
        return self._cut

    async def caught(self, seconds: float = 60.0) -> None:
        """Wait until the transaction is in the trap."""
        await asyncio.wait_for(self._caught.wait(), seconds)

    def release(self, *, cut: bool = False) -> None:
        """Let it go, or cut its link."""
        self._cut = cut
        self._released.set()


class Link:
    """A unix socket in front of PostgreSQL's own."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="dl-", dir="/tmp"))  # a socket's path must be short
        self._server: asyncio.Server | None = None
        self._upstream = Path()
        self._trap: Trap | None = None
        self._open: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The URL of the database through the link."""
        return f"postgresql:///dutyloop?host={self._folder}"

    async def start(self, socket_dir: Path) -> None:
        """Listen, and pass everything on to the server in ``socket_dir``."""
        self._upstream = socket_dir / SOCKET
        self._server = await asyncio.start_unix_server(self._serve, self._folder / SOCKET)

    async def stop(self) -> None:
        """Close every connection and the socket."""
        if self._server is not None:
            self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    @contextlib.contextmanager
    def trap(self, moment: Moment, *marks: str) -> Iterator[Trap]:
        """Set a trap; at the end it is taken away and what it holds is let go."""
        trap = self._trap = Trap(moment, *marks)
        try:
            yield trap
        finally:
            self._trap = None
            trap.release()

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            server, to_server = await asyncio.open_unix_connection(self._upstream)
        except OSError:
            to_client.close()
            return
        finally:
            self._open.discard(task)
        connection = _Connection(self, to_client, to_server)
        pumps = asyncio.ensure_future(asyncio.gather(connection.ask(client), connection.answer(server)))
        both = asyncio.create_task(_until_closed(pumps, to_client, to_server))
        self._open.add(both)
        both.add_done_callback(self._open.discard)

    def trap_for(self, sent: bytes) -> Trap | None:
        """Return the trap when it waits for the transaction that sent these bytes."""
        return self._trap if self._trap is not None and self._trap.wants(sent) else None


class _Connection:
    """One client's connection through the link."""

    def __init__(self, link: Link, to_client: asyncio.StreamWriter, to_server: asyncio.StreamWriter) -> None:
        self._link = link
        self._to_client = to_client
        self._to_server = to_server
        self._sent = bytearray()
        self._in_transaction = False
        self._held: Trap | None = None

    async def ask(self, client: asyncio.StreamReader) -> None:
        while chunk := await client.read(CHUNK):
            if BEGIN in chunk or not self._in_transaction:
                self._sent.clear()
            self._in_transaction = self._in_transaction or BEGIN in chunk
            self._sent += chunk
            commits = chunk.endswith(COMMIT) or (ENTRY in chunk and not self._in_transaction)
            if chunk.endswith((COMMIT, ROLLBACK)):
                self._in_transaction = False
            if commits:
                trap = self._link.trap_for(bytes(self._sent))
                if trap is not None and trap.moment == "before" and await trap.hold():
                    break
                if trap is not None and trap.moment == "after":
                    self._held = trap
            self._to_server.write(chunk)
            await self._to_server.drain()
        raise ConnectionResetError

    async def answer(self, server: asyncio.StreamReader) -> None:
        while chunk := await server.read(CHUNK):
            held, self._held = self._held, None
            if held is not None and await held.hold():
                break
            self._to_client.write(chunk)
            await self._to_client.drain()
        raise ConnectionResetError


async def _until_closed(pumps: "asyncio.Future[tuple[None, None]]", *writers: asyncio.StreamWriter) -> None:
    """Close both ends as soon as one is closed."""
    try:
        with contextlib.suppress(OSError):
            await pumps
    finally:
        pumps.cancel()
        for writer in writers:
            writer.transport.abort()
