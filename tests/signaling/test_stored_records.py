"""A tenant's calls take at most its share of the records of calls; its own oldest go first."""

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contracts.ids import CallId, ProcessId, TenantId
from services.runtime.bus import streams
from services.runtime.bus.client import Bus
from services.runtime.bus.streams import Share
from services.signaling.app import open_grants
from services.signaling.core.stored_records import AccessRecord, StoredRecords, access_room
from services.signaling.grants import CallOwner, Grants

STORE_MB = 40
BOUND = streams.bound(Share.ACCESS, STORE_MB)
ACME, OTHER = TenantId("acme"), TenantId("other")


@pytest.fixture
def store_mb() -> int:
    return STORE_MB


def test_the_oldest_calls_beyond_the_room_go_and_the_newest_stays() -> None:
    records = StoredRecords()
    for number in range(5):
        records.add(ACME, (f"call.{number}", f"token.{number}"), 100, now=0, end=10)
    assert records.pop_surplus(ACME, room=500) == []
    assert records.pop_surplus(ACME, room=350) == ["call.0", "token.0", "call.1", "token.1"]
    assert records.pop_surplus(ACME, room=0) == [f"{kind}.{n}" for n in (2, 3) for kind in ("call", "token")]
    assert records.pop_surplus(ACME, room=0) == []
    assert records.pop_surplus(OTHER, room=0) == []


def test_what_has_expired_does_not_count() -> None:
    records = StoredRecords()
    for number in range(5):
        records.add(ACME, (f"call.{number}",), 100, now=number, end=number + 3)
    assert records.pop_surplus(ACME, room=300) == []
    assert records.pop_surplus(ACME, room=299) == ["call.2"]


@given(tenants=st.integers(1, 20), small=st.integers(0, 20))
def test_tenants_that_take_all_they_may_leave_room_for_the_next(tenants: int, small: int) -> None:
    held = [0] * tenants
    for _ in range(200):  # in turn, each as much as it may
        for tenant in range(tenants):
            used = sum(held) - held[tenant] + small
            held[tenant] = min(held[tenant] + 1000, access_room(bound=100_000, used=used + held[tenant] + 1000))
    assert sum(held) + small < 100_000


def test_a_hundredth_is_always_allowed() -> None:
    assert access_room(bound=10_000, used=10_000) == 100
    assert access_room(bound=10_000, used=0) == 5000


async def make_calls(grants: Grants, tenant: TenantId, count: int, *, size: int = 0) -> list[CallId]:
    owner = CallOwner(tenant=tenant, process=ProcessId("media-0"))
    calls = [CallId(f"rtc_{uuid4().hex[:26]}") for _ in range(count)]
    for call in calls:
        await grants.record_call(call, owner, also=AccessRecord(f"whip.{call}", b"x" * size, 600) if size else None)
    return calls


async def test_one_tenants_calls_never_take_the_records_of_another(bus: Bus) -> None:
    grants = await open_grants(bus)
    kept = await make_calls(grants, OTHER, 5)
    size = 48_000
    flood = await make_calls(grants, ACME, 2 * BOUND // size, size=size)  # twice the bucket
    assert (await grants.access.fill()).used_bytes < 0.6 * BOUND
    assert await grants.owner(flood[-1])
    assert await grants.owner(flood[0]) is None
    new = await make_calls(grants, OTHER, 5)
    assert all([await grants.owner(call) for call in (*kept, *new)])
