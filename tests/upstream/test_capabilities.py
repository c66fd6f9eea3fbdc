"""The core with providers that lack capabilities of OpenAI's."""

from dataclasses import replace

import pytest

from services.contracts.usage import Meter
from services.upstream.connectors.openai import CAPABILITIES
from services.upstream.core.capabilities import Capabilities
from services.upstream.core.commands import AppendAudio, PublishEvent
from tests.upstream.drive import Drive, Json, core_of, object_of

NO_TURNS = replace(CAPABILITIES, manual_turns=False)
NO_CANCEL = replace(CAPABILITIES, cancel=False)
NO_TRUNCATE = replace(CAPABILITIES, truncate=False)
NO_TRANSCRIPTION = replace(CAPABILITIES, transcription=False)
NO_TOOLS = replace(CAPABILITIES, tools=False)
TOOL: Json = {"type": "function", "name": "look", "parameters": {}}
USAGE: Json = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}


def drive(capabilities: Capabilities, session: Json | None = None) -> Drive:
    return Drive(core_of(session, capabilities=capabilities)).ready()


def answering(capabilities: Capabilities) -> Drive:
    """Return a core whose response has begun to send audio."""
    d = drive(capabilities)
    d.utter()
    d.created()
    d.message()
    d.words("One two three four")
    d.sound(1000)
    return d.forget()


def with_input(**fields: object) -> Json:
    return {"audio": {"input": fields}}  # type: ignore[dict-item]


def audio_of(session: Json, way: str) -> Json:
    return object_of(object_of(session, "audio"), way)


# --- cancel


def test_a_provider_that_cannot_cancel_is_not_asked_to() -> None:
    d = answering(NO_CANCEL)
    d.start()
    assert "response.cancel" not in d.sent_types
    assert d.missing == ["cancel"]


def test_what_an_uncancelled_response_still_makes_is_not_played() -> None:
    d = answering(NO_CANCEL)
    d.start()
    d.sound(3000)
    d.words("five six")
    assert not d.audio
    assert "response.output_audio_transcript.delta" not in d.shown


def test_what_an_uncancelled_response_used_is_booked_whenever_it_ends() -> None:
    d = answering(NO_CANCEL)
    d.start()
    d.report(d.cleared[0], ms=300, cut=True)
    d.sound(3000)
    d.advance(30)
    assert object_of(d.one("response.done"), "response")["status"] == "cancelled"
    d.done(usage=USAGE)
    assert [b.meters for b in d.booked if b.provider_ref] == [{Meter.TOKENS_TEXT_IN: 7, Meter.TOKENS_TEXT_OUT: 3}]
    assert d.booked[-1].meters[Meter.AUDIO_GENERATED_MS] == 4000
    assert not d.faults


def test_the_next_answer_waits_for_an_uncancelled_one() -> None:
    d = answering(NO_CANCEL)
    d.start()
    d.report(d.cleared[0], ms=300, cut=True)
    d.speak()
    d.stop()
    d.advance(10)
    assert "response.create" not in d.sent_types
    d.done()
    assert d.sent_types[-1] == "response.create"


def test_an_uncancelled_response_without_an_end_is_given_up() -> None:
    d = answering(NO_CANCEL)
    d.start()
    d.report(d.cleared[0], ms=300, cut=True)
    d.advance(121)
    assert d.faults == ["response_timeout"]


def test_the_client_may_cancel_what_the_provider_cannot() -> None:
    d = answering(NO_CANCEL)
    d.client("response.cancel")
    assert d.cleared
    assert "error" not in d.shown
    assert "response.cancel" not in d.sent_types


# --- truncate


def test_a_provider_that_cannot_truncate_is_not_asked_to_and_the_client_knows_what_was_heard() -> None:
    d = answering(NO_TRUNCATE)
    d.start()
    d.report(d.cleared[0], ms=300, cut=True)
    assert "conversation.item.truncate" not in d.sent_types
    assert d.one("conversation.item.truncated")["audio_end_ms"] == 300
    assert d.missing == ["truncate"]


