import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from fractions import Fraction

import numpy as np
import pytest
from aiortc import AudioStreamTrack, MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from services.contracts.audio import DOWN_FRAME_SAMPLES, UP_FRAME_BYTES, PcmFrame
from services.contracts.endings import EndReason
from services.contracts.ids import new_leg_id
from services.media.leg import BadOfferError, LegClosed, LegConnected, LegInput, LegMessage, LegOpened
from services.media.rtc import patch
from services.media.rtc.peer import WebRtcLeg, answer

TONE_HZ = 440


def tone(samples: int, *, start: int, hz: int, rate: int) -> np.ndarray:
    at = np.arange(start, start + samples)
    return (8000 * np.sin(2 * np.pi * hz * at / rate)).astype("<i2")


class ToneTrack(AudioStreamTrack):
    """A microphone that hears a tone."""

    async def recv(self) -> AudioFrame:
        silent = await super().recv()
        start = (silent.pts or 0) * 6
        frame = AudioFrame.from_ndarray(tone(960, start=start, hz=TONE_HZ, rate=48000).reshape(1, -1), layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        return frame


class Source:
    """Plays a tone while it is told to."""

    def __init__(self) -> None:
        self.on = asyncio.Event()
        self.pulled = 0

    async def playable(self) -> None:
        await self.on.wait()

    def pull(self) -> bytes | None:
        if not self.on.is_set():
            return None
        self.pulled += 1
        start = self.pulled * DOWN_FRAME_SAMPLES
        return tone(DOWN_FRAME_SAMPLES, start=start, hz=TONE_HZ, rate=24000).tobytes()


class Client:
    """A stock aiortc peer, as a browser would be."""

    def __init__(self, *, label: str = "oai-events") -> None:
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.peer.addTrack(ToneTrack())
        self.channel = self.peer.createDataChannel(label)
        self.open = asyncio.Event()
        self.said: asyncio.Queue[str] = asyncio.Queue()
        self.heard: asyncio.Queue[AudioFrame] = asyncio.Queue()
        self.tasks: list[asyncio.Task[None]] = []
        self.channel.on("open", self.open.set)
        self.channel.on("message", self.said.put_nowait)
        self.peer.on("track", lambda track: self.tasks.append(asyncio.ensure_future(self._hear(track))))

    async def _hear(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                frame = await track.recv()
                assert isinstance(frame, AudioFrame)
                self.heard.put_nowait(frame)
        except MediaStreamError:
            pass

    async def offer(self) -> str:
        await self.peer.setLocalDescription()
        sdp: str = self.peer.localDescription.sdp
        return sdp

    async def accept(self, sdp: str) -> None:
        await self.peer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.peer.close()


@asynccontextmanager
async def connected(client: Client) -> AsyncIterator[WebRtcLeg]:
    patch.advertise("127.0.0.1")
    leg, sdp = await answer(new_leg_id(), await client.offer())
    assert isinstance(leg, WebRtcLeg)
    try:
        await client.accept(sdp)
        yield leg
    finally:
        await leg.close()
        await client.close()


async def first(leg: WebRtcLeg, wanted: Callable[[LegInput], bool]) -> LegInput:
    async with asyncio.timeout(20):
        async for item in leg.received():
            if wanted(item):
                return item
    raise AssertionError("the leg ended before it came")


async def test_the_caller_is_heard_as_an_unbroken_run_of_frames() -> None:
    async with connected(Client()) as leg:
        frames: list[PcmFrame] = []

        def is_fiftieth(item: LegInput) -> bool:
            if isinstance(item, PcmFrame):
                frames.append(item)
            return len(frames) == 50

        await first(leg, is_fiftieth)
    assert [frame.index for frame in frames] == list(range(50))
    assert {len(frame.pcm) for frame in frames} == {UP_FRAME_BYTES}
    sound = np.frombuffer(b"".join(frame.pcm for frame in frames[10:]), "<i2").astype(float)
    loudest = np.argmax(np.abs(np.fft.rfft(sound))) * 16000 / len(sound)
    assert loudest == pytest.approx(TONE_HZ, abs=5)


async def test_what_plays_is_heard_by_the_client_and_nothing_is_sent_while_nothing_plays() -> None:
    client = Client()
    source = Source()
    async with connected(client) as leg:
        leg.play(source)
        await first(leg, lambda item: isinstance(item, LegConnected))
        assert source.pulled == 0
        source.on.set()
        async with asyncio.timeout(20):
            heard = [await client.heard.get() for _ in range(30)]
    assert source.pulled >= 30
    loud = [np.abs(frame.to_ndarray()).max() for frame in heard[5:]]
    assert min(loud) > 4000


async def test_events_pass_both_ways() -> None:
    client = Client()
    async with connected(client) as leg:
        async with asyncio.timeout(20):
            await client.open.wait()
        client.channel.send('{"type":"response.create"}')
        got = await first(leg, lambda item: isinstance(item, LegMessage))
        assert got == LegMessage('{"type":"response.create"}')
        leg.send_event('{"type":"session.created"}')
        async with asyncio.timeout(20):
            assert json.loads(await client.said.get()) == {"type": "session.created"}


async def test_the_last_event_still_reaches_a_client_that_is_hung_up() -> None:
    client = Client()
    async with connected(client) as leg:
        await first(leg, lambda item: isinstance(item, LegOpened))
        leg.send_event('{"type":"hushgate.ended"}')
        await leg.close()
        async with asyncio.timeout(20):
            assert "hushgate.ended" in await client.said.get()


async def test_a_channel_of_another_name_is_closed() -> None:
    client = Client(label="other")
    closed = asyncio.Event()
    client.channel.on("close", closed.set)
    async with connected(client), asyncio.timeout(20):
        await closed.wait()


async def test_a_client_that_hangs_up_is_gone() -> None:
    client = Client()
    async with connected(client) as leg:
        await first(leg, lambda item: isinstance(item, LegConnected))
        await client.close()
        assert await first(leg, lambda item: isinstance(item, LegClosed)) == LegClosed(EndReason.CLIENT_GONE)


async def test_the_answer_offers_the_advertised_address_only_and_one_fingerprint() -> None:
    patch.advertise("127.0.0.1")
    client = Client()
    leg, sdp = await answer(new_leg_id(), await client.offer())
    await leg.close()
    await client.close()
    candidates = [line.split()[4] for line in sdp.splitlines() if line.startswith("a=candidate:")]
    assert set(candidates) == {"127.0.0.1"}
    assert sdp.count("a=fingerprint:") == sdp.count("a=fingerprint:sha-256") > 0
    assert "opus/48000" in sdp
    assert "PCMU" not in sdp


async def test_an_address_of_another_machine_is_advertised_though_it_cannot_be_bound() -> None:
    assert patch.advertise("192.0.2.7") == "0.0.0.0"  # noqa: S104 - what is looked for
    client = Client()
    leg, sdp = await answer(new_leg_id(), await client.offer())
    await leg.close()
    await client.close()
    patch.advertise("127.0.0.1")
    assert "192.0.2.7" in sdp


@pytest.mark.parametrize("offer", ["", "v=0\r\n", "\0\0", "m=audio", "x" * 20_000, "v=0\r\nm=audio 99999999 X 1\r\n"])
async def test_an_offer_that_cannot_be_read_is_a_bad_offer(offer: str) -> None:
    with pytest.raises(BadOfferError):
        await answer(new_leg_id(), offer)


async def test_an_offer_with_two_audios_is_a_bad_offer() -> None:
    client = Client()
    client.peer.addTrack(ToneTrack())
    with pytest.raises(BadOfferError, match="one audio"):
        await answer(new_leg_id(), await client.offer())
    await client.close()


async def test_events_for_a_client_without_a_channel_are_lost_and_nothing_breaks() -> None:
    async with connected(Client(label="other")) as leg:
        leg.send_event("{}")


async def test_a_leg_that_is_closed_while_it_connects_leaves_no_task() -> None:
    patch.advertise("127.0.0.1")
    before = asyncio.all_tasks()
    client = Client()
    leg, sdp = await answer(new_leg_id(), await client.offer())
    await client.accept(sdp)
    await leg.close()
    await client.close()
    async with asyncio.timeout(10):
        while left := asyncio.all_tasks() - before:
            await asyncio.wait(left)
