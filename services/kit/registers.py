"""Registers: a legacy id is unique within the register that it comes from, and a register is kept by a region.

Two counties number their sites from one, each on its own; neither learns from an import what the other has. The
nationwide register, of whoever acts for the whole country, has the empty code.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from services.kit.call import Call
from services.kit.errors import NotFound
from services.kit.names import id_of, name_of

M = TypeVar("M")


def source_region_code(call: Call, named: str, field: str = "source_region") -> str:
    """Return the code of the region whose register a caller uses: the one named, else that of his post.

    A region counts as his when it is within reach or a post acts in it whose reach is only a unit of it. Raises
    NotFound for every other, the same as for an absent one.
    """
    own = [grant.home_region_code for grant in call.grants]
    if not named:
        return own[0]
    code = id_of(named, "regions", field)
    if code not in own and not call.scope.covers(code):
        raise NotFound(named, hidden=True)
    return code


def keeper_of(call: Call, register: str) -> tuple[str, str]:
    """Return region code and unit path of whom an import from a register concerns: who may read its summary.

    That is the region that keeps the register. Whoever reaches only a unit of it imports for this unit, and those
    who answer for it read what he did; what he is elsewhere does not count.
    """
    if call.scope.covers(register):
        return register, ""
    return register, next((grant.unit_path for grant in call.grants if grant.home_region_code == register), "")


@dataclass(frozen=True, slots=True)
class FromRegister(Generic[M]):
    """An import whose header has been read: the register's region code, and all its messages."""

    region_code: str
    messages: AsyncIterator[M]

    @property
    def region(self) -> str:
        """Name the region; empty for the nationwide register."""
        return name_of("regions", self.region_code)


async def from_register(call: Call, messages: AsyncIterator[Any]) -> FromRegister[Any]:
    """Read an import's header, so that the rows are checked against the register that it names.

    Raises NotFound for a register that is not the caller's.
    """
    first = await anext(messages)  # the guard refuses a stream without a message

    async def all_of_them() -> AsyncIterator[Any]:
        yield first
        async for message in messages:
            yield message

    return FromRegister(source_region_code(call, first.header.source_region, "header.source_region"), all_of_them())
