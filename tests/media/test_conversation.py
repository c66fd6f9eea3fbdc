import json
from typing import Any

import numpy as np
import pytest

from services.contracts.audio import DOWN_FRAME_SAMPLES, UP_FRAME_BYTES, PcmFrame
from services.contracts.endings import EndReason
from services.contracts.frame import NO_FLAGS, Flag, Frame, Kind, encode_server_event
from services.contracts.grant import OwnEvent
from services.contracts.ids import Epoch, ItemId
from services.contracts.messages import Done, Ended, PlayoutReport, UtteranceEnd, UtteranceStart, expect
from services.contracts.usage import Meter
from services.media.core import downlink
from services.media.core.commands import (
    Command,
    CountDropped,
    CountGateClose,
    CountGateOpen,
    CountTurn,
    EndCall,
    SendEvent,
    SendUp,
)
from services.media.core.conversation import Conversation, ConversationConfig
from services.media.core.gate import GateConfig
from services.media.core.playout import MAX_REMEMBERED_ITEMS

EPOCH = Epoch(7)
A, B = ItemId("item_a"), ItemId("item_b")
GATE = GateConfig(
    onset_frames=2, barge_in_onset_frames=3, hangover_frames=4, pre_roll_frames=2, tail_frames=1, resume_frames=1
)


class Drawn:
    """A conversation whose caller is drawn: `s` is speech, `.` is not, `>` pulls a frame of the answer."""

    def __init__(self, *, events: tuple[OwnEvent, ...] = (), delay_ms: int = 0) -> None:
        config = ConversationConfig(EPOCH, 60, GATE, events, delay_ms)
        self.now = 100.0
        self.call = Conversation(config, now=self.now)
        self.index = 0
        self.sequence = 0

    def draw(self, drawing: str) -> list[Command]:
        out: list[Command] = []
        for letter in drawing:
            if letter == ">":
                out += self.call.pull(now=self.now)[1]
            else:
                frame = PcmFrame(self.index, bytes(UP_FRAME_BYTES))
                out += self.call.caller_frame(frame, speech=letter == "s", now=self.now)
                self.index += 1
            self.now += 0.02
        return out

    def frame(self, kind: Kind, position: int = 0, **fields: Any) -> list[Command]:  # noqa: ANN401 - the frame's fields
        fields.setdefault("epoch", EPOCH)
        return self.call.worker_frame(Frame(kind, position=position, sent_unix_ms=0, **fields), now=self.now)

    def audio(self, item: ItemId, frames: int, *, position: int = 0, end: bool = True) -> list[Command]:
        pcm = np.full(frames * DOWN_FRAME_SAMPLES, 1000, "<i2").tobytes()
        flags = Flag.ITEM_END if end else NO_FLAGS
        return self.frame(Kind.AUDIO_DOWN, position, item_id=item, flags=flags, payload=pcm)

    def event(self, event: dict[str, Any], **fields: Any) -> list[Command]:  # noqa: ANN401 - the frame's fields
        self.sequence += 1
        payload = encode_server_event(self.sequence, json.dumps(event).encode())
        return self.frame(Kind.SERVER_EVENT, payload=payload, **fields)

    def answering(self, frames: int = 100, *, end: bool = True) -> None:
        self.call.opened()
        self.event({"type": "response.output_item.added", "response_id": "resp_a", "item": {"id": A}})
        self.audio(A, frames, end=end)


def kinds(commands: list[Command]) -> list[Kind]:
    return [command.kind for command in commands if isinstance(command, SendUp)]


def ups(commands: list[Command], kind: Kind) -> list[SendUp]:
    return [command for command in commands if isinstance(command, SendUp) and command.kind is kind]


def shown(commands: list[Command]) -> list[dict[str, Any]]:
    return [json.loads(command.text) for command in commands if isinstance(command, SendEvent)]


def types(commands: list[Command]) -> list[str]:
    return [event["type"] for event in shown(commands)]


