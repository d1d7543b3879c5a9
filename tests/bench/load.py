"""Driving a server: h2load for requests that are all alike, our own generator where each needs an id of its own.

h2load sends one body and sees the HTTP status only. So reads are checked by the bytes that came back, which
a refusal would not have; commands, whose bodies differ, go through ``client``, and the database is counted.
"""

import asyncio
import base64
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

CONNECTIONS = 4
IN_FLIGHT = 32
"""Calls in flight in all: spread over the connections, or one on each where HTTP/1.1 allows no more."""
SECONDS = 1.5
ID_MARKER = "R" * 32
H2LOAD = "h2load"


class LoadError(Exception):
    """The figures would be wrong."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes and what it looks like; ``bodies`` holding ID_MARKER get an id each."""

    address: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    bodies: Sequence[bytes] = (b"",)
    grpc: bool = True
    answer_bytes: int = 0
    """Of the right answer's body, as it goes over the wire."""

    @property
    def method(self) -> str:
        return "POST" if self.bodies[0] else "GET"

    def all_headers(self) -> list[tuple[str, str]]:
        """Return the headers in the order of HTTP/2."""
        if not self.grpc:
            return [(":method", self.method), (":path", self.path), ("host", self.address), *self.headers.items()]
        pseudo = [(":method", "POST"), (":scheme", "http"), (":path", self.path), (":authority", self.address)]
        return [*pseudo, ("te", "trailers"), ("content-type", "application/grpc"), *self.headers.items()]


async def install_h2load() -> bool:
    """Tell whether h2load is here, installing it where that is possible."""
    if shutil.which(H2LOAD) is None and shutil.which("apt-get") is not None:
        for command in ("update", "install --yes nghttp2-client"):
            process = await asyncio.create_subprocess_exec(
                "apt-get", "-qq", *command.split(), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
            )
            if await process.wait():
                break
    return shutil.which(H2LOAD) is not None


class Reader:
    """Sends one request over and over."""

    def __init__(self, target: Target, *, by_h2load: bool) -> None:
        self._target = target
        self._by_h2load = by_h2load
        self._count = 200
        """Of requests a measurement; the first ones find out how many fill its time."""

    async def rate(self) -> float:
        """Return answers per second."""
        target = self._target
        if not self._by_h2load:
            outcome = await _run_client(target, "")
            return outcome["acknowledged"] / outcome["seconds"]
        while True:
            count = self._count
            seconds, data = await _h2load(target, count)
            if data != count * target.answer_bytes:
                raise LoadError(f"{target.path}: {data} bytes for {count} requests, not {target.answer_bytes} each")
            if seconds >= SECONDS / 2:
                return count / seconds
            self._count = int(count * min(30.0, SECONDS / seconds))


async def _h2load(target: Target, count: int) -> tuple[float, int]:
    """Send a body so many times; return the seconds it took and the bytes of data that came back."""
    body = target.bodies[0]
    streams = IN_FLIGHT // CONNECTIONS
    shape = [f"-c{CONNECTIONS}", f"-m{streams}"] if target.grpc else ["--h1", f"-c{IN_FLIGHT}", "-m1"]
    named = [f"{name}: {value}" for name, value in target.all_headers() if name[0] != ":" and name != "host"]
    headers = [part for each in named for part in ("-H", each)]
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"\x00" + len(body).to_bytes(4, "big") + body if target.grpc else body)
        file.flush()
        sent = ["-d", file.name] if target.grpc or body else []
        process = await asyncio.create_subprocess_exec(
            *(H2LOAD, f"-n{count}", *shape, *sent, *headers, f"http://{target.address}{target.path}"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        told = (await process.communicate())[0].decode()
    finished = re.search(r"finished in ([0-9.]+)(us|ms|s),", told)
    traffic = re.search(r"\(([0-9]+)\) data$", told, re.MULTILINE)
    if finished is None or traffic is None or f" {count} succeeded" not in told:
        raise LoadError(f"{target.path}: {told[-400:]}")
    return float(finished[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[finished[2]], int(traffic[1])


async def command_rate(target: Target) -> tuple[float, str, int]:
    """Return acknowledged commands per second, the prefix of their request ids and how many there were."""
    prefix = uuid4().hex[:20]
    outcome = await _run_client(target, prefix)
    return outcome["acknowledged"] / outcome["seconds"], prefix, int(outcome["acknowledged"])


async def _run_client(target: Target, prefix: str) -> dict[str, float]:
    connections = CONNECTIONS if target.grpc else IN_FLIGHT
    job = {
        "address": target.address,
        "headers": target.all_headers(),
        "bodies": [base64.b64encode(body).decode() for body in target.bodies],
        "id_marker": ID_MARKER if prefix else "",
        "id_prefix": prefix,
        "grpc": target.grpc,
        "connections": connections,
        "in_flight": IN_FLIGHT // connections,
        "seconds": SECONDS,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.client"),
        cwd=Path(__file__).parents[2],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    outcome: dict[str, float] = json.loads((await process.communicate(json.dumps(job).encode()))[0] or b"{}")
    if not outcome or outcome["refused"]:
        raise LoadError(f"{target.path}: {outcome or 'the generator failed'}")
    return outcome
