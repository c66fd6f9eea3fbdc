"""The spans that media adds to a call's trace; times are monotonic seconds."""

import pytest

from services.contracts.endings import EndReason
from services.contracts.messages import CloseReason
from services.media.core.commands import CountGateClose, CountGateOpen
from services.media.leg import LegLost, LegRecovered
from services.media.trace import CallTrace
from services.runtime.telemetry.tracing import Tracer
from tests.media.harness import HarnessOpener, an_offer
from tests.media.worker import GRANTED
from tests.spans import RecordedSpans


def traced(kept: RecordedSpans) -> CallTrace:
    return CallTrace(Tracer(kept).start_span("call"))


def closed(reason: CloseReason = "speech_end", *, at: float = 9.5) -> CountGateClose:
    return CountGateClose(reason, 40, at)


def ms(kept: RecordedSpans, name: str) -> int:
    span = kept.one(name)
    return round((span.end_ns - span.start_ns) / 1e6)


def test_a_turn_lasts_from_the_true_end_of_speech_to_the_first_packet() -> None:
    kept = RecordedSpans()
    trace = traced(kept)
    trace.gate_closed(closed(at=9.5), now=10.0)
    trace.answered(now=10.3)
    assert (ms(kept, "hangover"), ms(kept, "turn")) == (500, 800)
    assert kept.one("hangover").parent == kept.one("turn").context
    assert kept.attribute_values("turn", "outcome") == ["answered"]


def test_a_turn_without_an_answer_says_what_came_instead() -> None:
    kept = RecordedSpans()
    trace = traced(kept)
    trace.gate_closed(closed(at=9.5), now=10.0)
    trace.gate_opened(CountGateOpen("speech"), now=10.2)
    trace.gate_closed(closed(at=10.5), now=11.0)
    trace.ended(EndReason.HANGUP, GRANTED, now=11.5)
    assert kept.attribute_values("turn", "outcome") == ["spoke_on", "call_ended"]
    assert kept.attribute_values("call", "turns") == [2]


def test_who_hangs_up_in_the_midst_of_speech_waits_for_no_answer() -> None:
    kept = RecordedSpans()
    trace = traced(kept)
    trace.gate_closed(closed("hangup"), now=10.0)
    trace.ended(EndReason.HANGUP, GRANTED, now=10.0)
    assert [span.name for span in kept.spans] == ["call"]


def test_an_answer_that_nobody_spoke_for_is_no_turn() -> None:
    kept = RecordedSpans()
    traced(kept).answered(now=10.0)
    assert kept.spans == []


def test_a_barge_in_lasts_from_the_onset_to_the_silence() -> None:
    kept = RecordedSpans()
    trace = traced(kept)
    trace.gate_opened(CountGateOpen("speech", barge_in_stop_s=0.14, barge_in_cut_s=0.3), now=10.0)
    trace.ended(EndReason.HANGUP, GRANTED, now=11.0)
    assert ms(kept, "barge_in") == 140
    (event,) = kept.one("call").events
    assert (event.name, event.at_ns) == ("barge_in", kept.one("barge_in").start_ns)


@pytest.mark.parametrize(
    ("reason", "error"), [(EndReason.HANGUP, ""), (EndReason.MAX_SECONDS, ""), (EndReason.INTERNAL, "internal")]
)
def test_only_an_end_that_nobody_wanted_is_an_error(reason: EndReason, error: str) -> None:
    kept = RecordedSpans()
    traced(kept).ended(reason, GRANTED, now=10.0)
    assert (kept.attribute_values("call", "reason"), kept.one("call").error) == ([str(reason)], error)


async def test_a_real_call_says_when_its_client_was_away_and_why_it_ended(open_harness: HarnessOpener) -> None:
    kept = RecordedSpans()
    async with open_harness(tracer=Tracer(kept)) as harness:
        call, leg = await harness.call()
        leg.deliver(LegLost())
        leg.deliver(LegRecovered("packets", 1.0))
        assert harness.pool.admission.active == 1
    assert kept.attribute_values("call", "call_id") == [call]
    assert kept.attribute_values("call", "reason") == ["drained"]
    assert [event.name for event in kept.one("call").events] == ["client_lost", "client_recovered"]
    assert {kept.one(name).parent for name in ("claim", "answer", "connect")} == {kept.one("call").context}


async def test_an_offer_without_a_worker_ends_its_call_with_the_reason(open_harness: HarnessOpener) -> None:
    kept = RecordedSpans()
    async with open_harness(tracer=Tracer(kept), worker=False) as harness:
        await harness.ask(an_offer())
    assert (kept.one("call").error, kept.one("claim").error) == ("no_worker", "ClaimFailedError")
