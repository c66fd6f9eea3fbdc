from typing import Any

import pytest

from services.contracts.frame import Flag, Kind, encode_server_event
from services.contracts.ids import Epoch
from services.contracts.messages import PlayoutReport, expect
from services.media.core.conversation import downlink
from services.media.core.conversation.playout import MAX_REMEMBERED_ITEMS
from tests.media.drawn import A, B, Drawn, dropped, kinds, shown, types, ups


def test_playout_is_framed_by_started_and_stopped_of_its_response() -> None:
    drawn = Drawn()
    drawn.answering(2)
    assert types(drawn.draw(">")) == ["output_audio_buffer.started"]
    over = drawn.draw(">")
    assert shown(over)[0]["response_id"] == "resp_a"
    assert types(over) == ["output_audio_buffer.stopped"]
    (report,) = ups(over, Kind.PLAYOUT_REPORT)
    assert (report.position, report.item_id) == (960, A)
    assert expect(PlayoutReport, report.payload) == PlayoutReport(heard_ms=40)


def test_events_at_the_end_of_an_item_come_before_stopped() -> None:
    drawn = Drawn()
    drawn.answering(1)
    drawn.event({"type": "response.done"}, item_id=A, position=480, flags=Flag.CUTTABLE)
    assert types(drawn.draw(">")) == ["output_audio_buffer.started", "response.done", "output_audio_buffer.stopped"]


def test_without_a_known_response_nothing_is_authored() -> None:
    drawn = Drawn()
    drawn.call.channel_opened()
    drawn.event({"type": "response.content_part.added", "response_id": 5, "item_id": A})
    drawn.event({"type": "x", "of": "response.content_part.added"})
    drawn.audio(A, 1)
    assert shown(drawn.draw(">")) == []


def test_content_part_names_the_response_too() -> None:
    drawn = Drawn()
    drawn.call.channel_opened()
    drawn.event({"type": "response.content_part.added", "response_id": "resp_b", "item_id": B})
    drawn.audio(B, 1)
    assert {event["response_id"] for event in shown(drawn.draw(">"))} == {"resp_b"}


def test_a_transcript_follows_its_sound() -> None:
    drawn = Drawn()
    drawn.answering(3)
    assert drawn.event({"type": "delta"}, item_id=A, position=960) == []
    assert types(drawn.draw(">")) == ["output_audio_buffer.started"]
    assert types(drawn.draw(">")) == ["delta"]


def test_playout_is_reported_every_200_ms() -> None:
    drawn = Drawn()
    drawn.answering(30)
    reports = ups(drawn.draw(">" * 20), Kind.PLAYOUT_REPORT)
    assert [report.position for report in reports] == [4800, 9600]
    assert [expect(PlayoutReport, report.payload).heard_ms for report in reports] == [120, 320]


def test_an_end_that_comes_late_still_ends_the_item() -> None:
    drawn = Drawn()
    drawn.answering(1, end=False)
    drawn.draw(">")
    commands = drawn.audio(A, 0, position=480)
    assert types(commands) == ["output_audio_buffer.stopped"]
    assert kinds(commands) == [Kind.PLAYOUT_REPORT]


def test_an_item_without_sound_is_over_without_stopped() -> None:
    drawn = Drawn()
    drawn.answering(0, end=False)
    commands = drawn.audio(A, 0)
    assert types(commands) == []
    assert kinds(commands) == [Kind.PLAYOUT_REPORT]


def test_nothing_to_play_is_nothing() -> None:
    drawn = Drawn()
    assert drawn.call.pull(now=1.0) == (None, [])


def test_only_so_many_responses_and_ends_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downlink, "MAX_REMEMBERED_ITEMS", 1)
    drawn = Drawn()
    for item in (A, B):
        drawn.event({"type": "response.content_part.added", "response_id": "resp", "item_id": item})
        drawn.audio(item, 0)
    assert kinds(drawn.frame(Kind.CLEAR, item_id=A)) == []
    assert MAX_REMEMBERED_ITEMS > 1


def test_what_the_worker_says_again_is_left_and_not_held_against_it() -> None:
    drawn = Drawn()
    drawn.answering(1)
    drawn.draw(">")
    assert kinds(drawn.frame(Kind.CLEAR, item_id=A)) == [Kind.PLAYOUT_REPORT]
    assert drawn.frame(Kind.CLEAR, item_id=A, flags=Flag.RESENT) == []
    drawn.sequence = 0
    assert drawn.event({"type": "x"}, flags=Flag.RESENT) == []
    assert drawn.call.down.events.out_of_sequence == 0
    assert drawn.audio(A, 1) == []


def test_frames_of_an_older_owner_are_dropped() -> None:
    assert dropped(Drawn().frame(Kind.ALIVE, epoch=Epoch(6))) == ["stale_epoch"]


@pytest.mark.parametrize(
    ("kind", "fields", "reason"),
    [
        (Kind.AUDIO_DOWN, {}, "malformed"),
        (Kind.AUDIO_DOWN, {"item_id": A, "position": 2**63}, "malformed"),
        (Kind.SERVER_EVENT, {"payload": b"short"}, "malformed"),
        (Kind.SERVER_EVENT, {"payload": encode_server_event(1, b"\xff")}, "malformed"),
        (Kind.AUDIO_UP, {}, "wrong_way"),
    ],
)
def test_frames_that_make_no_sense_are_dropped(kind: Kind, fields: dict[str, Any], reason: str) -> None:
    assert dropped(Drawn().frame(kind, **fields)) == [reason]
