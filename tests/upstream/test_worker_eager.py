"""Eager ends over the real bus: what is lost, late or sent twice changes nothing."""

from prometheus_client import REGISTRY

from services.contracts.frame import Kind
from services.contracts.messages import EagerEnd, UtteranceEnd, UtteranceStart
from services.contracts.turn_detection import TurnTerms
from services.runtime.bus.client import Bus
from tests.upstream.provider import ScriptedProvider
from tests.upstream.running_worker import CALL, MediaSide, RunningWorker, body, running_worker

PAUSED = EagerEnd(speech_end_index=8, silence_ms=300).encode()
ENDED = UtteranceEnd(reason="speech_end", speech_end_index=8).encode()


async def eager_call(worker: RunningWorker) -> MediaSide:
    media = await worker.call_without_frames(CALL, {"turns": TurnTerms(eager_ms=300)})
    await media.send(Kind.ALIVE)
    await media.event("session.created")
    return media


async def speak(media: MediaSide, ms: int) -> None:
    for _ in range(ms // 40):
        await media.send(Kind.AUDIO_UP, bytes(1280), position=media.index)
        media.index += 2


def taken_back() -> float:
    return REGISTRY.get_sample_value("hushgate_turns_taken_back_total", {"provider": "rehearsal"}) or 0


async def test_a_turn_that_goes_on_is_undone_at_the_provider_and_late_frames_of_it_are_ignored(bus: Bus) -> None:
    before = taken_back()
    async with running_worker(bus, ScriptedProvider(answer_ms=400)) as h:
        media = await eager_call(h)
        await media.send(Kind.UTTERANCE_START, UtteranceStart(cause="speech", onset_index=0).encode())
        await speak(media, 400)
        provider = h.provider.sessions[0]
        paused = await media.send(Kind.EAGER_END, PAUSED, position=20)
        await provider.until("response.create")
        await media.send(Kind.TURN_RESUMED, position=10)  # of an earlier pause
        await media.send(Kind.TURN_RESUMED, position=20)
        await provider.until("conversation.item.delete", times=2)
        await media.send_again(paused)  # was received
        await speak(media, 400)
        await media.send(Kind.EAGER_END, PAUSED, position=30)  # overtaken by audio
        await media.send(Kind.UTTERANCE_END, ENDED, position=40)
        await media.event("response.done")
        assert provider.committed_ms == [400, 800]
        assert provider.types().count("response.create") == 2
    events = [body(frame) for frame in media.all if frame.kind is Kind.SERVER_EVENT]
    assert [event["type"] for event in events].count("response.created") == 1
    assert [event["type"] for event in events].count("input_audio_buffer.committed") == 1
    assert taken_back() == before + 1


async def test_an_answer_is_heard_only_when_the_turn_has_ended(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider(answer_ms=400)) as h:
        media = await eager_call(h)
        await media.send(Kind.UTTERANCE_START, UtteranceStart(cause="speech", onset_index=0).encode())
        await speak(media, 400)
        await media.send(Kind.EAGER_END, PAUSED, position=20)
        await h.provider.sessions[0].until("response.create")
        await media.send(Kind.UTTERANCE_END, ENDED, position=20)
        await media.event("response.done")
    heard = [frame.kind for frame in media.all]
    stopped = next(
        index
        for index, frame in enumerate(media.all)
        if frame.kind is Kind.SERVER_EVENT and body(frame)["type"] == "input_audio_buffer.speech_stopped"
    )
    assert heard.index(Kind.AUDIO_DOWN) > stopped
