"""A gateway with a NATS store of 40 MB, and a tenant that mints tokens as fast as it gets replies."""

from tests.bench import attack_mints


async def test_beside_a_flood_of_mints_another_tenant_calls_and_every_call_is_booked() -> None:
    for flood in await attack_mints.measure(seconds=4):
        assert flood.within_limits, flood
    assert flood.refused > 0
    assert flood.tokens < 40  # what fits into the tenant's share
