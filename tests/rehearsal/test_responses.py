import math

import pytest

from services.rehearsal.core.answers import ECHO
from services.rehearsal.core.commands import SynthesiseSpeech
from services.rehearsal.core.dialogue import RECORDED_PROMPT
from services.rehearsal.core.sound import to_ms
from tests.rehearsal.driver import SessionDriver, done_of, error_of, only, sound_of, spoken_in, tone, types, words_in

STORY = "tell me a long story"


def test_a_spoken_response_comes_in_the_order_of_the_provider() -> None:
    client = SessionDriver()
    client.text("hello")
    events = client.respond()
    assert [kind for kind in dict.fromkeys(types(events)) if not kind.endswith(".delta")] == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]
    first_delta = next(e["type"] for e in events if e["type"].endswith(".delta"))
    assert first_delta == "response.output_audio_transcript.delta"


def test_the_deltas_add_up_to_the_final_transcript_and_audio() -> None:
    client = SessionDriver()
    client.text("what is your name")
    events = client.respond()
    transcript = only(events, "response.output_audio_transcript.done")["transcript"]
    assert words_in(events) == transcript
    item = done_of(events)["output"][0]
    assert item["content"] == [{"type": "output_audio", "transcript": transcript}]
    assert client.kept[item["id"]] == spoken_in(events)
    assert len(spoken_in(events)) == sum(
        len(sound_of(c.text)) for c in client.commands if isinstance(c, SynthesiseSpeech)
    )


def test_a_word_is_sent_shortly_before_its_audio() -> None:
    client = SessionDriver()
    client.text("what is your name")
    sent_ms, letters = 0, 0
    for event in client.respond():
        if event["type"] == "response.output_audio_transcript.delta":
            assert sent_ms - 400 <= letters * 60 <= sent_ms + 800
            letters += len(event["delta"])
        elif event["type"] == "response.output_audio.delta":
            sent_ms += to_ms(len(spoken_in([event])))


def test_audio_comes_in_bursts_ten_times_faster_than_it_lasts() -> None:
    client = SessionDriver()
    client.text(STORY)
    client.send("response.create")
    first = client.wait(0)
    assert to_ms(len(spoken_in(first))) == 100
    later = client.wait(2.0)
    assert to_ms(len(spoken_in(later))) == pytest.approx(20_000, abs=800)


def test_the_story_is_long_enough_to_interrupt() -> None:
    client = SessionDriver()
    client.text(STORY)
    assert to_ms(len(spoken_in(client.respond()))) > 30_000


def test_sentences_are_made_only_a_little_ahead() -> None:
    client = SessionDriver()
    client.text(STORY)
    client.send("response.create")
    assert len([c for c in client.commands if isinstance(c, SynthesiseSpeech)]) < 5


def test_a_written_response_has_text_events() -> None:
    client = SessionDriver()
    events = client.say("my hat is green")
    assert only(events, "response.output_text.done")["text"] == "You said: my hat is green."
    assert only(events, "response.content_part.done")["part"] == {"type": "text", "text": "You said: my hat is green."}
    done = done_of(events)
    assert done["output_modalities"] == ["text"]
    assert done["output"][0]["content"][0]["type"] == "output_text"
    assert not spoken_in(events)


def test_a_response_waits_for_the_callers_transcript() -> None:
    client = SessionDriver(answers=False)
    client.manual()
    client.append(tone(300))
    client.send("input_audio_buffer.commit")
    assert types(client.send("response.create")) == ["response.created"]
    client.answer("hello")
    assert types(client.events)[-1] == "response.content_part.added"


def test_a_waiting_response_can_be_cancelled_and_costs_nothing() -> None:
    client = SessionDriver(answers=False)
    client.manual()
    client.append(tone(300))
    client.send("input_audio_buffer.commit")
    client.send("response.create")
    done = done_of(client.send("response.cancel"))
    assert (done["status"], done["output"], done["usage"]["total_tokens"]) == ("cancelled", [], 0)
    client.answer("hello")
    assert types(client.wait()) == []


def test_cancelling_ends_with_what_was_generated() -> None:
    client = SessionDriver()
    client.text(STORY)
    response_id = client.send("response.create")[0]["response"]["id"]
    before = client.wait(0.5)
    events = client.send("response.cancel", response_id=response_id)
    assert types(events) == [
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]
    done = done_of(events)
    assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "client_cancelled")
    assert done["output"][0]["status"] == "incomplete"
    assert done["usage"]["output_token_details"]["audio_tokens"] == math.ceil(to_ms(len(spoken_in(before))) / 50)
    assert types(client.wait()) == []


@pytest.mark.parametrize("fields", [{}, {"response_id": "resp_other"}])
def test_there_must_be_something_to_cancel(fields: dict[str, str]) -> None:
    client = SessionDriver()
    error = error_of(client.send("response.cancel", event_id="x", **fields))
    assert (error["code"], error["event_id"]) == ("response_cancel_not_active", "x")


def test_cancelling_another_response_leaves_this_one_alone() -> None:
    client = SessionDriver()
    client.text(STORY)
    client.send("response.create")
    assert error_of(client.send("response.cancel", response_id="resp_x"))["code"] == "response_cancel_not_active"
    assert done_of(client.wait())["status"] == "completed"


