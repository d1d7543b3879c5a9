"""Structured logging: constant event names, data as keys, JSON in production, readable on a terminal."""

import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from services.kit.settings import Settings

if TYPE_CHECKING:
    from services.kit.call import Call

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
WARNING_LIBRARIES = ("temporalio", "asyncio", "grpc")


call_served: "ContextVar[Call | None]" = ContextVar("call_served", default=None)
"""The call that this task serves, and whatever runs for it; what lines say of it is composed only where one is."""

_json_lines: structlog.BytesLogger | None = None
"""Where ``log_served`` writes; None where lines are for a terminal, or of no interest."""


def add_call(_logger: Any, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Say in a line within which call it was written."""
    call = call_served.get()
    if call is not None:
        line.setdefault("rpc", call.rule.path)
        line.setdefault("principal", call.principal)
        line.setdefault("request_id", call.request_id)
    return line


def configure(settings: Settings) -> None:
    """Set structlog up once per process; standard-library loggers keep only warnings."""
    global _json_lines  # noqa: PLW0603 (set here alone, once per process)
    shared: list[structlog.typing.Processor] = [
        add_call,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    logger_factory: structlog.BytesLoggerFactory | structlog.PrintLoggerFactory
    if settings.log_format == "json":
        chain: list[structlog.typing.Processor] = [
            *shared,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=lambda data, **_: orjson.dumps(data, default=str)),
        ]
        logger_factory = structlog.BytesLoggerFactory(sys.stderr.buffer)
        if LEVELS[settings.log_level] <= logging.INFO:
            _json_lines = structlog.BytesLogger(sys.stderr.buffer)
    else:
        chain = [*shared, structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        logger_factory = structlog.PrintLoggerFactory(sys.stderr)
    structlog.configure(
        processors=chain,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[settings.log_level]),
        logger_factory=logger_factory,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    for library in WARNING_LIBRARIES:
        logging.getLogger(library).setLevel(logging.WARNING)


_LOGGER: structlog.stdlib.BoundLogger = structlog.get_logger()


def log_served(*, rpc: str, code: str, reason: str, principal: str, request_id: str, milliseconds: float) -> None:
    """Log a served call, the one event of which there are thousands a second.

    As JSON it is composed here: structlog's chain for the same line takes five times as long.
    """
    if _json_lines is None:
        logger().info(
            "rpc_served",
            rpc=rpc,
            code=code,
            reason=reason,
            principal=principal,
            request_id=request_id,
            milliseconds=milliseconds,
        )
        return
    line = {
        "rpc": rpc,
        "code": code,
        "reason": reason,
        "principal": principal,
        "request_id": request_id,
        "milliseconds": milliseconds,
        "event": "rpc_served",
        "level": "info",
        "timestamp": datetime.now(UTC),
    }
    _json_lines.msg(orjson.dumps(line, option=orjson.OPT_UTC_Z))


def logger() -> structlog.stdlib.BoundLogger:
    """Return the process logger; one proxy, since each has a cache of its own."""
    return _LOGGER
