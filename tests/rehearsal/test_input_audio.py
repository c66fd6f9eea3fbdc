import base64

import pytest

from services.rehearsal.core.transcript import Transcript
from tests.rehearsal.driver import RehearsalEvent, SessionDriver, error_of, only, silence, tone, types


def test_a_commit_makes_an_item_and_then_its_transcript() -> None:
    client = SessionDriver(transcripts=["what time is it"])
    client.manual(transcription={"model": "gpt-4o-mini-transcribe"})
    client.append(tone(500))
    events = client.send("input_audio_buffer.commit")
    transcription = "conversation.item.input_audio_transcription"
    assert types(events) == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        f"{transcription}.delta",
        f"{transcription}.completed",
    ]
    item = events[1]["item"]
    assert item["content"] == [{"type": "input_audio", "transcript": None}]
    assert events[-1]["transcript"] == "what time is it"
    assert "".join(e["delta"] for e in events if e["type"].endswith(".delta")) == "what time is it"
    retrieved = client.send("conversation.item.retrieve", item_id=item["id"])[0]["item"]
    assert retrieved["content"][0]["transcript"] == "what time is it"


def test_transcription_is_counted_on_its_own() -> None:
    client = SessionDriver(transcripts=["hello", "hello"])
    client.manual(transcription={"model": "gpt-4o-transcribe"})
    client.append(tone(1020))
    usage = only(client.send("input_audio_buffer.commit"), "conversation.item.input_audio_transcription.completed")
    assert usage["usage"]["type"] == "tokens"
    assert (usage["usage"]["input_tokens"], usage["usage"]["output_tokens"]) == (11, 2)
    client.manual(transcription={"model": "whisper-1"})
    client.append(tone(1500))
    events = client.send("input_audio_buffer.commit")
    assert events[-1]["usage"] == {"type": "duration", "seconds": 1.5}
    assert not any(event["type"].endswith("transcription.delta") for event in events)
    assert [item for item, _ in client.session.book.transcriptions] == [usage["item_id"], events[-1]["item_id"]]


def test_without_transcription_speech_is_still_recognised() -> None:
    client = SessionDriver(transcripts=["hello"])
    client.manual()
    client.append(tone(500))
    events = client.send("input_audio_buffer.commit")
    assert types(events)[-1] == "conversation.item.done"
    answered = client.respond(output_modalities=["text"])
    assert only(answered, "response.output_text.done")["text"].startswith("Hello!")


def test_a_failed_recogniser_is_reported_as_a_failed_transcription() -> None:
    client = SessionDriver(transcripts=[None])
    client.manual(transcription={})
    client.append(tone(500))
    failed = only(client.send("input_audio_buffer.commit"), "conversation.item.input_audio_transcription.failed")
    assert failed["error"]["code"] == "rehearsal_busy"


@pytest.mark.parametrize("ms", [0, 40, 99])
def test_less_than_100_ms_cannot_be_committed(ms: int) -> None:
    client = SessionDriver()
    client.manual()
    client.append(tone(ms))
    error = error_of(client.send("input_audio_buffer.commit", event_id="c1"))
    assert (error["code"], error["event_id"]) == ("input_audio_buffer_commit_empty", "c1")
    assert f"{ms}.00ms" in error["message"]


def test_silence_occupies_no_recogniser_and_has_no_transcript() -> None:
    client = SessionDriver()
    client.manual(transcription={})
    client.append(silence(2000))
    completed = client.send("input_audio_buffer.commit")[-1]
    assert completed["transcript"] == ""
    assert not client.recognised_audio


def test_the_recogniser_gets_some_audio_before_the_speech() -> None:
    client = SessionDriver(answers=False)
    client.manual()
    client.append(silence(1000))
    client.append(tone(200))
    client.append(silence(100))
    assert len(client.recognised_audio) == 48 * (300 + 200 + 100)


