"""Errors in the provider's error shape."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from services.rehearsal.core.commands import Json

_TYPE_ERRORS = ("_type", "_parsing")
_SENTENCE_PREFIX = "Value error, "
_NAMES_AN_ABSENT_FIELD = frozenset({"missing"})
_MAX_NAME_CHARS = 64


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


def of_validation(error: ValidationError, raw: object) -> EventRefusedError:
    """Map the most specific problem of ``raw`` to the provider's code, message and path. Never quotes values."""
    problems = [(_steps(found, raw), found) for found in error.errors(include_input=False, include_url=False)]
    # A union reports a problem for each of its types: the one that matches best has the longest path.
    steps, found = max(problems, key=lambda problem: (len(problem[0]), not problem[1]["type"].endswith(_TYPE_ERRORS)))
    param = _path(steps)
    return EventRefusedError(*_code_and_message(found, param), param)


def _steps(error: ErrorDetails, raw: object) -> list[str | int]:
    """The error's location in ``raw``, without the names of types that pydantic inserts for unions."""
    steps: list[str | int] = []
    here = raw
    for number, step in enumerate(error["loc"], start=1):
        inside = dict(enumerate(here)) if isinstance(here, list) else here
        if isinstance(inside, Mapping) and step in inside:
            here = inside[step]
            steps.append(step)
        elif number == len(error["loc"]) and error["type"] in _NAMES_AN_ABSENT_FIELD:
            steps.append(step)
    if "discriminator" in error.get("ctx", {}):
        steps.append(str(error["ctx"]["discriminator"]).strip("'"))
    return steps


def _path(steps: list[str | int]) -> str:
    path = ""
    for step in steps:
        path += f"[{step}]" if isinstance(step, int) else f".{step[:_MAX_NAME_CHARS]}"
    return path.removeprefix(".")


def _code_and_message(error: ErrorDetails, param: str) -> tuple[str, str]:
    match error["type"]:
        case "missing" | "union_tag_not_found":
            return "missing_required_parameter", f"Missing required parameter: '{param}'."
        case "extra_forbidden":
            return "unknown_parameter", f"Unknown parameter: '{param}'."
        case kind if kind.endswith(_TYPE_ERRORS):
            return "invalid_type", f"Invalid type for '{param}': {error['msg']}."
        case _:
            return "invalid_value", f"Invalid value for '{param}': {error['msg'].removeprefix(_SENTENCE_PREFIX)}."
