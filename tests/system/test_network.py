"""A real browser behind an impaired network."""

import pytest
from playwright.async_api import Browser

from services.callers.speech import synthesise
from tests.network.fate import Conditions
from tests.network.impairer import impairer
from tests.system.gateway import Up
from tests.system.network import through
from tests.system.page import open_page

pytestmark = pytest.mark.alone


async def test_a_browser_is_answered_through_a_slow_and_jittery_network(up: Up, browser: Browser) -> None:
    slow = Conditions(delay_ms=75, jitter_ms=20)
    async with impairer(up=slow, down=slow) as network, open_page(browser, up.page_url) as caller:
        await through(caller.page, network)
        await caller.start_call()
        await caller.speak(await synthesise("what time is it"))
        await caller.event("output_audio_buffer.started")
        await caller.wait_for_audio()
        assert network.up.counts.media > 50
        assert network.down.counts.media > 5
        await caller.hang_up()
