import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from services.runtime.telemetry.logging import LogFormat, configure, get_logger, redact_text


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """What `configure` sets is the whole process's; other tests read the log that is not configured."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


@pytest.fixture
def lines() -> io.StringIO:
    out = io.StringIO()
    configure(service="media", log_format="json", stream=out)
    return out


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


@pytest.mark.parametrize(
    "fields",
    [
        {"detail": {"error": {"message": "Bearer abc"}}},
        {"detail": [("sk-abcdefghijklmnop",)]},
        {"detail": {"headers": {"x": "abc"}}},
        {"detail": ValueError("nats://user:abc@host")},
        {"detail": b"Bearer abc"},
        {"detail": {"Bearer abc": 1}},
    ],
)
def test_secrets_do_not_reach_the_log_inside_of_other_values(lines: io.StringIO, fields: dict[str, object]) -> None:
    get_logger().info("thing_happened", **fields)
    assert "abc" not in lines.getvalue()


def fail(text: str) -> None:
    raise RuntimeError(text)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_known_secret_never_reaches_the_log(log_format: LogFormat) -> None:
    out = io.StringIO()
    configure(service="upstream", log_format=log_format, stream=out, secrets=["wholly-unremarkable"])
    try:
        fail("the key wholly-unremarkable is wrong")
    except RuntimeError:
        get_logger().exception("service_crashed", detail="wholly-unremarkable", note={"wholly-unremarkable": 1})
    logging.getLogger("library").warning("%s", "wholly-unremarkable")
    assert "wholly-unremarkable" not in out.getvalue()
    assert "service_crashed" in out.getvalue()


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_external_text_cannot_control_a_terminal(log_format: LogFormat) -> None:
    out = io.StringIO()
    configure(service="upstream", log_format=log_format, stream=out)
    hostile = "a\x1b]0;owned\x07\x9b31m\r\u202e"
    try:
        fail(hostile)
    except RuntimeError:
        get_logger().exception(hostile, detail=hostile, inner=[{hostile: hostile}])
    logging.getLogger("library").warning("%s", hostile)
    assert not set(out.getvalue()) & set("\x1b\x07\x9b\r\u202e")


def test_a_value_cannot_forge_a_second_line() -> None:
    assert redact_text("one\r\ntwo") == "one\\r\\ntwo"