def test_a_missing_capability_is_counted_once_a_session() -> None:
    d = answering(replace(NO_TRUNCATE, cancel=False))
    for number in (2, 3):
        d.start()
        d.report(d.cleared[-1], ms=300, cut=True)
        d.done(f"resp_P{number - 1}")
        d.speak()
        d.stop()
        d.created(f"resp_P{number}")
        d.message(f"resp_P{number}", f"item_P{number}")
        d.sound(500, f"resp_P{number}", f"item_P{number}")
    assert d.missing == ["cancel", "truncate"]


def test_the_clients_own_truncation_is_refused() -> None:
    d = answering(NO_TRUNCATE)
    d.client("conversation.item.truncate", item_id="item_x", content_index=0, audio_end_ms=0, event_id="mine")
    assert (d.error["code"], d.error["event_id"]) == ("unsupported_by_provider", "mine")
    assert "cannot truncate" in str(d.error["message"])


def test_a_deletion_is_refused_where_the_provider_cannot_delete() -> None:
    d = answering(replace(CAPABILITIES, delete=False))
    d.client("conversation.item.delete", item_id="item_x", event_id="mine")
    assert (d.error["code"], d.error["event_id"]) == ("unsupported_by_provider", "mine")
    assert "conversation.item.delete" not in d.sent_types


# --- transcription and tools


@pytest.mark.parametrize(
    ("capabilities", "session", "param"),
    [
        (NO_TRANSCRIPTION, with_input(transcription={"model": "whisper-1"}), "session.audio.input.transcription"),
        (NO_TRANSCRIPTION, with_input(transcription={}), "session.audio.input.transcription"),
        (NO_TOOLS, {"tools": [TOOL]}, "session.tools"),
        (NO_TOOLS, {"tool_choice": "required"}, "session.tool_choice"),
        (NO_TOOLS, {"tool_choice": {"type": "function", "name": "look"}}, "session.tool_choice"),
        (NO_TURNS, with_input(turn_detection=None), "session.audio.input.turn_detection"),
        (
            NO_TURNS,
            with_input(turn_detection={"type": "server_vad", "create_response": False}),
            "session.audio.input.turn_detection",
        ),
    ],
)
def test_what_the_provider_lacks_is_refused_with_a_sentence(
    capabilities: Capabilities, session: Json, param: str
) -> None:
    d = drive(capabilities)
    d.client("session.update", session=session)
    assert (d.error["code"], d.error["param"]) == ("unsupported_by_provider", param)
    assert str(d.error["message"]).startswith("This provider ")
    assert "session.updated" not in d.shown
    assert not d.sent_types
    assert len(d.missing) == 1


@pytest.mark.parametrize(
    ("capabilities", "session"),
    [
        (NO_TRANSCRIPTION, with_input(transcription={"model": "whisper-1"})),
        (NO_TOOLS, {"tools": [TOOL], "instructions": "Be kind."}),
        (NO_TURNS, with_input(turn_detection=None, noise_reduction=None)),
    ],
)
def test_what_a_grant_asks_for_in_vain_is_left_out_and_the_client_is_told(
    capabilities: Capabilities, session: Json
) -> None:
    d = Drive(core_of(session, capabilities=capabilities))
    d.record(d.core.started(now=d.now))
    d.open()
    assert d.shown == ["session.created", "error"]
    shown = object_of(d.one("session.created"), "session")
    assert shown["tools"] == []
    assert audio_of(shown, "input")["transcription"] is None
    assert isinstance(audio_of(shown, "input")["turn_detection"], dict)
    configured = object_of(d.sent("session.update"), "session")
    assert "tools" not in configured
    assert "transcription" not in audio_of(configured, "input")


@pytest.mark.parametrize(
    "session", [with_input(transcription=None), {"tools": []}, with_input(turn_detection={"type": "server_vad"})]
)
def test_what_asks_for_nothing_is_not_refused(session: Json) -> None:
    d = drive(replace(NO_TOOLS, transcription=False, manual_turns=False))
    d.client("session.update", session=session)
    if d.sent_types:
        d.confirm()
    assert d.shown == ["session.updated"]


def test_tools_of_one_response_are_refused_too() -> None:
    d = drive(NO_TOOLS)
    d.client("response.create", response={"tools": [TOOL]})
    assert d.error["param"] == "response.tools"
    assert not d.sent_types


# --- manual turns