def dropped(commands: list[Command]) -> list[str]:
    return [command.reason for command in commands if isinstance(command, CountDropped)]


# --- up ----------------------------------------------------------------------------------------------------------


def test_an_utterance_goes_up_between_its_start_and_its_end_two_frames_to_a_message() -> None:
    commands = Drawn().draw("...ss....")
    assert kinds(commands) == [Kind.UTTERANCE_START, Kind.AUDIO_UP, Kind.AUDIO_UP, Kind.AUDIO_UP, Kind.UTTERANCE_END]
    audio = ups(commands, Kind.AUDIO_UP)
    assert [(up.position, len(up.payload) // UP_FRAME_BYTES, up.flags) for up in audio] == [
        (1, 2, Flag.PRE_ROLL),
        (3, 2, NO_FLAGS),
        (5, 1, NO_FLAGS),
    ]
    (start,), (end,) = ups(commands, Kind.UTTERANCE_START), ups(commands, Kind.UTTERANCE_END)
    assert (start.position, expect(UtteranceStart, start.payload).onset_index) == (1, 3)
    assert (end.position, expect(UtteranceEnd, end.payload).speech_end_index) == (6, 5)
    assert [command for command in commands if isinstance(command, CountGateClose)] == [CountGateClose("speech_end")]


def test_an_odd_pre_roll_is_not_mixed_with_speech() -> None:
    audio = ups(Drawn().draw(".ss"), Kind.AUDIO_UP)
    assert [(up.position, up.flags) for up in audio] == [(0, Flag.PRE_ROLL), (1, NO_FLAGS)]


def test_frames_that_do_not_follow_each_other_are_not_put_together() -> None:
    drawn = Drawn()
    drawn.draw(".sss")
    drawn.index += 5
    audio = ups(drawn.draw("s"), Kind.AUDIO_UP)
    assert [up.position for up in audio] == [3]


def test_a_client_event_does_not_overtake_audio() -> None:
    drawn = Drawn()
    drawn.draw("sss")
    commands = drawn.call.client_message('{"type": "input_audio_buffer.commit"}', now=drawn.now)
    assert kinds(commands) == [Kind.AUDIO_UP, Kind.CLIENT_EVENT]
    assert commands[1] == SendUp(Kind.CLIENT_EVENT, 3, b'{"type": "input_audio_buffer.commit"}')


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"{}", "client_event_binary"),
        ("x" * 200_000, "client_event_too_long"),
        ("{", "client_event_malformed"),
        ("[]", "client_event_malformed"),
        ('{"type": 3}', "client_event_malformed"),
        ('{"type": "\ud800"}', "client_event_malformed"),
        ("[" * 100_000, "client_event_malformed"),
        ('{"type":"hushgate.client_stats"}', "client_event_malformed"),
        ('{"type":"hushgate.client_stats","jitter_buffer_ms":NaN}', "client_event_malformed"),
        ('{"type":"hushgate.client_stats","jitter_buffer_ms":"9"}', "client_event_malformed"),
    ],
)
def test_what_is_no_event_is_dropped_with_a_reason(message: str | bytes, reason: str) -> None:
    drawn = Drawn()
    assert drawn.call.client_message(message, now=drawn.now) == [CountDropped(reason)]  # type: ignore[arg-type]


def test_a_flood_of_events_is_cut_and_recovers() -> None:
    drawn = Drawn()
    said = [drawn.call.client_message('{"type":"x"}', now=drawn.now) for _ in range(300)]
    assert sum(dropped(commands) == ["client_event_too_many"] for commands in said) == 100
    assert dropped(drawn.call.client_message('{"type":"x"}', now=drawn.now + 1)) == []


def test_a_client_that_reports_its_jitter_buffer_changes_what_was_heard_and_nothing_goes_up() -> None:
    drawn = Drawn()
    stats = '{"type":"hushgate.client_stats","jitter_buffer_ms":100.5,"round_trip_ms":40}'
    assert drawn.call.client_message(stats, now=drawn.now) == []
    assert drawn.call.down.ear.ms == 120


