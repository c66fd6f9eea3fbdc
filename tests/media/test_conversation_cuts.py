import json

import pytest

from services.contracts.audio import DOWN_FRAME_SAMPLES
from services.contracts.frame import Flag, Kind
from services.contracts.messages import PlayoutReport, expect
from services.media.core.commands import CountGateOpen
from tests.media.drawn import A, B, Drawn, kinds, shown, types, ups


def test_a_barge_in_stops_playout_before_anything_else_goes_up() -> None:
    drawn = Drawn()
    drawn.answering()
    drawn.draw(">>>>>>>>>")
    drawn.event({"type": "unheard"}, item_id=A, position=48_000, flags=Flag.CUTTABLE)
    drawn.event({"type": "kept"}, item_id=A, position=48_000)
    commands = drawn.draw("sss")
    assert types(commands) == ["kept", "output_audio_buffer.cleared"]
    assert kinds(commands)[:3] == [Kind.PLAYOUT_REPORT, Kind.UTTERANCE_START, Kind.AUDIO_UP]
    (report,) = ups(commands, Kind.PLAYOUT_REPORT)
    assert report.position == 9 * DOWN_FRAME_SAMPLES
    cut = PlayoutReport(heard_ms=160, cut=True, cause="barge_in", received=3)
    assert expect(PlayoutReport, report.payload) == cut
    fade, _ = drawn.call.pull(now=drawn.now)
    assert fade is not None
    assert fade.item_id is None
    assert drawn.call.pull(now=drawn.now) == (None, [])


@pytest.mark.parametrize(("drawing", "left"), [(">>>>>>>>>>", 10), ("=====", 10), (">=====", 11)])
def test_what_was_heard_goes_by_the_clock_also_when_frames_leave_in_pairs(drawing: str, left: int) -> None:
    drawn = Drawn()
    drawn.answering()
    began = drawn.now
    drawn.draw(drawing)
    drawn.now = began + 0.2 + 0.015
    (report,) = ups(
        drawn.call.on_client_message(json.dumps({"type": "output_audio_buffer.clear"}), now=drawn.now),
        Kind.PLAYOUT_REPORT,
    )
    assert report.position == left * DOWN_FRAME_SAMPLES
    assert expect(PlayoutReport, report.payload).heard_ms == 215 - 60


def test_reports_come_every_200_ms_also_when_frames_leave_in_pairs() -> None:
    for drawing in (">" * 31, "=" * 15 + ">"):
        drawn = Drawn()
        drawn.answering()
        reports = ups(drawn.draw(drawing), Kind.PLAYOUT_REPORT)
        assert [report.position // DOWN_FRAME_SAMPLES for report in reports] == [10, 20, 30]


def test_a_click_during_an_answer_does_not_stop_it() -> None:
    drawn = Drawn()
    drawn.answering()
    assert kinds(drawn.draw(">ss.>>")) == []


def test_a_barge_in_is_measured_from_its_onset() -> None:
    drawn = Drawn(delay_ms=80)
    drawn.answering()
    (opened,) = [command for command in drawn.draw(">.sss") if isinstance(command, CountGateOpen)]
    assert opened.barge_in_stop_s == pytest.approx(0.04 + 0.08)


def test_items_that_wait_behind_are_cut_unheard_and_not_cleared() -> None:
    drawn = Drawn()
    drawn.answering()
    drawn.audio(B, 5)
    commands = drawn.draw(">sss")
    assert types(commands).count("output_audio_buffer.cleared") == 1
    assert [(up.item_id, expect(PlayoutReport, up.payload).heard_ms) for up in ups(commands, Kind.PLAYOUT_REPORT)] == [
        (A, 0),
        (B, 0),
    ]


def test_speech_with_nothing_playing_is_no_barge_in() -> None:
    (opened,) = [command for command in Drawn().draw("ss") if isinstance(command, CountGateOpen)]
    assert opened.barge_in_stop_s is None


def test_a_client_clears_the_output_and_upstream_hears_of_it_by_the_report_only() -> None:
    drawn = Drawn()
    drawn.answering()
    drawn.draw(">")
    commands = drawn.call.on_client_message('{"type":"output_audio_buffer.clear"}', now=drawn.now)
    assert types(commands) == ["output_audio_buffer.cleared"]
    (report,) = ups(commands, Kind.PLAYOUT_REPORT)
    assert kinds(commands) == [Kind.PLAYOUT_REPORT]
    assert expect(PlayoutReport, report.payload).cause == "client_clear"


def test_the_worker_clears_an_item() -> None:
    drawn = Drawn()
    drawn.answering()
    drawn.draw(">" * 10)
    (report,) = ups(drawn.frame(Kind.CLEAR, item_id=A), Kind.PLAYOUT_REPORT)
    cut = PlayoutReport(heard_ms=140, cut=True, cause="worker_clear", received=1)
    assert expect(PlayoutReport, report.payload) == cut


def test_clearing_an_item_that_is_over_is_answered_with_what_was_heard_of_it() -> None:
    drawn = Drawn()
    drawn.answering(2)
    drawn.draw(">>")
    (report,) = ups(drawn.frame(Kind.CLEAR, item_id=A), Kind.PLAYOUT_REPORT)
    assert expect(PlayoutReport, report.payload).heard_ms == 40


def test_clearing_no_item_in_particular_clears_all() -> None:
    drawn = Drawn()
    drawn.answering()
    assert [up.item_id for up in ups(drawn.frame(Kind.CLEAR), Kind.PLAYOUT_REPORT)] == [A]


def test_words_are_shown_as_their_sound_is_played_and_no_further_than_it_was_cut() -> None:
    drawn = Drawn()
    drawn.answering()
    for number in range(10):
        word = {"type": "response.output_audio_transcript.delta", "delta": str(number)}
        drawn.event(word, item_id=A, position=(number + 1) * 2 * DOWN_FRAME_SAMPLES, flags=Flag.CUTTABLE)
    assert [event["delta"] for event in shown(drawn.draw(">>>>>")) if "delta" in event] == ["0", "1"]
    cut = drawn.draw(">sss")
    assert [event["delta"] for event in shown(cut) if "delta" in event] == ["2"]
    assert [event for event in shown(drawn.draw(">" * 20)) if "delta" in event] == []
