"""Each service has its own user on the bus, and may do what it does and no more."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import nats.errors
import pytest
from nats.aio.client import Client
from nats.js.errors import Error as JetStreamError

from services.callers.conversation import Line, converse
from services.callers.speech import synthesise
from services.contracts import subjects
from services.runtime.bus import Bus
from services.runtime.errors import BusUnavailableError
from services.runtime.settings import NatsLogin
from services.runtime.streams import ensure_usage_stream, grants_bucket, leases_bucket
from tests.helm import release
from tests.helm.chart import Rendered, render


async def test_a_call_goes_through_to_the_ledger_with_what_the_chart_lets_each_service_do(tmp_path: Path) -> None:
    async with release.running(render({"rehearsal": {"settings": {"REHEARSAL_VOICE": "recorded"}}}), tmp_path) as here:
        line = Line("what time is it", await synthesise("what time is it"))
        account = await converse(here.url, here.tenant_key, [line], session={"type": "realtime"}, answer_timeout_s=30)
        assert account.usage is not None
        assert account.usage["status"] == "ended"
        assert account.usage["lines"]
        assert not here.log.named("bus_error")
