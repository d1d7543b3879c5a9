"""A whole house in the test's own event loop, and the callers who knock at its door.

``running_house`` hosts every service that exists, and the worker, over one database and one Temporal server.
A ``Caller`` sends requests with a token of its own and sees what any client sees.
"""

import asyncio
import contextlib
import dataclasses
import itertools
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from temporalio.client import Client

from dutyloop.directory.v1 import directory_pb2
from dutyloop.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from dutyloop.hazard.v1.hazard_pb2_grpc import HazardServiceStub
from infra.embedded.keys import WORKER_KEY, make_keys
from infra.embedded.postgres import OWNER
from infra.embedded.process import free_port
from infra.embedded.temporal import EmbeddedTemporal
from services.directory.bootstrap import bootstrap
from services.kit import temporal as kit_temporal
from services.kit.clients import channel_to
from services.kit.contexts import CONTEXTS
from services.kit.db import role_password
from services.kit.policy import MethodRule, method_rules
from services.kit.serve import serve
from services.kit.server import RECEIPT_KEY
from services.kit.settings import Settings, required
from services.kit.tokens import PERSON_ISSUER, SERVICE_ISSUER, WORKER, TokenSigner
from workflows.worker import work

if TYPE_CHECKING:
    from dutyloop.directory.v1.directory_pb2_grpc import DirectoryServiceAsyncStub
    from dutyloop.hazard.v1.hazard_pb2_grpc import HazardServiceAsyncStub

SERVICES_DIR = Path(__file__).resolve().parents[2] / "services"
TOKEN_SECONDS = 3_600
CALL_SECONDS = 20.0
STREAM_SECONDS = 0.5
"""How long an endless stream must be silent to be left."""
START_SECONDS = 60.0
TERMINATED_AT_ONCE = 50
Request = TypeVar("Request", bound=Message)
Answer = TypeVar("Answer", bound=Message)


def hosted_services() -> tuple[str, ...]:
    """Return the services that exist; each is hosted from the day its ``service.py`` does."""
    return tuple(name for name in CONTEXTS if (SERVICES_DIR / name / "service.py").is_file())


def service_descriptors(names: Iterable[str] = CONTEXTS) -> Iterator[ServiceDescriptor]:
    """Return the descriptor of each named service."""
    return (CONTEXTS[name].service for name in names)


def method_descriptor(path: str) -> MethodDescriptor:
    """Return the descriptor of the method at a path."""
    service, _, name = path.strip("/").rpartition("/")
    return next(each for each in service_descriptors() if each.full_name == service).methods_by_name[name]


def rules_of(names: Iterable[str] = CONTEXTS) -> dict[str, MethodRule]:
    """Return the rule of every method of the named services, by its path."""
    return {rule.path: rule for service in service_descriptors(names) for rule in method_rules(service)}


ARRIVALS = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal as a client sees it. ``fields`` maps each field at fault to its problem."""

    code: grpc.StatusCode
    reason: str
    message: str
    metadata: dict[str, str] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)
    locale: str = ""
    words: str = ""
    retry_seconds: float | None = None
    texts: tuple[str, ...] = ()
    """Everything in the answer that a person or a log might show."""

    @classmethod
    def of(cls, error: grpc.aio.AioRpcError) -> "Refusal":
        """Read status, details and every text of a failed call."""
        metadata: Any = error.trailing_metadata() or ()
        details = dict(metadata).get("grpc-status-details-bin", b"")
        info, words = error_details_pb2.ErrorInfo(), error_details_pb2.LocalizedMessage()
        bad, retry = error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        for detail in status_pb2.Status.FromString(details).details:
            assert any(detail.Unpack(known) for known in (info, words, bad, retry)), detail.type_url
        return cls(
            code=error.code(),
            reason=info.reason,
            message=error.details() or "",
            metadata=dict(info.metadata),
            fields={each.field: each.reason.lower() for each in bad.field_violations},
            locale=words.locale,
            words=words.message,
            retry_seconds=retry.retry_delay.ToTimedelta().total_seconds() if retry.HasField("retry_delay") else None,
            texts=(
                error.details() or "",
                words.message,
                *info.metadata.values(),
                *(each.description for each in bad.field_violations),
            ),
        )


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with a token, or nobody without one."""

    name: str
    token: str
    appointment: str = ""

    def metadata(self, locale: str = "en") -> tuple[tuple[str, str], ...]:
        """Return the call metadata: language and token."""
        language = (("accept-language", locale),)
        return (*language, ("authorization", f"Bearer {self.token}")) if self.token else language

    async def calls(
        self,
        method: "grpc.aio.UnaryUnaryMultiCallable[Request, Answer]",
        request: Request,
        *,
        seconds: float = CALL_SECONDS,
        locale: str = "en",
    ) -> Answer:
        """Call a method. A request without an id is given one: sending the object again repeats the command."""
        if "request_id" in request.DESCRIPTOR.fields_by_name and not request.request_id:  # type: ignore[attr-defined]
            request.request_id = uuid.uuid4().hex  # type: ignore[attr-defined]
        return await method(request, timeout=seconds, metadata=self.metadata(locale))

    async def receipts(
        self, method: "grpc.aio.UnaryUnaryMultiCallable[Request, Answer]", request: Request
    ) -> tuple[Answer, list[bytes]]:
        """Call a method and return its answer with the ledger receipts."""
        call = method(request, timeout=CALL_SECONDS, metadata=self.metadata())
        answer = await call
        metadata: Any = await call.trailing_metadata() or ()
        return answer, [value for key, value in metadata if key == RECEIPT_KEY]

    async def refused(
        self,
        method: "grpc.aio.UnaryUnaryMultiCallable[Request, Answer]",
        request: Request,
        *,
        seconds: float = CALL_SECONDS,
        locale: str = "en",
    ) -> Refusal:
        """Call a method that must refuse, and return its refusal."""
        try:
            answer = await self.calls(method, request, seconds=seconds, locale=locale)
        except grpc.aio.AioRpcError as error:
            return Refusal.of(error)
        raise AssertionError(f"{self.name} was not refused: {answer}")

    async def sends(
        self, method: "grpc.aio.StreamUnaryMultiCallable[Request, Answer]", *requests: Request, locale: str = "en"
    ) -> Answer:
        """Send a client stream."""

        async def stream() -> AsyncIterator[Request]:
            for request in requests:
                yield request

        return await method(stream(), timeout=CALL_SECONDS, metadata=self.metadata(locale))


