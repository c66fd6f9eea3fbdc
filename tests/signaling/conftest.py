"""Signaling's HTTP application on a real bus, and bus clients in place of media processes."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from services.contracts import subjects
from services.contracts.ids import ProcessId
from services.contracts.message import Message
from services.contracts.messages import AnyMessage, Heartbeat, Offer
from services.contracts.turn_detection import TurnTerms
from services.runtime.bus.client import Bus
from services.runtime.bus.streams import ensure_placed_stream
from services.runtime.process.health import Health
from services.signaling.app import Components, build, open_grants, turn_credentials
from services.signaling.auth import Authority
from services.signaling.media_directory import MediaDirectory
from services.signaling.metering_client import UsageSource
from services.signaling.request_limiter import RequestLimiter
from services.signaling.settings import SignalingSettings
from services.signaling.tenants_file import TenantsFile
from tests.signaling.fixture_types import AddMedia, HeardHeartbeats
from tests.signaling.page import PAGE_SECRET


@dataclass(slots=True)
class _Listening(MediaDirectory):
    """A directory with an event that is set by each heartbeat."""

    received: asyncio.Event = field(default_factory=asyncio.Event)

    def on_heartbeat(self, subject: str, data: bytes) -> None:
        MediaDirectory.on_heartbeat(self, subject, data)
        self.received.set()


@pytest.fixture
def key() -> str:
    return "hg_" + "a" * 43


@pytest.fixture
def other_key() -> str:
    return "hg_" + "b" * 43


@pytest.fixture
def tenants_path(tmp_path: Path, key: str, other_key: str) -> Path:
    path = tmp_path / "tenants.json"
    acme = {
        "id": "acme",
        "keys_sha256": [hashlib.sha256(key.encode()).hexdigest()],
        "session": {"instructions": "Be brief.", "audio": {"output": {"voice": "marin"}}},
        "limits": {"max_seconds": 600},
    }
    other = {
        "id": "other",
        "keys_sha256": [hashlib.sha256(other_key.encode()).hexdigest()],
        "origins": ["https://other.example"],
    }
    path.write_text(json.dumps({"tenants": [acme, other]}))
    return path


@pytest.fixture
def offer() -> str:
    golden = json.loads((Path(__file__).parent / "golden" / "offers.json").read_text())
    return "\r\n".join(golden["chromium"]["offer"])


@pytest.fixture
def directories() -> list[_Listening]:
    """Every directory of the test: a heartbeat counts once all have received it."""
    return []


@pytest.fixture
def settings(tenants_path: Path) -> SignalingSettings:
    return SignalingSettings(
        tenants_file=tenants_path, demo_tenant="acme", page_secret=PAGE_SECRET, provider="rehearsal", charged=False
    )


@pytest.fixture
async def open_signaling(
    nats_url: str, store_mb: int, tmp_path: Path, settings: SignalingSettings, directories: list[_Listening]
) -> AsyncIterator[Callable[..., Awaitable[httpx.AsyncClient]]]:
    """Return a function that opens a further signaling application, each with its own bus connection."""
    console = tmp_path / "console"
    (console / "sub").mkdir(parents=True)
    (console / "index.html").write_text("<!doctype html><title>Hushgate</title>")
    (console / "app.js").write_text("export {};")
    (console / "sub" / "worklet.js").write_text("export {};")
    (console / "secret.py").write_text("")
    (console / ".hidden.js").write_text("")
    (console / ".hidden").mkdir()
    (console / ".hidden" / "app.js").write_text("")

    @asynccontextmanager
    async def endpoint(changed: SignalingSettings, usage: UsageSource | None) -> AsyncIterator[httpx.AsyncClient]:
        async with Bus.connect(nats_url, name="signaling", store_mb=store_mb) as bus, httpx.AsyncClient() as nowhere:
            await ensure_placed_stream(bus.jetstream, store_mb=store_mb)  # metering's part
            directory = _Listening(bus, offer_timeout_s=0.2)
            await directory.subscribe_heartbeats()
            directories.append(directory)
            parts = Components(
                bus=bus,
                authority=Authority(
                    TenantsFile(changed.tenants_file),
                    await open_grants(bus),
                    RequestLimiter(changed.rates, changed.address_rate),
                ),
                directory=directory,
                usage=usage or UsageSource(nowhere, configured=False),
                default_model=changed.default_model,
                turn=turn_credentials(changed),
            )
            app = build(
                parts, changed, Health(blocked_by=set(), checks={"bus": lambda: bus.connected}), console=console
            )
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
                yield client

    async with AsyncExitStack() as stack:

        async def opened(
            changed: SignalingSettings | None = None, usage: UsageSource | None = None
        ) -> httpx.AsyncClient:
            return await stack.enter_async_context(endpoint(changed or settings, usage))

        yield opened


@pytest.fixture
async def client(open_signaling: Callable[..., Awaitable[httpx.AsyncClient]]) -> httpx.AsyncClient:
    return await open_signaling()


@pytest.fixture
def heard_heartbeats(bus: Bus, directories: list[_Listening]) -> HeardHeartbeats:
    """Return a block that ends when all directories have received a heartbeat that was sent in it."""

    @asynccontextmanager
    async def heard() -> AsyncIterator[None]:
        for directory in directories:
            directory.received.clear()
        yield
        await bus.flush()
        async with asyncio.timeout(5):
            for directory in directories:
                await directory.received.wait()

    return heard


@pytest.fixture
async def add_media(bus: Bus, client: httpx.AsyncClient, heard_heartbeats: HeardHeartbeats) -> AddMedia:
    """Return a function that adds a media process with one fixed answer; it returns the offers received.

    ``answer`` None: it never answers. ``silent``: it sends heartbeats but does not subscribe.
    """
    assert client is not None

    async def add(
        name: str,
        answer: Message | None = None,
        *,
        silent: bool = False,
        active: int = 0,
        draining: bool = False,
        turns: TurnTerms | None = None,
    ) -> list[Offer]:
        offers: list[Offer] = []

        async def take(message: AnyMessage) -> Message:
            assert isinstance(message, Offer)
            offers.append(message)
            if answer is None:
                await asyncio.Event().wait()
                raise AssertionError
            return answer

        if not silent:
            await bus.serve(subjects.offer(ProcessId(name)), take)
        beat = Heartbeat(
            process=ProcessId(name),
            version="0",
            draining=draining,
            active=active,
            reserved=0,
            capacity=10,
            loop_lag_ms=0,
            http_url="http://127.0.0.1:1",
            turns=turns,
        )
        async with heard_heartbeats():
            await bus.publish(subjects.heartbeat(beat.process), beat)
        return offers

    return add


@pytest.fixture
def mint(client: httpx.AsyncClient, key: str) -> Callable[..., Awaitable[str]]:
    """Return a function that mints a token of tenant acme."""

    async def minted(**body: object) -> str:
        reply = await client.post("/v1/realtime/client_secrets", json=body, headers={"Authorization": f"Bearer {key}"})
        assert reply.status_code == 200, reply.text
        return str(reply.json()["value"])

    return minted
