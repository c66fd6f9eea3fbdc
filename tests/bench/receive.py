"""Cost of receiving one packet, in µs: the decoder alone, and the whole receive path.

Synthetic speech as browsers send it after our answer (24 kbit/s with in-band FEC, one header extension); the best of
several rounds for each second, because other work on the machine only ever adds. Prints a table.
"""

import random
from collections.abc import Callable, Iterator

import numpy as np
from rich.console import Console
from rich.table import Table

from services.contracts.audio import DOWN_FRAME_SAMPLES, DOWN_HZ
from services.media.core.rtcp.reception import Reception
from services.media.core.rtp import rtp_packet
from services.media.core.rtp.jitter_buffer import JitterBuffer
from services.runtime import clock
from services.runtime.audio.opus import EncoderConfig, OpusDecoder, OpusEncoder
from tests.media.test_receiver import a_receiver, push

PACKETS = 1500
BLOCK = 50
ROUNDS = 7
OPUS = 111
EXTENSION = bytes.fromhex("bede0002 10803100 01403000")  # audio level, transport-wide number, mid
FRAME_S = 0.02


def payloads() -> list[bytes]:
    """Half a minute of harmonics with a syllable-like envelope, in a little noise."""
    encoder = OpusEncoder(EncoderConfig("voip", bit_rate=24_000, fec=True, packet_loss_pct=10))
    at = np.arange(PACKETS * DOWN_FRAME_SAMPLES) / DOWN_HZ
    tones = sum(np.sin(2 * np.pi * 140 * n * at + n) / n for n in range(1, 20))
    wave = 4000 * tones * (1 + np.sin(2 * np.pi * 4 * at)) / 2 + np.random.default_rng(0).normal(0, 100, at.size)
    return [encoder.encode(frame.tobytes()) for frame in wave.astype("<i2").reshape(PACKETS, -1)]


def packet(number: int, payload: bytes) -> bytes:
    header = rtp_packet.header(OPUS, number, number * 960, 1)
    return bytes([header[0] | 0x10]) + header[1:] + EXTENSION + payload


def lossy(packets: list[bytes], share: float) -> list[bytes]:
    draw = random.Random(1)  # noqa: S311 - loss, not secrets
    return [data for data in packets if draw.random() >= share]


def reordered(packets: list[bytes], share: float) -> list[bytes]:
    """Packets that change places with the next."""
    draw = random.Random(2)  # noqa: S311 - disorder, not secrets
    packets = packets.copy()
    for at in range(len(packets) - 1):
        if draw.random() < share:
            packets[at], packets[at + 1] = packets[at + 1], packets[at]
    return packets


def times() -> Iterator[float]:
    now = 0.0
    while True:
        now += FRAME_S
        yield now


def best_us(step: Callable[[], Callable[[bytes], object]], packets: list[bytes]) -> float:
    """Per packet, from the fastest round of each block; ``step`` creates the function for a round's packets."""
    blocks = [packets[at : at + BLOCK] for at in range(0, len(packets), BLOCK)]
    best = [float("inf")] * len(blocks)
    for _ in range(ROUNDS):
        take = step()
        for place, block in enumerate(blocks):
            started = clock.monotonic()
            for data in block:
                take(data)
            best[place] = min(best[place], clock.monotonic() - started)
    return sum(best) / len(packets) * 1e6


def receiving() -> Callable[[bytes], object]:
    receiver, now = a_receiver(), times()

    def hear(data: bytes) -> object:
        at = next(now)
        return push(receiver, data, now=at)

    return hear


def ordering() -> Callable[[bytes], object]:
    buffer, now = JitterBuffer(), times()

    def push(data: bytes) -> object:
        parsed = rtp_packet.parse(data)
        assert parsed is not None
        return buffer.insert(parsed, now=next(now))

    return push


def counting() -> Callable[[bytes], object]:
    reception, now = Reception(1), times()
    numbers = iter(range(10**9))

    def push(_: bytes) -> None:
        number = next(numbers)
        reception.packet_received(number & 0xFFFF, number * 960 & 0xFFFFFFFF, now=next(now))

    return push


def main() -> None:
    """Print the table."""
    spoken = payloads()
    packets = [packet(number, payload) for number, payload in enumerate(spoken)]
    decode = best_us(lambda: OpusDecoder().decode, spoken)
    table = Table("step", "µs", "around the decoder")
    rows = {
        "decode to 16 kHz": (decode, 0.0),
        "parse RTP": (best_us(lambda: rtp_packet.parse, packets), 0.0),
        "parse RTP and put in order": (best_us(ordering, packets), 0.0),
        "count for RTCP": (best_us(counting, packets), 0.0),
        "receive, in order": (best_us(receiving, packets), decode),
        "receive, 5 % out of order": (best_us(receiving, reordered(packets, 0.05)), decode),
        "receive, 3 % lost": (best_us(receiving, lossy(packets, 0.03)), decode),
    }
    for name, (us, without) in rows.items():
        table.add_row(name, f"{us:.1f}", f"{us - without:.1f}" if without else "")
    Console().print(table)


if __name__ == "__main__":
    main()
