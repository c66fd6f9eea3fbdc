"""Conforming peers on bad networks pass the SCTP inspection: nothing is mistaken for an attack."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from aiortc import RTCDataChannel, RTCDataChannelParameters, RTCSctpCapabilities, RTCSctpTransport

from services.media.core.network.sctp_inspector import SctpDropped
from services.media.legs.webrtc.sctp import LargeMessages, Sctp

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


def collect(number: int) -> tuple[Callable[[str], None], "asyncio.Future[list[str]]"]:
    heard: list[str] = []
    done: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()

    def hear(text: str) -> None:
        heard.append(text)
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
