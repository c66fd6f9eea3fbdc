import socket

import httpx
import pytest

from services.runtime.errors import AddressInUseError
from services.runtime.http.server import listen, serve_http
from services.runtime.process.health import Health, health_app


async def test_health_readiness_and_metrics_are_served() -> None:
    health = Health()
    async with serve_http(health_app(health), host="127.0.0.1", port=0) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/healthz")).status_code == 200
        starting = await http.get("/readyz")
        assert (starting.status_code, starting.text) == (503, "not ready: starting\n")
        health.blocked_by.clear()
        assert (await http.get("/readyz")).status_code == 200
        assert "hushgate_event_loop_lag_seconds" in (await http.get("/metrics")).text


async def test_a_taken_port_is_a_clear_error() -> None:
    async with serve_http(health_app(Health()), host="127.0.0.1", port=0) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(AddressInUseError, match=f"127.0.0.1:{port}: Address already in use"):
            async with serve_http(health_app(Health()), host="127.0.0.1", port=port):
                pass


def test_answers_do_not_wait_for_the_clients_delayed_acknowledgement() -> None:
    with listen("127.0.0.1", 0) as sock:
        assert sock.proto == socket.IPPROTO_TCP  # only then asyncio sets TCP_NODELAY on what it accepts
