from services.contracts.audio import PcmFrame
from services.gate.core.decisions import Decisions
from services.media.core.speech.gate import EagerEnded, Forward, GateClosed, GateOpened, TurnResumed


def sent(*indices: int) -> list[Forward]:
    return [Forward(PcmFrame(index, b"")) for index in indices]


def test_decisions_are_stretches_and_moments_of_the_recording() -> None:
    found = Decisions()
    found.record([])
    found.record([GateOpened(0, 1, 0.02), *sent(0, 1)])
    found.record(sent(2))
    found.record([EagerEnded(3, 3, 20)])
    found.record([TurnResumed(4), *sent(4)])
    found.record([EagerEnded(5, 5, 20)])
    found.record([GateClosed("speech_end", 5, 5, 0.1)])
    assert found.sent == [[0, 60], [80, 100]]
    assert found.opens == [{"ms": 40, "cause": "speech"}]
    assert found.closes == [{"ms": 140, "reason": "speech_end"}]
    assert found.turn_ends_ms == [140]
    assert (found.eager_ends, found.taken_back) == (2, 1)
    assert (found.sent_ms, found.share_saved) == (80, 1 - 80 / 140)


def test_the_end_of_the_recording_ends_no_turn() -> None:
    found = Decisions()
    found.record([GateOpened(0, 0, 0.0), *sent(0)])
    found.finish([GateClosed("hangup", 1, 1, 0.02)])
    assert (found.closes, found.turn_ends_ms) == ([{"ms": 20, "reason": "hangup"}], [])


def test_nothing_of_an_empty_recording_is_saved() -> None:
    assert Decisions().share_saved == 0
