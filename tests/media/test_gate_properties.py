"""What holds of the gate for any scores, levels and changes of the turn detection."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contracts.audio import PcmFrame
from services.contracts.turn_detection import DetectsTurns
from services.media.core.speech.gate import Forward, GateClosed, GateEvent, GateOpened, VadGate
from services.media.core.speech.gate_config import GateConfig

SPAN = st.tuples(
    st.sampled_from([0.0, 0.05, 0.2, 0.5, 0.9, 1.0]),
    st.sampled_from([-100.0, -70.0, -50.0, -30.0, -10.0, math.inf]),
    st.booleans(),
    st.integers(1, 30),
)
"""Frames of one score, one level, with or without an answer that plays."""
CHANGE = st.builds(
    DetectsTurns,
    automatic=st.booleans(),
    threshold=st.floats(0, 1),
    prefix_padding_ms=st.sampled_from([0, 100, 200, 600]),
    silence_duration_ms=st.sampled_from([20, 200, 500, 900]),
    interrupt_response=st.booleans(),
)
ACTION = st.one_of(SPAN, CHANGE, st.sampled_from(["commit", "clear", "lost", "timer", "gap"]))
CONFIG = GateConfig(max_utterance_frames=150)


class GateRun:
    """A gate, its clock, and what it did."""

    def __init__(self) -> None:
        self.gate = VadGate(CONFIG)
        self.index = 0
        self.skipped = 0
        self.events: list[GateEvent] = []

    def do(self, action: object) -> None:
        now = self.index / 50
        match action:
            case tuple((score, level, playing, frames)):
                for _ in range(frames):
                    frame = PcmFrame(self.index, b"")
                    self.events += self.gate.on_frame(
                        frame, probability=score, level_dbfs=level, playing=playing, now=self.index / 50
                    )
                    self.index += 1
            case DetectsTurns():
                self.events += self.gate.configure(CONFIG.with_turn_detection(action))
            case "commit":
                self.events += self.gate.on_client_commit()
            case "clear":
                self.events += self.gate.on_client_clear()
            case "lost":
                self.events += self.gate.on_packets_lost()
            case "timer":
                self.events += self.gate.on_timer(now=now + 10)
            case _:
                self.index += 25
                self.skipped += 25

    def sent(self) -> list[int]:
        return [event.frame.index for event in self.events if isinstance(event, Forward)]


@given(st.lists(ACTION, max_size=12))
def test_every_frame_is_sent_or_gated_exactly_once_and_in_order(actions: list[object]) -> None:
    run = GateRun()
    for action in actions:
        run.do(action)
        assert run.gate.sent_frames == len(run.sent())
        assert run.gate.sent_frames + run.gate.gated_frames <= run.index - run.skipped
    run.events += run.gate.hang_up()
    assert all(earlier < later for earlier, later in pairwise(run.sent()))
    assert run.gate.sent_frames + run.gate.gated_frames == run.index - run.skipped


@given(st.lists(ACTION, max_size=12))
def test_openings_and_closings_alternate_and_tell_where_they_are(actions: list[object]) -> None:
    run = GateRun()
    for action in actions:
        run.do(action)
    run.events += run.gate.hang_up()
    opened: GateOpened | None = None
    index = 0
    for event in run.events:
        if isinstance(event, GateOpened):
            assert opened is None
            assert index <= event.index <= event.onset_index
            opened, index = event, event.index
        elif isinstance(event, GateClosed):
            assert opened is not None
            assert event.index == index
            assert opened.onset_index < event.speech_end_index
            opened = None
        elif isinstance(event, Forward):
            assert event.frame.index >= index
            index = event.frame.index + 1
    assert opened is None


@given(st.lists(SPAN, max_size=12))
def test_nothing_is_missing_between_the_pre_roll_and_the_end_of_an_utterance(spans: list[object]) -> None:
    run = GateRun()
    for span in spans:
        run.do(span)
    run.events += run.gate.hang_up()
    utterance: list[int] = []
    for event in run.events:
        if isinstance(event, GateOpened):
            utterance = []
        elif isinstance(event, Forward):
            utterance.append(event.frame.index)
        elif isinstance(event, GateClosed):
            assert utterance == list(range(utterance[0], utterance[0] + len(utterance)))
            assert event.speech_end_index <= event.index == utterance[-1] + 1


@given(st.lists(SPAN, max_size=12), st.sampled_from([-30.0, math.inf]))
def test_speech_that_goes_on_is_sent_whatever_was_before_also_when_it_is_quieter(
    spans: list[object], level: float
) -> None:
    run = GateRun()
    run.gate = VadGate(GateConfig())
    for span in spans:
        run.do(span)
    start = run.index
    run.do((0.95, level, False, 60))
    assert set(range(start, run.index)) <= set(run.sent())


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 30)), max_size=8), st.floats(0.1, 0.9), st.floats(0.1, 0.9))
def test_a_lower_threshold_opens_no_later(spans: list[tuple[float, int]], one: float, other: float) -> None:
    def opens(threshold: float) -> float:
        run = GateRun()
        run.do(DetectsTurns(threshold=threshold))
        for score, frames in spans:
            run.do((score, -30.0, False, frames))
            if run.gate.is_open or run.events:
                return run.index
        return math.inf

    assert opens(min(one, other)) <= opens(max(one, other))


@pytest.mark.parametrize("level", [-30.0, -48.0, -58.0])
def test_a_caller_who_hands_the_phone_to_a_quieter_one_is_heard_at_once(level: float) -> None:
    run = GateRun()
    run.do((0.95, -30.0, False, 100))
    run.do((0.0, -75.0, False, 40))
    start = run.index
    run.do((0.95, level, False, 100))
    assert set(range(start, run.index)) <= set(run.sent())


def test_a_caller_who_moves_away_while_speaking_is_heard() -> None:
    run = GateRun()
    start = run.index
    for step in range(20):
        run.do((0.95, -20.0 - 1.5 * step, False, 25))
    assert set(range(start, run.index)) <= set(run.sent())
    assert not any(isinstance(event, GateClosed) and event.reason == "speech_end" for event in run.events)
