"""Conforming peers on bad networks pass the SCTP inspection: nothing is mistaken for an attack."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from aiortc import RTCDataChannel, RTCDataChannelParameters, RTCSctpCapabilities, RTCSctpTransport
from aiortc.rtcsctptransport import Chunk, SackChunk

from services.contracts.client_event import MAX_EVENT_BYTES, EncodedText
from services.media.core.network.sctp_inspector import MAX_HELD_BYTES, SctpDropped
from services.media.legs.webrtc.sctp import MAX_WAITING_BYTES, STALLED_S, LargeMessages, Sctp

WAIT_S = 60
CAPABILITIES = RTCSctpCapabilities(maxMessageSize=128 * 1024)


class LossyNetwork:
    """Loses and reorders packets; takes the place of the DTLS of one side."""

    state = "connected"

    def __init__(self, role: str, dice: random.Random, *, loss: float, jitter_s: float) -> None:
        self._role = role
        self._dice, self._loss, self._jitter_s = dice, loss, jitter_s
        self._receiver: Any = None
        self.other: LossyNetwork

    def _register_data_receiver(self, receiver: object) -> None:
        self._receiver = receiver

    def _unregister_data_receiver(self, receiver: object) -> None:
        if receiver is self._receiver:
            self._receiver = None

    async def _send_data(self, data: bytes) -> None:
        if self._dice.random() >= self._loss:
            delay = 0.005 + self._dice.random() * self._jitter_s
            asyncio.get_running_loop().call_later(delay, self.other.arrived, data)

    def arrived(self, data: bytes) -> None:
        if self._receiver is not None:
            asyncio.ensure_future(self._receiver._handle_data(data))  # noqa: RUF006, SLF001 - as DTLS does


class Verdicts:
    """Records dropped packets of a conforming peer, and whether they count as a flood."""

    def __init__(self) -> None:
        self.drops: list[SctpDropped] = []
        self.flood = False

    def dropped(self, reason: SctpDropped, *, flood: bool) -> None:
        self.drops.append(reason)
        self.flood |= flood

    def failed(self) -> None:
        raise AssertionError("an honest packet broke it")


async def talk(texts: list[str], *, loss: float, jitter_s: float, seed: int, ordered: bool = True) -> Verdicts:
    """Send ``texts`` from both sides at once; return when all were received."""
    dice, verdicts = random.Random(seed), Verdicts()  # noqa: S311
    near, far = (LossyNetwork(role, dice, loss=loss, jitter_s=jitter_s) for role in ("server", "client"))
    near.other, far.other = far, near
    ours, theirs = Sctp(near, verdicts, LargeMessages()), RTCSctpTransport(far)  # type: ignore[arg-type]
    channel = RTCDataChannel(theirs, RTCDataChannelParameters(label="any", ordered=ordered))
    all_up, all_down = collect(len(texts)), collect(len(texts))

    def answer(opened: RTCDataChannel) -> None:
        opened.on("message", all_up[0])
        for text in texts:
            ours.send_text(opened, text)

    def speak() -> None:
        for text in texts:
            channel.send(text)

    ours.on("datachannel", answer)
    channel.on("message", all_down[0])
    channel.on("open", speak)
    await asyncio.gather(ours.start(CAPABILITIES, 5000), theirs.start(CAPABILITIES, 5000))
    async with asyncio.timeout(WAIT_S):
        heard_up, heard_down = await all_up[1], await all_down[1]
    await asyncio.gather(ours.stop(), theirs.stop())
    same = (lambda some: some) if ordered else sorted
    assert same(heard_up) == same(texts)
    assert same(heard_down) == same(texts)
    return verdicts


def collect(number: int) -> tuple[Callable[[str | EncodedText], None], "asyncio.Future[list[str]]"]:
    heard: list[str] = []
    done: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()

    def hear(text: str | EncodedText) -> None:
        heard.append(text.utf8.decode() if isinstance(text, EncodedText) else text)
        if len(heard) == number:
            done.set_result(heard)

    return hear, done


LONG = ["x" * 120_000, "y" * 130_000]
HISTORY = [
    f'{{"type":"conversation.item.create","number":{number},"fill":"{"z" * (number % 400)}"}}' for number in range(100)
]
SHORT = [f"{number:>12}" for number in range(300)]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("texts", "ordered"), [(LONG, True), (LONG, False), (HISTORY, True), (HISTORY, False), (SHORT, True)]
)
@pytest.mark.parametrize(("loss", "jitter_s"), [(0.0, 0.0), (0.0, 0.04), (0.05, 0.02)])
async def test_an_honest_peer_gets_all_through(
    texts: list[str],
    ordered: bool,  # noqa: FBT001
    loss: float,
    jitter_s: float,
    seed: int,
) -> None:
    verdicts = await talk(texts, loss=loss, jitter_s=jitter_s, seed=seed, ordered=ordered)
    assert not verdicts.flood
    assert set(verdicts.drops) <= {"sctp_window", "sctp_too_many"}, "lost as by a network; nothing of it is wrong"


async def to_us(
    speak: Callable[[RTCDataChannel], object], verdicts: Verdicts, large: LargeMessages
) -> tuple[Sctp, RTCSctpTransport]:
    """Return an association of ours, and a peer's that calls ``speak`` with its channel when that is open."""
    dice = random.Random(1)  # noqa: S311
    near, far = (LossyNetwork(role, dice, loss=0, jitter_s=0) for role in ("server", "client"))
    near.other, far.other = far, near
    ours, theirs = Sctp(near, verdicts, large), RTCSctpTransport(far)  # type: ignore[arg-type]
    channel = RTCDataChannel(theirs, RTCDataChannelParameters(label="any"))
    channel.on("open", lambda: speak(channel))
    capabilities = RTCSctpCapabilities(maxMessageSize=MAX_EVENT_BYTES)
    await asyncio.gather(ours.start(capabilities, 5000), theirs.start(capabilities, 5000))
    return ours, theirs


