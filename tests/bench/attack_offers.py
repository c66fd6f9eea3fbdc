"""Measures how long bad offers take to be refused, and how long others wait meanwhile: attacks 5 and 6.

Posts each to a running `hushgate up` while a second connection asks for `/healthz` without a pause: what that waits
longer than usual is time in which the loop served nobody.
"""

import argparse
import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from services.callers.errors import CallerError
from services.callers.target import Target, running_target
from services.runtime import clock
from tests.signaling.attacks import BOMBS, NONSENSE, OfferAttack

REPEATS = 5
REFUSED_WITHIN_MS = 50.0
LAG_WITHIN_MS = 50.0
_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class WorstRefusal:
    """The worst of several posts of one attack."""

    attack: OfferAttack
    status: int
    worst_ms: float
    lag_ms: float

    @property
    def within_limits(self) -> bool:
        """Whether it was refused with the right status and in time."""
        return self.status == self.attack.status and self.worst_ms < REFUSED_WITHIN_MS and self.lag_ms < LAG_WITHIN_MS


async def measure(
    target: Target, *, attacks: Sequence[OfferAttack] = (*BOMBS, *NONSENSE), repeats: int = REPEATS
) -> list[WorstRefusal]:
    """Post each attack ``repeats`` times.

    Raises:
        httpx.HTTPError: the gateway does not answer at all.
    """
    refusals = []
    limits = httpx.Timeout(_TIMEOUT_S)
    async with (
        httpx.AsyncClient(base_url=target.url, timeout=limits) as attacker,
        httpx.AsyncClient(base_url=target.url, timeout=limits) as other,
    ):
        for client in (attacker, other):
            await client.get("/healthz")  # so that no attack pays for a new connection
        for attack in attacks:
            status, worst_s = 0, 0.0
            async with _waiting(other) as waits_s:
                for _ in range(repeats):
                    status, took_s = await _post(attacker, target.key, attack)
                    worst_s = max(worst_s, took_s)
            refusals.append(WorstRefusal(attack, status, 1000 * worst_s, 1000 * max(waits_s)))
    return refusals


async def _post(client: httpx.AsyncClient, key: str, attack: OfferAttack) -> tuple[int, float]:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/sdp"}
    began = clock.monotonic()
    reply = await client.post("/v1/realtime/calls", content=attack.offer, headers=headers)
    return reply.status_code, clock.monotonic() - began


@asynccontextmanager
async def _waiting(client: httpx.AsyncClient) -> AsyncIterator[list[float]]:
    """Latencies of `/healthz` in s while the block runs; at least one."""
    waits: list[float] = []

    async def ask() -> None:
        while True:
            began = clock.monotonic()
            await client.get("/healthz")
            waits.append(clock.monotonic() - began)

    asking = asyncio.create_task(ask(), name="healthz")
    try:
        yield waits
        while not waits and not asking.done():
            await asyncio.wait({asking}, timeout=0.01)
    finally:
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking


def show(refusals: Sequence[WorstRefusal], console: Console) -> None:
    """Print the measurements."""
    table = Table(title="Bad offers", title_justify="left")
    for name in ("attack", "status", "refused after", "others waited"):
        table.add_column(name, justify="left" if name == "attack" else "right")
    for refusal in refusals:
        style = "" if refusal.within_limits else "bold red"
        row = (f"{refusal.status}", f"{refusal.worst_ms:.1f} ms", f"{refusal.lag_ms:.1f} ms")
        table.add_row(refusal.attack.name, *row, style=style)
    console.print(table)


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 1 if a limit was exceeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="data directory of a running `hushgate up`")
    options = parser.parse_args(arguments)
    try:
        refusals = asyncio.run(measure(running_target(options.data)))
    except (CallerError, httpx.HTTPError) as exc:
        sys.stderr.write(f"attack_offers: {exc}\n")
        return 1
    show(refusals, Console())
    return 0 if all(refusal.within_limits for refusal in refusals) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
