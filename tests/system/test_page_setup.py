"""Failed call set-up: the page shows which check failed, what to do, and that the gateway has given up."""

import os
import re
import signal

import httpx
from playwright.async_api import Browser, Page, Route, expect

from tests.network.impairer import impairer
from tests.system.gateway import Up
from tests.system.network import through
from tests.system.page import CallPage, open_page

PATIENCE_MS = 30_000
# What Firefox does on a machine that has a loopback interface only.
WITHOUT_ADDRESSES = """
  const plain = RTCPeerConnection.prototype.setLocalDescription;
  RTCPeerConnection.prototype.setLocalDescription = async function () {
    await plain.call(this);
    Object.defineProperty(this, "connectionState", { value: "failed" });
    this.getStats = async () => new Map();
    setTimeout(() => this.dispatchEvent(new Event("connectionstatechange")));
  };
"""


async def begin(caller: CallPage) -> str:
    """Click Talk; return the id of the call when the gateway has accepted it."""
    await caller.press("talk")
    return str(await caller.until("window.hushgate.callId"))


async def failed_check(caller: CallPage) -> str:
    """Return the one check that is marked as failed."""
    return await caller.part("error").locator("li[data-outcome=failed]").inner_text(timeout=PATIENCE_MS)


async def hang_up_elsewhere(up: Up, call: str) -> None:
    async with httpx.AsyncClient(base_url=up.url, headers={"Authorization": f"Bearer {up.tenant_key}"}) as http:
        (await http.post(f"/v1/realtime/calls/{call}/hangup")).raise_for_status()


async def ended_reason(up: Up, call: str) -> object:
    async with httpx.AsyncClient(base_url=up.url, headers={"Authorization": f"Bearer {up.tenant_key}"}) as http:
        return (await http.get(f"/v1/calls/{call}/usage")).json()["ended_reason"]


async def rewrite_answers(page: Page, pattern: str, replacement: str) -> None:
    """Change the gateway's SDP on its way to the page."""

    async def rewrite(route: Route) -> None:
        response = await route.fetch()
        headers = {name: value for name, value in response.headers.items() if name != "content-length"}
        body = re.sub(pattern, replacement, await response.text())
        await route.fulfill(status=response.status, headers=headers, body=body)

    await page.route("**/v1/realtime/calls", rewrite)


async def rewrite_offers(page: Page, pattern: str, replacement: str) -> None:
    """Change the page's SDP on its way to the gateway."""

    async def rewrite(route: Route) -> None:
        await route.continue_(post_data=re.sub(pattern, replacement, route.request.post_data or ""))

    await page.route("**/v1/realtime/calls", rewrite)


async def test_blocked_udp_is_told_with_the_addresses_as_soon_as_the_gateway_gives_up(up: Up, browser: Browser) -> None:
    async with impairer() as network, open_page(browser, up.page_url) as caller:
        network.black_out()
        await through(caller.page, network)
        call = await begin(caller)
        assert await failed_check(caller) == "UDP to the gateway (ICE): failed"
        await expect(caller.part("error")).to_contain_text(f"127.0.0.1:{network.port} tried, no answer")
        await expect(caller.part("error")).to_contain_text("firewall")
        await expect(caller.part("talk")).to_have_text("Talk")
    # Had the page given up first, it would have hung up.
    assert await ended_reason(up, call) == "setup_timeout"


async def test_a_browser_without_any_address_is_told_so_before_the_gateway_has_answered(
    up: Up, browser: Browser
) -> None:
    async def never(_: Route) -> None:
        """Leave the request open until the page aborts it."""

    async with open_page(browser, up.page_url, scripts=[WITHOUT_ADDRESSES]) as caller:
        await caller.page.route("**/v1/realtime/calls", never)
        await caller.press("talk")
        assert await failed_check(caller) == "UDP to the gateway (ICE): failed"
        await expect(caller.part("error")).to_contain_text("This browser sees no network at all")


async def test_a_failed_dtls_handshake_is_not_blamed_on_udp(up: Up, browser: Browser) -> None:
    async with open_page(browser, up.page_url) as caller:
        await rewrite_answers(caller.page, r"(a=fingerprint:sha-256 )..:..", r"\g<1>00:00")
        await begin(caller)
        assert await failed_check(caller) == "Encryption (DTLS): failed"
        await expect(caller.part("error")).to_contain_text("UDP works")


async def test_a_handshake_that_the_gateway_refuses_is_not_blamed_on_udp(up: Up, browser: Browser) -> None:
    async with open_page(browser, up.page_url) as caller:
        await rewrite_offers(caller.page, r"(a=fingerprint:sha-256 )..:..", r"\g<1>00:00")
        call = await begin(caller)
        assert await failed_check(caller) == "Encryption (DTLS): failed"
        await expect(caller.part("error")).to_contain_text("dtls_failed")
    assert await ended_reason(up, call) == "dtls_failed"


async def test_a_provider_that_does_not_answer_is_the_check_that_failed(own_up: Up, browser: Browser) -> None:
    async with open_page(browser, own_up.page_url) as caller:
        provider = own_up.pid("rehearsal")
        os.kill(provider, signal.SIGSTOP)
        try:
            await caller.press("talk")
            assert await failed_check(caller) == "Answer from the AI provider: failed"
            await expect(caller.part("error")).to_contain_text("The provider")
        finally:
            os.kill(provider, signal.SIGCONT)


async def test_a_call_that_the_gateway_ends_before_it_is_live_says_so_at_once(up: Up, browser: Browser) -> None:
    async with impairer() as network, open_page(browser, up.page_url) as caller:
        network.black_out()
        await through(caller.page, network)
        await hang_up_elsewhere(up, await begin(caller))
        await expect(caller.part("status")).to_contain_text("The call is over", timeout=PATIENCE_MS)
        await expect(caller.part("error")).to_be_hidden()  # an ended call has not failed


async def test_a_live_call_that_ends_while_no_packet_comes_through_says_so(up: Up, browser: Browser) -> None:
    async with impairer() as network, open_page(browser, up.page_url) as caller:
        await through(caller.page, network)
        call = await caller.start_call()
        network.black_out()
        await hang_up_elsewhere(up, call)
        await expect(caller.part("status")).to_contain_text("The call is over", timeout=PATIENCE_MS)
        await expect(caller.part("error")).to_be_hidden()
