"""Structured logging: constant event names, data as keys, JSON in production, readable on a terminal."""

import logging
import sys

import orjson
import structlog

from services.kit.settings import Settings

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
WARNING_LIBRARIES = ("temporalio", "asyncio", "grpc")


def configure(settings: Settings) -> None:
    """Set structlog up once per process; standard-library loggers keep only warnings."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
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


def logger() -> structlog.stdlib.BoundLogger:
    """Return the process logger; one proxy, since each has a cache of its own."""
    return _LOGGER
