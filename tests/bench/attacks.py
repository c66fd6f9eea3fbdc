"""`make bench-attacks`: how attacks affect other callers. Writes docs/bench/attacks.json.

Offers are bombs for signaling; datagrams are floods for the media port, on loopback, for a few seconds each, while ten
calls play all the time. What counts is how far apart the packets of those calls arrive. Then one tenant mints without
end, in a gateway of its own with a small store, and what counts is whether another tenant notices.
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aioice import stun
from rich.console import Console
from rich.table import Table

from services.callers.caller import Caller
from services.callers.load.options import LoadOptions
from services.callers.load.run import run_load
from services.callers.target import Target
from services.runtime import clock
from tests.bench import attack_http, attack_mints, attack_offers, attack_sctp
from tests.bench.machine import cpu_model
from tests.bench.rig import Rig, gateway

RESULTS = Path("docs/bench/attacks.json")
CALLS = 10
HOLD_S = 8.0
GAP_WITHIN_MS = 40.0
FLOOD_PER_S = 5000
_BATCH = 50


@dataclass(frozen=True, slots=True)
class Flood:
    """One attack on the UDP port, and its effect on the calls beside it."""

    name: str
    sent_per_s: int
    gap_p50_ms: float
    gap_p99_ms: float
    connected: int
    media_cpu_percent: float
    """Of one core, by the media process, for the calls and the attack."""

    @property
    def within_limits(self) -> bool:
        """Whether the other calls were unaffected."""
        return self.connected == CALLS and self.gap_p99_ms < GAP_WITHIN_MS


def check(username: str) -> bytes:
    """A STUN check signed with an unknown key."""
    message = stun.Message(
        stun.Method.BINDING, stun.Class.REQUEST, attributes={"USERNAME": username, "PRIORITY": 1, "USE-CANDIDATE": None}
    )
    message.add_message_integrity(b"wrong")
    return bytes(message)


@contextmanager
def flooding(port: int, datagrams: Sequence[bytes]) -> Iterator[Callable[[], int]]:
    """Send ``datagrams`` in a loop from a thread while the block runs; yields a function for the rate per second."""
    over, sent, began = threading.Event(), 0, clock.monotonic()

    def send() -> None:
        nonlocal sent
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", port))
            while not over.wait(max(0.0, began + sent / FLOOD_PER_S - clock.monotonic())):
                for number in range(sent, sent + _BATCH):
                    with contextlib.suppress(OSError):
                        sock.send(datagrams[number % len(datagrams)])
                sent += _BATCH

    thread = threading.Thread(target=send, name="flood")
    thread.start()
    try:
        yield lambda: round(sent / max(0.001, clock.monotonic() - began))
    finally:
        over.set()
        thread.join()


async def beside(
    rig: Rig, name: str, attack: Callable[[], contextlib.AbstractContextManager[Callable[[], int]]]
) -> Flood:
    """Play ten calls while ``attack`` runs."""
    options = LoadOptions(
        url=rig.url, key=rig.key, calls=CALLS, per_second=10, minutes=HOLD_S / 60, talk=1.0, processes=1, cpus=(1,)
    )
    with attack() as rate:
        began, before = clock.monotonic(), await rig.see()
        results = (await run_load(options)).figures
        cpu_s, took_s = (await rig.see()).cpu_s - before.cpu_s, clock.monotonic() - began
        per_s = rate()
    gaps = results["spacing_ms"]
    return Flood(name, per_s, gaps["p50"], gaps["p99"], results["calls"]["connected"], round(100 * cpu_s / took_s, 1))


@contextmanager
def nothing() -> Iterator[Callable[[], int]]:
    """No attack: the baseline."""
    yield lambda: 0


async def measure(rig: Rig, console: Console) -> dict[str, Any]:
    """Run all attacks."""
    offers = await attack_offers.measure(Target(rig.url, rig.key))
    attack_offers.show(offers, console)
    http = await attack_http.measure(rig.url, rig.key)
    attack_http.show(http, console)
    floods: list[Flood] = []
    answers: list[str] = []

    def keep(sdp: str) -> str:
        answers.append(sdp)
        return sdp

    async with Caller.call(rig.url, rig.key, rewrite_answer=keep):
        lines = answers[0].splitlines()
        candidate = next(line for line in lines if line.startswith("a=candidate:")).split()
        ufrag = next(line for line in lines if line.startswith("a=ice-ufrag:")).partition(":")[2]
        port = int(candidate[5])
        hello = bytes.fromhex("16fefd0000000000000000") + b"\x00\x40" + b"\x01" + os.urandom(63)
        for name, datagrams in (
            ("none", ()),
            ("1 DTLS hellos of strangers", (hello,)),
            ("2 checks for nobody", tuple(check(f"nobody{number}:x") for number in range(64))),
            ("3 checks with a wrong signature", (check(f"{ufrag}:x"),)),
            ("8 RTP of strangers", tuple(b"\x80\x6f" + os.urandom(60) for _ in range(64))),
        ):
            attack = (lambda chosen=datagrams: flooding(port, chosen)) if datagrams else nothing  # type: ignore[misc]
            floods.append(await beside(rig, name, attack))
            console.print(f"{floods[-1].name}: gap p99 {floods[-1].gap_p99_ms:.1f} ms at {floods[-1].sent_per_s}/s")
    return {
        "measured_at": clock.utc_now().isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "offers": [
            {
                "attack": refusal.attack.name,
                "status": refusal.status,
                "refused_ms": round(refusal.worst_ms, 2),
                "others_waited_ms": round(refusal.lag_ms, 2),
                "ok": refusal.within_limits,
            }
            for refusal in offers
        ],
        "http": attack_http.rows(http),
        "floods": [{**asdict(flood), "ok": flood.within_limits} for flood in floods],
        "clients": await attack_sctp.measure(rig, beside, console, calm_cpu_percent=floods[0].media_cpu_percent),
    }


def show(results: dict[str, Any], console: Console) -> None:
    """Print the floods."""
    table = Table(title=f"{CALLS} calls beside a flood of the media port", title_justify="left")
    for name in ("attack", "datagrams/s", "gap p50", "gap p99"):
        table.add_column(name, justify="left" if name == "attack" else "right")
    for flood in results["floods"]:
        row = (
            flood["name"],
            str(flood["sent_per_s"]),
            f"{flood['gap_p50_ms']:.1f} ms",
            f"{flood['gap_p99_ms']:.1f} ms",
        )
        table.add_row(*row, style="" if flood["ok"] else "bold red")
    console.print(table)


async def _run(console: Console) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="hushgate-bench-") as folder:
        async with gateway(Path(folder), answer_s=0.0) as rig:
            results = await measure(rig, console)
    return results | {"mints": await attack_mints.measured(console)}


def main(arguments: Sequence[str]) -> int:
    """Measure, print, write; 1 if a limit was exceeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    console = Console()
    results = asyncio.run(_run(console))
    show(results, console)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=2) + "\n")
    console.print(f"written to {options.out}")
    return 0 if all(row["ok"] for rows in results.values() if isinstance(rows, list) for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
