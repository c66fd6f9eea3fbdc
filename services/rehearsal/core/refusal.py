"""Errors in the provider's error shape."""

from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from services.rehearsal.core.commands import Json

_TAGS = frozenset({"server_vad", "semantic_vad", "message", "user", "system", "assistant", "int", "str"})
"""Names of union branches, which pydantic adds to a path and the provider does not."""
_TYPE_ERRORS = ("_type", "_parsing")


@dataclass(slots=True)
class EventRefusedError(Exception):
    """The client's event is answered by an `error` event; the session continues."""

    code: str
    message: str
    param: str | None = None
    kind: str = "invalid_request_error"

    def as_json(self, event_id: str | None) -> Json:
        """The `error` object; ``event_id`` is that of the client's event."""
        return {
            "type": self.kind,
            "code": self.code,
            "message": self.message,
            "param": self.param,
            "event_id": event_id,
        }


def of_validation(error: ValidationError) -> EventRefusedError:
    """Map the first problem to the provider's code and message. Never quotes the input."""
    first = error.errors(include_input=False, include_url=False)[0]
    param = ".".join(str(part) for part in first["loc"] if not _is_tag(part))
    return EventRefusedError(*_code_and_message(first, param), param)


def _is_tag(part: str | int) -> bool:
    return isinstance(part, str) and (part in _TAGS or not part.islower() or not part.isidentifier())


def _code_and_message(error: ErrorDetails, param: str) -> tuple[str, str]:
    match error["type"]:
        case "missing" | "union_tag_not_found":
            return "missing_required_parameter", f"Missing required parameter: '{param}'."
        case "extra_forbidden":
            return "unknown_parameter", f"Unknown parameter: '{param}'."
        case kind if kind.endswith(_TYPE_ERRORS):
            return "invalid_type", f"Invalid type for '{param}': {error['msg']}."
        case _:
            return "invalid_value", f"Invalid value for '{param}': {error['msg']}."
