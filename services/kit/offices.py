"""What every process asks of directory: which posts a unit has, and who holds them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date

from dutyloop.directory.v1 import directory_pb2
from dutyloop.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from dutyloop.policy.v1 import policy_pb2
from services.kit.dates import day_of
from services.kit.paging import MAX_SIZE, Ask, pages

HEAD_ROLES = (policy_pb2.ROLE_RESPONSIBLE_UNIT, policy_pb2.ROLE_LEADER)
"""Roles of the posts that answer for a unit."""


@dataclass(frozen=True, slots=True)
class Offices:
    """Directory's posts and appointments."""

    ask: Ask
    directory: DirectoryServiceStub

    def posts(self, unit: str) -> AsyncIterator[directory_pb2.Post]:
        """Yield the posts of a unit."""
        request = directory_pb2.ListPostsRequest(page_size=MAX_SIZE, unit=unit)
        return pages(self.ask, self.directory.ListPosts, request, "posts")

    async def has_post(self, unit: str, post: str) -> bool:
        """Tell whether a post is one of a unit's."""
        async for each in self.posts(unit):
            if each.name == post:
                return True
        return False

    async def heads(self, unit: str, day: date) -> AsyncIterator[tuple[str, str]]:
        """Yield each post that answers for a unit and is held on a day, with its holder."""
        async for post in self.posts(unit):
            if any(role in HEAD_ROLES for role in post.roles) and (person := await self.holder_of(post.name, day)):
                yield post.name, person

    async def holder_of(self, post: str, day: date) -> str:
        """Return who holds a post on a day, '' while it is vacant."""
        request = directory_pb2.ListAppointmentsRequest(page_size=MAX_SIZE, post=post)
        async for each in self._appointments(request, day, day):
            return each.person
        return ""

    async def held_by(self, person: str, last: date, first: date | None = None) -> list[directory_pb2.Appointment]:
        """Return by what a person holds posts on a day, or held any on a day from ``first`` to it."""
        request = directory_pb2.ListAppointmentsRequest(page_size=MAX_SIZE, person=person)
        return [each async for each in self._appointments(request, first or last, last)]

    async def _appointments(
        self, request: directory_pb2.ListAppointmentsRequest, first: date, last: date
    ) -> AsyncIterator[directory_pb2.Appointment]:
        async for each in pages(self.ask, self.directory.ListAppointments, request, "appointments"):
            over = each.HasField("end_date") and day_of(each.end_date) <= first
            if day_of(each.start_date) <= last and not over:
                yield each