# --- down --------------------------------------------------------------------------------------------------------


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
    drawn.call.opened()
    drawn.event({"type": "response.content_part.added", "response_id": 5, "item_id": A})
    drawn.event({"type": "x", "of": "response.content_part.added"})
    drawn.audio(A, 1)
    assert shown(drawn.draw(">")) == []


def test_content_part_names_the_response_too() -> None:
    drawn = Drawn()
    drawn.call.opened()
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


# --- barge-in ----------------------------------------------------------------------------------------------------


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
    assert expect(PlayoutReport, report.payload) == PlayoutReport(heard_ms=160, cut=True, cause="barge_in")
    fade, _ = drawn.call.pull(now=drawn.now)
    assert fade is not None
    assert fade.item_id is None
    assert drawn.call.pull(now=drawn.now) == (None, [])


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
    commands = drawn.call.client_message('{"type":"output_audio_buffer.clear"}', now=drawn.now)
    assert types(commands) == ["output_audio_buffer.cleared"]
    (report,) = ups(commands, Kind.PLAYOUT_REPORT)
    assert kinds(commands) == [Kind.PLAYOUT_REPORT]
    assert expect(PlayoutReport, report.payload).cause == "client_clear"


def test_the_worker_clears_an_item() -> None:
    drawn = Drawn()
    drawn.answering()
    drawn.draw(">" * 10)
    (report,) = ups(drawn.frame(Kind.CLEAR, item_id=A), Kind.PLAYOUT_REPORT)
    assert expect(PlayoutReport, report.payload) == PlayoutReport(heard_ms=140, cut=True, cause="worker_clear")


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


# --- measured and shown ------------------------------------------------------------------------------------------


def test_the_first_packet_of_an_answer_is_measured_from_the_true_end_of_speech_once() -> None:
    drawn = Drawn(events=("gate",), delay_ms=80)
    drawn.draw("ss....")
    drawn.answering()
    commands = drawn.draw(">>")
    (turn,) = [command for command in commands if isinstance(command, CountTurn)]
    assert turn.latency_s == pytest.approx(0.1 + 0.08)
    (answered,) = [event for event in shown(commands) if event["type"] == "hushgate.gate"]
    assert (answered["state"], answered["latency_ms"], answered["item_id"]) == ("answered", 180, A)


def test_the_gate_is_shown_to_who_asked_for_it() -> None:
    drawn = Drawn(events=("gate",))
    drawn.answering()
    drawn.draw(">")
    events = [event for event in shown(drawn.draw(".sss....")) if event["type"] == "hushgate.gate"]
    assert [event["state"] for event in events] == ["open", "stopped", "closed"]
    opened, stopped, closed = events
    assert (opened["barge_in"], opened["at_ms"], opened["cause"]) == (True, 0, "speech")
    assert (stopped["item_id"], stopped["stop_ms"]) == (A, 40)
    assert (closed["reason"], closed["sent_ms"], closed["gated_ms"]) == ("speech_end", 100, 20)
    assert all(event["event_id"] for event in events)


def test_the_gate_is_not_shown_to_others() -> None:
    drawn = Drawn()
    drawn.call.opened()
    assert shown(drawn.draw("ss....")) == []


def test_own_events_wait_for_the_channel() -> None:
    drawn = Drawn(events=("gate",))
    assert shown(drawn.draw("ss")) == []
    assert types(drawn.call.opened()) == ["hushgate.gate"]


def test_meters_are_cumulative_milliseconds() -> None:
    drawn = Drawn()
    drawn.answering(3)
    drawn.draw("......>>")
    drawn.call.end(EndReason.HANGUP, now=drawn.now)
    assert drawn.call.meters(now=103.5) == {
        Meter.AUDIO_GATED_MS: 120,
        Meter.AUDIO_PLAYED_MS: 40,
        Meter.CALL_MS: 3500,
    }


