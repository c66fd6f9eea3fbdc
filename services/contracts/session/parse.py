"""Parses a session, or an update of one, of a client or a provider."""

from collections.abc import Mapping

from pydantic import JsonValue, ValidationError

from services.contracts.session.fields import BETA_FIELDS, SERVER_FIELDS, SessionConfig, SessionFields

_IGNORED = SERVER_FIELDS | BETA_FIELDS


class InvalidSessionError(ValueError):
    """A field has a value that the Realtime API does not allow; ``param`` is its path."""

    def __init__(self, param: str, problem: str) -> None:
        super().__init__(f"{param}: {problem}")
        self.param = param


def parse_session(session: Mapping[str, JsonValue]) -> SessionConfig:
    """Validate a session; return it without server-set fields and beta names, unknown fields kept.

    Raises:
        InvalidSessionError: a known field has an invalid value.
    """
    if session.get("type") == "transcription":
        raise InvalidSessionError("session.type", "transcription sessions are not served here; use realtime")
    if "hushgate" in session:
        raise InvalidSessionError("session.hushgate", "limits and locks belong beside the session, not inside it")
    try:
        SessionFields.model_validate(session)
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        raise InvalidSessionError(_path(session, first["loc"]), first["msg"]) from None
    return client_fields(session)


def client_fields(session: Mapping[str, JsonValue]) -> SessionConfig:
    """Return the fields of a valid session without server-set fields and beta names."""
    return {name: value for name, value in session.items() if name not in _IGNORED}


def _path(session: Mapping[str, JsonValue], steps: tuple[int | str, ...]) -> str:
    """The path of an error in the session, without the names that unions insert."""
    path = "session"
    here: object = session
    for step in steps:
        # A list is treated as a mapping of its indexes.
        inside = dict(enumerate(here)) if isinstance(here, list) else here
        if isinstance(inside, Mapping) and step in inside:
            here = inside[step]
            path += f".{step}"
    return path
