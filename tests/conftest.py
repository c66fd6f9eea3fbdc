"""Real parts for all tests: a nats-server of their own, and a bus on it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from services.runtime.bus.client import Bus
from services.runtime.bus.streams import DEFAULT_STORE_MB
from services.up.nats_server import nats_server
from tests.system.gateway import Up, running_up

# A loaded machine generates examples slowly; no test depends on time.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-golden", action="store_true", help="write the golden files anew instead of comparing")


@pytest.fixture
def store_mb() -> int:
    """The MiB that streams and buckets may take together."""
    return DEFAULT_STORE_MB


@pytest.fixture
async def nats_url(tmp_path: Path, store_mb: int) -> AsyncIterator[str]:
    async with nats_server(tmp_path, store_mb=store_mb) as server:
        yield server.url


@pytest.fixture
async def bus(nats_url: str, store_mb: int) -> AsyncIterator[Bus]:
    async with Bus.connect(nats_url, name="test", store_mb=store_mb) as connected:
        yield connected


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One gateway for all tests that leave it as they found it."""
    with running_up(tmp_path_factory.mktemp("up") / "data") as running:
        yield running
