"""For each method the requests with which an allowed caller succeeds: on real things in the state that it starts from.

A method without an entry is tried with what the descriptors give (`examples.well_formed`) and the place's own things:
enough for reads that only name a resource. Between them, the requests of a method set every field that refers to a
resource, so that each can be turned to a foreign one; only the first is tried in every role.
"""

import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from dutyloop.kit.v1 import kit_pb2
from services.kit.policy import MethodRule
from tests.integration.examples import well_formed
from tests.integration.house import Caller
from tests.integration.stock import PATH_OF_REQUEST, Stock

Example = Callable[[Stock, Caller], Awaitable[Message | Sequence[Message]]]
E = TypeVar("E", bound=Example)


class Examples(dict[str, Example]):
    """Examples by the method's path: what each needs is made when it is called for somebody."""

    def of(self, request: type[Message]) -> Callable[[E], E]:
        """Enter the example of the method that takes a request."""

        def enter(example: E) -> E:
            self[PATH_OF_REQUEST[request.DESCRIPTOR.full_name]] = example
            return example

        return enter

    async def requests(self, rule: MethodRule, at: Stock, by: Caller) -> Sequence[Message]:
        """Return requests with which the caller would succeed."""
        example = self.get(rule.path)
        if example is None:
            return [well_formed(rule, await at.names())]
        made = await example(at, by)
        return [made] if isinstance(made, Message) else made


def header(source_region: str = "") -> kit_pb2.ImportHeader:
    """Return the header of an import that is kept."""
    return kit_pb2.ImportHeader(request_id=uuid.uuid4().hex, source_region=source_region)


async def timed(at: Stock, by: Caller, request: Message) -> Message:
    """Set the business time that a service of the house must name, and a person must not."""
    if by.name.startswith("services/"):
        time: Timestamp = request.business_time  # type: ignore[attr-defined]
        time.FromDatetime(await at.house.now())
    return request
