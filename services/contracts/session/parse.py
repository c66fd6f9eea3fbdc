"""Parses a session, an update of one, or the parameters of a response."""

from collections.abc import Mapping

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import ErrorDetails

from services.contracts.session.fields import MERGED, NULLABLE, ResponseFields, SessionConfig, SessionFields
from services.contracts.session.registry import hint_of

MAX_NAME = 64
MAX_PROBLEM = 300
"""An error quotes names and tags of the client, which may be long."""
_OWN_PROBLEM = "Value error, "
"""What pydantic puts before the reason of a validator of ours."""


class InvalidSessionError(ValueError):
    """A field of a session or response is unknown or has a wrong value.

    ``param`` is its path; ``code`` is `unknown_parameter`, `missing_required_parameter` or `invalid_value`.
    """

    def __init__(self, param: str, message: str, *, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.param = param
        self.code = code


def invalid_value(param: str, problem: str) -> InvalidSessionError:
    """Return the error for a field with a value that is not accepted."""
    return InvalidSessionError(param, f"Invalid value for '{param}': {problem}")


def parse_session(session: Mapping[str, JsonValue]) -> SessionConfig:
    """Validate a session, or an update of one; return it unchanged. It is refused as a whole.

    Raises:
        InvalidSessionError: it has an unknown field or a wrong value.
    """
    if session.get("type") == "transcription":
        raise invalid_value("session.type", "transcription sessions are not served here; use realtime.")
    parsed = _parse(SessionFields, session, "session")
    _refuse_nulls(parsed)
    return parsed


def parse_response(parameters: Mapping[str, JsonValue]) -> SessionConfig:
    """Validate the parameters of a `response.create`; return them unchanged. They are refused as a whole.

    Raises:
        InvalidSessionError: there is an unknown parameter or a wrong value.
    """
    return _parse(ResponseFields, parameters, "response")


def _parse(kind: type[BaseModel], source: Mapping[str, JsonValue], root: str) -> SessionConfig:
    try:
        kind.model_validate(source)
    except ValidationError as exc:
        raise _error(source, root, exc.errors(include_input=False, include_url=False)) from None
    return dict(source)


def _refuse_nulls(fields: Mapping[str, JsonValue], above: str = "") -> None:
    """Refuse `null` where it would be confirmed and change nothing.

    Raises:
        InvalidSessionError: a field is null that null does not disable.
    """
    for name, value in fields.items():
        path = f"{above}{name}"
        if value is None and path not in NULLABLE:
            raise invalid_value(f"session.{path}", "null does not reset it. Leave it out, or send the value to set.")
        if isinstance(value, dict) and path in MERGED:
            _refuse_nulls(value, f"{path}.")


def _error(source: Mapping[str, JsonValue], root: str, errors: list[ErrorDetails]) -> InvalidSessionError:
    """Return the error to raise: an unknown field is named before a wrong value."""
    first = next((error for error in errors if error["type"] == "extra_forbidden"), errors[0])
    param = _path(source, root, first["loc"])
    match first["type"]:
        case "extra_forbidden":
            message = f"Unknown parameter: '{param}'. {hint_of(param)}".rstrip()
            return InvalidSessionError(param, message, code="unknown_parameter")
        case "missing" | "union_tag_not_found":
            name = "type" if first["type"] == "union_tag_not_found" else first["loc"][-1]
            param = f"{param}.{name}"
            message = f"Missing required parameter: '{param}'."
            return InvalidSessionError(param, message, code="missing_required_parameter")
        case _:
            problem = first["msg"].removeprefix(_OWN_PROBLEM)
            return invalid_value(param, f"{problem[:MAX_PROBLEM]}.")


def _path(source: Mapping[str, JsonValue], root: str, steps: tuple[int | str, ...]) -> str:
    """The path of an error, without the names that unions insert."""
    path = root
    here: object = source
    for step in steps:
        # A list is treated as a mapping of its indexes.
        inside = dict(enumerate(here)) if isinstance(here, list) else here
        if isinstance(inside, Mapping) and step in inside:
            here = inside[step]
            path += f"[{step}]" if isinstance(step, int) else f".{step[:MAX_NAME]}"
    return path
