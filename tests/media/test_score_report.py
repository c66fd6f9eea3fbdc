import json
from typing import Any

from services.contracts.audio import UP_FRAME_BYTES, PcmFrame
from services.media.core.conversation.score_report import ScoreReport
from services.media.core.speech.level import UNKNOWN_DBFS
from tests.media.drawn import Drawn, shown


def reported(scores: list[float], *, start: int = 0, report: ScoreReport | None = None) -> list[dict[str, Any]]:
    report = report or ScoreReport()
    events = (report.on_frame(index, score) for index, score in enumerate(scores, start))
    return [json.loads(event) for event in events if event is not None]


def test_200_ms_make_an_event_with_the_highest_score_of_each_step() -> None:
    (event,) = reported([0.1, 0.9, 0.123, 0.0, 1.0, 1.0, 0.0, 0.0, 0.5, 0.4])
    assert event["type"] == "hushgate.gate.score"
    assert (event["at_ms"], event["step_ms"], event["scores"]) == (0, 40, [0.9, 0.12, 1.0, 0.0, 0.5])
    assert event["event_id"]


def test_silence_is_told_once_and_again_after_speech() -> None:
    silence, speech = [0.04] * 10, [0.9] * 10
    events = reported([*silence, *silence, *speech, *silence, *silence, *speech])
    assert [(event["at_ms"], max(event["scores"])) for event in events] == [(400, 0.9), (600, 0.04), (1000, 0.9)]


def test_after_a_pause_of_the_packets_scores_are_collected_anew() -> None:
    report = ScoreReport()
    assert reported([0.9] * 7, report=report) == []
    (event,) = reported([0.5] * 10, start=100, report=report)
    assert (event["at_ms"], event["scores"]) == (2000, [0.5] * 5)


def scores_of(drawn: Drawn, frames: int) -> list[dict[str, Any]]:
    found = []
    for index in range(frames):
        frame = PcmFrame(drawn.index + index, bytes(UP_FRAME_BYTES))
        commands = drawn.call.on_caller_frame(frame, probability=0.3, level_dbfs=UNKNOWN_DBFS, now=drawn.now)
        found += [event for event in shown(commands) if event["type"] == "hushgate.gate.score"]
    return found


def test_scores_are_sent_to_who_asked_for_them_once_the_channel_is_open() -> None:
    asked, other = Drawn(events=("gate.score",)), Drawn(events=("gate",))
    assert scores_of(asked, 10) == []
    asked.call.channel_opened()
    other.call.channel_opened()
    (event,) = scores_of(asked, 10)
    assert event["scores"] == [0.3] * 5
    assert scores_of(other, 10) == []
