"""A media process's calls end when no signaling process knows their key."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.contracts import subjects
from services.contracts.ids import KeyId, TenantId
from services.contracts.messages import KeyCheck, KeysChecked, TenantKey, expect
from services.media.key_checks import KeyChecks
from services.runtime.bus.client import Bus
from tests.media.harness import HarnessOpener, PoolHarness, an_offer, count
from tests.media.worker import PROCESS

OLD = TenantKey(tenant=TenantId("acme"), key=KeyId("0" * 16))
NEW = TenantKey(tenant=TenantId("acme"), key=KeyId("1" * 16))


@asynccontextmanager
async def checked(harness: PoolHarness) -> AsyncIterator[asyncio.Queue[KeyCheck]]:
    """Check the keys of the pool's calls; yield the questions."""
    asked: asyncio.Queue[KeyCheck] = asyncio.Queue()
    await harness.bus.subscribe(subjects.key_check(PROCESS), lambda _, data: asked.put_nowait(expect(KeyCheck, data)))
    checks = KeyChecks(harness.pool, PROCESS, bus=harness.bus, revoke_after_s=0.3)
    await checks.subscribe()
    await harness.bus.flush()
    checking = asyncio.create_task(checks.keep_checking())
    try:
        yield asked
    finally:
        checking.cancel()


async def answer(bus: Bus, **checked_keys: tuple[TenantKey, ...]) -> None:
    await bus.publish(subjects.keys_checked(PROCESS), KeysChecked(**checked_keys))


async def test_calls_of_a_key_that_is_gone_end_and_those_of_another_go_on(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        offers = [an_offer() for _ in range(2)]
        by_key = [
            offer.model_copy(update={"grant": offer.grant.model_copy(update={"key": key.key})})
            for offer, key in zip(offers, (OLD, NEW), strict=True)
        ]
        (_, old), (kept, _) = [await harness.call(offer) for offer in by_key]
        before = count("calls_ended_total", provider="rehearsal", reason="revoked")
        async with checked(harness) as asked, asyncio.timeout(10):
            assert set((await asked.get()).keys) == {OLD, NEW}
            await harness.bus.publish_bytes(subjects.keys_checked(PROCESS), b"nonsense")
            while not old.closed.is_set():
                await answer(harness.bus, known=(NEW,), gone=(OLD,))
                await asked.get()
            while set((await asked.get()).keys) != {NEW}:
                pass
        assert [call.facts.id for call in harness.pool.calls()] == [kept]
        assert count("calls_ended_total", provider="rehearsal", reason="revoked") == before + 1