# --- the worker --------------------------------------------------------------------------------------------------


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


def test_a_worker_ends_the_call_with_its_reason() -> None:
    commands = Drawn().frame(Kind.ENDED, payload=Ended(reason=EndReason.PROVIDER_REFUSED).encode())
    assert commands == [EndCall(EndReason.PROVIDER_REFUSED, by_worker=True)]


def test_an_ending_that_cannot_be_read_is_an_ending() -> None:
    commands = Drawn().frame(Kind.ENDED, payload=Done().encode())
    assert commands[-1] == EndCall(EndReason.PROVIDER_ERROR, by_worker=True)


# --- time and endings --------------------------------------------------------------------------------------------


def test_we_are_alive_at_once_and_after_a_second_of_nothing_else() -> None:
    drawn = Drawn()
    assert kinds(drawn.call.tick(now=100.0)) == [Kind.ALIVE]
    assert drawn.call.tick(now=100.9) == []
    drawn.call.client_message('{"type":"x"}', now=100.95)
    assert drawn.call.tick(now=101.5) == []
    assert kinds(drawn.call.tick(now=101.95)) == [Kind.ALIVE]


def test_a_leg_that_does_not_connect_within_10_s_ends_the_call() -> None:
    drawn = Drawn()
    drawn.now = 106.0
    drawn.frame(Kind.ALIVE)
    assert not any(isinstance(command, EndCall) for command in drawn.call.tick(now=109.9))
    assert drawn.call.tick(now=110.0) == [EndCall(EndReason.SETUP_TIMEOUT)]


def test_a_worker_that_is_silent_for_5_s_ends_the_call() -> None:
    drawn = Drawn()
    drawn.call.connected()
    drawn.now = 103.0
    drawn.frame(Kind.ALIVE)
    assert not any(isinstance(command, EndCall) for command in drawn.call.tick(now=107.9))
    assert drawn.call.tick(now=108.0) == [EndCall(EndReason.PROVIDER_ERROR)]


def test_a_call_ends_at_its_longest_duration() -> None:
    drawn = Drawn()
    drawn.call.connected()
    drawn.now = 159.0
    drawn.frame(Kind.ALIVE)
    assert drawn.call.tick(now=160.0) == [EndCall(EndReason.MAX_SECONDS)]


def test_missing_packets_end_an_utterance_by_the_wall_clock() -> None:
    drawn = Drawn()
    drawn.draw("sss")
    commands = drawn.call.tick(now=drawn.now + 1)
    assert kinds(commands) == [Kind.AUDIO_UP, Kind.UTTERANCE_END]
    assert expect(UtteranceEnd, ups(commands, Kind.UTTERANCE_END)[0].payload).reason == "no_packets"


def test_the_end_closes_the_utterance_tells_the_worker_and_shows_who_asked() -> None:
    drawn = Drawn(events=("gate",))
    drawn.call.opened()
    drawn.draw("sss")
    commands = drawn.call.end(EndReason.MAX_SECONDS, now=drawn.now)
    assert kinds(commands) == [Kind.AUDIO_UP, Kind.UTTERANCE_END, Kind.ENDED]
    assert shown(commands)[-1]["reason"] == "max_seconds"
    assert shown(commands)[-1]["type"] == "hushgate.ended"


def test_a_worker_that_ended_the_call_is_not_told() -> None:
    drawn = Drawn()
    assert drawn.call.end(EndReason.PROVIDER_ERROR, now=drawn.now, by_worker=True) == []


def test_after_the_end_nothing_is_accepted() -> None:
    drawn = Drawn()
    drawn.call.end(EndReason.HANGUP, now=drawn.now)
    assert drawn.call.end(EndReason.HANGUP, now=drawn.now) == []
    assert drawn.draw("sss") == []
    assert drawn.call.client_message('{"type":"x"}', now=drawn.now) == []
    assert drawn.frame(Kind.ALIVE) == []
    assert drawn.call.tick(now=drawn.now) == []
