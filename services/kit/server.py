"""The gRPC server: every method wrapped by one guard, outermost first.

token → capacity → reach → role → parse → field rules → deadline → handler → idempotency → errors → log.
Handlers are ``async def Method(self, request, call)``; nothing reaches them that the policy does not allow.
"""

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from time import perf_counter
from typing import Any, Protocol

import asyncpg
import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection_pb2_grpc
from grpc_reflection.v1alpha._async import ReflectionServicer
from grpc_reflection.v1alpha.reflection import SERVICE_NAME as REFLECTION_NAME

from dutyloop.policy.v1 import policy_pb2
from services.kit import db
from services.kit.access import EVERYWHERE, AccessCache, Reach
from services.kit.call import Call
from services.kit.catalogue import Locale
from services.kit.clients import MAX_MESSAGE_BYTES
from services.kit.clock import ReadClock
from services.kit.crypto import digest
from services.kit.db import Database, Repeated
from services.kit.errors import (
    STATUS,
    AlreadyExists,
    DeadlinePassed,
    DomainError,
    Internal,
    Overloaded,
    RoleMissing,
    RuleNotMet,
    ServiceUnavailable,
    Unauthenticated,
    from_rpc_error,
    invalid,
    to_status,
)
from services.kit.logs import call_served, log_served, logger
from services.kit.policy import MethodRule, method_rules, redacted, validate, validator
from services.kit.settings import Settings
from services.kit.tls import server_credentials
from services.kit.tokens import WORKER, Subject, TokenVerifier

MAX_METADATA_BYTES = 16 * 1024
MAX_STREAM_SECONDS = 3_600.0
TRANSIENT_ATTEMPTS = 5
PERSONS_NEVER = (policy_pb2.METHOD_KIND_WORKER, policy_pb2.METHOD_KIND_SERVICE)
LANGUAGES: Mapping[str, Locale] = {"en": "en", "zh": "zh-CN"}
EVERYTHING = Reach(grants=(), scope=EVERYWHERE, home_region_code="")
"""What the house's own services reach."""
STREAMS_EACH = 32
"""How many streams one caller may hold open."""
REFLECTION_SECONDS = 60
RECEIPT_KEY = "dutyloop-receipt-bin"
SERVER_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.so_reuseport", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 30_000),
    ("grpc.max_concurrent_streams", 1_000),
)

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Callable[[Any, Call], Awaitable[Message]]


class Service(Protocol):
    """What the server needs of a service object: its descriptor, its database, a method per RPC."""

    descriptor: ServiceDescriptor
    database: Database


