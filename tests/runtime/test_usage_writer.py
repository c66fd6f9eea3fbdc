"""Usage is retried until it is stored, and meanwhile the process accepts no new calls."""

import pytest
from prometheus_client import CollectorRegistry, Counter
from structlog.testing import capture_logs

from services.contracts.ids import CallId, Epoch, SessionId, TenantId
from services.contracts.usage import Meter, UsageData
from services.runtime.outbox import usage_writer
from services.runtime.outbox.usage_writer import LAST_TRIES, UsageWriter
from services.runtime.process.health import Health
from tests.usage_sink import RecordedUsage

TENANT = TenantId("acme")
DATA = UsageData(
    call_id=CallId("rtc_" + "a" * 26),
    session_id=SessionId("sess_a"),
    epoch=Epoch(1),
    seq=0,
    provider="rehearsal",
    model="gpt-realtime",
    meters={Meter.CALL_MS: 20},
)


class Writing:
    """A writer with its surroundings."""

    def __init__(self) -> None:
        self.sink = RecordedUsage()
        self.health = Health(blocked_by=set())
        self.registry = CollectorRegistry()
        failures = Counter("failed", "Writes that failed.", registry=self.registry)
        self.writer = UsageWriter(self.sink, self.health, failures=failures, retry_s=0)

    @property
    def failed(self) -> float | None:
        return self.registry.get_sample_value("failed_total")


async def test_what_is_written_is_kept_under_its_tenant() -> None:
    writing = Writing()
    assert await writing.writer.write(TENANT, DATA)
    assert writing.sink.events == [(TENANT, DATA)]
    assert writing.failed == 0


async def test_a_failed_write_is_counted_and_makes_the_process_unready_until_one_works() -> None:
    writing = Writing()
    writing.sink.failures = 1
    assert not await writing.writer.write(TENANT, DATA)
    assert (writing.failed, writing.writer.failing, writing.health.reasons) == (1, True, ["usage"])
    assert await writing.writer.write(TENANT, DATA)
    assert (writing.writer.failing, writing.health.ready) == (False, True)


async def test_after_a_while_without_another_failure_new_calls_are_taken_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    writing = Writing()
    writing.sink.full = True
    await writing.writer.write(TENANT, DATA)
    monkeypatch.setattr(usage_writer, "BLOCKED_S", 0.0)
    assert not writing.writer.failing
    assert writing.health.ready


async def test_a_sink_that_breaks_otherwise_ends_nothing_and_is_logged_with_its_trace() -> None:
    class Broken(RecordedUsage):
        async def store(self, tenant: TenantId, data: UsageData) -> None:
            raise RuntimeError(tenant, data)

    failures = Counter("failed", "Writes that failed.", registry=CollectorRegistry())
    writer = UsageWriter(Broken(), Health(), failures=failures)
    with capture_logs() as logs:
        assert not await writer.write(TENANT, DATA)
    assert [(line["reason"], line["exc_info"]) for line in logs] == [("RuntimeError", True)]


@pytest.mark.parametrize("failures", range(LAST_TRIES))
async def test_writes_that_nothing_makes_up_for_are_retried(failures: int) -> None:
    writing = Writing()
    writing.sink.failures = failures
    assert await writing.writer.write_until_kept(TENANT, DATA)
    assert (len(writing.sink.events), writing.failed) == (1, failures)


async def test_what_is_lost_for_good_is_named() -> None:
    writing = Writing()
    writing.sink.full = True
    with capture_logs() as logs:
        assert not await writing.writer.write_until_kept(TENANT, DATA)
    (lost,) = [line for line in logs if line["event"] == "usage_lost"]
    assert (lost["call_id"], lost["log_level"], lost["meters"]) == (DATA.call_id, "error", {Meter.CALL_MS: 20})
    assert writing.failed == LAST_TRIES


async def test_retries_continue_while_giving_up_is_not_allowed() -> None:
    writing = Writing()
    writing.sink.failures = 10 * LAST_TRIES
    assert await writing.writer.write_until_kept(TENANT, DATA, may_give_up=lambda: False)
    assert len(writing.sink.events) == 1


async def test_after_the_last_tries_it_gives_up_as_soon_as_it_may() -> None:
    writing = Writing()
    writing.sink.full = True
    answers = iter([False, False, True])
    assert not await writing.writer.write_until_kept(TENANT, DATA, may_give_up=lambda: next(answers))
    assert writing.failed == LAST_TRIES + 2


async def test_settling_asks_the_sink() -> None:
    assert await Writing().writer.settle()
