"""Renewing and losing the lease of a call, over the real bus."""

import asyncio
import json
from functools import partial
from pathlib import Path

import pytest
from nats.js.errors import KeyNotFoundError
from prometheus_client import REGISTRY

from services.contracts.endings import EndReason
from services.contracts.frame import Kind
from services.contracts.messages import Ended, expect
from services.runtime.bus.client import Bus
from services.up.nats_server import nats_server
from services.upstream.lease import LeaseTiming
from tests.runtime.test_batch_sender import until
from tests.upstream.provider import ScriptedProvider
from tests.upstream.running_worker import CALL, OTHER, WORKER, configured_session, eventually, running_worker


async def test_a_lease_is_renewed_under_its_epoch(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider(), lease=LeaseTiming(renew_s=0.05)) as h:
        media = await h.call()

        async def is_renewed() -> bool:
            return (await h.leases.get(CALL)).revision != media.granted.epoch

        await eventually(is_renewed)
        entry = await h.leases.get(CALL)
        assert json.loads(entry.value or b"")["epoch"] == media.granted.epoch


async def test_a_lease_that_expired_or_whose_renewal_was_not_answered_is_still_ours(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider(), lease=LeaseTiming(renew_s=0.05)) as h:
        media = await h.call()

        async def renewed_after(revision: int) -> bool:
            try:
                entry = await h.leases.get(CALL)
            except KeyNotFoundError:
                return False
            return (entry.revision or 0) > revision and json.loads(entry.value or b"")["worker"] == WORKER

        for expired in (True, False):
            entry = await h.leases.get(CALL)
            if expired:
                await h.leases.purge(CALL)
            else:
                await h.leases.put(CALL, entry.value or b"")
            await eventually(partial(renewed_after, (entry.revision or 0) + 2))
        assert Kind.ENDED not in [f.kind for f in media.all]


@pytest.mark.parametrize("value", [b"nothing", b"[]", b'{"worker": "upstream-0", "epoch": 1}'])
async def test_a_lease_that_says_nothing_of_us_is_not_ours(bus: Bus, value: bytes) -> None:
    async with running_worker(bus, ScriptedProvider(), lease=LeaseTiming(renew_s=0.05)) as h:
        await h.leases.put(OTHER, b"so that our epoch is not 1")
        media = await h.call()
        await h.leases.put(CALL, value)
        ended = expect(Ended, (await media.kind(Kind.ENDED)).payload)
        assert ended.detail == "lease lost: taken"


async def test_a_lease_that_cannot_be_renewed_for_too_long_is_given_up(tmp_path: Path) -> None:
    def given_up() -> float:
        return REGISTRY.get_sample_value("hushgate_leases_lost_total", {"reason": "unreachable"}) or 0.0

    async with (
        nats_server(tmp_path) as server,
        Bus.connect(server.url, name="test") as bus,
        running_worker(bus, ScriptedProvider(), lease=LeaseTiming(renew_s=0.05, unreachable_s=0)) as h,
    ):
        await h.call()
        provider_session = await configured_session(h.provider)
        before = given_up()
        server.process.kill()
        await server.process.wait()
        await until(lambda: given_up() > before)
        await server.restart()
        async with asyncio.timeout(10):
            await provider_session.closed.wait()


async def test_a_lost_lease_ends_the_call_and_closes_the_socket(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider(), lease=LeaseTiming(renew_s=0.05)) as h:
        media = await h.call()
        provider_session = await configured_session(h.provider)
        await h.leases.put(CALL, b"another")
        ended = expect(Ended, (await media.kind(Kind.ENDED)).payload)
        assert (ended.reason, ended.detail) == (EndReason.INTERNAL, "lease lost: taken")
        async with asyncio.timeout(5):
            await provider_session.closed.wait()
        assert (await h.leases.get(CALL)).value == b"another"