class Guard:
    """Identifies, authorises and bounds every call of the process."""

    def __init__(self, settings: Settings, verifier: TokenVerifier, access: AccessCache, clock: ReadClock) -> None:
        self._settings = settings
        self._verifier = verifier
        self._access = access
        self._clock = clock
        self.logs_requests = settings.log_level == "debug"
        internal = max(1, int(settings.max_concurrent_calls * settings.worker_call_share))
        people = settings.max_concurrent_calls - internal
        self._places = {True: internal, False: people}
        self._stream_places = max(STREAMS_EACH, people // 2)
        self._streams: Counter[str] = Counter()

    def handlers(self, service: Service) -> "grpc.GenericRpcHandler[Any, Any]":
        """Wrap every method of a service. Raises PolicyError on an unannotated one, TypeError on a missing one."""
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        for rule in method_rules(service.descriptor):
            handler = getattr(service, rule.name, None)
            if handler is None:
                raise TypeError(f"{type(service).__name__} lacks {rule.name}")
            guarded = _GuardedMethod(self, service.database, rule, handler)
            if rule.client_streaming:
                methods[rule.name] = grpc.stream_unary_rpc_method_handler(guarded.stream_unary)
            elif rule.server_streaming:
                methods[rule.name] = grpc.unary_stream_rpc_method_handler(guarded.unary_stream)
            else:
                methods[rule.name] = grpc.unary_unary_rpc_method_handler(guarded.unary)
        return grpc.method_handlers_generic_handler(service.descriptor.full_name, methods)

    def introduction(self, context: Context) -> tuple[str, Locale]:
        """Read the caller's bearer token, empty where there is none, and language, the process's own by default."""
        token, locale = "", None
        # Once, for each reading copies all metadata; of what is said twice, the first counts.
        for key, value in context.invocation_metadata() or ():
            if key == "authorization" and not token and isinstance(value, str) and value[:7].lower() == "bearer ":
                token = value[7:]
            elif key == "accept-language" and locale is None and isinstance(value, str):
                locale = LANGUAGES.get(value[:2].lower())
        return token, locale or self._settings.locale

    def subject(self, token: str) -> Subject:
        """Say who calls, by the token alone. Raises Unauthenticated."""
        return self._verifier.verify(token)

    async def identify(self, rule: MethodRule, subject: Subject, context: Context, locale: Locale) -> Call:
        """Say what of the caller's reach counts for this method, and until when the call may run."""
        internal = subject.use == "service"
        reach = EVERYTHING if internal else await self._access.reach(subject.name, rule.roles)
        remaining = context.time_remaining()
        if rule.client_streaming or rule.server_streaming:
            allowed = MAX_STREAM_SECONDS if remaining is None else min(remaining, MAX_STREAM_SECONDS)
        elif remaining is None:
            allowed = self._settings.default_deadline_seconds
        else:
            allowed = min(remaining, self._settings.max_deadline_seconds)
        call = Call(
            rule=rule,
            principal=subject.name,
            internal=internal,
            grants=reach.grants,
            scope=reach.scope,
            home_region_code=reach.home_region_code,
            now=await self._clock(),
            locale=locale,
            deadline=asyncio.get_running_loop().time() + allowed,
        )
        call_served.set(call)
        return call

    async def recheck(self, call: Call) -> None:
        """Raise RoleMissing when the caller has lost a post that counted when the stream began.

        The reach alone does not tell: another post may go as far and open less.
        """
        if call.internal:
            return
        held = (await self._access.reach(call.principal, call.rule.roles)).grants
        if any(grant not in held for grant in call.grants):
            raise RoleMissing(method=call.rule.name)

    def authorise(self, call: Call) -> None:
        """Raise RoleMissing unless the policy lets this caller use the method at all."""
        rule = call.rule
        if call.internal:
            allowed = rule.worker and (call.principal == WORKER or not rule.workers_alone)
        else:
            allowed = (bool(call.grants) or rule.subject) and rule.kind not in PERSONS_NEVER
        if not allowed:
            raise RoleMissing(method=call.rule.name)

    def take_place(self, *, internal: bool) -> None:
        """Take one of the process's places; the worker's are its own. Raises Overloaded."""
        if self._places[internal] <= 0:
            raise Overloaded
        self._places[internal] -= 1

    def leave_place(self, *, internal: bool) -> None:
        """Give a taken place back."""
        self._places[internal] += 1

    @contextmanager
    def stream_place(self, subject: Subject) -> Iterator[None]:
        """Hold one of the places for streams, which last: they never take those of calls. Raises Overloaded."""
        if self._streams.total() >= self._stream_places or self._streams[subject.name] >= STREAMS_EACH:
            raise Overloaded
        self._streams[subject.name] += 1
        try:
            yield
        finally:
            self._streams -= Counter((subject.name,))  # and whoever holds none is forgotten


class _GuardedMethod:
    """One method behind the guard."""

    def __init__(self, guard: Guard, database: Database, rule: MethodRule, handler: Handler) -> None:
        self._guard = guard
        self._database = database
        self._rule = rule
        self._handler = handler
        self._request_class: type[Message] = GetMessageClass(rule.request)
        self._validate = validator(rule.request)
        self._changes_state = rule.changes_state
        self._timed = "business_time" in rule.request.fields_by_name

    async def unary(self, raw: bytes, context: Context) -> bytes:
        """Serve one call. Spelt out what ``_served`` does for streams: most calls pass here, and each layer costs."""
        started, ended = perf_counter(), False
        guard, call, refusal = self._guard, None, None
        token, locale = guard.introduction(context)
        try:
            subject = guard.subject(token)
            internal = subject.use == "service"
            guard.take_place(internal=internal)
            try:
                call = await guard.identify(self._rule, subject, context, locale)
                guard.authorise(call)
                request = self._parse(raw, call)
                async with asyncio.timeout_at(call.deadline):
                    answer = await self._answer(request, call)
                self._send_receipts(call, context)
                ended = True
                return answer
            finally:
                guard.leave_place(internal=internal)
        except Exception as error:  # noqa: BLE001 (outermost: exception text must never reach a client)
            refusal = as_refusal(error, self._rule)
        finally:
            self._log(call, refusal, perf_counter() - started, ended=ended)
        await self._refuse(context, call, refusal, locale)
        raise AssertionError("unreachable: a refused call aborts")

    async def unary_stream(self, raw: bytes, context: Context) -> AsyncIterator[bytes]:
        async with self._served(context) as call:
            request = self._parse(raw, call)
            async with asyncio.timeout_at(call.deadline):
                async for message in self._handler(request, call):  # type: ignore[attr-defined]
                    await call.recheck()
                    yield message.SerializeToString()

    async def stream_unary(self, raws: AsyncIterator[bytes], context: Context) -> bytes:
        async with self._served(context) as call:
            async with asyncio.timeout_at(call.deadline):
                answer: bytes = (await self._handler(self._messages(raws, call), call)).SerializeToString()
            self._send_receipts(call, context)
            return answer
        raise AssertionError("unreachable: a refused call aborts")

    async def _messages(self, raws: AsyncIterator[bytes], call: Call) -> AsyncIterator[Message]:
        """Parse a client stream; its header makes the call repeatable, its bytes make up the body hash.

        Whoever loses his post while he sends is refused, at the latest when he has sent all.
        """
        hasher = hashlib.sha256()
        async for raw in raws:
            await call.recheck()
            hasher.update(digest(raw))
            try:
                message = self._request_class.FromString(raw)
            except DecodeError:
                raise invalid("request") from None
            if not call.request_id:
                if not message.HasField("header"):
                    raise invalid("header", "expected_header")
                validate(message.header)  # type: ignore[attr-defined]
                call.request_id = message.header.request_id  # type: ignore[attr-defined]
            yield message
        await call.recheck()
        call.body_hash = hasher.digest()
        if not call.request_id:
            raise invalid("header", "expected_header")

    def _parse(self, raw: bytes, call: Call) -> Message:
        try:
            request = self._request_class.FromString(raw)
        except DecodeError:
            raise invalid("request") from None
        self._validate(request)
        if self._guard.logs_requests:
            logger().debug("rpc_request", request=redacted(request))
        if self._changes_state:
            call.request_id = request.request_id  # type: ignore[attr-defined]
            # A step of a case is known by its id alone: done over after the worker died in it, it has later times.
            step = self._rule.kind == policy_pb2.METHOD_KIND_WORKER or (call.internal and self._timed)
            call.body_hash = digest(b"" if step else request.SerializeToString(deterministic=True))
        if call.internal and self._timed:
            call.now = request.business_time.ToDatetime(tzinfo=call.now.tzinfo)  # type: ignore[attr-defined]
        return request

    async def _answer(self, request: Message, call: Call) -> bytes:
        """Run the handler; a command that took effect before gets the answer it had then."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return (await self._handler(request, call)).SerializeToString()
            except db.TRANSIENT:
                if attempt >= TRANSIENT_ATTEMPTS:
                    raise
                await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 (jitter)
            except (Repeated, DomainError, asyncpg.UniqueViolationError):
                stored = await self._database.stored_answer(call) if self._changes_state else None
                if stored is None:
                    raise
                return stored

    def _send_receipts(self, call: Call, context: Context) -> None:
        if call.receipts:
            context.set_trailing_metadata(tuple((RECEIPT_KEY, receipt) for receipt in call.receipts))

    @asynccontextmanager
    async def _served(self, context: Context) -> AsyncIterator[Call]:
        """Admit a stream, and turn whatever goes wrong inside into a status that gives nothing away."""
        started, ended = perf_counter(), False
        guard, call, refusal = self._guard, None, None
        token, locale = guard.introduction(context)
        try:
            subject = guard.subject(token)
            with guard.stream_place(subject):
                call = await guard.identify(self._rule, subject, context, locale)
                guard.authorise(call)
                call.recheck = partial(guard.recheck, call)
                yield call
                ended = True
        except Exception as error:  # noqa: BLE001 (outermost: exception text must never reach a client)
            refusal = as_refusal(error, self._rule)
        finally:
            self._log(call, refusal, perf_counter() - started, ended=ended)
        if refusal is not None:
            await self._refuse(context, call, refusal, locale)

    async def _refuse(self, context: Context, call: Call | None, refusal: DomainError, locale: Locale) -> None:
        """Write the refusal down and end the call with its status."""
        await self._record(call, refusal)
        status = to_status(refusal, locale)
        await context.abort(
            STATUS[type(refusal)],
            status.message,
            (("grpc-status-details-bin", status.SerializeToString()),),
        )

    async def _record(self, call: Call | None, refusal: DomainError) -> None:
        if call is None:
            return
        try:
            await self._database.record_refusal(call, refusal)
        except Exception as error:  # noqa: BLE001 (the refusal stands even when it cannot be written down)
            logger().error("refusal_not_recorded", error=type(error).__name__)

    def _log(self, call: Call | None, refusal: DomainError | None, seconds: float, *, ended: bool) -> None:
        """Log a call: one that neither ended nor was refused was given up by its caller."""
        unrefused = "OK" if ended else "CANCELLED"
        log_served(
            rpc=self._rule.path,
            code=STATUS[type(refusal)].name if refusal else unrefused,
            reason=refusal.reason if refusal else "",
            principal=call.principal if call else "",
            request_id=call.request_id if call else "",
            milliseconds=round(seconds * 1000, 2),
        )


def as_refusal(error: Exception, rule: MethodRule) -> DomainError:
    """Map any exception to a DomainError; unknown ones are logged once, with their traceback."""
    if isinstance(error, DomainError):
        return error
    if isinstance(error, asyncpg.UniqueViolationError):
        return AlreadyExists(resource=error.constraint_name or "")
    if isinstance(error, (asyncpg.CheckViolationError, asyncpg.ExclusionViolationError)):
        return RuleNotMet(rule=error.constraint_name or "")
    if isinstance(error, db.SLOW):
        return DeadlinePassed()
    if isinstance(error, (*db.UNREACHABLE, *db.TRANSIENT)):
        logger().warning("database_unreachable", rpc=rule.path, error=type(error).__name__)
        return ServiceUnavailable()
    if isinstance(error, grpc.aio.AioRpcError):
        return from_rpc_error(error)
    logger().error("rpc_failed", rpc=rule.path, exc_info=error)
    return Internal()


class _OpenHealth(HealthServicer):
    """Health for callers without a token: they may ask, but hold no stream, each of which would take a place."""

    async def Watch(self, request: Any, context: Any) -> None:  # noqa: N802
        """Refuse: a client that watches takes this for an answer, and asks no more."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "unimplemented")


class _AuthenticatedReflection(ReflectionServicer):
    """Server reflection for callers with a valid token only."""

    def __init__(self, names: Sequence[str], guard: Guard) -> None:
        super().__init__(names)  # type: ignore[no-untyped-call]  # grpcio-reflection carries no types
        self._guard = guard

    async def ServerReflectionInfo(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        """Answer reflection requests, for as long as a question takes."""
        try:
            with self._guard.stream_place(self._guard.subject(self._guard.introduction(context)[0])):
                async with asyncio.timeout(REFLECTION_SECONDS):
                    async for answer in super().ServerReflectionInfo(request_iterator, context):
                        yield answer
        except (Unauthenticated, Overloaded, TimeoutError) as error:
            refusal = DeadlinePassed() if isinstance(error, TimeoutError) else error
            await context.abort(STATUS[type(refusal)], refusal.reason.lower())


async def start(
    settings: Settings, guard: Guard, services: Sequence[Service]
) -> tuple[grpc.aio.Server, HealthServicer]:
    """Bind and start the server.

    Raises PolicyError, TypeError or SettingsError before it binds, OSError when it cannot bind.
    """
    server = grpc.aio.server(options=SERVER_OPTIONS, maximum_concurrent_rpcs=settings.max_concurrent_calls * 4)
    server.add_generic_rpc_handlers(tuple(guard.handlers(service) for service in services))
    servicer = _OpenHealth()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    names = [service.descriptor.full_name for service in services]
    reflection = _AuthenticatedReflection(
        [*names, REFLECTION_NAME, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name], guard
    )
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflection, server)
    tls = server_credentials(settings)
    try:
        address = settings.listen_address
        bound = server.add_secure_port(address, tls) if tls else server.add_insecure_port(address)
    except RuntimeError:
        bound = 0
    if not bound:
        raise OSError(f"cannot listen on {settings.listen_address}")
    await server.start()
    for name in ["", *names]:
        await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    return server, servicer
