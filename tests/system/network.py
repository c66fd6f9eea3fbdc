"""A page's calls through a bad network."""

from playwright.async_api import Page, Route

from tests.network.impairer import Impairer


async def through(page: Page, network: Impairer) -> None:
    """Let all calls of ``page`` from now on go through ``network``: their answers name it in place of the gateway."""

    async def rewrite(route: Route) -> None:
        response = await route.fetch()
        if not response.ok:
            await route.fulfill(response=response)
            return
        headers = {name: value for name, value in response.headers.items() if name != "content-length"}
        body = network.rewrite_answer(await response.text())
        await route.fulfill(status=response.status, headers=headers, body=body)

    await page.route("**/v1/realtime/calls", rewrite)
