"""A tenant's and a token's rates of a minute, on whole calls."""

import asyncio
import json
from pathlib import Path

import httpx

from services.callers.caller import Caller
from services.signaling.core.tenants import key_hash
from tests.system.gateway import ECHO_VOICE, Up, running_up

TIMEOUT_S = 30.0
OTHER_KEY = "hg_" + "o" * 43
TEXT = {"type": "response.create", "response": {"output_modalities": ["text"]}}


async def answered(caller: Caller) -> None:
    caller.send_event({**TEXT})
    await caller.next_event("response.done", timeout_s=TIMEOUT_S)


async def refused(caller: Caller) -> str:
    caller.send_event({**TEXT, "event_id": "mine"})
    error = (await caller.next_event("error", timeout_s=TIMEOUT_S)).event["error"]
    assert (error["code"], error["event_id"]) == ("rate_limit_exceeded", "mine")
    return str(error["message"])


def write_tenants(up: Up, rates: dict[str, int], limits: dict[str, int] | None = None) -> None:
    file = up.data / "tenants.json"
    own = {**json.loads(file.read_text())["tenants"][0], "rates": rates, "limits": limits or {}}
    file.write_text(json.dumps({"tenants": [own, {"id": "other", "keys_sha256": [key_hash(OTHER_KEY)]}]}))


async def mint(up: Up, responses: int) -> httpx.Response:
    async with httpx.AsyncClient(base_url=up.url, timeout=TIMEOUT_S) as http:
        key, body = {"Authorization": f"Bearer {up.tenant_key}"}, {"hushgate": {"responses_per_min": responses}}
        return await http.post("/v1/realtime/client_secrets", headers=key, json=body)


async def test_a_tenants_third_response_in_a_minute_is_refused_and_another_tenant_is_answered(tmp_path: Path) -> None:
    with running_up(tmp_path / "data", environment=ECHO_VOICE) as up:
        write_tenants(up, {"responses_per_min": 2}, {"responses_per_min": 5})
        async with (
            asyncio.timeout(TIMEOUT_S),
            Caller.call(up.url, up.tenant_key) as first,
            Caller.call(up.url, (await mint(up, 1)).json()["value"]) as second,
        ):
            for caller in (first, second):
                await caller.next_event("session.created", timeout_s=TIMEOUT_S)
                await answered(caller)
            assert "2 responses a minute for this tenant" in await refused(first)
            assert "1 responses a minute for this token" in await refused(second)
            async with Caller.call(up.url, OTHER_KEY) as other:
                await other.next_event("session.created", timeout_s=TIMEOUT_S)
                for _ in range(3):
                    await answered(other)
            refusal = await mint(up, 6)
            assert (refusal.status_code, "at most 5 for this tenant" in refusal.text) == (400, True)
