"""The people of the demo: each acts through the public gRPC API with a token of their own."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from services.kit.clients import channel_to
from services.kit.contexts import CONTEXTS
from services.kit.errors import DomainError, from_rpc_error
from services.kit.settings import settings
from services.kit.tokens import TokenSigner

CALL_SECONDS = 60.0
RETRY_SECONDS = 0.5
RETRIES = 240
"""Two minutes of trying again: long enough for a killed worker or service to come back."""
TOKEN_SECONDS = 12 * 3600
RETRIED = ("CASE_UNAVAILABLE", "SERVICE_UNAVAILABLE", "OVERLOADED", "DEADLINE")


class Stage:
    """The channel that everybody shares, and the tokens they are given."""

    def __init__(self, address: str, signer: TokenSigner, story: str) -> None:
        self._signer = signer
        self._story = story
        self.channel = channel_to(settings(), address)
        self._methods: dict[str, tuple[Any, MethodDescriptor]] = {}
        self.commands = 0

    def actor(self, person: str) -> "Actor":
        """Return the person, able to act."""
        return Actor(self, person, self._signer.sign(person, TOKEN_SECONDS))

    def method(self, name: str) -> tuple[Any, MethodDescriptor]:
        """Return the callable and descriptor of ``context.Method``."""
        if name not in self._methods:
            context, _, method_name = name.partition(".")
            service = CONTEXTS[context].service
            method = service.methods_by_name[method_name]
            path = f"/{service.full_name}/{method_name}"
            factory: Any
            answer = GetMessageClass(method.output_type)
            request = GetMessageClass(method.input_type)
            if method.client_streaming:
                factory = self.channel.stream_unary
            elif method.server_streaming:
                factory = self.channel.unary_stream
            else:
                factory = self.channel.unary_unary
            call = factory(path, request_serializer=request.SerializeToString, response_deserializer=answer.FromString)
            self._methods[name] = (call, method)
        return self._methods[name]

    def request_id(self, person: str, method: str, key: str) -> str:
        """Return the request id of one act of the story: told twice, it is the same act."""
        return hashlib.sha256(f"{self._story}|{person}|{method}|{key}".encode()).hexdigest()[:32]

    async def close(self) -> None:
        """Close the channel."""
        await self.channel.close(grace=None)


class Actor:
    """One person (or post's holder) of the story."""

    def __init__(self, stage: Stage, person: str, token: str) -> None:
        self._stage = stage
        self.name = person
        self._metadata = (("authorization", f"Bearer {token}"), ("accept-language", "en"))

    async def do(self, method: str, key: str = "", **fields: Any) -> Any:
        """Call ``context.Method`` with these fields and return the answer.

        ``key`` tells apart acts of the same person and method; commands get their request id from it and
        are tried again while the house is unreachable. Raises the DomainError of a refusal.
        """
        call, descriptor = self._stage.method(method)
        request: Any = GetMessageClass(descriptor.input_type)(**fields)
        if "request_id" in descriptor.input_type.fields_by_name:
            request.request_id = self._stage.request_id(self.name, method, key or str(fields))
            self._stage.commands += 1
        for attempt in range(RETRIES):
            try:
                return await call(request, timeout=CALL_SECONDS, metadata=self._metadata)
            except grpc.aio.AioRpcError as error:
                refusal = from_rpc_error(error)
                if refusal.reason not in RETRIED or attempt == RETRIES - 1:
                    raise refusal from error
                await asyncio.sleep(RETRY_SECONDS)
        raise AssertionError("unreachable: the last attempt raises")

    async def send(self, method: str, requests: Iterable[Any], timeout: float = 600.0) -> Any:
        """Send a client stream and return its answer."""
        call, _ = self._stage.method(method)
        try:
            return await call(iter(requests), timeout=timeout, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def refused(self, method: str, key: str = "", **fields: Any) -> str:
        """Try what must be refused and return the reason. Raises AssertionError when it was allowed."""
        try:
            await self.do(method, key, **fields)
        except DomainError as error:
            return error.reason
        raise AssertionError(f"{method} by {self.name} was allowed")

    async def pages(self, method: str, field: str, **fields: Any) -> AsyncIterator[Any]:
        """Yield every element of a list."""
        token = ""
        while True:
            response = await self.do(method, page_token=token, page_size=1_000, **fields)
            for each in getattr(response, field):
                yield each
            token = response.next_page_token
            if not token:
                return


async def in_turn_of(limit: int, tasks: Sequence[Any]) -> list[Any]:
    """Run coroutines, at most ``limit`` at once; the first failure is raised."""
    gate = asyncio.Semaphore(limit)

    async def run(task: Any) -> Any:
        async with gate:
            return await task

    return await asyncio.gather(*map(run, tasks))
