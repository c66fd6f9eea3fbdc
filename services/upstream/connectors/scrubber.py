"""Removes keys from a provider's events and errors, before the session core, a log or a client gets them."""

import re
from collections.abc import Iterable, Mapping

from pydantic import JsonValue

from services.runtime.telemetry.redaction import REDACTED, Redactor
from services.upstream.core.json_shape import Json, is_too_deep

MAX_ERROR_CHARS = 4096
"""An error's text is cut here before it is redacted: the provider decides how long it is."""
_ERRORS = frozenset({"error", "status_details"})
_SECRET_FIELDS = re.compile(r"(?:authorization|(?:x-)?api[-_]?key|client[-_]?secret|password|headers)\Z", re.IGNORECASE)
_AUDIO = "response.output_audio.delta"
_BETA_AUDIO = "response.audio.delta"


class Scrubber:
    """Redacts one connection's events. ``secrets``: what the connection authenticates with.

    A known secret is replaced wherever it appears. What only has the form of a key is replaced in errors alone: in a
    conversation it may be what the model was asked to say.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._redactor = Redactor(secrets)

    def scrub_event(self, event: JsonValue) -> JsonValue:
        """Return ``event`` without keys; None, as for one that cannot be read, if it is nested too deeply to search."""
        if not isinstance(event, dict):
            return None
        if event.get("type") in (_AUDIO, _BETA_AUDIO):
            return event  # base64 of audio, fifty times a second; no client or log gets it
        if is_too_deep(event):
            return None
        return self._object(event, in_error=event.get("type") == "error")

    def scrub_line(self, text: str, limit: int) -> str:
        """Return the first ``limit`` characters of a provider's ``text``, redacted before they are cut, on one line."""
        return self._redactor.line(text[:MAX_ERROR_CHARS])[:limit]

    def _object(self, fields: Mapping[str, JsonValue], *, in_error: bool) -> Json:
        return {
            self._redactor.known(name): REDACTED
            if _SECRET_FIELDS.match(name) and value
            else self._value(value, in_error=in_error or name in _ERRORS)
            for name, value in fields.items()
        }

    def _value(self, value: JsonValue, *, in_error: bool) -> JsonValue:
        match value:
            case str() if in_error:
                return self._redactor.text(value[:MAX_ERROR_CHARS])
            case str():
                return self._redactor.known(value)
            case dict():
                return self._object(value, in_error=in_error)
            case list():
                return [self._value(inner, in_error=in_error) for inner in value]
        return value
