import io
import json

from services.up.console import LogConsole, read_line


def test_json_lines_carry_the_name_of_the_child() -> None:
    out = io.StringIO()
    LogConsole("json", out).event("media-0", {"event": "call_started", "service": "media"})
    assert json.loads(out.getvalue()) == {"event": "call_started", "service": "media-0"}


def test_text_lines_are_for_people() -> None:
    out = io.StringIO()
    event = {"event": "call_ended", "timestamp": "2026-11-25T16:01:02Z", "level": "info", "reason": "hangup"}
    LogConsole("text", out).event("media-0", event)
    assert out.getvalue() == "16:01:02 media-0    call_ended reason=hangup\n"


def test_what_is_no_json_becomes_an_event_without_secrets() -> None:
    event = read_line(b"Traceback: sk-abcdefghijklmnop\n")
    assert (event["event"], event["text"]) == ("output", "Traceback: [redacted]")
    assert read_line(b"[1]\n")["event"] == "output"
    assert read_line(b'{"event": "x"}\n') == {"event": "x"}
