"""Structured logs: one line an event, with the request id; no secrets, no prompts."""

import logging
import sys

import structlog
from structlog.typing import EventDict

from .secrets import scrubbed


def _without_secrets(_: object, __: str, event: EventDict) -> EventDict:
    return {name: scrubbed(value) if isinstance(value, str) else value for name, value in event.items()}


class _Scrubbed(logging.Formatter):
    """The lines of libraries; their addresses lose user and password too."""

    def format(self, record: logging.LogRecord) -> str:
        return scrubbed(super().format(record))


def configure(level: str) -> None:
    """Send the log to stderr: readable on a terminal, JSON elsewhere. Raises ValueError for a bad level."""
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        msg = f"SENTINEL_LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR, not {level!r}"
        raise ValueError(msg)
    is_terminal = sys.stderr.isatty()
    renderer = structlog.dev.ConsoleRenderer() if is_terminal else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _without_secrets,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Scrubbed("%(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler])
