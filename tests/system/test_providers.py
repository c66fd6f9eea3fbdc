"""Providers that are late, slow, bursty or stall, with a caller behind the whole gateway."""

import asyncio
import re
from dataclasses import dataclass
from itertools import pairwise

import httpx
import numpy as np
import pytest

from services.callers.audio_sink import ReceivedPacket
from services.callers.caller import Caller
from services.callers.events import ReceivedEvent
from services.callers.speech import Samples
from tests.system.alignment import FRAME, HZ, AlignedPiece, align, breaks, jumps, matched, steepest
from tests.system.gateway import Up, wait_until

pytestmark = pytest.mark.alone

WORDS = "The lamp turns slowly above the bay. One ship goes home, and another waits for the morning. Nobody is late."
DELTA = "response.output_audio_transcript.delta"
LOOK_AHEAD = 60  # 2.5 ms, what the encoder looks ahead
FADE_STEP = 32_768 // 120 + 1  # full scale within 5 ms
EDGE_STEP = 2.5 * FADE_STEP  # the fade, speech on top of it, and what the codec of a busy core adds
CODEC_STEP = 1.2  # decoded speech is a little steeper than what was encoded


@dataclass(frozen=True)
class AnswerTrace:
    """The audio that the provider sent, what the caller received of it, and the packets and events."""

    sent: Samples
    received: Samples
    packets: list[ReceivedPacket]
    deltas: list[ReceivedEvent]
    dry: int
    """Playout underruns, as counted by media."""

    @property
    def found(self) -> list[AlignedPiece]:
        return align(self.sent, self.received)


async def answer(up: Up, faults: str) -> AnswerTrace:
    instructions = f'Say "{WORDS}" Rehearsal faults: {faults}.'
    session = {"type": "realtime", "instructions": instructions}
    before = media_count(up, "playout_underruns_total")
    async with Caller.call(up.url, up.tenant_key, session=session) as caller:
        await caller.next_event("session.created", timeout_s=10)
        caller.send_event({"type": "response.create"})
        await caller.next_event("output_audio_buffer.stopped", timeout_s=60)
        last = caller.audio_sink.packets[-1]
        await caller.audio_sink.last_sound(
            since_s=last.at_s, quiet_s=0.2, timeout_s=10, any_packet=True
        )  # the fade behind it
        sent = await newest_sent(up)
        await caller.hang_up()
    await asyncio.to_thread(wait_until, lambda: not media_count(up, "media_calls_active"), "the end of the call")
    dry = media_count(up, "playout_underruns_total") - before
    return AnswerTrace(
        sent, caller.audio_sink.pcm(hz=HZ), list(caller.audio_sink.packets), caller.events.of(DELTA), dry
    )


def media_count(up: Up, name: str) -> int:
    """Return a metric of media; those of a call are complete when it has ended."""
    metrics = httpx.get(f"{up.service('media-0')}/metrics").text
    (line,) = re.findall(rf"^hushgate_{name} (\S+)$", metrics, re.MULTILINE)
    return round(float(line))


async def newest_sent(up: Up) -> Samples:
    async with httpx.AsyncClient(base_url=up.service("rehearsal")) as http:
        sessions = (await http.get("/billing")).json()["sessions"]
        response = next(session for session in reversed(sessions) if session["responses"])["responses"][-1]
        sound = await http.get(f"/audio/{response['item_ids'][0]}")
    return np.frombuffer(sound.content[: len(sound.content) // 2 * 2], "<i2")


def assert_every_sample_was_heard_once_and_in_order(got: AnswerTrace) -> None:
    """Assert that the delay never shrinks, as lost or repeated samples would make it."""
    assert got.found[0].delay == pytest.approx(LOOK_AHEAD, abs=2)
    assert min(jumps(got.found), default=1) > 0
    gaps = sum(end - start for start, end in breaks(got.packets))
    sent = len(got.packets) * FRAME
    # All that was sent beside the answer is silence: the rest of a frame, and a frame or two of fade at each pause.
    assert 0 <= sent - len(got.sent) <= (1 + got.dry) * 3 * FRAME
    assert got.found[-1].delay - LOOK_AHEAD <= gaps + sent - len(got.sent)


def assert_no_clicks(got: AnswerTrace) -> None:
    assert steepest(got.received) <= CODEC_STEP * steepest(got.sent) + FADE_STEP
    for start, end in breaks(got.packets):
        # Around a break there is a fade, so far less than speech does by itself.
        for edge in (got.received[start - 24 : start + 24], got.received[end - 24 : end + 24]):
            assert steepest(edge) <= EDGE_STEP


def assert_words_keep_to_their_sound(got: AnswerTrace) -> None:
    """Assert that each word arrives after the audio of all words before it, and none during a pause."""
    assert "".join(delta.event["delta"] for delta in got.deltas) == WORDS
    before = 0
    for delta in got.deltas:
        received = sum(packet.at_s <= delta.at_s for packet in got.packets) * FRAME
        assert received >= len(got.sent) * before / len(WORDS)
        before += len(delta.event["delta"])
    for early, late in pairwise(got.packets):
        if late.timestamp - early.timestamp > 4 * 2 * FRAME:
            assert sum(early.at_s < delta.at_s < late.at_s for delta in got.deltas) <= 1  # the one that was due with it


@pytest.mark.parametrize("faults", ["whole", "bursty", "odd, seed=3"])
async def test_an_answer_in_bursts_or_odd_pieces_plays_without_a_gap(up: Up, faults: str) -> None:
    got = await answer(up, faults)
    assert (breaks(got.packets), got.dry) == ([], 0)
    assert jumps(got.found) == []
    assert min(piece.correlation for piece in got.found) > 0.9
    assert_every_sample_was_heard_once_and_in_order(got)
    assert_no_clicks(got)
    assert_words_keep_to_their_sound(got)


@pytest.mark.parametrize("faults", ["slow", "stalling, seed=2", "rate=105, jitter_ms=900, odd=1"])
async def test_an_answer_that_stalls_pauses_there_and_nowhere_else(up: Up, faults: str) -> None:
    got = await answer(up, faults)
    # The lag grows where the answer ran dry, and nowhere else.
    assert 1 <= len(jumps(got.found)) <= got.dry
    assert len(breaks(got.packets)) <= got.dry
    assert len(got.found) - len(matched(got.found)) <= 2 * got.dry
    assert_every_sample_was_heard_once_and_in_order(got)
    assert_no_clicks(got)
    assert_words_keep_to_their_sound(got)
