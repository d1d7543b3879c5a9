"""A load generator that is not the bottleneck: prepared bytes in, answers counted, nothing else decoded.

It speaks gRPC (HTTP/2 frames, headers indexed after the first request as real clients do) and HTTP/1.1, so
that ours and the peers are driven by the same loop. Every request gets an id of its own where ``id_at`` says
that it must. A gRPC call is acknowledged when data came before the trailers; a refusal has no data.
Run as ``python -m tests.bench.client``: a job as JSON on standard input, the outcome on standard output.
"""

import asyncio
import base64
import json
import struct
import sys
import time
from collections.abc import Iterator
from typing import Any

import uvloop

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
WINDOW = 1 << 30
FIRST_INDEX = 62
"""Of HPACK's dynamic table: the header inserted last."""


class Job:
    """What to send, and what came of it."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.host, _, port = given["address"].rpartition(":")
        self.port = int(port)
        self.headers: list[tuple[str, str]] = [(name, value) for name, value in given["headers"]]
        self.bodies = [base64.b64decode(body) for body in given["bodies"]]
        self.marker: bytes = given["id_marker"].encode()
        self.prefix: str = given["id_prefix"]
        self.end = time.monotonic() + given["seconds"]
        self.outstanding = 0
        self.acknowledged = 0
        self.refused = 0
        self.done = asyncio.get_running_loop().create_future()
        self._requests = self._all_requests()

    def _all_requests(self) -> Iterator[bytes]:
        number, digits = 0, len(self.marker) - len(self.prefix)
        while True:
            for body in self.bodies:
                number += 1
                yield body.replace(self.marker, f"{self.prefix}{number:0{digits}}".encode()) if self.marker else body

    def next(self) -> bytes | None:
        """Return the next body to send, None once time is up."""
        if time.monotonic() >= self.end:
            if not self.outstanding and not self.done.done():
                self.done.set_result(None)
            return None
        self.outstanding += 1
        return next(self._requests)

    def finish(self, *, good: bool) -> None:
        """Count an answer."""
        self.outstanding -= 1
        self.acknowledged += good
        self.refused += not good


class Connection(asyncio.Protocol):
    """What both protocols share."""

    def __init__(self, job: Job, in_flight: int) -> None:
        self.job = job
        self.in_flight = in_flight
        self.buffer = b""
        self.transport: Any = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the job when the server hangs up in the middle of it."""
        if not self.job.done.done():
            self.job.done.set_exception(ConnectionError("the server closed the connection"))


class GrpcConnection(Connection):
    """HTTP/2 with as many streams at once as asked for."""

    def connection_made(self, transport: Any) -> None:
        """Open the connection, wide enough that windows never matter, and send the first calls."""
        self.transport = transport
        self.stream = 1
        self.answered: set[int] = set()
        settings = struct.pack(">HIHI", 4, WINDOW, 2, 0)
        literal = b"".join(b"\x40" + text(name) + text(value) for name, value in self.job.headers)
        count = len(self.job.headers)
        self.indexed = bytes(0x80 | FIRST_INDEX + count - 1 - number for number in range(count))
        window = struct.pack(">I", WINDOW)
        transport.write(PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, window))
        for number in range(self.in_flight):
            self.send(self.indexed if number else literal)

    def send(self, headers: bytes) -> None:
        """Send one call."""
        body = self.job.next()
        if body is not None:
            message = b"\x00" + len(body).to_bytes(4, "big") + body
            self.transport.write(
                frame(HEADERS, END_HEADERS, self.stream, headers) + frame(DATA, END_STREAM, self.stream, message)
            )
            self.stream += 2

    def data_received(self, data: bytes) -> None:
        """Count trailers; answer what HTTP/2 wants answered."""
        buffer = self.buffer + data if self.buffer else data
        offset, end = 0, len(buffer)
        while offset + 9 <= end:
            length = int.from_bytes(buffer[offset : offset + 3], "big")
            stop = offset + 9 + length
            if stop > end:
                break
            kind, flags = buffer[offset + 3], buffer[offset + 4]
            stream = int.from_bytes(buffer[offset + 5 : offset + 9], "big")
            if kind == DATA:
                self.answered.add(stream)
            elif kind == HEADERS and flags & END_STREAM:
                self.job.finish(good=stream in self.answered)
                self.answered.discard(stream)
                self.send(self.indexed)
            elif kind in (SETTINGS, PING) and not flags & ACK:
                self.transport.write(frame(kind, ACK, 0, buffer[offset + 9 : stop] if kind == PING else b""))
            elif kind == GOAWAY:
                self.transport.close()
            offset = stop
        self.buffer = buffer[offset:]


class HttpConnection(Connection):
    """HTTP/1.1 with one request at a time."""

    def connection_made(self, transport: Any) -> None:
        """Send the first request."""
        self.transport = transport
        named = dict(self.job.headers)
        method, path = named.pop(":method"), named.pop(":path")
        self.head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{key}: {value}\r\n" for key, value in named.items())
        self.send()

    def send(self) -> None:
        """Send one request."""
        body = self.job.next()
        if body is not None:
            self.transport.write(f"{self.head}content-length: {len(body)}\r\n\r\n".encode() + body)

    def data_received(self, data: bytes) -> None:
        """Count complete answers."""
        self.buffer += data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if separator:
            _, _, length = head.lower().partition(b"content-length:")
            if len(body) >= int(length.split(b"\r\n", 1)[0]):
                self.buffer = b""
                self.job.finish(good=head.split(b" ", 2)[1].startswith(b"2"))
                self.send()


def text(value: str) -> bytes:
    """Return an HPACK string, not compressed."""
    raw = value.encode()
    if len(raw) < 127:
        return bytes([len(raw)]) + raw
    rest, length = len(raw) - 127, b"\x7f"
    while rest >= 128:
        length, rest = length + bytes([rest % 128 + 128]), rest // 128
    return length + bytes([rest]) + raw


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return an HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


async def run(given: dict[str, Any]) -> dict[str, float]:
    """Do a job: keep the calls in flight until time is up, then wait for the last answers."""
    job = Job(given)
    make = GrpcConnection if given["grpc"] else HttpConnection
    started = time.monotonic()
    loop = asyncio.get_running_loop()
    for _ in range(given["connections"]):
        await loop.create_connection(lambda: make(job, given["in_flight"]), job.host, job.port)
    await asyncio.wait_for(job.done, given["seconds"] + 30)
    return {"acknowledged": job.acknowledged, "refused": job.refused, "seconds": time.monotonic() - started}


if __name__ == "__main__":
    json.dump(uvloop.run(run(json.load(sys.stdin))), sys.stdout)
