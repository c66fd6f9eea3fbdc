"""Refusals in the provider's error shape."""

from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from services.rehearsal.core.commands import Json

_TAGS = frozenset({"server_vad", "semantic_vad", "message", "user", "system", "assistant", "int", "str"})
"""Names of union branches, which pydantic puts into a path and the provider does not."""
_TYPE_ERRORS = ("_type", "_parsing")


@dataclass(slots=True)
class RefusedError(Exception):
    """The client's event is answered by an `error` event; the session goes on."""

    code: str
    message: str
    param: str | None = None
    kind: str = "invalid_request_error"

    def wire(self, event_id: str | None) -> Json:
        """The `error` object; ``event_id`` is the client's."""
        return {
            "type": self.kind,
            "code": self.code,
            "message": self.message,
            "param": self.param,
            "event_id": event_id,
        }


def of_validation(error: ValidationError) -> RefusedError:
    """The first problem in the provider's words. Never quotes what was sent."""
    first = error.errors(include_input=False, include_url=False)[0]
    param = ".".join(str(part) for part in first["loc"] if not _is_tag(part))
    return RefusedError(*_code_and_message(first, param), param)


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
