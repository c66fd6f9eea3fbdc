"""Takes keys out of what a provider says, before the session core, a log or a client sees it."""

import re
from collections.abc import Iterable, Mapping

from pydantic import JsonValue

from services.runtime.redaction import REDACTED, Redactor
from services.upstream.core.shape import Json, is_too_deep

MAX_ERROR_CHARS = 4096
"""An error's text is redacted and shown up to here; a provider decides how long it is."""
_ERRORS = frozenset({"error", "status_details"})
_SECRET_FIELDS = re.compile(r"(?:authorization|(?:x-)?api[-_]?key|client[-_]?secret|password|headers)\Z", re.IGNORECASE)
_AUDIO = "response.output_audio.delta"
_BETA_AUDIO = "response.audio.delta"


class Scrubber:
    """Cleans one connection's events. ``secrets``: what the connection authenticates with.

    A known secret is replaced wherever it appears. What only has the form of a key is replaced in errors alone: in a
    conversation it may be what the model was asked to say.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._redactor = Redactor(secrets)

    def event(self, event: JsonValue) -> JsonValue:
        """Return ``event`` without keys; None, as for one that cannot be read, if it is nested too deeply to search."""
        if not isinstance(event, dict):
            return None
        if event.get("type") in (_AUDIO, _BETA_AUDIO):
            return event  # base64 of sound, fifty times a second; nobody is shown it
        if is_too_deep(event):
            return None
        return self._object(event, in_error=event.get("type") == "error")

    def line(self, text: str, limit: int) -> str:
        """Return the first ``limit`` characters of what a provider says, redacted before they are cut, on one line."""
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
