"""The page's messages when a call cannot be made or ends early: what happened and what to do."""

import asyncio
import os
import re
import signal

from playwright.async_api import Browser, Route, expect

from tests.system.gateway import Up
from tests.system.page import open_page

NO_MICROPHONE = "why => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', why) } }"


async def test_the_page_says_that_nothing_is_charged(up: Up, browser: Browser) -> None:
    async with open_page(browser, up.page_url) as caller:
        await expect(caller.part("badge")).to_contain_text("no charge")


async def test_a_refused_microphone_is_explained(up: Up, browser: Browser) -> None:
    async with open_page(browser, up.page_url) as caller:
        await caller.page.evaluate(NO_MICROPHONE, "NotAllowedError")
        await caller.part("talk").click()
        await expect(caller.part("error")).to_contain_text("permission", ignore_case=True)


async def test_a_missing_microphone_is_explained(up: Up, browser: Browser) -> None:
    async with open_page(browser, up.page_url) as caller:
        await caller.page.evaluate(NO_MICROPHONE, "NotFoundError")
        await caller.part("talk").click()
        await expect(caller.part("error")).to_contain_text("microphone", ignore_case=True)


async def test_an_insecure_context_is_explained(up: Up, browser: Browser) -> None:
    async with open_page(browser, up.page_url) as caller:
        await caller.page.evaluate("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
        await caller.part("talk").click()
        await expect(caller.part("error")).to_contain_text("https", ignore_case=True)


async def test_a_refused_call_shows_the_gateways_reason(up: Up, browser: Browser) -> None:
    async with open_page(browser, up.page_url) as caller:
        body = (
            '{"error": {"message": "No media process has room.", "type": "server_error", "code": "x", "param": null}}'
        )
        await caller.page.route("**/v1/realtime/calls", lambda route: route.fulfill(status=503, body=body))
        await caller.part("talk").click()
        await expect(caller.part("error")).to_contain_text("No media process has room.")
        await expect(caller.part("talk")).to_have_text("Talk")


async def test_a_changed_network_makes_the_page_restart_ice_and_a_refusal_costs_nothing(
    up: Up, browser: Browser
) -> None:
    async with open_page(browser, up.page_url) as caller:
        offers: asyncio.Queue[str] = asyncio.Queue()

        async def refuse(route: Route) -> None:
            offers.put_nowait(route.request.post_data or "")
            await route.fulfill(status=503, json={"error": {"message": "Not now."}})

        async with caller.page.expect_request("**/v1/realtime/calls") as first:
            call = await caller.start_call()
        await caller.page.route(f"**/v1/realtime/calls/{call}/restart", refuse)
        for _ in range(2):  # the second is an offer only after a rollback of the first
            await caller.page.evaluate("window.dispatchEvent(new Event('online'))")
            async with asyncio.timeout(20):
                offer = await offers.get()
            before = (await first.value).post_data or ""
            assert attribute(offer, "fingerprint") == attribute(before, "fingerprint")
            assert attribute(offer, "ice-ufrag") != attribute(before, "ice-ufrag")
            await expect(caller.part("status")).to_contain_text("Speak at any time")
        await caller.hang_up()


def attribute(offer: str, name: str) -> set[str]:
    return set(re.findall(rf"a={name}:(\S.*)\r", offer))


async def test_the_page_never_holds_a_tenant_key(up: Up, browser: Browser) -> None:
    async with open_page(browser, up.page_url) as caller:
        bodies: list[str] = []
        caller.page.on("request", lambda request: bodies.append(f"{request.headers} {request.post_data}"))
        await caller.start_call()
        await caller.hang_up()
        assert bodies
        assert up.tenant_key not in "".join(bodies) + await caller.page.content()


async def test_it_fits_a_phone(up: Up, browser: Browser) -> None:
    for width in (360, 390):
        async with open_page(browser, up.page_url, viewport={"width": width, "height": 800}) as caller:
            assert await caller.page.evaluate("document.documentElement.scrollWidth") == width
            await expect(caller.part("talk")).to_be_in_viewport()


async def test_a_call_whose_server_dies_says_so(own_up: Up, browser: Browser) -> None:
    async with open_page(browser, own_up.page_url) as caller:
        await caller.start_call()
        os.kill(own_up.pid("media-0"), signal.SIGKILL)
        await expect(caller.part("error")).to_contain_text("connection", ignore_case=True, timeout=30_000)
        await expect(caller.part("talk")).to_have_text("Talk")
