"""Measures how a client with crafted SCTP packets affects other calls, and how its own calls end.

The attacker sends as many packets as one call may, calls again a second after it was hung up, and so on.
"""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from services.callers.caller import Caller
from services.callers.errors import CallerError
from services.media.core.network.rate_limiter import CPU, DTLS
from services.runtime import clock
from tests.bench.rig import Rig, on_core
from tests.media import sctp_attacks
from tests.media.sctp_attacks import RawAssociation, SctpAttack, again

_BATCH = 10
_PAUSE_S = 1.0
_ATTACKS: tuple[tuple[str, SctpAttack], ...] = (
    ("SACKs of 270 gap blocks", sctp_attacks.every_gap),
    ("unfinished fragments", sctp_attacks.unfinished_fragments),
    ("one-byte messages", sctp_attacks.one_byte_messages),
    ("fragments with holes", sctp_attacks.fragments_with_holes),
    ("windows filled and skipped", sctp_attacks.refilled_windows),
    ("parameters of length 0", sctp_attacks.endless_parameters),
    ("HEARTBEATs, 300 a packet", sctp_attacks.heartbeats),
    ("stream resets, 80 a packet", sctp_attacks.many_resets),
)

Beside = Callable[[Rig, str, Callable[[], AbstractContextManager[Callable[[], int]]]], Awaitable[Any]]


async def measure(rig: Rig, beside: Beside, console: Console, *, calm_cpu_percent: float) -> list[dict[str, Any]]:
    """Run all attacks, each while ``beside`` keeps ten calls playing.

    The attacker is hung up, or takes less than a call's budget of CPU beyond ``calm_cpu_percent``, which the ten calls
    take alone.
    """
    rows = []
    for name, attack in _ATTACKS:
        before = await _ended(rig)
        flood = await beside(rig, name, lambda chosen=attack: attacking(rig, chosen))  # type: ignore[misc]
        ended = {reason: round(total - before.get(reason, 0.0)) for reason, total in (await _ended(rig)).items()}
        flooded = ended.get("flood", 0)
        bounded = flooded > 0 or flood.media_cpu_percent - calm_cpu_percent < 100 * CPU.per_s
        rows.append({**asdict(flood), "ended_flood": flooded, "ok": flood.within_limits and bounded})
        console.print(f"{name}: gap p99 {flood.gap_p99_ms:.1f} ms at {flood.sent_per_s}/s, {flooded} ended `flood`")
    show(rows, console)
    return rows


@contextmanager
def attacking(rig: Rig, attack: SctpAttack) -> Iterator[Callable[[], int]]:
    """Attack from one call after another while the block runs; yields a function for the packets per second."""
    began, sent = clock.monotonic(), 0

    async def call() -> None:
        nonlocal sent
        async with Caller.call(rig.url, rig.key) as caller:
            channel = caller._channel  # noqa: SLF001 - an attacker has no manners
            assert channel is not None
            wire = RawAssociation(caller._peer, channel)  # noqa: SLF001
            started, mine = clock.monotonic(), 0
            for packet in again(attack(wire)):
                if channel.readyState != "open":
                    return
                await wire.send(packet)
                mine, sent = mine + 1, sent + 1
                if mine % _BATCH == 0:
                    await asyncio.sleep(max(0.0, started + mine / DTLS.per_s - clock.monotonic()))

    async def go_on() -> None:
        while True:
            with contextlib.suppress(CallerError, ConnectionError, httpx.HTTPError):
                await call()
            await asyncio.sleep(_PAUSE_S)

    with on_core(min(1, (os.cpu_count() or 1) - 1)):
        task = asyncio.create_task(go_on(), name="attack")
        try:
            yield lambda: round(sent / max(0.001, clock.monotonic() - began))
        finally:
            task.cancel()


async def _ended(rig: Rig) -> dict[str, float]:
    """Calls of the media process that have ended, by reason."""
    async with httpx.AsyncClient(timeout=10) as http:
        text = (await http.get(f"{rig.metrics_url}/metrics")).text
    ended: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "hushgate_calls_ended_total":
                reason = sample.labels["reason"]
                ended[reason] = ended.get(reason, 0.0) + sample.value
    return ended


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """Print the measurements."""
    table = Table(title="Calls beside a client that writes its own SCTP", title_justify="left")
    for name in ("attack", "packets/s", "gap p50", "gap p99", "media's CPU", "its calls that ended `flood`"):
        table.add_column(name, justify="left" if name == "attack" else "right")
    for row in rows:
        figures = (f"{row['gap_p50_ms']:.1f} ms", f"{row['gap_p99_ms']:.1f} ms", f"{row['media_cpu_percent']:.0f} %")
        style = "" if row["ok"] else "bold red"
        table.add_row(row["name"], str(row["sent_per_s"]), *figures, str(row["ended_flood"]), style=style)
    console.print(table)
