"""Logs are events with fields: JSON lines, or coloured text. Secrets and control characters are removed."""

import logging
import re
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Literal, TextIO, cast

import structlog

from services.runtime.telemetry.redaction import REDACTED, Redactor

LogFormat = Literal["text", "json"]

_SECRET_FIELDS = re.compile(
    r"(key|token|secret|password|authorization|headers|sdp|ice_pwd|transcript)\Z", re.IGNORECASE
)
_BY_FORM = Redactor()


def redact_text(text: str) -> str:
    """Return ``text`` without what has the form of a key, as one line without control characters."""
    return _BY_FORM.line(text)


class _Redaction:
    """The last processor of every event before it is rendered."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def __call__(self, _: object, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        return {self._redactor.line(name): self._field(name, value) for name, value in event.items()}

    def _field(self, name: str, value: object) -> object:
        if name == "exception":  # a stack trace is many lines and stays so
            return self._redactor.line(str(value), keep="\n\t")
        return REDACTED if _SECRET_FIELDS.search(name) else self._value(value)

    def _value(self, value: object) -> object:
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, Mapping):
            return {self._redactor.line(str(name)): self._field(str(name), inner) for name, inner in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self._value(inner) for inner in value]
        return self._redactor.line(value.decode(errors="replace") if isinstance(value, bytes) else str(value))


def renderer(log_format: LogFormat, *, colours: bool) -> structlog.typing.Processor:
    """Return the processor that renders an event as a line."""
    if log_format == "json":
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(colors=colours, pad_event_to=32, sort_keys=False)


def configure(
    *,
    service: str,
    log_format: LogFormat,
    level: str = "info",
    stream: TextIO | None = None,
    secrets: Iterable[str] = (),
) -> None:
    """Set up structlog and the standard library's logging for this process. Call once, before anything logs.

    ``secrets`` are redacted from every log line, whoever quotes them.
    """
    out = stream or sys.stdout
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    final: list[structlog.typing.Processor] = [
        structlog.processors.format_exc_info,
        _Redaction(Redactor(secrets)),
    ]
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
    """A logger with the context variables of the calling task."""
    return cast("structlog.stdlib.BoundLogger", structlog.get_logger())
