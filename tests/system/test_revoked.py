"""A tenant key that leaves the tenants file ends its live calls."""

import asyncio
import json
from pathlib import Path

from services.callers.caller import Caller
from services.signaling.core.tenants import key_hash
from tests.system.gateway import ECHO_VOICE, running_up

TIMEOUT_S = 30.0
SOON = {"MEDIA_REVOKE_AFTER_S": "1.5"}
OTHER_KEY = "hg_" + "o" * 43


async def test_a_call_whose_key_left_the_file_ends_and_another_tenants_goes_on(tmp_path: Path) -> None:
    with running_up(tmp_path / "data", environment={**ECHO_VOICE, **SOON}) as up:
        file = up.data / "tenants.json"
        tenants = json.loads(file.read_text())
        other = {"id": "other", "keys_sha256": [key_hash(OTHER_KEY)]}
        file.write_text(json.dumps({"tenants": [*tenants["tenants"], other]}))
        async with (
            Caller.call(up.url, OTHER_KEY) as kept,
            Caller.call(up.url, up.tenant_key, events=("gate",)) as caller,
            asyncio.timeout(TIMEOUT_S),
        ):
            await caller.next_event("session.created", timeout_s=TIMEOUT_S)
            await kept.next_event("session.created", timeout_s=TIMEOUT_S)
            file.write_text(json.dumps({"tenants": [other]}))
            ended = await caller.next_event("hushgate.ended", timeout_s=TIMEOUT_S)
            assert ended.event["reason"] == "revoked"
            await kept.hang_up()  # 404 if it were over
