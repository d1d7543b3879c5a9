"""What crosses the border between services and workflows: ids, names and frozen payloads.

Payloads are JSON inside the encryption codec and small: ids and state, under 64 KiB.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Outer:
    """A person's command on a case; its recording stores the command's answer. ``body_hash`` is hex.

    ``etag`` is the revision that the person saw, empty where he did not say: the recording refuses another.
    """

    principal: str
    method: str
    request_id: str
    body_hash: str
    on_behalf_of: str = ""
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """The update by which a person's command was put to a case, with its argument, which holds the ``outer`` command.

    It goes on record with the step, so that a case that forgot the step in a crash can be told again.
    """

    update: str
    action: Any


@dataclass(frozen=True, slots=True)
class Term:
    """A length of time; ``unit`` is a kit.v1 TermUnit name without its prefix, such as WORKING_DAYS."""

    amount: int
    unit: str


@dataclass(frozen=True, slots=True)
class RunningTerm:
    """A term that runs since ``start``.

    ``notice`` is the year of the holiday notice that has it counted anew, 0 where it begins.
    """

    start: datetime
    term: Term
    notice: int = 0


@dataclass(frozen=True, slots=True)
class Reproject:
    """Has a case count its present term anew: the holiday notice of this year, which it awaited, has come."""

    notice: int
