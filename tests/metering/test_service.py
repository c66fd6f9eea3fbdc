"""Metering as deployed: a separate process, a real nats-server, real outboxes."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from nats.errors import Error as NatsError
from prometheus_client.parser import text_string_to_metric_families

from services.contracts import subjects
from services.contracts.call_history import CallEnded, CallStarted
from services.contracts.endings import EndReason
from services.contracts.ids import ProcessId, TenantId
from services.contracts.subjects import ServiceRole
from services.metering.audit import audit
from services.metering.core.pricing import Books
from services.metering.core.totals import Totals
from services.metering.dialect import connect, ledger_url
from services.metering.held_messages import InboundMessage
from services.metering.recorder import Recorder, usage_feed
from services.metering.store import Ledger
from services.runtime import clock
from services.runtime.bus import streams
from services.runtime.bus.client import Bus
from services.runtime.outbox.outbox import OutboxTiming
from services.runtime.process.health import Health
from services.runtime.process.settings import NatsLogin
from services.up.nats_server import Identity, nats_server
from tests.metering.event_maker import EventMaker
from tests.metering.placed import ACME, placed_call
from tests.metering.polling import Until

HEALING = OutboxTiming(republish_s=0.3, settle_s=0)


@dataclass(frozen=True, slots=True)
class Running:
    http: httpx.AsyncClient
    process: Process

    async def usage(self, call: str) -> dict[str, Any]:
        reply = await self.http.get(f"/internal/v1/calls/{call}/usage", params={"tenant": ACME})
        return dict(reply.raise_for_status().json())

    async def metric(self, name: str, **labels: str) -> float:
        for family in text_string_to_metric_families((await self.http.get("/metrics")).text):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return 0.0


async def start(nats_url: str, data: Path, **settings: str) -> Process:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("METERING_")}  # noqa: TID251 - for a child
    mine = {"NATS_URL": nats_url, "DATA_DIR": str(data), **settings}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.metering",
        stdout=PIPE,
        stderr=PIPE,
        env=environment | {f"METERING_{name}": value for name, value in mine.items()},
    )


async def ready_url(process: Process) -> str:
    assert process.stdout
    async for line in process.stdout:
        entry = json.loads(line)
        if entry["event"] == "service_ready":
            return str(entry["http_url"])
    raise AssertionError("metering ended before it was ready")


@asynccontextmanager
async def metering(nats_url: str, data: Path, **settings: str) -> AsyncIterator[Running]:
    process = await start(nats_url, data, **settings)
    try:
        url = await ready_url(process)
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            yield Running(http, process)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


def found(data: Path) -> list[str]:
    engine = connect(ledger_url("", data))
    try:
        return audit(engine)
    finally:
        engine.dispose()


async def test_usage_goes_from_the_outbox_through_the_stream_into_the_ledger_and_leaves_the_outbox(
    bus: Bus, nats_url: str, tmp_path: Path, make: EventMaker
) -> None:
    async with (
        metering(nats_url, tmp_path, METRIC_TENANTS='["acme"]') as running,
        placed_call(bus, tmp_path, make) as outbox,
    ):
        await outbox.store(ACME, make.data({"audio_sent_ms": 1500, "audio_generated_ms": 500}))
        await outbox.store(ACME, make.data({"audio_gated_ms": 9000, "audio_played_ms": 400}))
        await outbox.store(ACME, make.data({"tokens_audio_in": 100}, provider_ref="resp_1"))
        assert await outbox.settled(20)
        bill = await running.usage(make.call)
        assert (bill["billed_seconds"], bill["gated_seconds"], bill["unheard_seconds"]) == (2.0, 9.0, 0.1)
        assert (bill["cost_nano_usd"], bill["price_book"]) == (3_200_000, "rehearsal@2026-01-01")
        payer = {"provider": "rehearsal", "model": "gpt-realtime-2.1", "tenant": "acme"}
        assert await running.metric("hushgate_billed_seconds_total", **payer) == 2.0
        assert await running.metric("hushgate_gated_seconds_total", **payer) == 9.0
        assert await running.metric("hushgate_cost_usd_total", **payer) == 0.0032
        assert await running.metric("hushgate_ledger_events_total", result="booked") == 3
    assert (await bus.jetstream.stream_info(subjects.USAGE_STREAM)).state.messages == 0
    assert found(tmp_path) == []


async def test_the_history_of_a_call_reaches_its_bill(
    bus: Bus, nats_url: str, tmp_path: Path, make: EventMaker, until: Until
) -> None:
    call: dict[str, Any] = {
        "call": make.call,
        "tenant": ACME,
        "process": ProcessId("media-0"),
        "provider": "rehearsal",
        "model": "m",
        "started_unix_ms": clock.unix_ms(),
    }
    await streams.ensure_calls_stream(bus.jetstream)
    await streams.ensure_placed_stream(bus.jetstream)
    await bus.jetstream.publish(subjects.PLACED, make.placed().encode())
    await bus.jetstream.publish(subjects.call_started(call["process"]), CallStarted(**call).encode())
    ended = CallEnded(**call, reason=EndReason.HANGUP, ended_unix_ms=clock.unix_ms())
    await bus.jetstream.publish(subjects.call_ended(call["process"]), ended.encode())
    async with metering(nats_url, tmp_path) as running:

        async def has_history() -> bool:
            reply = await running.http.get(f"/internal/v1/calls/{make.call}/usage?tenant=acme")
            return reply.status_code == httpx.codes.OK

        await until(has_history, because="the ledger, in another process, sends no event when history arrives")
        bill = await running.usage(make.call)
        assert (bill["status"], bill["ended_reason"]) == ("ended", "hangup")


async def test_killed_again_and_again_under_load_metering_books_everything_once(
    bus: Bus, nats_url: str, tmp_path: Path, make: EventMaker
) -> None:
    async with placed_call(bus, tmp_path, make) as outbox:

        async def talk() -> None:
            for turn in range(300):
                await outbox.store(ACME, make.data({"tokens_audio_in": 7}, provider_ref=f"resp_{turn}"))

        async with asyncio.TaskGroup() as group:
            group.create_task(talk())
            for _ in range(3):
                async with metering(nats_url, tmp_path) as running:
                    running.process.kill()
        async with metering(nats_url, tmp_path) as running:
            assert await outbox.settled(60)
            bill = await running.usage(make.call)
            assert bill["meters"] == {"tokens_audio_in": 2100}
            assert bill["cost_nano_usd"] == 2100 * 32_000
            assert await running.metric("hushgate_usage_units_total", meter="tokens_audio_in") == 2100
    assert found(tmp_path) == []


async def test_what_was_committed_but_not_acknowledged_is_booked_once(
    bus: Bus, tmp_path: Path, make: EventMaker, open_ledger: Callable[[], Ledger]
) -> None:
    ledger = open_ledger()
    make.place(ledger)
    feed = usage_feed(ledger)
    totals = Totals(frozenset())
    stopping = asyncio.Event()
    with ThreadPoolExecutor(max_workers=1) as thread:
        recorder = Recorder(bus, thread, totals, Health(), stopping)
        async with placed_call(bus, tmp_path, make) as outbox:
            await outbox.store(ACME, make.data({"tokens_audio_in": 7}, provider_ref="resp_1"))
            subscription = await recorder._subscribe(feed)  # noqa: SLF001 - the same consumer, whose process ends here
            batch = await subscription.fetch(10, timeout=10)
            feed.record([InboundMessage(msg.subject, msg.data) for msg in batch], clock.utc_now())
            await subscription.unsubscribe()
            carrying = asyncio.create_task(recorder.run_feed(feed))
            assert await outbox.settled(20)
            stopping.set()
            await carrying
    assert totals.results["duplicate"] == len(batch)
    assert audit(ledger.engine) == []


async def test_acknowledged_events_that_the_stream_lost_are_healed_by_the_outbox(
    bus: Bus, nats_url: str, tmp_path: Path, make: EventMaker, until: Until
) -> None:
    async def stream_has_all() -> bool:
        return (await bus.jetstream.stream_info(subjects.USAGE_STREAM)).state.messages == 6

    async with placed_call(bus, tmp_path, make, timing=HEALING) as outbox:
        for turn in range(5):
            await outbox.store(ACME, make.data({"tokens_audio_in": 7}, provider_ref=f"resp_{turn}"))
        await until(stream_has_all, because="neither outbox nor stream reports when all is published")
        await bus.jetstream.purge_stream(subjects.USAGE_STREAM)
        async with metering(nats_url, tmp_path) as running:
            assert await outbox.settled(30)

            async def all_is_booked() -> bool:
                return await running.metric("hushgate_usage_units_total", meter="tokens_audio_in") == 35

            # The ledger has them; what came before their call was known is booked when it is.
            await until(all_is_booked, because="an outbox is informed about what the ledger has, booked or held")
            assert (await running.usage(make.call))["meters"] == {"tokens_audio_in": 35}


async def test_poison_does_not_stop_the_stream(bus: Bus, nats_url: str, tmp_path: Path, make: EventMaker) -> None:
    await streams.ensure_usage_stream(bus.jetstream)
    for body in (b"", b"\xff", b"{}", b"[" * 10_000, make.event({"call_ms": 1}, tenant=TenantId("other")).encode()):
        await bus.jetstream.publish(subjects.usage("media", "media-0", ACME), body)
    async with (
        metering(nats_url, tmp_path) as running,
        placed_call(bus, tmp_path, make) as outbox,
    ):
        await outbox.store(ACME, make.data({"call_ms": 20}))
        assert await outbox.settled(20)
        assert await running.metric("hushgate_ledger_quarantined_total", reason="malformed") == 3
        assert await running.metric("hushgate_ledger_quarantined_total", reason="too_large") == 1
        assert await running.metric("hushgate_ledger_quarantined_total", reason="wrong_tenant") == 1


async def test_a_media_process_that_has_fallen_bills_nobody_and_raises_the_alarm(
    tmp_path: Path, make: EventMaker, until: Until
) -> None:
    roles: list[tuple[ServiceRole, str]] = [("metering", "metering-0"), ("media", "media-0"), ("media", "media-1")]
    async with nats_server(tmp_path, identities=[Identity(role, name) for role, name in roles]) as server:

        def login(name: str) -> NatsLogin:
            return NatsLogin(name, server.password_file(name).read_text())

        identity = {"NATS_USER": "metering-0", "NATS_PASSWORD_FILE": str(server.password_file("metering-0"))}
        async with (
            metering(server.address, tmp_path, HOLD_S="1", **identity) as running,
            Bus.connect(server.url, name="operator") as operator,
            Bus.connect(server.address, name="compromised", login=login("media-1")) as compromised,
            placed_call(operator, tmp_path, make) as call,
        ):
            await call.store(ACME, make.data({"audio_sent_ms": 1000}))
            assert await call.settled(20)
            expensive = {"tokens_audio_out": 10**9}
            foreign = "rtc_" + "f" * 26
            mine = f"media-1-{'0' * 16}"
            events = [
                make.event(expensive, provider_ref="r", source=mine, sequence=1),
                make.event({"call_ms": 10**9}, source=mine, sequence=2, worker="media-1"),
                make.event({"call_ms": 5}, source=mine, sequence=3, call_id=foreign),
                make.event({"call_ms": 5}, source=call.worker.source, sequence=10**6, floor=10**6),
            ]
            for event in events:
                await compromised.jetstream.publish(subjects.usage("media", "media-1", ACME), event.encode())
            for subject in (subjects.usage("media", "media-0", ACME), subjects.usage("upstream", "upstream-0", ACME)):
                with pytest.raises(NatsError):  # the server permits only its own subjects
                    await compromised.jetstream.publish(subject, events[0].encode(), timeout=0.3)

            async def all_are_aside() -> bool:
                return await running.metric("hushgate_ledger_events_total", result="quarantined") == len(events)

            await until(all_are_aside, because="the ledger, in another process, sends no event about what it holds")
            for reason in ("wrong_meter", "wrong_producer", "no_call", "wrong_source"):
                assert await running.metric("hushgate_ledger_quarantined_total", reason=reason) == 1
            assert (await running.usage(make.call))["cost_nano_usd"] == 0
            assert (await running.http.get(f"/internal/v1/calls/{foreign}/usage?tenant=acme")).status_code == 404
            assert await call.settled(20)
    assert found(tmp_path) == []


async def test_a_restart_neither_resets_nor_doubles_the_counters(
    bus: Bus, nats_url: str, tmp_path: Path, make: EventMaker, until: Until
) -> None:
    values = []
    async with placed_call(bus, tmp_path, make) as outbox:
        await outbox.store(ACME, make.data({"call_ms": 0}, provider="xai", session_id="sess_x"))
        await outbox.store(ACME, make.data({"audio_sent_ms": 60_000}, provider="xai", session_id="sess_x"))
        for _ in range(2):
            async with metering(nats_url, tmp_path) as running:
                assert await outbox.settled(20)
                cost = partial(running.metric, "hushgate_cost_usd_total", provider="xai", tenant="other")

                async def is_booked(cost: Callable[[], Awaitable[float]] = cost) -> bool:
                    return await cost() > 0

                await until(is_booked, because="usage is held until metering has read that the call was placed")
                values.append(await cost())
    assert values == [0.05, 0.05]


async def test_a_second_process_refuses_to_start_with_one_line(nats_url: str, bus: Bus, tmp_path: Path) -> None:
    assert bus.connected
    async with metering(nats_url, tmp_path):
        second = await start(nats_url, tmp_path)
        output, _ = await second.communicate()
    assert second.returncode == 1
    failed = [json.loads(line) for line in output.splitlines() if b"service_failed" in line]
    assert len(failed) == 1
    assert "another metering process books into" in failed[0]["error"]


async def test_a_wrong_price_book_stops_the_start(nats_url: str, tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_text("provider: acme")
    process = await start(nats_url, tmp_path, PRICE_BOOKS=str(tmp_path))
    output, _ = await process.communicate()
    assert process.returncode == 1
    assert b"acme.yaml: charged: Field required" in output


async def test_sigterm_ends_it_in_order(nats_url: str, tmp_path: Path) -> None:
    async with metering(nats_url, tmp_path) as running:
        running.process.terminate()
        async with asyncio.timeout(10):
            assert await running.process.wait() == 0


@pytest.mark.parametrize("broken", [False, True])
async def test_an_audit_says_whether_the_ledger_adds_up(
    tmp_path: Path,
    make: EventMaker,
    books: Books,
    broken: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    with Ledger.open(ledger_url("", tmp_path), books) as ledger:
        make.place(ledger)
        ledger.record([make.delivery(make.event({"call_ms": 20}))], now=make.now)
        if broken:
            with ledger.engine.begin() as db:
                db.exec_driver_sql("UPDATE line SET quantity = 21")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.metering",
        "audit",
        stdout=PIPE,
        env={"METERING_DATA_DIR": str(tmp_path)},
    )
    output, _ = await process.communicate()
    assert process.returncode == int(broken)
    assert (b"the ledger adds up" in output) is not broken
