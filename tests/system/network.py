"""A page's calls through an impaired network."""

from playwright.async_api import Page, Route

from tests.network.impairer import Impairer


async def through(page: Page, network: Impairer) -> None:
    """Send the later calls of ``page`` through ``network``, by naming it in the SDP answers instead of the gateway."""

    async def rewrite(route: Route) -> None:
        response = await route.fetch()
        if not response.ok:
            await route.fulfill(response=response)
            return
        headers = {name: value for name, value in response.headers.items() if name != "content-length"}
        body = network.rewrite_answer(await response.text())
        await route.fulfill(status=response.status, headers=headers, body=body)

    await page.route("**/v1/realtime/calls", rewrite)
