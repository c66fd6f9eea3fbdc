"""The outbox against a real nats-server; the test plays the ledger."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from services.contracts import subjects, usage
from services.contracts.call_history import Watermark
from services.contracts.ids import CallId, Epoch, SessionId, TenantId
from services.contracts.usage import Meter, UsageData, UsageEvent
from services.runtime.bus import streams
from services.runtime.bus.client import Bus
from services.runtime.outbox.outbox import Outbox, OutboxError, OutboxTiming
from services.runtime.outbox.outbox_file import OutboxFile

ACME = TenantId("acme")
WORKER = "upstream-0"
PLAIN = OutboxTiming(settle_s=0)
HEALING = OutboxTiming(republish_s=0.2, settle_s=0)


def sent_ms(quantity: int) -> UsageData:
    return UsageData(
        call_id=CallId("rtc_" + "a" * 26),
        session_id=SessionId("sess_1"),
        epoch=Epoch(7),
        seq=quantity,
        provider="rehearsal",
        model="gpt-realtime-2.1",
        meters={Meter.AUDIO_SENT_MS: quantity},
    )


def quantities(events: list[UsageEvent]) -> list[int]:
    return [event.data.meters[Meter.AUDIO_SENT_MS] for event in events]


@asynccontextmanager
async def ledger(bus: Bus) -> AsyncIterator[JetStreamContext.PullSubscription]:
    await streams.ensure_usage_stream(bus.jetstream)
    subscription = await bus.jetstream.pull_subscribe(
        subjects.USAGE_SUBJECTS, durable="ledger", stream=subjects.USAGE_STREAM
    )
    yield subscription
    await subscription.unsubscribe()


async def pull(subscription: JetStreamContext.PullSubscription, count: int) -> list[UsageEvent]:
    taken: list[Msg] = []
    while len(taken) < count:
        for msg in await subscription.fetch(count - len(taken), timeout=10):
            await msg.ack_sync()
            taken.append(msg)
    return [usage.decode(msg.data) for msg in taken]


async def commit(bus: Bus, event: UsageEvent) -> None:
    mark = Watermark(source=event.source, sequence=event.outboxseq)
    await bus.publish(subjects.watermark(WORKER, event.source), mark)


async def test_events_arrive_in_order_and_are_deleted_on_the_watermark(bus: Bus, tmp_path: Path) -> None:
    async with (
        ledger(bus) as stream,
        Outbox.open(tmp_path / "outbox.sqlite", bus=bus, role="upstream", process=WORKER, timing=PLAIN) as outbox,
    ):
        for quantity in (20, 40, 60):
            await outbox.store(ACME, sent_ms(quantity))
        events = await pull(stream, 3)
        assert quantities(events) == [20, 40, 60]
        assert [event.outboxseq for event in events] == [1, 2, 3]
        assert {event.outboxfloor for event in events} == {1}
        await commit(bus, events[-1])
        assert await outbox.settled(10)


async def test_a_watermark_frees_only_what_it_covers(bus: Bus, tmp_path: Path) -> None:
    async with (
        ledger(bus) as stream,
        Outbox.open(tmp_path / "outbox.sqlite", bus=bus, role="upstream", process=WORKER, timing=PLAIN) as outbox,
    ):
        await outbox.store(ACME, sent_ms(20))
        await outbox.store(ACME, sent_ms(40))
        first, second = await pull(stream, 2)
        await commit(bus, first)
        assert not await outbox.settled(0)
        await commit(bus, second)
        assert await outbox.settled(10)


async def test_settling_does_not_wait_for_events_stored_later(bus: Bus, tmp_path: Path) -> None:
    async with (
        ledger(bus) as stream,
        Outbox.open(tmp_path / "outbox.sqlite", bus=bus, role="upstream", process=WORKER, timing=PLAIN) as outbox,
    ):
        await outbox.store(ACME, sent_ms(20))
        waiting = asyncio.create_task(outbox.settled(10))
        await asyncio.sleep(0)
        await outbox.store(ACME, sent_ms(40))
        await commit(bus, (await pull(stream, 1))[0])
        assert await waiting
        assert not await outbox.settled(0)


async def test_acknowledged_events_are_deleted_at_the_end(bus: Bus, tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    async with (
        ledger(bus) as stream,
        Outbox.open(path, bus=bus, role="upstream", process=WORKER, timing=PLAIN) as outbox,
    ):
        await outbox.store(ACME, sent_ms(20))
        await commit(bus, (await pull(stream, 1))[0])
        assert await outbox.settled(10)
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM event").fetchone() == (0,)
    db.close()


async def test_an_acknowledged_event_that_the_stream_lost_is_published_again(bus: Bus, tmp_path: Path) -> None:
    async with (
        ledger(bus) as stream,
        Outbox.open(tmp_path / "outbox.sqlite", bus=bus, role="upstream", process=WORKER, timing=HEALING) as outbox,
    ):
        await outbox.store(ACME, sent_ms(20))
        (lost,) = await pull(stream, 1)  # acknowledged and gone from the stream, but never committed
        (again,) = await pull(stream, 1)
        assert again == lost
        await commit(bus, again)
        assert await outbox.settled(10)


async def test_acknowledged_events_are_not_published_again(bus: Bus, tmp_path: Path) -> None:
    timing = OutboxTiming(republish_s=0.004, settle_s=0)
    events: list[UsageEvent] = []
    async with (
        asyncio.timeout(20),
        ledger(bus) as stream,
        Outbox.open(tmp_path / "outbox.sqlite", bus=bus, role="upstream", process=WORKER, timing=timing) as outbox,
    ):
        while not events or events[-1].outboxfloor == 1:
            await outbox.store(ACME, sent_ms(20))
            (msg,) = await stream.fetch(1, timeout=10)
            events.append(usage.decode(msg.data))
            await commit(bus, events[-1])
            assert await outbox.settled(10)
            await msg.ack_sync()  # from here on the stream does not have it
    assert [event.outboxseq for event in events] == list(range(1, len(events) + 1))


async def test_a_deleted_stream_is_recreated_and_refilled(bus: Bus, tmp_path: Path) -> None:
    async with Outbox.open(
        tmp_path / "outbox.sqlite", bus=bus, role="upstream", process=WORKER, timing=HEALING
    ) as outbox:
        await outbox.store(ACME, sent_ms(20))
        async with ledger(bus) as stream:
            await pull(stream, 1)
        await bus.jetstream.delete_stream(subjects.USAGE_STREAM)
        await outbox.store(ACME, sent_ms(40))
        async with ledger(bus) as stream, asyncio.timeout(20):
            seen: set[int] = set()
            while seen != {20, 40}:
                seen.update(quantities(await pull(stream, 1)))


async def test_the_next_run_publishes_unacknowledged_events_with_the_same_numbers(bus: Bus, tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    async with Outbox.open(path, bus=bus, role="upstream", process=WORKER, timing=PLAIN) as outbox:
        source = outbox.source
        await outbox.store(ACME, sent_ms(20))
    await streams.ensure_usage_stream(bus.jetstream)
    await bus.jetstream.purge_stream(subjects.USAGE_STREAM)
    async with (
        ledger(bus) as stream,
        Outbox.open(path, bus=bus, role="upstream", process=WORKER, timing=PLAIN) as outbox,
    ):
        await outbox.store(ACME, sent_ms(40))
        async with asyncio.timeout(20):
            events: dict[int, UsageEvent] = {}
            while set(events) != {1, 2}:
                events |= {event.outboxseq: event for event in await pull(stream, 1)}
        assert quantities([events[1], events[2]]) == [20, 40]
        assert outbox.source == source
        await commit(bus, events[2])
        assert await outbox.settled(10)


async def test_a_number_is_never_reused_and_the_floor_marks_deleted_ones(bus: Bus, tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    async with ledger(bus) as stream:
        async with Outbox.open(path, bus=bus, role="upstream", process=WORKER, timing=PLAIN) as outbox:
            await outbox.store(ACME, sent_ms(20))
            await commit(bus, (await pull(stream, 1))[0])
            assert await outbox.settled(10)
        async with Outbox.open(path, bus=bus, role="upstream", process=WORKER, timing=PLAIN) as outbox:
            await outbox.store(ACME, sent_ms(40))
            (event,) = await pull(stream, 1)
            assert (event.outboxseq, event.outboxfloor) == (2, 2)


async def test_a_watermark_above_what_was_published_frees_nothing(bus: Bus, tmp_path: Path) -> None:
    async with (
        ledger(bus) as stream,
        Outbox.open(tmp_path / "outbox.sqlite", bus=bus, role="upstream", process=WORKER, timing=PLAIN) as outbox,
    ):
        await bus.publish(subjects.watermark(WORKER, outbox.source), Watermark(source=outbox.source, sequence=99))
        await bus.publish_bytes(subjects.watermark(WORKER, outbox.source), b"no message")
        await outbox.store(ACME, sent_ms(20))
        assert quantities(await pull(stream, 1)) == [20]


async def test_a_full_stream_only_delays(bus: Bus, tmp_path: Path) -> None:
    async with (
        ledger(bus) as stream,
        Outbox.open(tmp_path / "outbox.sqlite", bus=bus, role="upstream", process=WORKER, timing=PLAIN) as outbox,
    ):
        info = await bus.jetstream.stream_info(subjects.USAGE_STREAM)
        await bus.jetstream.update_stream(info.config, max_msgs=1)
        for quantity in (20, 40, 60):
            await outbox.store(ACME, sent_ms(quantity))
        assert quantities(await pull(stream, 3)) == [20, 40, 60]


async def test_a_file_in_use_by_another_process_is_refused_with_what_to_do(bus: Bus, tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    async with Outbox.open(path, bus=bus, role="upstream", process=WORKER, timing=PLAIN):
        with pytest.raises(OutboxError, match="stop the other process"):
            async with Outbox.open(path, bus=bus, role="upstream", process=WORKER, timing=PLAIN):
                pass


async def test_a_file_that_is_no_database_is_refused(bus: Bus, tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    path.write_bytes(b"x" * 4096)
    with pytest.raises(OutboxError, match="not a database"):
        async with Outbox.open(path, bus=bus, role="upstream", process=WORKER, timing=PLAIN):
            pass


async def test_a_full_disk_fails_the_store_and_keeps_earlier_events(bus: Bus, tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE event (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT, tenant TEXT,"
                   " made_unix_ms INTEGER, data TEXT)")  # fmt: skip
        db.execute(
            "CREATE TRIGGER full BEFORE INSERT ON event WHEN (SELECT count(*) FROM event) = 1"
            " BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
    db.close()
    async with (
        ledger(bus) as stream,
        Outbox.open(path, bus=bus, role="upstream", process=WORKER, timing=PLAIN) as outbox,
    ):
        await outbox.store(ACME, sent_ms(20))
        with pytest.raises(OutboxError, match="free disk space"):
            await outbox.store(ACME, sent_ms(40))
        assert quantities(await pull(stream, 1)) == [20]


async def test_usage_of_an_invalid_tenant_is_refused_at_once(bus: Bus, tmp_path: Path) -> None:
    async with Outbox.open(
        tmp_path / "outbox.sqlite", bus=bus, role="upstream", process=WORKER, timing=PLAIN
    ) as outbox:
        with pytest.raises(ValueError, match="subject"):
            await outbox.store(TenantId("Not A Tenant"), sent_ms(20))
        assert await outbox.settled(0)


async def test_it_can_be_closed_at_any_moment(bus: Bus, tmp_path: Path) -> None:
    async with ledger(bus):
        for moment in range(60):  # a cancellation that meets an answer of the server must not be lost
            timing = OutboxTiming(republish_s=0.004, settle_s=0.001 * (moment % 9))
            async with (
                asyncio.timeout(10),
                Outbox.open(
                    tmp_path / f"{moment}.sqlite", bus=bus, role="upstream", process=WORKER, timing=timing
                ) as outbox,
            ):
                await outbox.store(ACME, sent_ms(20))


async def test_events_stored_together_succeed_or_fail_together(
    bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[int] = []
    put = OutboxFile.append

    def counted(file: OutboxFile, events: Sequence[tuple[str, TenantId, int, str]]) -> int:
        writes.append(len(events))
        if len(writes) == 2:
            raise OutboxError(tmp_path, "the disk is full")
        return put(file, events)

    monkeypatch.setattr(OutboxFile, "append", counted)
    await streams.ensure_usage_stream(bus.jetstream)
    async with Outbox.open(
        tmp_path / "outbox.sqlite", bus=bus, role="upstream", process=WORKER, timing=PLAIN
    ) as outbox:
        await asyncio.gather(*(outbox.store(ACME, sent_ms(n)) for n in range(10)))
        refused = await asyncio.gather(*(outbox.store(ACME, sent_ms(n)) for n in range(3)), return_exceptions=True)
        assert all(isinstance(error, OutboxError) for error in refused)
        await outbox.store(ACME, sent_ms(20))
    assert writes == [10, 3, 1]
