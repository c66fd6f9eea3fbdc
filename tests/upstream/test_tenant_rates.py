"""A tenant's rates over several workers, on a real nats-server."""

import asyncio
import random

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.contracts.grant import Grant, MinuteLimits
from services.contracts.ids import CallId, TenantId
from services.runtime import clock
from services.runtime.bus.client import Bus
from services.runtime.bus.streams import rates_bucket
from services.upstream import tenant_rates
from services.upstream.core import tenant_use
from services.upstream.core.commands import CountRateRefusal
from services.upstream.core.minute_use import Charge, MinuteUse, RateExceeded
from services.upstream.tenant_rates import TenantRates
from tests.upstream.provider import ScriptedProvider
from tests.upstream.running_worker import CALL, OTHER, configured_session, running_worker

THIRD = CallId("rtc_" + "c" * 26)
ACME, OTHERS = TenantId("acme"), TenantId("other")


async def taken(rates: TenantRates, tenant: TenantId, charge: Charge) -> RateExceeded | None:
    answer: asyncio.Future[RateExceeded | None] = asyncio.get_running_loop().create_future()
    rates.take(tenant, (charge,), answer.set_result)
    async with asyncio.timeout(20):
        return await answer


async def test_two_workers_together_take_exactly_what_a_tenant_has(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "unix_ms", lambda: 1_000_000)
    bucket = await rates_bucket(bus.jetstream)
    async with asyncio.TaskGroup() as group:
        workers = [TenantRates(bucket, group), TenantRates(await rates_bucket(bus.jetstream), group)]
        one = Charge("responses", 1, 20)
        answers = await asyncio.gather(*(taken(random.choice(workers), ACME, one) for _ in range(60)))  # noqa: S311
        assert answers.count(None) == 20
        assert await taken(workers[0], OTHERS, one) is None
        assert await taken(workers[1], ACME, Charge("responses", -1, 20, forced=True)) is None
        assert await taken(workers[0], ACME, one) is None


async def test_far_from_a_limit_a_worker_answers_by_itself_and_the_others_learn_of_it(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "unix_ms", lambda: 1_000_000)
    monkeypatch.setattr(tenant_rates, "BOOK_S", 0.01)
    bucket = await rates_bucket(bus.jetstream)
    answers: list[RateExceeded | None] = []
    async with asyncio.TaskGroup() as group:
        worker, other = TenantRates(bucket, group), TenantRates(bucket, group)
        one = Charge("responses", 1, 1000)
        for rates in (worker, other):
            assert await taken(rates, ACME, one) is None  # asked: nothing is known
        for rates in (worker, other):
            for _ in range(10):
                rates.take(ACME, (one,), answers.append)
        assert answers == [None] * 20
    entry = await bucket.get(ACME)
    assert MinuteUse.decode(entry.value or b"").used("responses", now_ms=1_000_000) == 22


async def test_a_refusal_is_not_given_by_what_a_worker_remembers(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "unix_ms", lambda: 1_000_000)
    bucket = await rates_bucket(bus.jetstream)
    async with asyncio.TaskGroup() as group:
        worker, other = TenantRates(bucket, group), TenantRates(bucket, group)
        assert await taken(worker, ACME, Charge("responses", 2, 2)) is None
        assert await taken(other, ACME, Charge("responses", -1, 2, forced=True)) is None
        assert await taken(worker, ACME, Charge("responses", 1, 2)) is None
        assert await taken(worker, ACME, Charge("responses", 1, 2)) is not None


@pytest.mark.parametrize("entry", [b"", b"not ours"])
async def test_without_the_bucket_a_worker_goes_on_from_what_it_knows(bus: Bus, entry: bytes) -> None:
    bucket = await rates_bucket(bus.jetstream)
    one = Charge("responses", 1, 2)

    def alone() -> float:
        return REGISTRY.get_sample_value("hushgate_upstream_rates_alone_total") or 0

    before = alone()
    async with asyncio.TaskGroup() as group:
        rates = TenantRates(bucket, group)
        assert await taken(rates, ACME, one) is None
        if entry:
            await bucket.put(ACME, entry)
        else:
            await bus.jetstream.delete_stream("KV_rates")
        assert await taken(rates, ACME, one) is None
        answers: list[RateExceeded | None] = []
        rates.take(ACME, (one,), answers.append)  # the bucket is not asked again
        assert [answer is not None for answer in answers] == [True]
        assert await taken(rates, OTHERS, one) is None
        assert alone() - before == (2 if entry else 3)
        rates.close()  # else the tasks try to book it until it is a minute old


async def test_what_was_taken_without_the_bucket_is_in_it_when_it_answers_again(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "unix_ms", lambda: 1_000_000)
    monkeypatch.setattr(tenant_rates, "BOOK_S", 0.01)
    monkeypatch.setattr(tenant_use, "FRESH_MS", 10)
    bucket = await rates_bucket(bus.jetstream)
    many = Charge("responses", 20, 1000)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        rates = TenantRates(bucket, group)
        assert await taken(rates, ACME, many) is None
        await bucket.put(ACME, b"not ours")
        rates.take(ACME, (many,), lambda _: None)  # at once, and booked in vain
        assert await taken(rates, ACME, Charge("responses", 900, 1000)) is None
        await bucket.put(ACME, b"{}")
    entry = await bucket.get(ACME)
    assert MinuteUse.decode(entry.value or b"").used("responses", now_ms=1_000_000) == 920


async def test_a_refusal_is_counted_each_time_and_logged_once_a_minute(bus: Bus) -> None:
    labels = {"owner": "tenant", "rate": "responses"}
    before = REGISTRY.get_sample_value("hushgate_upstream_rate_refusals_total", labels) or 0
    async with asyncio.TaskGroup() as group:
        rates = TenantRates(await rates_bucket(bus.jetstream), group)
        with capture_logs() as logs:
            for _ in range(3):
                rates.count_refusal(ACME, CountRateRefusal("tenant", "responses"))
            rates.count_refusal(OTHERS, CountRateRefusal("token", "audio_seconds"))
    assert [entry["tenant_id"] for entry in logs] == [ACME, OTHERS]
    assert REGISTRY.get_sample_value("hushgate_upstream_rate_refusals_total", labels) == before + 3


async def test_two_calls_share_the_tenants_rate_and_another_tenant_is_answered(bus: Bus) -> None:
    provider = ScriptedProvider()
    async with running_worker(bus, provider) as worker:

        def limited(tenant: TenantId) -> Grant:
            return Grant(tenant=tenant, session={}, tenant_limits=MinuteLimits(responses_per_min=1))

        first = await worker.call(CALL, limited(ACME))
        session = await configured_session(provider)
        await first.utter(200)
        await session.until("response.create")
        second = await worker.call(OTHER, limited(ACME))
        await configured_session(provider, 2)
        await second.utter(200)
        _, event = await second.event("error")
        error = event["error"]
        assert isinstance(error, dict)
        assert error["code"] == "rate_limit_exceeded"
        third = await worker.call(THIRD, limited(OTHERS))
        session = await configured_session(provider, 3)
        await third.utter(200)
        await session.until("response.create")
