"""Whole turns: the events for the client and for the provider."""

from pydantic import JsonValue

from services.contracts.frame import Flag
from services.contracts.usage import Meter
from tests.upstream.drive import Drive, Json, object_of, strings, visible

ANSWERED = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio_transcript.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
]


def test_a_turn_is_committed_and_asks_for_a_response() -> None:
    drive = Drive().ready()
    drive.utter(frames=10)
    assert drive.sent_types == ["append"] * 10 + ["input_audio_buffer.commit", "response.create"]
    assert drive.shown == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
    ]
    assert drive.one("input_audio_buffer.speech_stopped")["audio_end_ms"] == 200
    assert len({str(e.event["item_id"]) for e in drive.events}) == 1


def test_an_answer_is_shown_in_the_order_of_the_wire() -> None:
    drive = Drive().ready()
    drive.utter()
    drive.forget().answer()
    assert drive.shown == ANSWERED
    assert [e.sequence for e in drive.events] == sorted({e.sequence for e in drive.events})


def test_the_client_never_sees_an_id_of_the_provider() -> None:
    drive = Drive().ready()
    drive.utter()
    drive.provider("input_audio_buffer.committed", item_id="item_PU", previous_item_id=None)
    drive.answer()
    assert not [s for e in drive.events for s in strings(e.event) if "P1" in s or "PU" in s or "theirs" in s]


def test_the_user_item_keeps_the_id_that_speech_started_had() -> None:
    drive = Drive().ready()
    drive.utter()
    ours = drive.one("input_audio_buffer.speech_started")["item_id"]
    drive.provider("input_audio_buffer.committed", item_id="item_PU", previous_item_id=None)
    content: JsonValue = [{"type": "input_audio", "transcript": None}]
    item: Json = {"id": "item_PU", "type": "message", "role": "user", "content": content}
    drive.provider("conversation.item.added", item={**item, "status": "in_progress"}, previous_item_id=None)
    drive.provider("conversation.item.done", item={**item, "status": "completed"}, previous_item_id=None)
    shown = object_of(drive.one("conversation.item.added"), "item")
    assert shown["id"] == ours
    assert shown["content"] == [{"type": "input_audio", "transcript": None}]
    assert object_of(drive.one("conversation.item.done"), "item")["id"] == ours


def test_words_are_stamped_with_the_time_they_are_spoken() -> None:
    drive = Drive().ready()
    drive.answer("Hello there", ms=1000)
    first, second = drive.named("response.output_audio_transcript.delta")
    assert (first.event["delta"], second.event["delta"]) == ("Hello", " there")
    assert (first.position, second.position) == (5 * 1600, 11 * 1600)
    assert first.flags == Flag.CUTTABLE


def test_the_pace_is_learnt_from_finished_items() -> None:
    drive = Drive().ready()
    drive.answer("a" * 20, ms=1000)  # 50 ms a character
    drive.forget().answer("b" * 10, ms=500, rid="resp_P2", iid="item_P2")
    assert drive.named("response.output_audio_transcript.delta")[0].position == 10 * 50 * 24


def test_endings_wait_for_the_end_of_the_sound() -> None:
    drive = Drive().ready()
    item = drive.answer(ms=1000)
    for kind in ANSWERED[6:]:
        event = drive.named(kind)[0]
        assert (event.item_id, event.position, event.flags) == (item, 24_000, Flag.CUTTABLE), kind


def test_audio_goes_down_with_positions_and_an_end() -> None:
    drive = Drive().ready()
    drive.created()
    drive.message()
    drive.sound(100)
    drive.sound(50)
    drive.message_done("Hi")
    assert [(a.position, len(a.pcm), a.end) for a in drive.audio] == [
        (0, 4800, False),
        (2400, 2400, False),
        (3600, 0, True),
    ]


def test_barge_in_stops_the_provider_and_ends_the_answer_where_it_was_heard() -> None:
    drive = Drive().ready()
    drive.utter()
    drive.created()
    drive.message()
    drive.words("One two three four")
    drive.sound(3000)
    item = drive.items[0]
    drive.report(item, ms=600, heard_ms=500, cut=True)
    drive.start()
    assert drive.sent_types[-3:] == ["response.cancel", "conversation.item.truncate", "input_audio_buffer.clear"]
    assert drive.sent("response.cancel")["response_id"] == "resp_P1"
    truncate = drive.sent("conversation.item.truncate")
    assert (truncate["item_id"], truncate["audio_end_ms"]) == ("item_P1", 500)
    assert drive.one("conversation.item.truncated")["audio_end_ms"] == 500
    # 600 ms were played: 9 characters at the start pace
    assert drive.one("response.output_audio_transcript.done")["transcript"] == "One two"
    assert "response.done" not in drive.shown  # the provider has not counted yet
    drive.done(status="cancelled", usage={"total_tokens": 5, "input_tokens": 3, "output_tokens": 2})
    response = object_of(drive.one("response.done"), "response")
    assert response["status"] == "cancelled"
    assert response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert object_of(response, "usage")["total_tokens"] == 5


