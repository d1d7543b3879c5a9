"""Finding who answers for a matter, their superior and their stand-in, in directory's posts and appointments."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any

from dutyloop.directory.v1 import directory_pb2
from dutyloop.policy.v1 import policy_pb2
from services.kit.clients import Clients
from workflows.activities.calls import call
from workflows.payloads.supervision import Addressee, FindAddressee

BEIJING = timezone(timedelta(hours=8))
PAGE = 1_000
HEAD_ROLES = (policy_pb2.ROLE_RESPONSIBLE_UNIT, policy_pb2.ROLE_LEADER)
"""Roles of the posts that answer for a unit; the first that somebody holds is its head."""
MAX_LEVELS = 10
"""Bounds the climb from unit to unit; the region tree has five levels."""


@dataclass(frozen=True, slots=True)
class Officeholders:
    """Directory's officeholders on one Beijing day."""

    clients: Clients
    day: date

    @classmethod
    def at(cls, clients: Clients, time: datetime) -> "Officeholders":
        """Return the officeholders of the day of a business time."""
        return cls(clients, time.astimezone(BEIJING).date())

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
        if asked.person and await self._is_in_office(asked.person):
            return Addressee(asked.unit, asked.post, asked.person)
        if asked.post and (person := await self._holder_of(asked.post)):
            return Addressee(asked.unit, asked.post, person)
        return await self._head_of(asked.unit) or await self._deputy_of(asked.unit)

    async def subject(self, asked: FindAddressee) -> Addressee | None:
        """Return who may have to answer: the person named, in office or not, else the post's holder, else the head."""
        if asked.person:
            return Addressee(asked.unit, asked.post, asked.person)
        if asked.post and (person := await self._holder_of(asked.post)):
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
            found = await call(self.clients, self.clients.directory.GetUnit, directory_pb2.GetUnitRequest(name=unit))
            unit = found.parent
        return None

    async def _head_of(self, unit: str, other_than: str = "") -> Addressee | None:
        async for post in self._posts(unit):
            if any(role in HEAD_ROLES for role in post.roles):
                person = await self._holder_of(post.name)
                if person and person != other_than:
                    return Addressee(unit, post.name, person)
        return None

    async def _deputy_of(self, unit: str) -> Addressee | None:
        async for post in self._posts(unit):
            if person := await self._holder_of(post.name):
                return Addressee(unit, post.name, person)
        return None

    async def _holder_of(self, post: str) -> str:
        async for appointment in self._appointments(directory_pb2.ListAppointmentsRequest(page_size=PAGE, post=post)):
            return str(appointment.person)
        return ""

    async def _is_in_office(self, person: str) -> bool:
        request = directory_pb2.ListAppointmentsRequest(page_size=PAGE, person=person)
        async for _ in self._appointments(request):
            return True
        return False

    async def _appointments(
        self, request: directory_pb2.ListAppointmentsRequest
    ) -> AsyncIterator[directory_pb2.Appointment]:
        """Yield the appointments that last on the day."""
        async for appointment in self._pages(self.clients.directory.ListAppointments, request, "appointments"):
            begun = _day(appointment.start_date) <= self.day
            over = appointment.HasField("end_date") and _day(appointment.end_date) <= self.day
            if begun and not over:
                yield appointment

    async def _posts(self, unit: str) -> AsyncIterator[directory_pb2.Post]:
        request = directory_pb2.ListPostsRequest(page_size=PAGE, unit=unit)
        async for post in self._pages(self.clients.directory.ListPosts, request, "posts"):
            yield post

    async def _pages(self, method: Any, request: Any, field: str) -> AsyncIterator[Any]:
        while True:
            answer = await call(self.clients, method, request)
            for each in getattr(answer, field):
                yield each
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token


def _day(day: Any) -> date:
    return date(day.year, day.month, day.day)
