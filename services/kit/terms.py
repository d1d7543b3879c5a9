"""Lengths of time as they cross between services, workflows and storage."""

from typing import Protocol

from dutyloop.kit.v1 import kit_pb2
from services.kit.words_of import Words

TERM_UNIT = Words(kit_pb2.TermUnit)


class Length(Protocol):
    """A term; ``unit`` is a kit.v1 TermUnit name without its prefix, such as WORKING_DAYS."""

    @property
    def amount(self) -> int:
        """How many of the unit."""

    @property
    def unit(self) -> str:
        """What is counted."""


def term_message(term: Length) -> kit_pb2.Term:
    """Return the protobuf form of a term."""
    return kit_pb2.Term(amount=term.amount, unit=TERM_UNIT.number(term.unit))
