"""Resource names: ``collection/id``. Ids are URL-safe and never carry personal data."""

import hashlib
import re

from services.kit.errors import invalid

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
PAIRS = tuple(first + second for first in BASE32 for second in BASE32)
"""Two characters for every ten bits: an import makes ids by the hundred thousand, and base64's is slow."""


def id_of(name: str, collection: str, field: str = "name") -> str:
    """Return the id in ``collection/id``. Raises InvalidFields naming ``field``."""
    prefix = collection + "/"
    identifier = name.removeprefix(prefix)
    if len(identifier) == len(name) or not ID.fullmatch(identifier):
        raise invalid(field)
    return identifier


def optional_id(name: str, collection: str, field: str) -> str:
    """Return the id, or the empty string when no name is given."""
    return id_of(name, collection, field) if name else ""


def name_of(collection: str, identifier: str | None) -> str:
    """Return ``collection/id``, or the empty string when there is no id."""
    return f"{collection}/{identifier}" if identifier else ""


def code_of(region: str) -> str:
    """Return the code of a region that is named, '' of the whole country."""
    return region.removeprefix("regions/")


def derived_id(*parts: str) -> str:
    """Return a 16-character id that the same parts always give (80 bits of SHA-256)."""
    bits = int.from_bytes(hashlib.sha256("\x1f".join(parts).encode()).digest()[:10])
    two = PAIRS
    return (
        f"{two[bits >> 70]}{two[bits >> 60 & 1023]}{two[bits >> 50 & 1023]}{two[bits >> 40 & 1023]}"
        f"{two[bits >> 30 & 1023]}{two[bits >> 20 & 1023]}{two[bits >> 10 & 1023]}{two[bits & 1023]}"
    )
