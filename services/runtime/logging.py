"""Logs are events with fields: JSON lines, or coloured text for people. Secrets never get through."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO, cast

import structlog

LogFormat = Literal["text", "json"]

_SECRET_KEYS = re.compile(r"(key|token|secret|password|authorization|sdp|ice_pwd|transcript)\Z", re.IGNORECASE)
_SECRET_VALUES = re.compile(
    r"(?:ek_|hg_|sk-)[A-Za-z0-9_-]{12,}|Bearer\s+\S+|a=ice-pwd:\S+|://[^/\s:@]+:[^/\s@]+@", re.IGNORECASE
)
_REDACTED = "[redacted]"


def redact_text(text: str) -> str:
    """Replace what looks like a key, a token or a password, and keep a line one line."""
    return _SECRET_VALUES.sub(_REDACTED, text).replace("\r", "\\r").replace("\n", "\\n")


def _redact(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if key == "exception":  # a stack trace is many lines and stays so
            event[key] = _SECRET_VALUES.sub(_REDACTED, str(value))
        elif _SECRET_KEYS.search(key):
            event[key] = _REDACTED
        elif isinstance(value, str):
            event[key] = redact_text(value)
    return event


def renderer(log_format: LogFormat, *, colours: bool) -> structlog.typing.Processor:
    """What turns an event into a line."""
    if log_format == "json":
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(colors=colours, pad_event_to=32, sort_keys=False)


def configure(*, service: str, log_format: LogFormat, level: str = "info", stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging for this process. Call once, before anything logs."""
    out = stream or sys.stdout
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    final: list[structlog.typing.Processor] = [structlog.processors.format_exc_info, _redact]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *final,
                renderer(log_format, colours=out.isatty()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("aioice", "aiortc", "alembic", "httpx", "nats", "uvicorn", "websockets"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(service=service)


def get_logger() -> structlog.stdlib.BoundLogger:
    """A logger with the context of the task that calls it."""
    return cast("structlog.stdlib.BoundLogger", structlog.get_logger())
