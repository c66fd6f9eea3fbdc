import asyncio

from services.runtime.process.child import next_line, read_line


async def test_a_line_that_is_too_long_does_not_end_the_log() -> None:
    stream = asyncio.StreamReader(limit=32)
    stream.feed_data(b"x" * 100 + b'\n{"event": "next"}\n')
    stream.feed_eof()
    events = [read_line(await next_line(stream))["event"] for _ in range(2)]
    assert events == ["log_line_too_long", "next"]
    assert await next_line(stream) == b""


def test_a_line_that_is_not_json_becomes_a_redacted_event() -> None:
    event = read_line(b"Traceback: sk-abcdefghijklmnop\n")
    assert (event["event"], event["text"]) == ("output", "Traceback: [redacted]")
    assert read_line(b"[1]\n")["event"] == "output"
    assert read_line(b'{"event": "x"}\n') == {"event": "x"}
