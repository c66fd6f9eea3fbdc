import asyncio
import struct

import numpy as np
import pytest

from services.callers.core.clip import EncodedClip
from services.callers.core.histogram import Histogram
from services.callers.core.simulated_caller import OutgoingFrame
from services.callers.datagrams import DatagramSocket
from services.callers.load.clips import encoded
from services.callers.load.pacer import Pacer
from services.callers.load.plots import distribution, over_time
from services.callers.load.rtp_payloads import RtpPayloads
from services.callers.speech import clip
from services.runtime import clock

CLIP = EncodedClip("hello", (b"one", b"two"), (30, 127), 0.0, 0.03)


def test_without_a_negotiated_level_a_body_is_the_payload() -> None:
    voice = RtpPayloads([CLIP], b"quiet")
    assert voice.body(OutgoingFrame(CLIP, 1), 0) == b"two"
    assert voice.body(OutgoingFrame(None), 0) == b"quiet"


def test_a_level_is_rfc_6464_in_front_of_the_payload() -> None:
    voice = RtpPayloads([CLIP], b"quiet")
    assert voice.body(OutgoingFrame(CLIP, 0), 3) == struct.pack("!HHBBxx", 0xBEDE, 1, 0x30, 0x80 | 30) + b"one"
    assert voice.body(OutgoingFrame(CLIP, 1), 3) == struct.pack("!HHBBxx", 0xBEDE, 1, 0x30, 127) + b"two"
    assert voice.body(OutgoingFrame(None), 3)[8:] == b"quiet"


def test_a_clip_is_cut_to_its_speech_and_its_bounds_are_known() -> None:
    tone = (np.sin(np.arange(16_000) / 16_000 * 2 * np.pi * 300) * 9000).astype(np.int16)
    quiet = np.zeros(32_000, dtype=np.int16)
    made = encoded("tone", clip(np.concatenate((quiet, tone, quiet)), hz=16_000))
    assert len(made.payloads) == len(made.levels) == pytest.approx(65, abs=1)
    assert made.onset_s == 0.1
    assert made.end_s == pytest.approx(1.1, abs=0.001)
    assert made.levels[0] == made.levels[-1] == 127
    assert made.levels[20] < 20


class Member:
    def __init__(self, turns: int) -> None:
        self.frames: list[int] = []
        self.done = asyncio.Event()
        self._turns = turns

    def on_frame_due(self, frame: int, now: float) -> None:
        assert now <= clock.monotonic()
        self.frames.append(frame)
        if len(self.frames) == self._turns:
            self.done.set()


async def test_every_member_is_called_in_every_frame() -> None:
    lateness = Histogram()
    pacer, members = Pacer(lateness), [Member(10) for _ in range(25)]
    for member in members:
        pacer.add(member)
    async with asyncio.timeout(10):
        for member in members:
            await member.done.wait()
    pacer.close()
    for member in members:
        assert member.frames == sorted(set(member.frames))
    assert lateness.total >= 10


async def test_a_removed_member_is_not_called() -> None:
    pacer, gone, other = Pacer(Histogram()), Member(1), Member(5)
    pacer.add(gone)
    pacer.remove(gone)
    pacer.remove(gone)
    before = list(gone.frames)
    pacer.add(other)
    async with asyncio.timeout(10):
        await other.done.wait()
    pacer.close()
    assert gone.frames == before


class UdpPeer(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.got: asyncio.Queue[bytes] = asyncio.Queue()
        self.lost = asyncio.Event()

    def datagram_received(self, data: bytes, addr: object) -> None:
        del addr
        self.got.put_nowait(data)

    def connection_lost(self, exc: Exception | None) -> None:
        assert exc is None
        self.lost.set()


async def test_rtp_is_passed_on_with_its_arrival_and_the_rest_to_the_protocol() -> None:
    heard: asyncio.Queue[tuple[bytes, float]] = asyncio.Queue()
    peer = UdpPeer()
    receiving = DatagramSocket("127.0.0.1", peer, lambda data, at_s: heard.put_nowait((data, at_s)))
    sending = DatagramSocket("127.0.0.1", UdpPeer(), lambda _data, _at_s: None)
    began, address = clock.monotonic(), receiving.get_extra_info("sockname")
    rtp, rtcp, stun = b"\x80\x60rtp", b"\x80\xc8rtcp", b"\x00\x01stun"
    assert sending.send_audio(rtp, address)
    sending.sendto(rtcp, address)
    sending.sendto(b"", address)
    sending.sendto(stun, address)
    async with asyncio.timeout(5):
        assert [await peer.got.get(), await peer.got.get()] == [rtcp, stun]
        data, at_s = await heard.get()
    assert data == rtp
    assert began - 0.01 < at_s <= clock.monotonic() + 0.01
    sending.close()
    receiving.abort()
    receiving.close()
    assert receiving.is_closing()
    assert not sending.send_audio(rtp, address)
    async with asyncio.timeout(5):
        await peer.lost.wait()


def test_plots_take_the_colours_of_the_page() -> None:
    lines = over_time([1, 2], {"calls": [3, 4], "more": [1, 1]}, unit="calls")
    shares = distribution({10: 1, 200: 99}, per_ms=10)
    for svg in (lines, shares):
        assert svg.startswith("<svg")
        assert "currentColor" in svg
        assert "#010203" not in svg
        assert "#000000" not in svg
