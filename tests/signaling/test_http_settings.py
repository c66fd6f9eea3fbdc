from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from services.runtime.bus.client import Bus
from services.signaling.settings import SignalingSettings
from tests.signaling.process import signaling


@pytest.mark.parametrize("proxy", ["*", "example.com", "10.0.0.1/8", "10.0.0.0/33", "", "10.0.0.1, 10.0.0.2"])
def test_a_trusted_proxy_is_an_address_or_a_network(proxy: str) -> None:
    with pytest.raises(ValidationError, match="no address and no network"):
        SignalingSettings(tenants_file=Path("t"), trusted_proxies=(proxy,))


def test_one_address_cannot_have_more_connections_than_there_are() -> None:
    with pytest.raises(ValidationError, match="must not exceed SIGNALING_MAX_CONNECTIONS"):
        SignalingSettings(tenants_file=Path("t"), max_connections=100, max_connections_per_address=101)


@pytest.mark.parametrize(("proxies", "status"), [('["127.0.0.1"]', 401), ('["10.0.0.0/8"]', 403), ("[]", 403)])
async def test_behind_a_trusted_proxy_the_own_page_is_https(
    proxies: str, status: int, bus: Bus, nats_url: str, tenants_path: Path
) -> None:
    assert bus.connected
    served = signaling(
        nats_url=nats_url,
        tenants_file=tenants_path,
        allowed_origins='["https://app.example"]',
        trusted_proxies=proxies,
    )
    async with served as (url, _), httpx.AsyncClient(base_url=url) as client:
        headers = {"Host": "gate.example", "Origin": "https://gate.example", "X-Forwarded-Proto": "https"}
        assert (await client.post("/v1/realtime/calls", headers=headers)).status_code == status
