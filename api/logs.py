"""Logs: events with their facts, a line each: for people in a terminal, for programs elsewhere."""

import sys
from typing import TextIO

import orjson
import structlog

COMMON = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def configure(to: TextIO | None = None) -> None:
    """Logs go to standard error, where they do not mix with answers: as JSON, unless it is a tty.

    What shows something else on the screen meanwhile names another file.
    A traceback never has its local variables: they would tell the secrets in them.
    """
    to = to or sys.stderr
    if to.isatty():
        plain = structlog.dev.plain_traceback
        rendered = structlog.dev.ConsoleRenderer(colors=True, exception_formatter=plain)
        structlog.configure(
            logger_factory=structlog.PrintLoggerFactory(to), processors=[*COMMON, rendered]
        )
        return
    structlog.configure(
        logger_factory=structlog.BytesLoggerFactory(to.buffer),
        processors=[
            *COMMON,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        cache_logger_on_first_use=True,
    )
