"""Pages of lists. Tokens are opaque and bound to their list: a token of one list or filter is refused by another."""

import base64
import binascii
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, TypeVar

import orjson
from google.protobuf.message import Message

from services.kit.crypto import digest
from services.kit.errors import invalid

T = TypeVar("T")
Ask = Callable[[Any, Any], Awaitable[Any]]
"""Calls a method of a service with a request; what its refusals become is the caller's affair."""

DEFAULT_SIZE = 100
MAX_SIZE = 1_000
FINGERPRINT_BYTES = 6
FIRST_DAY = date(1900, 1, 1)
BEGINNING = "1900-01-01T00:00:00+00:00"


@dataclass(frozen=True, slots=True)
class Page:
    """The part of a list asked for: at most ``size`` rows after the key ``after`` (empty: from the start)."""

    size: int
    after: tuple[str, ...]
    fingerprint: str

    @property
    def limit(self) -> int:
        """Rows to fetch: one more than shown, to know whether another page follows."""
        return self.size + 1

    def after_key(self, index: int = 0, default: str = "") -> str:
        """Return part ``index`` of the key after which the page starts. Raises InvalidFields on a forged key."""
        if not self.after:
            return default
        if index >= len(self.after):
            raise invalid("page_token")
        return self.after[index]

    def after_time(self, index: int = 0) -> datetime:
        """Return part ``index`` as an aware time, 1900 when none is given. Raises InvalidFields on a forged key."""
        try:
            time = datetime.fromisoformat(self.after_key(index, BEGINNING))
        except ValueError:
            raise invalid("page_token") from None
        if time.tzinfo is None:
            raise invalid("page_token")
        return time

    def after_date(self, index: int = 0, default: date = FIRST_DAY) -> date:
        """Return part ``index`` as a day, the default when none is given. Raises InvalidFields on a forged key."""
        try:
            return date.fromisoformat(self.after_key(index)) if self.after else default
        except ValueError:
            raise invalid("page_token") from None

    def after_number(self, index: int = 0, default: int = 0) -> int:
        """Return part ``index`` as a count of up to 18 digits, the default when none is given.

        Raises InvalidFields on a forged key.
        """
        if not self.after:
            return default
        text = self.after_key(index)
        if not re.fullmatch(r"[0-9]{1,18}", text):
            raise invalid("page_token")
        return int(text)

    def cut(self, rows: Sequence[Any], *columns: str) -> tuple[Sequence[Any], str]:
        """Return the rows to show, and the next page's token when more were fetched, else the empty string.

        ``columns`` are those of the key by which the list is ordered.
        """
        if len(rows) <= self.size:
            return rows, ""
        shown = rows[: self.size]
        return shown, self.token(*(shown[-1][column] for column in columns))

    def part(self, everything: Sequence[T]) -> tuple[Sequence[T], str]:
        """Return the page of a list that is at hand whole, and the next page's token, '' at its end."""
        start = self.after_number()
        end = start + self.size
        return everything[start:end], self.token(end) if end < len(everything) else ""

    def token(self, *key: object) -> str:
        """Return the token of the page that starts after a key."""
        parts = [part.isoformat() if isinstance(part, date) else str(part) for part in key]
        return base64.urlsafe_b64encode(orjson.dumps([self.fingerprint, *parts])).decode().rstrip("=")


async def pages(ask: Ask, method: Any, request: Any, field: str) -> AsyncIterator[Any]:
    """Yield every element of a list, page after page."""
    while True:
        answer = await ask(method, request)
        for each in getattr(answer, field):
            yield each
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token


def page_of(request: Message) -> Page:
    """Read page_size and page_token of a List request. Raises InvalidFields."""
    size = request.page_size  # type: ignore[attr-defined]
    token = request.page_token  # type: ignore[attr-defined]
    if size < 0:
        raise invalid("page_size", "out_of_range")
    filters = type(request)()
    filters.CopyFrom(request)
    filters.ClearField("page_size")
    filters.ClearField("page_token")
    content = filters.SerializeToString(deterministic=True)
    fingerprint = digest(request.DESCRIPTOR.full_name.encode() + content)[:FINGERPRINT_BYTES].hex()
    return Page(min(size or DEFAULT_SIZE, MAX_SIZE), _key_of(token, fingerprint), fingerprint)


def _key_of(token: str, fingerprint: str) -> tuple[str, ...]:
    if not token:
        return ()
    try:
        found, *key = orjson.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, TypeError):
        raise invalid("page_token") from None
    if found != fingerprint or not key or not all(isinstance(part, str) and "\0" not in part for part in key):
        raise invalid("page_token", "not_current")
    return tuple(key)
