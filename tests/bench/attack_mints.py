"""Measures how a flood of mints affects another tenant, on a whole gateway with a NATS store of 40 MB.

One tenant asks for the largest tokens that live longest, as fast as it is answered. Beside it another mints and makes
calls, whose usage must reach the ledger.
"""

import asyncio
import json
import os
import signal
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from services.callers.caller import Caller
from services.runtime import clock
from services.runtime.bus.client import Bus
from services.runtime.bus.streams import Share, bound
from services.signaling.core.tenants import key_hash
from services.signaling.settings import SignalingSettings
from tests.system.gateway import ECHO_VOICE, Up, running_up

STORE_MB = 40
SECONDS = 20.0
FLOODERS = 16
_SECRETS = "/v1/realtime/client_secrets"
_FLOODER, _OTHER = "hg_" + "f" * 43, "hg_" + "o" * 43
_INSTRUCTIONS = "x" * 90_000


@dataclass(frozen=True, slots=True)
class MintFlood:
    """Results of the flood, and of the other tenant's calls."""

    name: str
    asked_per_s: float
    tokens: int
    refused: int
    store_share: float
    """The share of the token bucket's space in use at the end."""
    other_calls: int
    other_failed: int
    other_mint_p50_ms: float
    other_mint_p95_ms: float
    usage_booked: int

    @property
    def within_limits(self) -> bool:
        """Whether all calls of the other tenant were made and booked."""
        return self.other_failed == 0 and 0 < self.other_calls == self.usage_booked and self.store_share < 0.5


async def measure(*, seconds: float = SECONDS) -> list[MintFlood]:
    """Make the same calls without and with a flood."""
    with tempfile.TemporaryDirectory(prefix="hushgate-bench-") as folder:
        arguments = ("--store-mb", str(STORE_MB))
        with running_up(Path(folder) / "data", *arguments, environment=ECHO_VOICE) as up:
            _add_tenants(up.data / "tenants.json")
            return [
                await _beside(up, name, flooders=flooders, seconds=seconds)
                for name, flooders in (("none", 0), ("mints of 90 KB for 2 h", FLOODERS))
            ]


def _add_tenants(file: Path) -> None:
    tenants = json.loads(file.read_text())["tenants"]
    tenants += [
        {"id": name, "keys_sha256": [key_hash(key)]} for name, key in (("flooder", _FLOODER), ("other", _OTHER))
    ]
    file.write_text(json.dumps({"tenants": tenants}))


async def _beside(up: Up, name: str, *, flooders: int, seconds: float) -> MintFlood:
    waits_ms: list[float] = []
    calls = failed = booked = 0
    async with _flooding(up.url, flooders) as seen, httpx.AsyncClient(base_url=up.url, timeout=30) as client:
        began = clock.monotonic()
        while clock.monotonic() - began < seconds:
            asked = clock.monotonic()
            reply = await client.post(_SECRETS, headers=_bearer(_OTHER))
            waits_ms.append(1000 * (clock.monotonic() - asked))
            calls += 1
            if reply.status_code != httpx.codes.OK:
                failed += 1
                continue
            async with Caller.call(up.url, _OTHER) as caller:
                await caller.next_event("session.created", timeout_s=10)
                await caller.hang_up()
            booked += await _booked(client, str(caller.call_id))
        took_s = clock.monotonic() - began
    return MintFlood(
        name=name,
        asked_per_s=round(seen.total() / took_s, 1),
        tokens=seen[200],
        refused=seen[429],
        store_share=round(await _taken(up) / bound(Share.GRANTS, STORE_MB), 3),
        other_calls=calls,
        other_failed=failed,
        other_mint_p50_ms=round(statistics.median(waits_ms), 1),
        other_mint_p95_ms=round(statistics.quantiles(waits_ms, n=20)[-1] if len(waits_ms) > 1 else waits_ms[0], 1),
        usage_booked=booked,
    )


async def _booked(client: httpx.AsyncClient, call: str) -> bool:
    """Wait until the ledger has the call; its usage arrives after its end."""
    async with asyncio.timeout(20):
        path, headers = f"/v1/calls/{call}/usage", _bearer(_OTHER)
        # Nobody tells when it is booked.
        while (await client.get(path, headers=headers)).status_code != httpx.codes.OK:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    return True


async def _taken(up: Up) -> int:
    async with Bus.connect(str(up.read()["nats_url"]), name="bench") as bus:
        return int((await bus.jetstream.stream_info("KV_grants")).state.bytes)


@asynccontextmanager
async def _flooding(url: str, flooders: int) -> AsyncIterator[Counter[int]]:
    """Flood from a separate process; yields the counts by status when the block has ended."""
    seen: Counter[int] = Counter()
    if not flooders:
        yield seen
        return
    command = (sys.executable, "-m", "tests.bench.attack_mints", "--flood", url)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        await process.stdout.readline()  # the first answer has come
        yield seen
    finally:
        process.send_signal(signal.SIGTERM)
        out, _ = await process.communicate()
        seen.update({int(status): count for status, count in json.loads(out).items()})


async def _flood(url: str) -> None:
    """Mint until SIGTERM, then print the count of each status."""
    os.nice(5)  # a real flood comes from another machine and takes no CPU here
    seen: Counter[int] = Counter()
    session = {"type": "realtime", "instructions": _INSTRUCTIONS}
    body = json.dumps({"session": session, "expires_after": {"seconds": 7200}}).encode()

    async def mint() -> None:
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            while True:
                seen[(await client.post(_SECRETS, content=body, headers=_bearer(_FLOODER))).status_code] += 1
                begun.set()

    begun, stopped = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    tasks = [asyncio.create_task(mint(), name="flood") for _ in range(FLOODERS)]
    await begun.wait()
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    await stopped.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    sys.stdout.write(json.dumps(seen))


def _bearer(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}


async def measured(console: Console) -> list[dict[str, object]]:
    """Measure and print; returns the rows for docs/bench/attacks.json."""
    floods = await measure()
    show(floods, console)
    return [{**asdict(flood), "ok": flood.within_limits} for flood in floods]


def show(floods: list[MintFlood], console: Console) -> None:
    """Print the measurements."""
    rate = SignalingSettings.model_fields["mints_per_s"].default
    table = Table(title=f"Mints of one tenant (limit {rate:g}/s), NATS store {STORE_MB} MB", title_justify="left")
    for name in ("flood", "asked/s", "tokens", "429", "store", "other's calls", "failed", "mint p50", "mint p95"):
        table.add_column(name, justify="left" if name == "flood" else "right")
    for flood in floods:
        row = (
            flood.name,
            f"{flood.asked_per_s:g}",
            str(flood.tokens),
            str(flood.refused),
            f"{100 * flood.store_share:.0f} %",
            str(flood.other_calls),
            str(flood.other_failed),
            f"{flood.other_mint_p50_ms:.0f} ms",
            f"{flood.other_mint_p95_ms:.0f} ms",
        )
        table.add_row(*row, style="" if flood.within_limits else "bold red")
    console.print(table)


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 1 if the other tenant was affected."""
    if len(arguments) == 2 and arguments[0] == "--flood":
        asyncio.run(_flood(arguments[1]))
        return 0
    return 0 if all(row["ok"] for row in asyncio.run(measured(Console()))) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
