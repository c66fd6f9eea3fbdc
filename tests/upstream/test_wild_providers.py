"""Providers that send too much, too often, or about what does not exist."""

import base64

import pytest

from services.upstream.core import items
from tests.upstream.drive import Drive, Json

CALL: Json = {"id": "item_PF", "type": "function_call", "status": "in_progress", "call_id": "call_PF"}


def test_more_items_and_parts_than_anybody_needs_are_left() -> None:
    drive = Drive().ready()
    drive.created()
    for number in range(130):
        item: Json = {"id": f"item_P{number}x", "type": "message", "role": "assistant", "content": []}
        drive.provider("response.output_item.added", response_id="resp_P1", output_index=number, item=item)
    assert drive.faults == ["unexpected"] * 2
    where: Json = {"response_id": "resp_P1", "item_id": "item_P0x", "output_index": 0}
    for number in range(items.MAX_PARTS):
        drive.provider("response.output_text.delta", **where, content_index=number, delta="")
    for kind, more in (
        ("output_text.delta", {"delta": "x"}),
        ("output_text.done", {"text": "x"}),
        ("content_part.done", {"part": {"type": "audio"}}),
        ("output_audio.delta", {"delta": "AAAA"}),
    ):
        drive.forget().provider(f"response.{kind}", **where, content_index=999, **more)
        assert drive.faults == ["unexpected"], kind


def test_the_same_item_twice_is_shown_once() -> None:
    drive = Drive().ready()
    drive.created()
    drive.message()
    drive.message()
    assert drive.shown.count("response.output_item.added") == 1


def test_endless_text_is_left() -> None:
    drive = Drive().ready()
    drive.created()
    drive.message()
    drive.forget().words("x" * (items.MAX_CHARS + 1))
    drive.part("response.output_audio_transcript.done", transcript="x" * (items.MAX_CHARS + 1))
    drive.part("response.output_text.delta", delta="this is an audio part")
    assert drive.faults == ["unexpected"] * 3
    assert drive.events == []


def test_endless_arguments_are_left() -> None:
    drive = Drive().ready()
    drive.created()
    drive.provider("response.output_item.added", response_id="resp_P1", output_index=0, item=CALL)
    for kind, field in (("delta", "delta"), ("done", "arguments")):
        where: Json = {"response_id": "resp_P1", "item_id": "item_PF", "call_id": "call_PF"}
        endless: Json = {field: "x" * (items.MAX_CHARS + 1)}
        drive.forget().provider(f"response.function_call_arguments.{kind}", **where, **endless)
        assert drive.faults == ["unexpected"]


def test_endless_sound_is_left() -> None:
    drive = Drive().ready()
    drive.created()
    drive.message()
    for _ in range(30):
        drive.sound(60_000)
    drive.forget().sound(20)
    assert drive.faults == ["unexpected"]
    assert drive.audio == []


@pytest.mark.parametrize("delta", ["%%%", "AAA"])
def test_sound_that_is_none_is_left(delta: str) -> None:
    drive = Drive().ready()
    drive.created()
    drive.message()
    drive.forget().part("response.output_audio.delta", delta=delta)
    assert drive.faults == ["malformed"]


def test_half_a_sample_is_left() -> None:
    drive = Drive().ready()
    drive.created()
    drive.message()
    drive.forget().part("response.output_audio.delta", delta="AAAA")
    assert [len(a.pcm) for a in drive.audio] == [2]


def test_deltas_that_split_a_sample_are_joined_to_the_sound_that_they_were() -> None:
    sound = bytes(range(1, 13))
    drive = Drive().ready()
    drive.created()
    drive.message()
    drive.forget()
    for start, end in ((0, 3), (3, 4), (4, 5), (5, 6), (6, 12)):
        delta = base64.b64encode(sound[start:end]).decode()
        drive.part("response.output_audio.delta", delta=delta)
    assert b"".join(audio.pcm for audio in drive.audio) == sound
    assert [audio.position for audio in drive.audio] == [0, 1, 2, 3]


def test_events_of_what_does_not_exist_are_counted_and_left() -> None:
    drive = Drive().ready()
    drive.words("nobody's")
    drive.sound(20)
    drive.created()
    drive.forget().words("of no item")
    drive.sound(20)
    drive.part("response.function_call_arguments.delta", delta="x", call_id="c")
    drive.message()
    drive.part("response.function_call_arguments.delta", delta="x", call_id="c")
    drive.part("response.function_call_arguments.done", arguments="x", call_id="c")
    assert drive.faults == ["unexpected"] * 5


def test_a_response_is_created_and_done_once() -> None:
    drive = Drive().ready()
    drive.created()
    drive.created()
    drive.done()
    drive.done()
    assert (drive.shown, drive.faults) == (["response.created", "response.done"], ["unexpected"] * 2)


def test_an_event_that_no_data_channel_carries_becomes_an_error() -> None:
    drive = Drive().ready()
    drive.created(metadata={"note": "x" * 210_000})
    assert drive.shown == ["error"]
    assert drive.error["code"] == "event_too_large"
    assert drive.faults == ["too_large"]


def test_an_error_that_no_data_channel_carries_is_only_counted() -> None:
    drive = Drive().ready()
    drive.provider("error", error={"type": "server_error", "message": "x" * 210_000})
    assert (drive.shown, drive.faults) == ([], ["error_event", "too_large"])