NOBODY = Caller("nobody", "")


@dataclass(frozen=True, slots=True)
class RunningHouse:
    """The house as its callers know it."""

    settings: Settings
    services: tuple[str, ...]
    channel: grpc.aio.Channel
    operator: Caller
    temporal: Client

    @property
    def directory(self) -> "DirectoryServiceAsyncStub":
        """The directory's stub."""
        return DirectoryServiceStub(self.channel)

    @property
    def hazard(self) -> "HazardServiceAsyncStub":
        """The hazard ledger's stub."""
        return HazardServiceStub(self.channel)

    def person(self, name: str, appointment: str = "") -> Caller:
        """Return a person with a fresh token."""
        key_file = required(self.settings.issuer_key_file, "issuer_key_file")
        signer = TokenSigner(key_file, PERSON_ISSUER, self.settings.audience)
        return Caller(name, signer.sign(name, TOKEN_SECONDS), appointment)

    def service(self, name: str = "services/test") -> Caller:
        """Return a service of the house, as another process of it would call."""
        key_file = required(self.settings.service_key_file, "service_key_file")
        signer = TokenSigner(key_file, SERVICE_ISSUER, self.settings.audience)
        return Caller(name, signer.sign(name, TOKEN_SECONDS))

    def worker(self) -> Caller:
        """Return the worker, as which cases record what they decide."""
        key_file = required(worker_settings(self.settings).service_key_file, "service_key_file")
        signer = TokenSigner(key_file, SERVICE_ISSUER, self.settings.audience)
        return Caller(WORKER, signer.sign(WORKER, TOKEN_SECONDS))

    def raw(self, path: str) -> Any:
        """Return a unary method by its path that takes and gives bytes; the path may be odd."""
        channel: Any = self.channel
        return channel.unary_unary(path)

    def method(self, path: str) -> Any:
        """Return a unary method by its path, with its own request and answer."""
        found = method_descriptor(path)
        return self.channel.unary_unary(
            path,
            request_serializer=GetMessageClass(found.input_type).SerializeToString,
            response_deserializer=GetMessageClass(found.output_type).FromString,
        )

    async def send(
        self,
        caller: Caller,
        rule: MethodRule,
        raws: Sequence[bytes],
        *,
        locale: str = "en",
        patience: float = STREAM_SECONDS,
    ) -> Refusal | bytes:
        """Send raw messages to a method of any kind; return its refusal, or its answer.

        A stream of answers is listened to until it ends, or is silent for ``patience`` seconds.
        """
        channel: Any = self.channel
        metadata = caller.metadata(locale)

        async def stream() -> AsyncIterator[bytes]:
            for raw in raws:
                yield raw

        answer: bytes
        try:
            if rule.client_streaming:
                answer = await channel.stream_unary(rule.path)(stream(), timeout=CALL_SECONDS, metadata=metadata)
            elif rule.server_streaming:
                parts = channel.unary_stream(rule.path)(raws[0], timeout=CALL_SECONDS, metadata=metadata)
                answer = await _until_silent(parts, patience)
            else:
                answer = await channel.unary_unary(rule.path)(raws[0], timeout=CALL_SECONDS, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            return Refusal.of(error)
        return answer

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """Read the database as its owner, to see what a call has left there."""
        connection = await asyncpg.connect(
            required(self.settings.database_url, "database_url").get_secret_value(),
            user=OWNER,
            password=role_password(self.settings, OWNER),
        )
        try:
            rows: list[asyncpg.Record] = await connection.fetch(sql, *arguments)
            return rows
        finally:
            await connection.close()

    async def refusals_of(self, actor: str) -> list[asyncpg.Record]:
        """Return the refusals that the ledger keeps of somebody, oldest first."""
        return await self.fetch(
            "SELECT convert_from(payload, 'UTF8')::jsonb ->> 'reason' AS reason,"
            " convert_from(payload, 'UTF8')::jsonb ->> 'method' AS method, objects"
            " FROM ledger.entry WHERE type = 'access.call.refused' AND actor = $1 ORDER BY recorded_time",
            actor,
        )

    async def now(self) -> datetime:
        """Return business time."""
        answer = await self.operator.calls(self.directory.GetClock, directory_pb2.GetClockRequest())
        time: datetime = answer.time.ToDatetime(tzinfo=UTC)
        return time

    async def arrival(self) -> datetime:
        """Return an instant of now at which no other visit began."""
        return await self.now() - timedelta(microseconds=next(ARRIVALS))

    async def advance(self, time: timedelta) -> datetime:
        """Let business time pass, for every running case too."""
        request = directory_pb2.AdvanceClockRequest()
        request.time.FromDatetime(await self.now() + time)
        answer = await self.operator.calls(self.directory.AdvanceClock, request, seconds=60)
        moved: datetime = answer.time.ToDatetime(tzinfo=UTC)
        return moved


async def _until_silent(parts: Any, patience: float) -> bytes:
    """Read a stream of answers to its end, or leave it once nothing has come for a while."""
    answer = b""
    while True:
        try:
            part = await asyncio.wait_for(parts.read(), patience)
        except TimeoutError:
            parts.cancel()
            return answer
        if not isinstance(part, bytes):  # grpc.aio.EOF
            return answer
        answer += part


@contextlib.asynccontextmanager
async def running_house(
    database_url: str, secrets: Path, temporal: EmbeddedTemporal, keys: Path, **changes: Any
) -> AsyncIterator[RunningHouse]:
    """Run services and worker; ``changes`` are settings. Cases still running at the end are terminated."""
    address = f"127.0.0.1:{free_port()}"
    key_files = {name.removeprefix("DUTYLOOP_").lower(): path for name, path in make_keys(keys).items()}
    given = {
        "database_url": database_url,
        "database_secrets": secrets,
        "temporal_address": temporal.address,
        "temporal_namespace": temporal.namespace,
        "temporal_task_queue": f"house-{uuid.uuid4().hex[:8]}",
        "listen_address": address,
        "api_address": address,
        "virtual_time": True,
        "shutdown_grace_seconds": 0.5,
        **key_files,
        "checkpoint_file": keys / f"checkpoints-{uuid.uuid4().hex[:8]}.txt",
        **changes,
    }
    settings = Settings(**given)
    operator = await bootstrap(settings)
    names = hosted_services()
    stop_serving, stop_working = asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(serve(settings, names, stop_serving))
    working = asyncio.create_task(work(worker_settings(settings), stop_working))
    client = await kit_temporal.connect(settings)
    channel = channel_to(settings, address)
    try:
        await _answers(channel, serving)
        house = RunningHouse(settings, names, channel, NOBODY, client)
        yield dataclasses.replace(house, operator=house.person(operator))
    finally:
        await channel.close(None)
        stop_working.set()
        await asyncio.wait([working])
        stop_serving.set()
        await asyncio.wait([serving])
        # Once nothing is left that could start more of them: the next house shares this Temporal server.
        query = f"ExecutionStatus = 'Running' AND TaskQueue = '{settings.temporal_task_queue}'"
        with contextlib.suppress(Exception):  # a test may have stopped Temporal for good
            running = [case.id async for case in client.list_workflows(query)]
            for start in range(0, len(running), TERMINATED_AT_ONCE):
                handles = map(client.get_workflow_handle, running[start : start + TERMINATED_AT_ONCE])
                await asyncio.gather(*(handle.terminate("the test is over") for handle in handles))
    await asyncio.gather(serving, working)


def worker_settings(settings: Settings) -> Settings:
    """Return the settings with which the worker runs: it has a key of its own."""
    key_file = required(settings.service_key_file, "service_key_file").with_name(WORKER_KEY)
    return settings.model_copy(update={"service_key_file": key_file})


async def _answers(channel: grpc.aio.Channel, serving: "asyncio.Task[None]") -> None:
    """Wait until the services answer; if they cannot start, raise what keeps them from it."""
    health: Any = health_pb2_grpc.HealthStub(channel)
    async with asyncio.timeout(START_SECONDS):
        while True:
            if serving.done():
                serving.result()
            with contextlib.suppress(grpc.aio.AioRpcError):
                answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=1)
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            await asyncio.sleep(0.02)
