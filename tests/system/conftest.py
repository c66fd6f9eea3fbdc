"""One gateway and one browser for the tests of whole calls."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright

from tests.system.gateway import Up, running_up, wait_until

CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.system)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    if not CHROMIUM.exists():  # noqa: ASYNC240 - once, before anything runs
        pytest.fail("Chromium is not installed: run `make test`, or sudo apt-get install chromium")
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=list(CHROMIUM_ARGS))
        yield launched
        await launched.close()


@pytest.fixture(scope="session")
def fragile_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A second gateway, for all tests that break it."""
    with running_up(tmp_path_factory.mktemp("fragile") / "data") as running:
        yield running


@pytest.fixture
def own_up(fragile_up: Up) -> Iterator[Up]:
    """A gateway that a test may break if it recovers by itself; waits until it has."""
    yield fragile_up
    wait_until(fragile_up.is_well, "the gateway has mended itself")
