"""Counting a tenant's calls: exact within one signaling process, whatever the order of answers and heartbeats."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.contracts.ids import CallId, ProcessId, TenantId
from services.contracts.messages import Heartbeat, TenantCalls
from services.signaling.core.limits import Limited
from services.signaling.core.live_calls import CallQuota, LiveCalls
from services.signaling.core.placement import FRESH_S

ACME, OTHER = TenantId("acme"), TenantId("other")
A, B = ProcessId("media-a"), ProcessId("media-b")
ALLOWED = CallQuota(calls=3, half_open=2)


def call(number: int) -> CallId:
    return CallId(f"rtc_{number}")


def beat(
    process: ProcessId, newest: int = 0, calls: Mapping[TenantId, Mapping[CallId, bool]] | None = None
) -> Heartbeat:
    """A heartbeat that lists ``calls`` by tenant, each with whether it is connected."""
    return Heartbeat(
        process=process,
        version="0",
        draining=False,
        active=0,
        reserved=0,
        capacity=10,
        loop_lag_ms=0,
        http_url="http://127.0.0.1:1",
        newest=newest,
        calls=tuple(
            TenantCalls(
                tenant=tenant,
                connected=tuple(c for c, connected in of.items() if connected),
                half_open=tuple(c for c, connected in of.items() if not connected),
            )
            for tenant, of in (calls or {}).items()
        ),
    )


def reserve(live: LiveCalls, number: int, tenant: TenantId = ACME, now: float = 0.0) -> Limited | None:
    return live.reserve(tenant, call(number), allowed=ALLOWED, now=now)


def test_a_call_counts_from_its_offer_until_it_is_released() -> None:
    live = LiveCalls()
    assert [reserve(live, number) for number in range(3)] == [None, None, Limited.HALF_OPEN]
    assert live.of(ACME, now=0.0) == CallQuota(2, 2)
    live.release(ACME, call(0))
    assert live.of(ACME, now=0.0) == CallQuota(1, 1)
    assert reserve(live, 3) is None


def test_an_answered_call_counts_until_a_heartbeat_knows_its_number() -> None:
    live = LiveCalls()
    live.on_heartbeat(beat(A, newest=6), now=0.0)
    assert reserve(live, 1) is None
    live.answered(ACME, call(1), A, 7, now=0.0)
    live.release(ACME, call(1))
    live.on_heartbeat(beat(A, newest=6), now=0.5)
    live.on_heartbeat(beat(B, newest=9), now=0.5)
    assert live.of(ACME, now=0.5) == CallQuota(1, 1)
    live.on_heartbeat(beat(A, newest=7, calls={ACME: {call(1): True}}), now=1.0)
    assert live.of(ACME, now=1.0) == CallQuota(1, 0)
    live.on_heartbeat(beat(A, newest=7), now=2.0)
    assert live.of(ACME, now=2.0) == CallQuota(0, 0)


def test_a_heartbeat_that_overtakes_the_answer_counts_once() -> None:
    live = LiveCalls()
    assert reserve(live, 1) is None
    live.on_heartbeat(beat(A, newest=7, calls={ACME: {call(1): False}}), now=0.0)
    assert live.of(ACME, now=0.0) == CallQuota(1, 1)
    live.on_heartbeat(beat(A, newest=7), now=0.1)
    live.answered(ACME, call(1), A, 7, now=0.2)
    assert live.of(ACME, now=0.2) == CallQuota(0, 0)


def test_the_limits_are_of_calls_and_of_half_open_ones() -> None:
    live = LiveCalls()
    live.on_heartbeat(beat(A, calls={ACME: {call(1): True, call(2): True}}), now=0.0)
    live.on_heartbeat(beat(B, calls={ACME: {call(3): True}, OTHER: {call(4): False}}), now=0.0)
    assert reserve(live, 9) is Limited.CALLS
    assert [reserve(live, number, OTHER) for number in (5, 6)] == [None, Limited.HALF_OPEN]


def test_calls_of_a_silent_process_do_not_count() -> None:
    live = LiveCalls()
    live.on_heartbeat(beat(A, calls={ACME: {call(n): True for n in range(3)}}), now=0.0)
    assert reserve(live, 9, now=FRESH_S) is Limited.CALLS
    assert reserve(live, 9, now=FRESH_S + 0.1) is None
    live.answered(ACME, call(9), B, 1, now=FRESH_S + 0.1)
    assert live.of(ACME, now=2 * FRESH_S) == CallQuota(1, 1)
    assert live.of(ACME, now=2 * FRESH_S + 0.2) == CallQuota(0, 0)  # B never sent a heartbeat


def test_a_call_that_was_hung_up_does_not_count_although_heartbeats_still_list_it() -> None:
    live = LiveCalls()
    live.on_heartbeat(beat(A, calls={ACME: {call(1): True, call(2): False}}), now=0.0)
    live.hung_up(call(1), now=0.0)
    assert live.of(ACME, now=0.0) == CallQuota(1, 1)
    live.hung_up(call(2), now=0.0)
    live.on_heartbeat(beat(A, calls={ACME: {call(1): True, call(2): False}}), now=0.1)
    assert live.of(ACME, now=0.1) == CallQuota(0, 0)


def test_what_was_not_reserved_is_not_counted() -> None:
    live = LiveCalls()
    live.answered(ACME, call(1), A, 1, now=0.0)
    live.release(ACME, call(1))
    assert live.of(ACME, now=0.0) == CallQuota(0, 0)


@dataclass
class SimulatedMedia:
    """A media process: its calls, and what it has sent that signaling has not received."""

    newest: int = 0
    calls: dict[TenantId, dict[CallId, bool]] = field(default_factory=lambda: {ACME: {}, OTHER: {}})
    answers: list[tuple[TenantId, CallId, int]] = field(default_factory=list)
    beats: list[Heartbeat] = field(default_factory=list)


class Counting(RuleBasedStateMachine):
    """One signaling process places calls at two media processes; answers and heartbeats arrive in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.live = LiveCalls()
        self.media = {A: SimulatedMedia(), B: SimulatedMedia()}
        self.offered: list[tuple[TenantId, CallId, ProcessId]] = []
        self.number = 0

    def of(self, tenant: TenantId) -> dict[CallId, bool]:
        return {c: connected for process in self.media.values() for c, connected in process.calls[tenant].items()}

    @rule(tenant=st.sampled_from([ACME, OTHER]), process=st.sampled_from([A, B]))
    def offer(self, tenant: TenantId, process: ProcessId) -> None:
        self.number += 1
        if reserve(self.live, self.number, tenant) is None:
            self.offered.append((tenant, call(self.number), process))

    @precondition(lambda self: self.offered)
    @rule(index=st.integers(0, 9), answered=st.booleans())
    def reach_media(self, index: int, answered: bool) -> None:  # noqa: FBT001 - drawn
        tenant, offered, name = self.offered.pop(index % len(self.offered))
        if not answered:
            self.live.release(tenant, offered)
            return
        process = self.media[name]
        process.newest += 1
        process.calls[tenant][offered] = False
        process.answers.append((tenant, offered, process.newest))

    @rule(name=st.sampled_from([A, B]))
    def answer(self, name: ProcessId) -> None:
        if answers := self.media[name].answers:
            tenant, answered, number = answers.pop(0)
            self.live.answered(tenant, answered, name, number, now=0.0)
            self.live.release(tenant, answered)

    @rule(name=st.sampled_from([A, B]), tenant=st.sampled_from([ACME, OTHER]), ends=st.booleans())
    def change(self, name: ProcessId, tenant: TenantId, ends: bool) -> None:  # noqa: FBT001 - drawn
        calls = self.media[name].calls[tenant]
        if calls and ends:
            del calls[next(iter(calls))]
        elif calls:
            calls[next(iter(calls))] = True

    @rule(name=st.sampled_from([A, B]), tenant=st.sampled_from([ACME, OTHER]))
    def hang_up(self, name: ProcessId, tenant: TenantId) -> None:
        if calls := self.media[name].calls[tenant]:
            hung_up, _ = calls.popitem()
            self.live.hung_up(hung_up, now=0.0)

    @rule(name=st.sampled_from([A, B]))
    def send_heartbeat(self, name: ProcessId) -> None:
        process = self.media[name]
        process.beats.append(beat(name, process.newest, process.calls))

    @rule(name=st.sampled_from([A, B]))
    def hear_heartbeat(self, name: ProcessId) -> None:
        if beats := self.media[name].beats:
            self.live.on_heartbeat(beats.pop(0), now=0.0)

    @rule()
    def catch_up(self) -> None:
        for name in self.media:
            while self.media[name].answers:
                self.answer(name)
            self.send_heartbeat(name)
            while self.media[name].beats:
                self.hear_heartbeat(name)
        for tenant in (ACME, OTHER):
            offered = sum(each[0] == tenant for each in self.offered)
            calls = self.of(tenant)
            half_open = sum(not connected for connected in calls.values())
            assert self.live.of(tenant, now=0.0) == CallQuota(len(calls) + offered, half_open + offered)

    @invariant()
    def never_above_the_limit(self) -> None:
        for tenant in (ACME, OTHER):
            calls = self.of(tenant)
            assert len(calls) <= ALLOWED.calls
            assert sum(not connected for connected in calls.values()) <= ALLOWED.half_open


Counting.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestCounting = Counting.TestCase