def test_a_provider_that_takes_the_turns_by_itself_is_told_nothing_of_ours() -> None:
    d = Drive(core_of(capabilities=NO_TURNS))
    d.record(d.core.started(now=d.now))
    d.open()
    assert "turn_detection" not in audio_of(object_of(d.sent("session.update"), "session"), "input")
    d.forget().utter()
    assert set(d.sent_types) == {"append"}
    assert d.shown[:3] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
    ]


def test_silence_behind_an_utterance_lets_the_providers_detector_hear_the_end() -> None:
    d = drive(NO_TURNS)
    d.utter(10)
    sent = [c.pcm for c in d.commands if isinstance(c, AppendAudio)]
    assert len(sent[-1]) == 32 * 1000
    assert not any(sent[-1])
    d.record(d.core.ended(now=d.now))
    assert d.booked[-1].meters[Meter.AUDIO_SENT_MS] == 1200


def test_the_providers_own_turn_becomes_the_item_that_the_client_knows() -> None:
    d = drive(NO_TURNS)
    d.utter()
    d.utter()
    last = d.named("input_audio_buffer.committed")[-1].event["item_id"]
    content: Json = {"type": "input_audio", "transcript": None}
    item: Json = {"id": "item_PU1", "type": "message", "role": "user", "status": "completed", "content": [content]}
    d.provider("input_audio_buffer.committed", item_id="item_PU1", previous_item_id=None)
    d.provider("conversation.item.added", item=item, previous_item_id=None)
    assert object_of(d.one("conversation.item.added"), "item")["id"] == last


def test_a_barge_in_stops_the_answer_of_a_provider_that_takes_the_turns_by_itself() -> None:
    d = answering(NO_TURNS)
    d.start()
    d.report(d.cleared[0], ms=300, cut=True)
    d.speak()
    d.stop()
    assert [name for name in d.sent_types if name != "append"] == ["response.cancel", "conversation.item.truncate"]
    d.done(status="cancelled")
    d.created("resp_P2")
    assert d.shown[-1] == "response.created"


@pytest.mark.parametrize("kind", ["input_audio_buffer.commit", "input_audio_buffer.clear"])
def test_the_client_cannot_take_turns_where_the_provider_does(kind: str) -> None:
    d = drive(NO_TURNS)
    d.client(kind)
    assert d.error["code"] == "unsupported_by_provider"
    assert not d.sent_types


def test_a_splinter_or_an_abandoned_utterance_clears_nothing() -> None:
    d = drive(NO_TURNS)
    d.utter(2)
    d.start()
    d.speak(2)
    d.record(d.core.utterance_abandoned(now=d.now))
    assert set(d.sent_types) == {"append"}


# --- rates and meters


def test_the_session_names_the_providers_own_rates() -> None:
    d = Drive(core_of(capabilities=replace(CAPABILITIES, input_hz=16_000, output_hz=48_000)))
    d.record(d.core.started(now=d.now))
    d.open()
    configured = object_of(d.sent("session.update"), "session")
    shown = object_of(d.one("session.created"), "session")
    assert [object_of(audio_of(configured, way), "format")["rate"] for way in ("input", "output")] == [16_000, 48_000]
    assert [object_of(audio_of(shown, way), "format")["rate"] for way in ("input", "output")] == [24_000, 24_000]


def test_a_provider_that_bills_by_duration_is_booked_by_duration_alone() -> None:
    d = answering(replace(CAPABILITIES, meter="duration"))
    d.record(d.core.ending(now=d.now))
    assert d.core.is_settled(now=d.now), "nothing is awaits_usage"
    d.done(usage=USAGE)
    assert not [b for b in d.booked if b.provider_ref]
    assert d.booked[-1].meters[Meter.AUDIO_GENERATED_MS] == 1000


def test_events_for_the_client_do_not_depend_on_cancel_and_truncate() -> None:
    seen = []
    for capabilities in (CAPABILITIES, replace(NO_CANCEL, truncate=False)):
        d = answering(capabilities)
        d.start()
        d.report(d.cleared[0], ms=300, cut=True)
        d.done(status="cancelled")
        seen.append([c.event["type"] for c in d.commands if isinstance(c, PublishEvent)])
    assert seen[0] == seen[1]
