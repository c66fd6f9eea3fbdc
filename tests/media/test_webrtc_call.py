"""A call over a real peer connection and a real bus; only the worker is simulated."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction

import numpy as np
from aiortc import AudioStreamTrack, MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from services.contracts import subjects
from services.contracts.audio import DOWN_FRAME_SAMPLES, DOWN_HZ, PcmFrame
from services.contracts.connect import WebRtcOffer
from services.contracts.endings import EndReason
from services.contracts.frame import Kind
from services.contracts.ids import CallId, ItemId, TenantId, new_call_id, new_leg_id
from services.contracts.messages import PlayoutReport, expect
from services.media.call import Call
from services.media.call_details import CallDetails
from services.media.core.conversation.conversation import Conversation, ConversationConfig
from services.media.core.speech.detector import Unbatched
from services.media.legs.webrtc.answerer import WebRtcAnswerer
from services.media.speech_detection import SpeechDetection
from services.runtime import clock
from services.runtime.bus.client import Bus
from tests.media.clients import a_stack
from tests.media.worker import GRANTED, PROCESS, StubWorker
from tests.signaling.offers import sanitise

STORY, MARK = ItemId("item_story"), ItemId("item_mark")
STORY_HZ, MARK_HZ = 440, 2000


class Loud:
    """A detector that classifies frames with a peak above 2000 as speech."""

    def set_threshold(self, threshold: float) -> None:
        """Grade nothing."""

    def probability(self, frame: PcmFrame) -> float:
        return float(np.abs(np.frombuffer(frame.pcm, "<i2").astype(int)).max() > 2000)


class ToneMicrophone(AudioStreamTrack):
    """A microphone track, silent until `speaking` is set."""

    speaking = False

    async def recv(self) -> AudioFrame:
        start = ((await super().recv()).pts or 0) * 6
        wave = 8000 * np.sin(2 * np.pi * 300 * np.arange(start, start + 960) / 48000) * self.speaking
        frame = AudioFrame.from_ndarray(wave.astype("<i2").reshape(1, -1), layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        return frame


class ToneClient:
    """A client with a microphone, a detector of received tones and a data channel."""

    def __init__(self) -> None:
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.microphone = ToneMicrophone()
        self.peer.addTrack(self.microphone)
        self.channel = self.peer.createDataChannel("oai-events")
        self.said: asyncio.Queue[str] = asyncio.Queue()
        self.heard: asyncio.Queue[int] = asyncio.Queue()
        self.ears: list[asyncio.Task[None]] = []
        self.channel.on("message", self.said.put_nowait)
        self.peer.on("track", lambda track: self.ears.append(asyncio.ensure_future(self._hear(track))))

    async def _hear(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                frame = await track.recv()
                assert isinstance(frame, AudioFrame)
                left = np.frombuffer(bytes(frame.planes[0]), "<i2")[::2].astype(float)
                spectrum = np.abs(np.fft.rfft(left))
                loud = np.abs(left).max() > 2000
                self.heard.put_nowait(round(np.argmax(spectrum) * 48000 / len(left)) if loud else 0)
        except MediaStreamError:
            pass

    async def close(self) -> None:
        for ear in self.ears:
            ear.cancel()
        await asyncio.gather(*self.ears, return_exceptions=True)
        await self.peer.close()


def tone(hz: int, frames_of_sound: int) -> bytes:
    wave = 8000 * np.sin(2 * np.pi * hz * np.arange(frames_of_sound * DOWN_FRAME_SAMPLES) / DOWN_HZ)
    return wave.astype("<i2").tobytes()


@asynccontextmanager
async def live_call(bus: Bus) -> AsyncIterator[tuple[ToneClient, StubWorker, CallId]]:
    browser = ToneClient()
    await browser.peer.setLocalDescription()
    facts = CallDetails(new_call_id(), TenantId("acme"), PROCESS, GRANTED, clock.unix_ms(), clock.monotonic())
    conversation = Conversation(ConversationConfig(GRANTED.epoch, 60), now=clock.monotonic())
    worker = StubWorker(bus)
    await worker.open()
    with a_stack() as stack:
        offer = sanitise(browser.peer.localDescription.sdp.encode())
        leg, answer = await WebRtcAnswerer(stack)(new_leg_id(), WebRtcOffer(sdp=offer))
        call = Call(
            facts,
            legs=(leg,),
            conversation=conversation,
            speech=SpeechDetection(Unbatched(Loud)).open_stream(),
            bus=bus,
        )
        await bus.subscribe(subjects.down_of(PROCESS), lambda _, data: call.on_worker_frame(data))
        await bus.flush()
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            group.create_task(call.run())
            await browser.peer.setRemoteDescription(RTCSessionDescription(answer.sdp, "answer"))
            yield browser, worker, facts.id
            call.end(EndReason.HANGUP)
    await browser.close()


async def test_a_caller_who_speaks_stops_the_answer_within_frames(bus: Bus) -> None:
    async with live_call(bus) as (browser, worker, call):
        await worker.event(call, {"type": "session.created"})
        assert json.loads(await browser.said.get())["type"] == "session.created"
        await worker.say(call, STORY, tone(STORY_HZ, 300))
        heard = [await browser.heard.get()]
        while heard.count(heard[-1]) < 20:
            heard.append(await browser.heard.get())
        browser.microphone.speaking = True
        report = await worker.next(Kind.PLAYOUT_REPORT)
        while not expect(PlayoutReport, report.payload).cut:
            report = await worker.next(Kind.PLAYOUT_REPORT)
        assert report.item_id == STORY
        assert 0 < expect(PlayoutReport, report.payload).heard_ms < report.position * 1000 // DOWN_HZ
        assert (await worker.next(Kind.UTTERANCE_START)).kind is Kind.UTTERANCE_START
        assert len((await worker.next(Kind.AUDIO_UP)).payload) == 2 * 640
        await worker.say(call, MARK, tone(MARK_HZ, 30))
        while heard[-1] != MARK_HZ:
            heard.append(await browser.heard.get())
        story_frames = sum(abs(hz - STORY_HZ) < 60 for hz in heard)
        assert story_frames <= report.position // DOWN_FRAME_SAMPLES + 1  # and the frame that fades it out
        assert report.position < 300 * DOWN_FRAME_SAMPLES


async def test_speech_of_a_real_leg_goes_up_as_an_utterance(bus: Bus) -> None:
    async with live_call(bus) as (browser, worker, _):
        browser.microphone.speaking = True
        start = await worker.next(Kind.UTTERANCE_START)
        first = await worker.next(Kind.AUDIO_UP)
        assert first.position == start.position
        for _ in range(10):
            await worker.next(Kind.AUDIO_UP)
        browser.microphone.speaking = False
        end = await worker.next(Kind.UTTERANCE_END)
        assert end.position > start.position
        browser.channel.send('{"type":"response.create"}')
        assert json.loads((await worker.next(Kind.CLIENT_EVENT)).payload) == {"type": "response.create"}
