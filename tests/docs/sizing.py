"""The sizing table of docs/operations.md, computed from what `make bench-media` measured and from the wire's own rates.

`python -m tests.docs.sizing` writes it anew.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.contracts.audio import DOWN_HZ
from services.media.core.conversation.downlink import REPORT_SAMPLES
from services.media.core.conversation.uplink import MAX_BATCH_FRAMES
from services.media.usage import EVERY_S
from services.signaling.core.placement import MAX_LOAD

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = DOCS / "operations.md"
BEGIN, END = "<!-- computed: python -m tests.docs.sizing -->", "<!-- end -->"
FRAMES_A_S = 50
HEADERS_BYTES = 20 + 8 + 12 + 16
"""IPv4, UDP, RTP, and the tag of AES-GCM."""
UP_KBITS, DOWN_KBITS = 32, 80  # a browser's Opus, and our encoder's where the line is good
CHUNKS_A_S = 5
"""Messages of 200 ms with which a provider's answer comes at about real time."""
ALIVE_A_S = 2
"""One from each side, when nothing else is sent."""
OTHERS_CORES_A_CALL = 0.025
"""Upstream, metering and NATS together, of a core: see the guide."""
SIZES = (50, 200, 500, 1000, 5000)


@dataclass(frozen=True, slots=True)
class TalkShare:
    """How much is said: the bench's name for it, and the share of the time in which each side is heard."""

    series: str
    share: float


SERIES = (TalkShare("both_ways", 1.0), TalkShare("talk42_dtx", 0.42))


def per_process(measured: dict[str, Any], talk: TalkShare) -> int:
    """Calls that signaling gives a process whose MEDIA_MAX_CALLS is what a core carries."""
    return math.floor(MAX_LOAD * int(measured["calls_per_core"][talk.series]))


def call_kbits(talk: TalkShare) -> tuple[int, int]:
    """From and to the caller, with headers, on average."""
    headers = HEADERS_BYTES * 8 * FRAMES_A_S / 1000
    return round(talk.share * (UP_KBITS + headers)), round(talk.share * (DOWN_KBITS + headers))


def messages_a_s(talk: TalkShare) -> float:
    """On the bus for one call, both ways."""
    sound = FRAMES_A_S / MAX_BATCH_FRAMES + CHUNKS_A_S + DOWN_HZ / REPORT_SAMPLES
    usage = 2 * 2 / EVERY_S  # from media and upstream, each with its acknowledgement
    return talk.share * sound + (1 - talk.share) * ALIVE_A_S + usage


def table() -> str:
    """The rows for each size."""
    measured = json.loads((DOCS / "bench" / "media.json").read_text())
    head = (
        "| calls at once | media processes = vCPUs | their memory | other vCPUs | from / to callers "
        "| NATS messages/s |\n"
        "|---|---|---|---|---|---|\n"
    )
    rows = ""
    for talk in SERIES:
        room = per_process(measured, talk)
        up, down = call_kbits(talk)
        share = "all the time" if talk.share == 1 else f"{100 * talk.share:.0f} % of the time, DTX"
        rows += (
            f"| **each side speaks {share}**: {room} calls a process (`MEDIA_MAX_CALLS: "
            f"{measured['calls_per_core'][talk.series]}`), {up} / {down} kbit/s and {messages_a_s(talk):.0f} "
            "messages/s a call | | | | | |\n"
        )
        for calls in SIZES:
            processes = math.ceil(calls / room)
            memory = (120 * processes + measured["rss_mb_per_call"] * calls) / 1000
            rows += (
                f"| {calls:,} | {processes} | {memory:.1f} GB | {math.ceil(calls * OTHERS_CORES_A_CALL)} | "
                f"{calls * up / 1000:,.0f} / {calls * down / 1000:,.0f} Mbit/s | {calls * messages_a_s(talk):,.0f} |\n"
            )
    return head + rows


def written(text: str) -> str:
    """``text`` with the table in its place."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}{END}{after}"


if __name__ == "__main__":
    GUIDE.write_text(written(GUIDE.read_text(encoding="utf-8")), encoding="utf-8")