def test_barge_in_after_the_provider_has_finished_rewrites_only_what_was_not_shown() -> None:
    drive = Drive().ready()
    item = drive.answer("One two three four", ms=3000)
    drive.report(item, ms=600, heard_ms=540, cut=True)
    assert "response.cancel" not in drive.sent_types
    assert drive.sent("conversation.item.truncate")["audio_end_ms"] == 540
    seen = visible(drive, item, played=600 * 24)
    assert [kind for kind in ANSWERED[6:] if seen.count(kind) != 1] == []
    response = object_of(drive.named("response.done")[-1].event, "response")
    assert response["status"] == "cancelled"
    assert "three" not in str(response["output"])


def test_a_second_cut_report_of_an_item_changes_nothing() -> None:
    drive = Drive().ready()
    item = drive.answer(ms=3000)
    drive.report(item, ms=600, cut=True)
    assert drive.forget().report(item, ms=600, cut=True) == []


def test_an_item_that_was_played_to_its_end_is_over() -> None:
    drive = Drive().ready()
    item = drive.answer(ms=1000)
    drive.report(item, ms=1000)
    drive.forget().start()
    assert drive.sent_types == []
    assert drive.cleared == []


def test_deltas_of_a_stopped_response_are_thrown_away_and_counted() -> None:
    drive = Drive().ready()
    drive.created()
    drive.message()
    drive.sound(1000)
    drive.report(drive.items[0], ms=100, cut=True)
    drive.forget().sound(500)
    drive.words("never heard")
    assert drive.commands == []
    drive.done(status="cancelled")
    assert drive.booked[-1].meters[Meter.AUDIO_GENERATED_MS] == 1500


def test_an_utterance_before_any_sound_cancels_and_is_answered_after_the_first_is_done() -> None:
    drive = Drive().ready()
    drive.utter()
    drive.created()
    drive.forget().utter()
    assert [t for t in drive.sent_types if t != "append"] == ["response.cancel", "input_audio_buffer.commit"]
    drive.forget().done(status="cancelled")
    assert drive.sent_types == ["response.create"]
    assert object_of(drive.one("response.done"), "response")["status"] == "cancelled"


def test_sound_on_its_way_when_the_caller_speaks_is_cleared() -> None:
    drive = Drive().ready()
    drive.created()
    drive.message()
    drive.sound(200)
    drive.forget().start()
    assert len(drive.cleared) == 1
    assert "conversation.item.truncated" not in drive.shown  # until media reports what was heard
    drive.done(status="cancelled")
    assert "response.done" not in drive.shown
    drive.report(drive.cleared[0], ms=0, cut=True, by_caller=False)
    assert drive.shown[-1] == "response.done"
    assert drive.sent("conversation.item.truncate")["audio_end_ms"] == 0


def test_a_stop_that_the_provider_does_not_answer_comes_to_its_end() -> None:
    drive = Drive().ready()
    drive.created()
    drive.message()
    drive.sound(200)
    drive.report(drive.items[0], ms=100, cut=True)
    drive.start()
    drive.forget().advance(0.9)
    assert drive.shown == []
    drive.advance(0.2)
    assert drive.shown == ["response.done"]
    drive.forget().utter()
    assert "response.create" not in drive.sent_types
    drive.advance(4)
    assert drive.faults == ["response_timeout"]
    assert drive.sent_types[-1] == "response.create"


def test_a_stop_waits_for_medias_word_on_what_was_heard() -> None:
    drive = Drive().ready()
    drive.created()
    drive.message()
    drive.sound(200)
    drive.start()
    drive.forget().advance(3)
    assert drive.shown == []


def test_a_response_that_was_never_created_is_stopped_when_it_comes() -> None:
    drive = Drive().ready()
    drive.utter()
    drive.utter()
    assert drive.sent_types.count("response.create") == 1
    drive.forget().created()
    assert drive.sent_types == ["response.cancel"]
    drive.done(status="cancelled")
    assert drive.sent_types == ["response.cancel", "response.create"]


def test_a_splinter_is_cleared_and_never_committed() -> None:
    drive = Drive().ready()
    drive.utter(frames=4)
    assert drive.sent_types == ["append"] * 4 + ["input_audio_buffer.clear"]
    assert "input_audio_buffer.committed" not in drive.shown
    assert drive.provider("input_audio_buffer.cleared") == []


def test_an_utterance_without_audio_says_nothing_to_the_provider() -> None:
    drive = Drive().ready()
    drive.utter(frames=0)
    assert drive.sent_types == []


def test_audio_outside_an_utterance_and_an_end_without_a_start_are_left() -> None:
    drive = Drive().ready()
    assert drive.speak(3) == []
    assert drive.stop() == []