def test_clearing_discards_audio_and_releases_the_recogniser() -> None:
    client = SessionDriver(answers=False)
    client.manual()
    client.append(tone(500))
    assert types(client.send("input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]
    assert len(client.forgotten) == 1
    client.send("input_audio_buffer.clear")
    assert len(client.forgotten) == 1
    assert error_of(client.send("input_audio_buffer.commit"))["code"] == "input_audio_buffer_commit_empty"


@pytest.mark.parametrize("audio", ["no base64!", "é", base64.b64encode(b"odd").decode()])
def test_audio_that_is_none_is_refused(audio: str) -> None:
    error = error_of(SessionDriver().send("input_audio_buffer.append", audio=audio))
    assert (error["code"], error["param"]) == ("invalid_value", "audio")


def test_received_audio_is_summed_exactly() -> None:
    client = SessionDriver()
    client.manual()
    for _ in range(3):
        client.append(bytes(2 * 17))
    assert client.session.book.received_bytes == 102
    assert client.session.book.as_json()["audio_received_ms"] == 2


# --- server_vad --------------------------------------------------------------------------------------------------


def turn(client: SessionDriver) -> list[RehearsalEvent]:
    return client.append(silence(1000)) + client.append(tone(600)) + client.append(silence(700))


def test_server_vad_commits_and_answers_by_itself() -> None:
    client = SessionDriver(transcripts=["hello"])
    events = turn(client)
    assert types(events)[:5] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    assert "response.created" in types(events)
    started, stopped, committed = events[:3]
    assert started["item_id"] == stopped["item_id"] == committed["item_id"]
    # 300 ms of prefix before the onset at 1000, which was certain 60 ms later; 500 ms of silence after 1600.
    assert started["audio_start_ms"] == pytest.approx(760, abs=20)
    assert stopped["audio_end_ms"] == 2100


def test_server_vad_may_leave_the_answer_to_the_client() -> None:
    client = SessionDriver(transcripts=["hello"])
    detection = {"type": "server_vad", "create_response": False, "prefix_padding_ms": 0}
    client.configure(audio={"input": {"turn_detection": detection}})
    assert types(turn(client))[-1] == "conversation.item.done"


def test_semantic_vad_waits_longer_for_the_patient() -> None:
    client = SessionDriver(transcripts=["hello"])
    client.configure(audio={"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "low"}}})
    assert types(turn(client)) == ["input_audio_buffer.speech_started"]
    assert "input_audio_buffer.committed" in types(client.append(silence(300)))


def test_speech_interrupts_an_answer() -> None:
    client = SessionDriver(transcripts=["tell me a story", "stop"])
    turn(client)
    client.wait(1)
    done = only(client.append(tone(100)), "response.done")["response"]
    assert done["status_details"] == {"type": "cancelled", "reason": "turn_detected"}


def test_speech_need_not_interrupt() -> None:
    client = SessionDriver(transcripts=["tell me a story"])
    client.configure(audio={"input": {"turn_detection": {"type": "server_vad", "interrupt_response": False}}})
    turn(client)
    client.wait(1)
    assert types(client.append(tone(100))) == ["input_audio_buffer.speech_started"]


def test_windows_are_cut_across_appends() -> None:
    whole, pieces = SessionDriver(transcripts=["a"]), SessionDriver(transcripts=["a"])
    pcm = silence(400) + tone(500) + silence(700)
    whole.append(pcm)
    for start in range(0, len(pcm), 1022):
        pieces.append(pcm[start : start + 1022])
    assert [e["type"] for e in whole.events] == [e["type"] for e in pieces.events]


def test_turn_detection_can_be_switched_in_the_middle() -> None:
    client = SessionDriver(transcripts=["a"])
    client.append(silence(500) + bytes(100))
    client.manual()
    client.append(tone(200))
    assert types(client.send("input_audio_buffer.commit"))[0] == "input_audio_buffer.committed"
    client.configure(audio={"input": {"turn_detection": {"type": "server_vad"}}})
    client.configure(audio={"input": {"turn_detection": {"type": "server_vad", "threshold": 0.4}}})
    assert types(client.append(tone(100))) == ["input_audio_buffer.speech_started"]


def test_a_very_long_utterance_is_fed_to_the_recogniser_up_to_a_limit() -> None:
    client = SessionDriver(answers=False)
    client.manual()
    for _ in range(13):
        client.append(tone(10_000))
    assert len(client.recognised_audio) == 48 * 120_000


def test_a_transcript_of_an_unknown_utterance_is_ignored() -> None:
    client = SessionDriver()
    assert client.session.transcription_finished("item_x", Transcript("hello"), client.at) == []
