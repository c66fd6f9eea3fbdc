"""Each field of a session or a response that the rehearsal accepts has an effect."""

import json
from typing import Any, get_args

import numpy as np
import pytest

from services.rehearsal.core.commands import SynthesiseSpeech
from services.rehearsal.core.config import MAX_CONTEXT_TOKENS
from services.rehearsal.core.sound import resampled
from services.rehearsal.core.transcript import spelled_like
from services.rehearsal.core.voices import VOICE_SOUNDS, VoiceName
from tests.rehearsal.driver import LOGPROB, SessionDriver, done_of, error_of, only, spoken_in, tone, types, words_in

WEATHER = {"type": "function", "name": "get_weather", "description": "Get the weather."}
ORDER = {"type": "function", "name": "cancel_order", "description": "Cancel a purchase."}
BOTH = "cancel my order and tell me the weather"


def transcribed(client: SessionDriver, **session: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - any JSON
    """The events of one committed utterance."""
    client.configure(**session)
    client.append(tone(300))
    before = len(client.events)
    client.send("input_audio_buffer.commit")
    return client.events[before:]


def with_transcription(**fields: object) -> dict[str, Any]:
    return {"input": {"turn_detection": None, "transcription": fields}}


def test_voice_and_speed_are_asked_of_the_synthesiser() -> None:
    client = SessionDriver()
    client.configure(audio={"output": {"voice": "cedar", "speed": 1.25}})
    client.respond()
    client.respond(conversation="none", audio={"output": {"voice": "cedar"}})
    orders = [command for command in client.commands if isinstance(command, SynthesiseSpeech)]
    assert {(order.voice, order.speed) for order in orders} == {("cedar", 1.25)}


def test_each_voice_sounds_different() -> None:
    assert VOICE_SOUNDS.keys() == set(get_args(VoiceName))
    assert len({sound.pitch for sound in VOICE_SOUNDS.values()}) == len(VOICE_SOUNDS)


def test_a_recording_is_played_faster_or_slower() -> None:
    sound = tone(1000)
    assert resampled(sound, 1) == sound
    fast = np.frombuffer(resampled(sound, 1.25), "<i2")
    assert len(fast) == 19_200
    assert np.abs(fast).max() == pytest.approx(np.abs(np.frombuffer(sound, "<i2")).max(), rel=0.05)
    assert len(resampled(sound, 0.5)) == 2 * len(sound)


def test_functions_are_called_in_parallel_where_that_is_allowed() -> None:
    client = SessionDriver()
    client.configure(tools=[WEATHER, ORDER], parallel_tool_calls=True)
    client.text(BOTH)
    events = client.respond()
    done = done_of(events)
    assert [item["name"] for item in done["output"]] == ["cancel_order", "get_weather"]
    assert [event["output_index"] for event in events if event["type"] == "response.output_item.done"] == [0, 1]
    assert done["usage"]["output_tokens"] == sum(
        -(-len(item["name"] + item["arguments"]) // 4) for item in done["output"]
    )
    assert client.session.book.items[done["id"]] == [item["id"] for item in done["output"]]
    for item, output in zip(done["output"], ("Done.", "Mild."), strict=True):
        result = {"type": "function_call_output", "call_id": item["call_id"], "output": output}
        client.send("conversation.item.create", item=result)
    assert words_in(client.respond(output_modalities=["text"])) == "Cancel order says: Done. Get weather says: Mild."
    client.text(BOTH)
    single = done_of(client.respond(parallel_tool_calls=False))
    assert [item["name"] for item in single["output"]] == ["cancel_order"]


def test_a_response_thinks_as_much_as_it_is_told() -> None:
    made, first = [], []
    for effort in ("minimal", "low", "medium", "high", "xhigh"):
        client = SessionDriver()
        client.configure(reasoning={"effort": effort})
        began = client.now
        client.send("response.create", response={"output_modalities": ["text"]})
        first.append(client.session.next_due_s - began)
        made.append(done_of(client.wait())["usage"]["output_tokens"])
    assert made == [made[0] + more for more in (0, 40, 120, 400, 1200)]
    assert first == pytest.approx([0, 0.2, 0.6, 2, 6])


def test_a_response_overrides_the_sessions_reasoning_and_ends_when_its_tokens_are_spent() -> None:
    client = SessionDriver()
    client.configure(reasoning={"effort": "xhigh"}, max_output_tokens=100)
    done = done_of(client.respond(output_modalities=["text"]))
    assert (done["status"], done["usage"]["output_tokens"]) == ("incomplete", 100)
    assert done_of(client.respond(output_modalities=["text"], reasoning={"effort": "minimal"}))["status"] == "completed"
    client.configure(reasoning={})
    assert done_of(client.respond(output_modalities=["text"]))["status"] == "completed"


def input_tokens(client: SessionDriver) -> int:
    used: int = done_of(client.respond(output_modalities=["text"]))["usage"]["input_tokens"]
    return used


def test_a_long_conversation_is_cut_to_the_share_that_the_session_retains() -> None:
    client = SessionDriver()
    limits = {"token_limits": {"post_instructions": 100}}
    client.configure(truncation={"type": "retention_ratio", "retention_ratio": 0.5, **limits})
    for _ in range(4):
        client.text("x" * 100)  # 25 tokens
    assert input_tokens(client) == 100
    client.text("x" * 100)
    kept = input_tokens(client)
    assert kept <= 50
    assert input_tokens(client) > kept  # what was dropped stays dropped, what came since is added
    assert input_tokens(SessionDriver()) == 0


def test_a_response_with_an_input_of_its_own_drops_nothing_of_the_conversation() -> None:
    client = SessionDriver()
    limits = {"token_limits": {"post_instructions": 10}}
    client.configure(truncation={"type": "retention_ratio", "retention_ratio": 1.0, **limits})
    client.text("x" * 40)
    reference = {"type": "item_reference", "id": client.events[-1]["item"]["id"]}
    client.respond(conversation="none", input=[reference, reference], output_modalities=["text"])
    assert input_tokens(client) == 10


@pytest.mark.parametrize(("truncation", "status"), [("auto", "completed"), ("disabled", "failed")])
def test_a_conversation_beyond_the_models_input_is_cut_or_fails(truncation: str, status: str) -> None:
    client = SessionDriver()
    client.configure(truncation=truncation, instructions="Be brief.")
    for _ in range(2):
        client.text("x" * (2 * MAX_CONTEXT_TOKENS))
    done = done_of(client.respond(output_modalities=["text"]))
    assert done["status"] == status
    assert done["usage"]["input_tokens"] == {"auto": MAX_CONTEXT_TOKENS // 2 + 3, "disabled": 0}[truncation]
    if truncation == "disabled":
        assert done["status_details"]["error"]["code"] == "context_length_exceeded"
        client.configure(truncation="auto")
        assert done_of(client.respond(output_modalities=["text"]))["status"] == "completed"


def test_log_probabilities_come_with_transcripts_that_include_them() -> None:
    client = SessionDriver(transcripts=["good day", "good day"])
    include = ["item.input_audio_transcription.logprobs"]
    events = transcribed(client, audio=with_transcription(), include=include)
    completed = only(events, "conversation.item.input_audio_transcription.completed")
    assert [(found["token"], found["logprob"]) for found in completed["logprobs"]] == [
        ("good", LOGPROB),
        (" day", LOGPROB),
    ]
    assert completed["logprobs"][1]["bytes"] == list(b" day")
    deltas = [event["logprobs"] for event in events if event["type"].endswith("transcription.delta")]
    assert [found for (found,) in deltas] == completed["logprobs"]
    assert not [event for event in transcribed(client, include=[]) if "logprobs" in event]


@pytest.mark.parametrize(
    ("heard", "prompt", "written"),
    [
        ("my name is robert", "Robert", "my name is Robert"),
        ("my name is robert", "Anna, ROBERTS, 'Rupert'.", "my name is ROBERTS"),
        ("call the hush gate", "Hushgate", "call the hush gate"),
        ("a cat", "Cats", "a cat"),
        ("", "Robert", ""),
        ("what time is it", "--- ...", "what time is it"),
    ],
)
def test_a_transcription_prompt_spells_words(heard: str, prompt: str, written: str) -> None:
    assert spelled_like(heard, prompt) == written
    events = transcribed(SessionDriver(transcripts=[heard]), audio=with_transcription(prompt=prompt))
    assert only(events, "conversation.item.input_audio_transcription.completed")["transcript"] == written


def test_keywords_spell_words_and_languages_are_those_of_the_recogniser() -> None:
    audio = with_transcription(model="gpt-transcribe", languages=["en"], keywords=["Robert", "Anna"])
    events = transcribed(SessionDriver(transcripts=["robert met anna"]), audio=audio)
    completed = only(events, "conversation.item.input_audio_transcription.completed")
    assert completed["transcript"] == "Robert met Anna"
    assert completed["languages"] == [{"code": "en"}]
    silent = transcribed(SessionDriver(transcripts=[""]), audio=with_transcription(model="gpt-transcribe"))
    assert only(silent, "conversation.item.input_audio_transcription.completed")["languages"] == []


@pytest.mark.parametrize(
    ("model", "unit"),
    [("whisper-1", "duration"), ("gpt-4o-transcribe", "tokens"), ("gpt-4o-mini-transcribe", "tokens")],
)
def test_the_transcription_model_determines_events_and_usage(model: str, unit: str) -> None:
    audio = with_transcription(model=model, language="en")
    events = transcribed(SessionDriver(transcripts=["good day"]), audio=audio)
    assert only(events, "conversation.item.input_audio_transcription.completed")["usage"]["type"] == unit
    assert any(event["type"].endswith("transcription.delta") for event in events) is (unit == "tokens")


@pytest.mark.parametrize(
    ("tracing", "shown"),
    [
        (None, None),
        ("auto", {"workflow_name": "Realtime session", "group_id": "sess_1", "metadata": {}}),
        (
            {"workflow_name": "w", "group_id": "g", "metadata": {"k": 1}},
            {"workflow_name": "w", "group_id": "g", "metadata": {"k": 1}},
        ),
    ],
)
def test_the_bill_shows_the_trace(tracing: object, shown: object) -> None:
    client = SessionDriver()
    client.configure(tracing=tracing)
    bill: dict[str, Any] = client.session.book.as_json()
    assert bill["trace"] == shown


def test_responses_out_of_band_run_beside_the_conversations() -> None:
    client = SessionDriver()
    client.text("tell me a long story")
    client.send("response.create")
    ids = [
        client.send("response.create", response={"conversation": "none", "output_modalities": [kind]})[0]["response"][
            "id"
        ]
        for kind in ("text", "audio")
    ]
    assert error_of(client.send("response.create"))["code"] == "conversation_already_has_active_response"
    cancelled = done_of(client.send("response.cancel", response_id=ids[1]))
    assert (cancelled["id"], cancelled["status"]) == (ids[1], "cancelled")
    ended = [event["response"] for event in client.wait() if event["type"] == "response.done"]
    assert [(done["conversation_id"] is None, done["status"]) for done in ended] == [
        (True, "completed"),
        (False, "completed"),
    ]
    client.close()


def test_a_socket_that_closes_bills_responses_out_of_band_too() -> None:
    client = SessionDriver()
    client.text("tell me a long story")
    for conversation in ("auto", "none"):
        client.send("response.create", response={"conversation": conversation})
    client.wait(0.2)
    client.close()
    assert [status for _, status, _ in client.session.book.responses] == ["cancelled", "cancelled"]


def test_instructions_modalities_tokens_and_metadata_of_the_session_hold_for_its_responses() -> None:
    client = SessionDriver()
    client.configure(instructions='Say "apple pie with cream".', output_modalities=["text"], max_output_tokens=3)
    events = client.respond(metadata={"k": "v"})
    done = done_of(events)
    assert (done["status"], done["output_modalities"], done["max_output_tokens"]) == ("incomplete", ["text"], 3)
    assert "apple pie with cream".startswith(words_in(events).strip())
    assert not spoken_in(events)
    assert done["metadata"] == {"k": "v"}


def test_tool_choice_none_answers_in_words() -> None:
    client = SessionDriver()
    client.configure(tools=[WEATHER], tool_choice="required")
    client.text("weather")
    called = done_of(client.respond())["output"][0]
    assert (called["name"], json.loads(called["arguments"])) == ("get_weather", {})
    assert "response.output_text.done" in types(client.respond(tool_choice="none", output_modalities=["text"]))
    named = {"type": "function", "name": "cancel_order"}
    assert done_of(client.respond(tools=[WEATHER, ORDER], tool_choice=named))["output"][0]["name"] == "cancel_order"


def test_a_function_call_counts_against_the_limit_of_tokens() -> None:
    client = SessionDriver()
    text = {"properties": {"text": {"const": "x" * 100}}, "required": ["text"]}
    client.configure(tools=[{**WEATHER, "parameters": text}])
    done = done_of(client.respond(tool_choice="required", max_output_tokens=10))
    assert (done["status"], done["status_details"]["reason"]) == ("incomplete", "max_output_tokens")
    assert 0 < done["usage"]["output_tokens"] <= 10
    assert done["output"][0]["status"] == "incomplete"


def test_speech_that_is_not_recognised_is_silent_where_no_transcript_is_wanted() -> None:
    client = SessionDriver(transcripts=[None])
    client.manual()
    client.append(tone(300))
    assert not [kind for kind in types(client.send("input_audio_buffer.commit")) if "transcription" in kind]
