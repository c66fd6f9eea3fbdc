"""A tenant's limit of calls at once, on whole calls."""

import asyncio
import json
from pathlib import Path

import pytest

from services.callers.caller import Caller
from services.callers.errors import EndpointRefusedError
from services.signaling.core.tenants import key_hash
from tests.system.gateway import ECHO_VOICE, Up, running_up

TIMEOUT_S = 30.0
OTHER_KEY = "hg_" + "o" * 43


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
