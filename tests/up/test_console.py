import io
import json

from services.up.console import LogConsole


def test_json_lines_carry_the_name_of_the_child() -> None:
    out = io.StringIO()
    LogConsole("json", out).event("media-0", {"event": "call_started", "service": "media"})
    assert json.loads(out.getvalue()) == {"event": "call_started", "service": "media-0"}


def test_text_lines_are_for_people() -> None:
    out = io.StringIO()
    event = {"event": "call_ended", "timestamp": "2026-11-25T16:01:02Z", "level": "info", "reason": "hangup"}
    LogConsole("text", out).event("media-0", event)
    assert out.getvalue() == "16:01:02 media-0    call_ended reason=hangup\n"
