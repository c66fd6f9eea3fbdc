import io
import json
from collections.abc import Iterator

import pytest
import structlog

from services.runtime.logging import configure, get_logger, redact_text


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    out = io.StringIO()
    configure(service="media", log_format="json", stream=out)
    yield out
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


def test_a_log_is_an_event_with_fields(lines: io.StringIO) -> None:
    get_logger().info("call_ended", reason="hangup")
    event = json.loads(lines.getvalue())
    assert (event["event"], event["reason"], event["service"], event["level"]) == (
        "call_ended",
        "hangup",
        "media",
        "info",
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"api_key": "abc"},
        {"token": "abc"},
        {"sdp": "v=0"},
        {"note": "the key is sk-abcdefghijklmnop"},
        {"note": "ek_abcdefghijklmnopqrstuv"},
        {"note": "a=ice-pwd:abcdefgh"},
        {"note": "Authorization: Bearer abc"},
        {"note": "nats://user:abc@host"},
    ],
)
def test_secrets_do_not_reach_the_log(lines: io.StringIO, fields: dict[str, str]) -> None:
    get_logger().info("thing_happened", **fields)
    assert "abc" not in lines.getvalue()
    assert "v=0" not in lines.getvalue()


def test_a_value_cannot_forge_a_second_line() -> None:
    assert redact_text("one\r\ntwo") == "one\\r\\ntwo"
