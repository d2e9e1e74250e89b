"""Logs: events with their facts, a line each: for people in a terminal, for programs elsewhere."""

import sys

import orjson
import structlog

COMMON = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def configure() -> None:
    """Logs go to standard error, where they do not mix with answers: as JSON, unless it is a tty.

    A traceback never has its local variables: they would tell the secrets in them.
    """
    if sys.stderr.isatty():
        plain = structlog.dev.plain_traceback
        rendered = structlog.dev.ConsoleRenderer(colors=True, exception_formatter=plain)
        structlog.configure(
            logger_factory=structlog.PrintLoggerFactory(sys.stderr), processors=[*COMMON, rendered]
        )
        return
    structlog.configure(
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        processors=[
            *COMMON,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        cache_logger_on_first_use=True,
    )
