"""Size limits of a session. Single fields have no other limits but those in `fields`."""

from pydantic_core import from_json, to_json

from services.contracts.session.fields import SessionConfig
from services.contracts.session.parse import invalid_value

MAX_SESSION_BYTES = 96 * 1024
"""The effective session is sent over a data channel, on which browsers accept messages of up to 256 KiB."""

MAX_UPDATED_BYTES = 192 * 1024
"""With the updates of a call. `session.updated` has at most 200 KiB."""

MAX_DEPTH = 31
"""Levels of objects and arrays: events, of which the session is a part, are read up to 32 deep."""
_WRAPPINGS = 200 - MAX_DEPTH
"""The JSON parser reads 200 levels."""


def check_size(session: SessionConfig, *, limit: int = MAX_SESSION_BYTES) -> SessionConfig:
    """Return ``session`` if it is within the limits.

    Raises:
        InvalidSessionError: it has more than ``limit`` bytes as JSON in UTF-8, is nested too deeply, or no Unicode.
    """
    try:
        text = to_json(session)
    except ValueError:
        raise invalid_value("session", "it has characters that are no Unicode text.") from None
    if len(text) > limit:
        raise invalid_value("session", f"larger than {limit} bytes.")
    try:
        from_json(b"[" * _WRAPPINGS + text + b"]" * _WRAPPINGS)
    except ValueError:
        raise invalid_value("session", f"nested deeper than {MAX_DEPTH} levels.") from None
    return session
