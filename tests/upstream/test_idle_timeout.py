"""The idle timeout: the model is asked to go on when nobody speaks after its answer."""

import pytest
from pydantic import JsonValue

from tests.upstream.drive import FRAME, Drive, Json
from tests.upstream.turn_sessions import VAD, drive, update

# --- the idle timeout

COMMITTED = "input_audio_buffer.committed"
IDLE: Json = {"type": "server_vad", "idle_timeout_ms": 6000}


def wait(d: Drive, seconds: float) -> None:
    for _ in range(round(seconds * 10)):
        d.advance(0.1)


def answered(turns: JsonValue = IDLE) -> Drive:
    """Return a core whose answer has just been played to its end."""
    d = drive(turns)
    d.utter()
    item = d.answer(ms=1000)
    d.report(item, ms=500)
    wait(d, 7)
    d.report(item, ms=1000)
    return d.forget()


def test_the_model_is_asked_to_continue_when_nobody_speaks_after_an_answer() -> None:
    d = answered()
    d.core.heard_until(1000, now=d.now)
    d.core.heard_until(0, now=d.now)
    wait(d, 5.9)
    assert d.shown == []
    wait(d, 0.3)
    assert d.shown == ["input_audio_buffer.timeout_triggered", COMMITTED]
    timeout = d.one("input_audio_buffer.timeout_triggered")
    assert timeout["item_id"] == d.one(COMMITTED)["item_id"]
    assert timeout["audio_end_ms"] == pytest.approx(26_000, abs=200)
    assert int(str(timeout["audio_end_ms"])) - int(str(timeout["audio_start_ms"])) == 6000
    assert d.sent_types == ["append", "input_audio_buffer.commit", "response.create"]


def test_the_timeout_comes_again_only_after_another_answer() -> None:
    d = answered()
    wait(d, 7)
    d.forget()
    item = d.answer(rid="resp_P2", iid="item_P2", ms=100)
    wait(d, 8)
    d.report(item, ms=100)
    wait(d, 5)
    assert "input_audio_buffer.timeout_triggered" not in d.shown
    wait(d, 2)
    assert d.shown.count("input_audio_buffer.timeout_triggered") == 1


def test_speech_begins_the_timeout_anew() -> None:
    d = answered()
    wait(d, 5)
    d.start()
    d.speak(2)
    wait(d, 3)
    d.stop()
    d.forget()
    wait(d, 5)
    assert d.shown == []
    wait(d, 1.2)
    assert "input_audio_buffer.timeout_triggered" in d.shown


@pytest.mark.parametrize("turns", [VAD, {"type": "semantic_vad"}, None])
def test_without_a_timeout_silence_lasts(turns: JsonValue) -> None:
    d = answered(turns) if turns else drive(turns)
    wait(d, 30)
    assert "input_audio_buffer.timeout_triggered" not in d.shown


def test_before_the_first_answer_there_is_no_timeout() -> None:
    d = drive(IDLE)
    wait(d, 30)
    assert d.named("input_audio_buffer.timeout_triggered") == []


def test_a_session_without_automatic_answers_gets_only_the_item() -> None:
    d = drive({**IDLE, "create_response": False})
    d.client("response.create")
    item = d.answer(ms=100)
    d.report(item, ms=100)
    d.forget()
    wait(d, 7)
    assert d.shown == ["input_audio_buffer.timeout_triggered", COMMITTED]
    assert "response.create" not in d.sent_types
    d.forget()
    wait(d, 30)
    assert d.shown == []


def test_a_timeout_can_be_set_and_removed_in_mid_call() -> None:
    d = answered(VAD)
    update(d, IDLE)
    wait(d, 3)
    update(d, VAD)
    wait(d, 7)
    assert "input_audio_buffer.timeout_triggered" not in d.shown
    update(d, IDLE)
    wait(d, 6.3)
    assert "input_audio_buffer.timeout_triggered" in d.shown


def test_the_silence_that_is_committed_is_silence() -> None:
    d = answered()
    wait(d, 7)
    silence = [c.pcm for c in d.commands if hasattr(c, "pcm")]
    assert len(silence) == 1
    assert len(silence[0]) >= 5 * len(FRAME)
    assert not any(silence[0])
