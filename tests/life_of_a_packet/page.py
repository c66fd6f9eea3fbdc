"""`python -m tests.life_of_a_packet.page` writes the tables of docs/life-of-a-packet.md, from traces of real calls."""

import asyncio
import tempfile
from pathlib import Path

from services.runtime.bus.client import Bus
from services.up.nats_server import nats_server
from tests.life_of_a_packet import media, upstream
from tests.life_of_a_packet.tracing import ROOT, PacketPath

PAGE = ROOT / "docs" / "life-of-a-packet.md"


async def trace(nats_url: str) -> dict[str, PacketPath]:
    """Return the paths by the mark that stands before their table. Each service has a connection of its own."""
    paths: dict[str, PacketPath] = {}
    for service in (media, upstream):
        async with Bus.connect(nats_url, name="packet") as bus:
            paths |= await service.trace(bus)
    return paths


def page(paths: dict[str, PacketPath]) -> str:
    """Return the page with the tables of ``paths``."""
    text = PAGE.read_text()
    for way, path in paths.items():
        mark = f"<!-- {way} -->"
        before, _, rest = text.partition(mark)
        after = rest[rest.index("\n## ") :] if "\n## " in rest else "\n"
        text = f"{before}{mark}\n{path.table()}\n{after}"
    return text.rstrip("\n") + "\n"


async def _write() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with nats_server(Path(folder)) as server:
            PAGE.write_text(page(await trace(server.url)))


if __name__ == "__main__":
    asyncio.run(_write())
