"""Opaque page tokens bound to their list: a token of one list or filter is refused by another."""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import orjson
from google.protobuf.message import Message

from services.kit.crypto import digest
from services.kit.errors import invalid

DEFAULT_SIZE = 100
MAX_SIZE = 1_000
FINGERPRINT_BYTES = 6
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

    def after_date(self, index: int = 0) -> date:
        """Return part ``index`` as a day, in 1900 when none is given. Raises InvalidFields on a forged key."""
        return _day(self.after_key(index, BEGINNING[:10]))

    def after_number(self, index: int = 0, default: int = 0) -> int:
        """Return part ``index`` as a number of at most 64 bits. Raises InvalidFields on a forged key."""
        text = self.after_key(index, str(default))
        if not re.fullmatch(r"-?[0-9]{1,18}", text):
            raise invalid("page_token")
        return int(text)

    def token(self, rows: int, last_key: Sequence[str]) -> str:
        """Return the next page's token when more than ``size`` rows were fetched, else the empty string."""
        if rows <= self.size:
            return ""
        raw = orjson.dumps([self.fingerprint, *last_key])
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")


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


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise invalid("page_token") from None


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
