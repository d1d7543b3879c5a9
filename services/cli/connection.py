"""How the command line reaches a running dutyloop: the address, the keys, and the person's token."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import orjson

from services.cli.output import Exit, fail
from services.cli.words import LOCALE, say
from services.kit.clients import CHANNEL_OPTIONS
from services.kit.errors import from_rpc_error
from services.kit.settings import Settings, adopt, settings
from services.kit.tls import channel_credentials
from services.kit.tokens import PERSON_ISSUER, TokenSigner

OPERATOR = "people/operator"
CALL_SECONDS = 30.0
TOKEN_SECONDS = 3_600
PERSON = re.compile(r"people/[^/\s]+")


def data_dir() -> Path:
    """Return the data directory of the embedded stack: DUTYLOOP_DATA_DIR, else ``build/stack``."""
    return settings().data_dir.absolute()


def take_data_dir(chosen: Path | None) -> Path:
    """Make ``--data-dir`` what the whole process uses."""
    if chosen is not None:
        adopt({"DUTYLOOP_DATA_DIR": str(chosen.absolute())}, over=True)
    return data_dir()


def running_stack_file() -> Path:
    """Return where a running stack leaves its environment."""
    return data_dir() / "env.json"


def use_running_stack() -> None:
    """Take over the environment of the embedded stack that runs in the data directory, if there is one."""
    file = running_stack_file()
    if file.exists():
        adopt(orjson.loads(file.read_bytes()))


def runs_elsewhere(current: Settings) -> bool:
    """Tell whether the settings name an installation other than the embedded stack."""
    return bool({"api_address", "api_addresses"} & current.model_fields_set)


def nothing_runs() -> str:
    """Say that no stack runs in the data directory, and how to start one or name another."""
    directory = data_dir()
    return say(
        f"{directory} 中没有正在运行的系统：请先运行 dutyloop up，或用 DUTYLOOP_DATA_DIR 指明数据目录",
        f"nothing is running in {directory}: start it with dutyloop up, or name its directory in DUTYLOOP_DATA_DIR",
    )


def issue_token(person: str, lifetime_seconds: int = TOKEN_SECONDS) -> str:
    """Sign a token for a person with the development issuer's key. Fails where there is no such key."""
    if not PERSON.fullmatch(person):
        fail(
            say(
                f"人员应写作 people/…，如 {OPERATOR}（实为 {person!r}）",
                f"a person is named people/…, such as {OPERATOR}, not {person!r}",
            ),
            Exit.USAGE,
        )
    current: Settings = settings()
    if current.issuer_key_file is None and not runs_elsewhere(current):
        fail(nothing_runs(), Exit.UNAVAILABLE)
    if current.issuer_key_file is None:
        fail(
            say(
                "没有开发用签发密钥：生产环境请使用您的 OIDC 令牌（DUTYLOOP_TOKEN）",
                "there is no development issuer key; in production use your OIDC token (DUTYLOOP_TOKEN)",
            ),
            Exit.REFUSED,
        )
    return TokenSigner(current.issuer_key_file, PERSON_ISSUER, current.audience).sign(person, lifetime_seconds)


class Begun:
    """A call that was begun."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def result(self) -> Any:
        """Wait for the answer; raises the DomainError it was refused with."""
        try:
            return self._call.result()
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error  # type: ignore[arg-type]

    def cancel(self) -> bool:
        """Give the call up."""
        return bool(self._call.cancel())


class Connection:
    """A channel to the services, acting as one person. Blocking: the command line does one thing at a time."""

    def __init__(self, person: str | None = None) -> None:
        use_running_stack()
        own = settings().token
        self._own_token = own.get_secret_value() if own is not None and person is None else None
        self._person = person or OPERATOR
        self._token = self._own_token or issue_token(self._person)
        self._renewal = time.monotonic() + TOKEN_SECONDS / 2
        address = settings().api_address
        tls = channel_credentials(settings(), address)
        self._channel = (
            grpc.secure_channel(address, tls, options=CHANNEL_OPTIONS)
            if tls
            else grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
        )

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the call metadata; a token of the development issuer is renewed long before it expires."""
        if self._own_token is None and time.monotonic() >= self._renewal:
            self._token, self._renewal = issue_token(self._person), time.monotonic() + TOKEN_SECONDS / 2
        return (("authorization", f"Bearer {self._token}"), ("accept-language", LOCALE))

    def stub(self, stub: type) -> Any:
        """Return a generated stub over this connection."""
        return stub(self._channel)

    def call(self, method: Any, request: Any, timeout: float = CALL_SECONDS) -> Any:
        """Call a method (a request, or an iterator of requests); raises the DomainError it was refused with."""
        try:
            return method(request, timeout=timeout, metadata=self._metadata())
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error  # type: ignore[arg-type]

    def begin(self, method: Any, requests: Iterator[Any], timeout: float) -> "Begun":
        """Begin to stream requests; they are taken from the iterator in another thread."""
        return Begun(method.future(requests, timeout=timeout, metadata=self._metadata()))

    def stream(self, method: Any, request: Any, timeout: float = CALL_SECONDS) -> Iterator[Any]:
        """Call a server-streaming method and yield its messages."""
        try:
            yield from method(request, timeout=timeout, metadata=self._metadata())
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error  # type: ignore[arg-type]

    def pages(self, method: Any, request: Any, field: str) -> Iterator[Any]:
        """Yield every element of a list, page after page; ``field`` names the repeated field."""
        while True:
            response = self.call(method, request)
            yield from getattr(response, field)
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token