def test_only_one_response_at_a_time() -> None:
    client = SessionDriver()
    client.text(STORY)
    client.send("response.create")
    error = error_of(client.send("response.create"))
    assert error["code"] == "conversation_already_has_active_response"


def test_metadata_is_echoed() -> None:
    client = SessionDriver()
    events = client.respond(metadata={"client_event_id": "abc"}, output_modalities=["text"])
    assert only(events, "response.created")["response"]["metadata"] == {"client_event_id": "abc"}
    assert done_of(events)["metadata"] == {"client_event_id": "abc"}


def test_max_output_tokens_makes_a_response_incomplete() -> None:
    client = SessionDriver()
    client.text(STORY)
    done = done_of(client.respond(max_output_tokens=50))
    assert (done["status"], done["status_details"]["reason"]) == ("incomplete", "max_output_tokens")
    assert 40 < done["usage"]["output_tokens"] <= 50


def test_rate_limits_follow_a_response() -> None:
    limits = only(SessionDriver().say("hello"), "rate_limits.updated")["rate_limits"]
    assert [limit["name"] for limit in limits] == ["requests", "tokens"]
    assert limits[1]["remaining"] < limits[1]["limit"]


def test_an_out_of_band_response_leaves_no_trace_in_the_conversation() -> None:
    client = SessionDriver()
    item = client.text("what is your name")[0]["item"]["id"]
    events = client.respond(
        conversation="none",
        output_modalities=["text"],
        input=[
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]},
            {"type": "item_reference", "id": item},
        ],
    )
    assert "conversation.item.added" not in types(events)
    assert done_of(events)["conversation_id"] is None
    assert "rehearsal" in done_of(events)["output"][0]["content"][0]["text"]
    answer = done_of(events)["output"][0]["id"]
    assert (
        error_of(client.send("conversation.item.retrieve", item_id=answer))["code"] == "item_retrieve_invalid_item_id"
    )
    missing = client.respond(input=[{"type": "item_reference", "id": "item_x"}])
    assert error_of(missing)["code"] == "invalid_value"


def test_a_response_may_have_its_own_instructions_and_voice() -> None:
    client = SessionDriver()
    events = client.respond(
        instructions='Greet the caller: say "Welcome back." and wait.', audio={"output": {"voice": "ash"}}
    )
    assert only(events, "response.output_audio_transcript.done")["transcript"] == "Welcome back."
    assert done_of(events)["audio"]["output"]["voice"] == "ash"
    assert done_of(client.respond(audio={}))["audio"]["output"]["voice"] == "marin"


def test_a_lost_voice_fails_the_response() -> None:
    client = SessionDriver()
    client.synthesiser_works = False
    client.text("hello")
    done = done_of(client.respond())
    assert (done["status"], done["status_details"]["error"]["code"]) == ("failed", "voice_lost")


def test_a_sentence_that_comes_too_late_is_ignored() -> None:
    client = SessionDriver(answers=False)
    client.text("hello")
    client.send("response.create")
    client.send("response.cancel")
    client.speak(tone(100))
    assert types(client.wait()) == []
    client.send("response.create")
    order = [c for c in client.commands if isinstance(c, SynthesiseSpeech)][-1]
    assert client.session.synthesis_finished(order.response_id, order.index + 1, tone(100), client.at) == []


def test_a_sentence_without_sound_still_ends_the_response() -> None:
    client = SessionDriver(answers=False)
    client.text("bye")
    client.send("response.create")
    client.speak(b"")
    client.speak(b"")
    assert done_of(client.events)["status"] == "completed"


def test_a_slow_synthesiser_does_not_make_the_next_sentence_burst() -> None:
    client = SessionDriver(answers=False)
    client.text("bye")
    client.send("response.create")
    client.now += 5
    client.speak(tone(500))
    assert to_ms(len(spoken_in(client.wait(0)))) == 100


def test_deleting_an_item_without_transcript_lets_the_response_proceed() -> None:
    client = SessionDriver(answers=False)
    client.manual()
    client.append(tone(300))
    item = client.send("input_audio_buffer.commit")[0]["item_id"]
    client.send("response.create")
    events = client.send("conversation.item.delete", item_id=item)
    assert types(events)[:2] == ["conversation.item.deleted", "response.output_item.added"]


# --- the recorded voice ------------------------------------------------------------------------------------------


def test_without_a_recogniser_the_answer_is_the_recording_and_an_echo() -> None:
    client = SessionDriver(voice=ECHO)
    client.manual(transcription={})
    said = tone(1500)
    client.append(said)
    committed = client.send("input_audio_buffer.commit")
    assert only(committed, "conversation.item.input_audio_transcription.failed")
    events = client.respond()
    transcript = only(events, "response.output_audio_transcript.done")["transcript"]
    assert transcript == f"{RECORDED_PROMPT} (An echo of 1.5 seconds of your voice.)"
    assert spoken_in(events) == sound_of(RECORDED_PROMPT) + said


def test_without_a_recogniser_written_messages_are_still_answered() -> None:
    client = SessionDriver(voice=ECHO)
    client.text("hello")
    assert only(client.respond(), "response.output_audio_transcript.done")["transcript"] == RECORDED_PROMPT
    assert "hear you" in only(client.say("hello"), "response.output_text.done")["text"]
