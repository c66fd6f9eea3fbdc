"""JSON as it is sent: in UTF-8, without escapes of what UTF-8 can hold."""

import json

from pydantic import JsonValue


def json_bytes(value: JsonValue) -> bytes:
    """Return ``value`` as compact JSON in UTF-8. A lone surrogate, which UTF-8 cannot hold, stays an escape."""
    # Surrogates occur only within strings, where `\ud800` of "backslashreplace" is JSON's own escape.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
