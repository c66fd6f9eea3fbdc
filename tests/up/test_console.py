import io
import json

import pytest

from services.runtime.telemetry.logging import LogFormat
from services.up.console import LogConsole


def test_json_lines_carry_the_name_of_the_child() -> None:
    out = io.StringIO()
    LogConsole("json", out).write_child_event("media-0", {"event": "call_started", "service": "media"})
    assert json.loads(out.getvalue()) == {"event": "call_started", "service": "media-0"}


HOSTILE = "a\x1b]0;owned\x07b\x9b31mc\rd\ne\u202ef\u2028g"


@pytest.mark.parametrize(
    "event",
    [
        {"event": HOSTILE},
        {"event": "x", "detail": HOSTILE},
        {"event": "x", HOSTILE: "y"},
        {"event": "x", "exception": HOSTILE.replace("\n", "")},
        {"event": "x", "timestamp": f"2026-11-25{HOSTILE}"},
        {"event": "x", "detail": {"inner": [HOSTILE]}},
    ],
)
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_nothing_that_a_child_prints_steers_the_terminal(event: dict[str, object], log_format: LogFormat) -> None:
    out = io.StringIO()
    LogConsole(log_format, out).write_child_event("media-0", event)
    assert not set(out.getvalue().replace("\n", "")) & set("\x1b\x07\x9b\r\u202e\u2028")


def test_text_lines_are_for_people() -> None:
    out = io.StringIO()
    event = {"event": "call_ended", "timestamp": "2026-11-25T16:01:02Z", "level": "info", "reason": "hangup"}
    LogConsole("text", out).write_child_event("media-0", event)
    assert out.getvalue() == "16:01:02 media-0    call_ended reason=hangup\n"
