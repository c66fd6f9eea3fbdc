"""Measures how idle, slow and oversized HTTP clients affect others: part of `make bench-attacks`.

Each attack goes on while `/healthz` is asked on new connections, one after the other: that is what a probe and a new
caller wait.
"""

import argparse
import asyncio
import contextlib
import json
import resource
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from services.runtime import clock

IDLE = 5000
PROBES = 50
ANSWERED_WITHIN_MS = 100.0
CLOSED_WITHIN_S = 15.0
_PROBE_TIMEOUT_S = 5.0
_PER_ADDRESS = 1000
_AT_ONCE = 100
_CHUNKED_BYTES = 400_000  # 2.4 MB on the wire
_HEAD = b"POST /v1/realtime/calls HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"
_SDP = b"Content-Type: application/sdp\r\n"


@dataclass(frozen=True, slots=True)
class Cost:
    """One attack, and the latency of `/healthz` during it."""

    attack: str
    answered: int
    p50_ms: float
    worst_ms: float
    closed_after_s: float | None = None
    """When the gateway closed the attacker's connection; None: not measured for this attack."""

    @property
    def ok(self) -> bool:
        """Whether `/healthz` stayed fast and the attacker's connection was closed."""
        closed = self.closed_after_s is None or self.closed_after_s < CLOSED_WITHIN_S
        return self.answered == PROBES and self.worst_ms < ANSWERED_WITHIN_MS and closed


async def _probe(host: str, port: int) -> float:
    """Seconds until a new connection gets the answer of `/healthz`.

    Raises:
        OSError: it gets none; TimeoutError is one.
    """
    began = clock.monotonic()
    async with asyncio.timeout(_PROBE_TIMEOUT_S):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            if not (await reader.read()).startswith(b"HTTP/1.1 200"):
                raise ConnectionError("no 200")
        finally:
            writer.close()
    return clock.monotonic() - began


async def _probes(host: str, port: int) -> list[float]:
    waits: list[float] = []
    for _ in range(PROBES):
        with contextlib.suppress(OSError):
            waits.append(1000 * await _probe(host, port))
        if not waits and _ > 1:  # it is down; each further one would wait for its time-out
            break
        await asyncio.sleep(0.01)
    return sorted(waits)


@asynccontextmanager
async def _idle(host: str, port: int, *, connections: int = IDLE) -> AsyncIterator[None]:
    """Open connections that send nothing, from several addresses."""
    opened: list[asyncio.StreamWriter] = []

    async def open_one(number: int) -> None:
        local = (f"127.0.0.{2 + number // _PER_ADDRESS}", 0)
        with contextlib.suppress(OSError):
            async with asyncio.timeout(_PROBE_TIMEOUT_S):
                _, writer = await asyncio.open_connection(host, port, local_addr=local)
                opened.append(writer)

    for first in range(0, connections, _AT_ONCE):
        await asyncio.gather(*(open_one(number) for number in range(first, min(first + _AT_ONCE, connections))))
    try:
        yield
    finally:
        for first in range(0, len(opened), _AT_ONCE):  # as slowly as they came: this process measures, too
            await asyncio.gather(*(_closed(writer) for writer in opened[first : first + _AT_ONCE]))


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _until_closed(host: str, port: int, pieces: Callable[[int], bytes], *, every_s: float) -> float:
    """Send piece after piece; returns seconds until the gateway closed the connection."""
    began = clock.monotonic()
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection(host, port)
        number = 0
        try:
            async with asyncio.timeout(3 * CLOSED_WITHIN_S):
                reading = asyncio.ensure_future(reader.read())
                while not reading.done():
                    writer.write(pieces(number))
                    await writer.drain()
                    number += 1
                    await asyncio.wait({reading}, timeout=every_s)
        finally:
            reading.cancel()
            writer.close()
    return clock.monotonic() - began


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def _in_tiny_chunks(host: str, port: int, key: bytes) -> AsyncIterator[None]:
    """Send a body in chunks of one byte, all at once."""
    sending = asyncio.ensure_future(
        _until_closed(host, port, lambda number: _tiny_chunks(key) if number == 0 else b"", every_s=0.2)
    )
    try:
        yield
    finally:
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending


def _tiny_chunks(key: bytes) -> bytes:
    return _HEAD % key + _SDP + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nv\r\n" * _CHUNKED_BYTES


async def measure(url: str, key: str) -> list[Cost]:
    """Run all attacks on a running gateway."""
    parts = urlsplit(url)
    host, port, secret = parts.hostname or "127.0.0.1", parts.port or 80, key.encode()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    costs: list[Cost] = []
    attacks: Sequence[tuple[str, AbstractAsyncContextManager[None]]] = (
        ("none", _nothing()),
        ("a body of one-byte chunks, 2.4 MB", _in_tiny_chunks(host, port, secret)),
        (f"{IDLE} idle connections", _idle(host, port)),
    )
    for name, attack in attacks:
        async with attack:
            costs.append(_cost(name, await _probes(host, port)))
    slow_head = [b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"X: y\r\n"]
    slow_body = [_HEAD % secret + _SDP + b"Content-Length: 10000\r\n\r\n", b"v"]
    for name, pieces in (("a head that never ends", slow_head), ("a body that never ends", slow_body)):
        slow = asyncio.ensure_future(
            _until_closed(host, port, lambda number, sent=pieces: sent[min(number, 1)], every_s=0.5)  # type: ignore[misc]
        )
        waits = await _probes(host, port)
        costs.append(_cost(name, waits, closed_after_s=round(await slow, 1)))
    return costs


def _cost(name: str, waits: Sequence[float], *, closed_after_s: float | None = None) -> Cost:
    middle, worst = (waits[len(waits) // 2], waits[-1]) if waits else (0.0, 0.0)
    return Cost(name, len(waits), round(middle, 1), round(worst, 1), closed_after_s)


def rows(costs: Sequence[Cost]) -> list[dict[str, Any]]:
    """Rows for docs/bench/attacks.json."""
    return [{**asdict(cost), "ok": cost.ok} for cost in costs]


def show(costs: Sequence[Cost], console: Console) -> None:
    """Print the measurements."""
    table = Table(title="/healthz on a new connection beside HTTP attacks", title_justify="left")
    for name in ("attack", "answered", "p50", "worst", "closed after"):
        table.add_column(name, justify="left" if name == "attack" else "right")
    for cost in costs:
        closed = "" if cost.closed_after_s is None else f"{cost.closed_after_s:.1f} s"
        figures = (f"{cost.answered}/{PROBES}", f"{cost.p50_ms:.1f} ms", f"{cost.worst_ms:.1f} ms", closed)
        table.add_row(cost.attack, *figures, style="" if cost.ok else "bold red")
    console.print(table)


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 1 if a limit was exceeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="of signaling, as http://127.0.0.1:8080")
    parser.add_argument("--key", required=True, help="a tenant's key for this attack alone")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    costs = asyncio.run(measure(options.url, options.key))
    if options.json:
        sys.stdout.write(json.dumps(rows(costs), indent=2) + "\n")
    show(costs, Console())
    return 0 if all(cost.ok for cost in costs) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
