"""Finding who answers for a matter, their superior and their stand-in, in directory's posts and appointments."""

from dataclasses import dataclass
from datetime import date

from dutyloop.directory.v1 import directory_pb2
from services.kit.offices import Offices
from workflows.payloads.supervision import Addressee, FindAddressee

MAX_LEVELS = 10
"""Bounds the climb from unit to unit; the region tree has five levels."""


@dataclass(frozen=True, slots=True)
class Officeholders:
    """Directory's officeholders on one Beijing day."""

    offices: Offices
    day: date

    async def find(self, asked: FindAddressee) -> Addressee:
        """Return whom a target names; a vacant post is stood in for, and at the end the unit itself is addressed."""
        nobody = Addressee(asked.unit)
        match asked.target:
            case "HOLDER":
                return await self.holder(asked) or await self.head_above(asked.unit, "") or nobody
            case "SUPERIOR":
                holder = await self.holder(asked)
                return await self.head_above(asked.unit, holder.person if holder else "") or nobody
            case "SUBJECT":
                return await self.subject(asked) or nobody
            case _:
                return nobody

    async def holder(self, asked: FindAddressee) -> Addressee | None:
        """Return who answers: the person named while in office, else the post's holder, the head, a deputy."""
        if asked.person and await self.offices.held_by(asked.person, self.day):
            return Addressee(asked.unit, asked.post, asked.person)
        if asked.post and (person := await self.offices.holder_of(asked.post, self.day)):
            return Addressee(asked.unit, asked.post, person)
        return await self._head_of(asked.unit) or await self._deputy_of(asked.unit)

    async def subject(self, asked: FindAddressee) -> Addressee | None:
        """Return who may have to answer: the person named, in office or not, else the post's holder, else the head."""
        if asked.person:
            return Addressee(asked.unit, asked.post, asked.person)
        if asked.post and (person := await self.offices.holder_of(asked.post, self.day)):
            return Addressee(asked.unit, asked.post, person)
        return await self._head_of(asked.unit)

    async def head_above(self, unit: str, other_than: str) -> Addressee | None:
        """Return the nearest head from the unit upwards who is another person."""
        for _ in range(MAX_LEVELS):
            if not unit:
                break
            head = await self._head_of(unit, other_than)
            if head is not None:
                return head
            found = await self.offices.ask(self.offices.directory.GetUnit, directory_pb2.GetUnitRequest(name=unit))
            unit = found.parent
        return None

    async def _head_of(self, unit: str, other_than: str = "") -> Addressee | None:
        async for post, person in self.offices.heads(unit, self.day):
            if person != other_than:
                return Addressee(unit, post, person)
        return None

    async def _deputy_of(self, unit: str) -> Addressee | None:
        async for post in self.offices.posts(unit):
            if person := await self.offices.holder_of(post.name, self.day):
                return Addressee(unit, post.name, person)
        return None