async def test_a_message_of_the_greatest_length_comes_whole() -> None:
    large, verdicts, heard = LargeMessages(), Verdicts(), collect(2)
    longest = "z" * MAX_EVENT_BYTES

    def speak(channel: RTCDataChannel) -> None:
        channel.send(longest)
        channel.send("next")

    ours, theirs = await to_us(speak, verdicts, large)
    ours.on("datachannel", lambda channel: channel.on("message", heard[0]))
    async with asyncio.timeout(WAIT_S):
        assert await heard[1] == [longest, "next"]
    assert not large.is_held(ours)
    assert not verdicts.flood
    await asyncio.gather(ours.stop(), theirs.stop())


class Refusals(Verdicts):
    """Tells when a packet was refused for the window."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = asyncio.Event()

    def dropped(self, reason: SctpDropped, *, flood: bool) -> None:
        super().dropped(reason, flood=flood)
        if reason == "sctp_window":
            self.closed.set()


async def test_what_waits_in_the_call_stops_the_peer_and_it_goes_on_when_less_waits() -> None:
    heard, refusals = collect(1), Refusals()
    ours, theirs = await to_us(lambda channel: channel.send("later"), refusals, LargeMessages())

    def opened(channel: RTCDataChannel) -> None:
        channel.on("message", heard[0])
        ours.hold(MAX_WAITING_BYTES)

    ours.on("datachannel", opened)
    async with asyncio.timeout(WAIT_S):
        await refusals.closed.wait()
        assert not heard[1].done()
        ours.hold(0)
        assert await heard[1] == ["later"]
    assert not refusals.flood
    await asyncio.gather(ours.stop(), theirs.stop())


async def test_a_peer_that_has_much_to_read_is_told_a_closed_window_until_it_has_read() -> None:
    long, heard, windows = "x" * 200_000, collect(10), list[int]()
    ours, theirs = await to_us(lambda channel: channel.on("message", heard[0]), Verdicts(), LargeMessages())
    told, opened = theirs._receive_chunk, asyncio.Event()  # noqa: SLF001

    async def listen(chunk: Chunk) -> None:
        if isinstance(chunk, SackChunk):
            windows.append(chunk.advertised_rwnd)
        await told(chunk)

    def speak(channel: RTCDataChannel) -> None:
        for _ in range(10):
            ours.send_text(channel, long)
        opened.set()

    theirs._receive_chunk = listen  # type: ignore[method-assign]  # noqa: SLF001
    ours.on("datachannel", speak)
    async with asyncio.timeout(WAIT_S):
        await opened.wait()
        assert await heard[1] == [long] * 10
    assert windows[0] == 0
    assert windows[-1] == MAX_HELD_BYTES
    await asyncio.gather(ours.stop(), theirs.stop())


class Holder:
    """An association that holds a share, and is unfinished or not."""

    def __init__(self, *, unfinished: bool) -> None:
        self._unfinished = unfinished
        self.given_up = False

    def give_up(self) -> bool:
        self.given_up = self._unfinished
        return self._unfinished


def test_a_share_of_the_memory_goes_on_to_others_when_it_is_given_back_or_has_stalled() -> None:
    large = LargeMessages(most=2)
    waits, stalls, late = Holder(unfinished=False), Holder(unfinished=True), Holder(unfinished=True)
    assert large.take(waits, now=0)
    assert large.take(stalls, now=1)
    assert not large.take(late, now=STALLED_S)
    assert large.take(waits, now=STALLED_S)
    assert not large.take(late, now=STALLED_S + 1)
    assert not stalls.given_up
    assert large.take(late, now=STALLED_S + 2)
    assert stalls.given_up
    large.release(stalls)
    large.release(waits)
    assert not large.is_held(waits)
    assert large.take(waits, now=STALLED_S + 3)
