"""A tenant's limit of calls at once, on whole calls."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from services.callers.caller import Caller
from services.callers.errors import EndpointRefusedError
from services.signaling.core.tenants import key_hash
from tests.system.gateway import ECHO_VOICE, Up, running_up

TIMEOUT_S = 30.0
OTHER_KEY = "hg_" + "o" * 43


OFFER = "\r\n".join(
    json.loads((Path(__file__).parents[1] / "signaling/golden/offers.json").read_text())["chromium"]["offer"]
)


async def connected(up: Up, key: str) -> None:
    """Make a call, and end it when its session has begun."""
    async with Caller.call(up.url, key) as caller:
        await caller.next_event("session.created", timeout_s=TIMEOUT_S)
        await caller.hang_up()


async def test_a_tenant_at_its_limit_calls_again_when_a_call_has_ended(tmp_path: Path) -> None:
    with running_up(tmp_path / "data", environment=ECHO_VOICE) as up:
        file = up.data / "tenants.json"
        own = {**json.loads(file.read_text())["tenants"][0], "rates": {"live_calls": 1}}
        other = {"id": "other", "keys_sha256": [key_hash(OTHER_KEY)]}
        file.write_text(json.dumps({"tenants": [own, other]}))
        async with asyncio.timeout(TIMEOUT_S):
            async with Caller.call(up.url, up.tenant_key) as caller:
                await caller.next_event("session.created", timeout_s=TIMEOUT_S)
                with pytest.raises(EndpointRefusedError, match="429"):
                    await connected(up, up.tenant_key)
                await connected(up, OTHER_KEY)
                await caller.hang_up()
                await connected(up, up.tenant_key)


async def test_answers_that_nobody_connects_to_are_limited_and_a_token_refused_so_stays_good(tmp_path: Path) -> None:
    environment = {**ECHO_VOICE, "SIGNALING_HALF_OPEN_CALLS": "2"}
    with running_up(tmp_path / "data", environment=environment) as up:
        async with httpx.AsyncClient(base_url=up.url, timeout=TIMEOUT_S) as http:
            key = {"Authorization": f"Bearer {up.tenant_key}"}

            async def offer(headers: dict[str, str]) -> httpx.Response:
                headers = {**headers, "Content-Type": "application/sdp"}
                return await http.post("/v1/realtime/calls", headers=headers, content=OFFER)

            minted = await http.post("/v1/realtime/client_secrets", headers=key, json={})
            token = {"Authorization": f"Bearer {minted.json()['value']}"}
            replies = await asyncio.gather(*(offer(key) for _ in range(6)))
            assert sorted(reply.status_code for reply in replies) == [201] * 2 + [429] * 4
            refused = await offer(token)
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
            assert refused.headers["retry-after"] == "1"
            await http.post(f"{next(r for r in replies if r.is_success).headers['location']}/hangup", headers=key)
            assert (await offer(token)).status_code == 201
