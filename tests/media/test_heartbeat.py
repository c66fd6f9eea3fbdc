"""Heartbeats list the calls by tenant, soon after each change."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from services.contracts import subjects
from services.contracts.ids import TenantId
from services.contracts.messages import Hangup, Heartbeat, OfferAnswered, TenantCalls, expect
from services.contracts.turn_detection import TurnTerms
from services.media.core.speech.detector import Unbatched
from services.media.core.speech.gate_config import GateConfig
from services.media.heartbeat import HeartbeatPublisher
from services.media.pool import PoolConfig
from services.media.speech_detection import SpeechDetection
from tests.media.harness import TENANT, HarnessOpener, LoudIsSpeech, PoolHarness, an_offer
from tests.media.worker import PROCESS

OTHER = TenantId("other")
TERMS = TurnTerms(min_silence_duration_ms=300)
HeardCalls = Callable[[tuple[TenantCalls, ...]], Awaitable[Heartbeat]]


@asynccontextmanager
async def beating(harness: PoolHarness) -> AsyncIterator[HeardCalls]:
    """Publish heartbeats; yield a function that waits for one that lists the calls given."""
    beats: asyncio.Queue[Heartbeat] = asyncio.Queue()
    await harness.bus.subscribe(subjects.HEARTBEATS, lambda _, data: beats.put_nowait(expect(Heartbeat, data)))
    config = PoolConfig(PROCESS, 5, GateConfig(), SpeechDetection(Unbatched(LoudIsSpeech)), TERMS)
    publisher = HeartbeatPublisher(harness.pool, config, bus=harness.bus, zone="", http_url="http://127.0.0.1:1")
    publishing = asyncio.create_task(publisher.keep_publishing())

    async def heard(calls: tuple[TenantCalls, ...]) -> Heartbeat:
        async with asyncio.timeout(5):
            while (beat := await beats.get()).calls != calls:
                pass
        return beat

    try:
        yield heard
    finally:
        publishing.cancel()


async def test_a_heartbeat_says_what_sessions_may_set_of_turn_detection(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness, beating(harness) as heard:
        assert (await heard(())).turns == TERMS


async def test_a_heartbeat_lists_calls_by_tenant_from_their_answer_to_their_end(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness, beating(harness) as heard:
        before = await heard(())
        first, second = an_offer(), an_offer()
        second = second.model_copy(update={"grant": second.grant.model_copy(update={"tenant": OTHER})})
        answers = [await harness.ask(offer) for offer in (first, second)]
        acme = TenantCalls(tenant=TENANT, half_open=(first.call,))
        beat = await heard((acme, TenantCalls(tenant=OTHER, half_open=(second.call,))))
        assert [answer.number for answer in answers if isinstance(answer, OfferAnswered)] == [
            before.newest + 1,
            beat.newest,
        ]
        harness.legs[second.leg].connect()
        await heard((acme, TenantCalls(tenant=OTHER, connected=(second.call,))))
        await harness.bus.request(subjects.control(PROCESS, first.call), Hangup(call=first.call), timeout_s=5)
        assert (await heard((TenantCalls(tenant=OTHER, connected=(second.call,)),))).newest == beat.newest
