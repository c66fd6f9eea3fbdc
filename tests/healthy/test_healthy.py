import asyncio

import pytest

from services.healthy.__main__ import main
from services.runtime.http.server import serve_http
from services.runtime.process.health import Health, health_app


async def test_a_service_that_answers_is_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve_http(health_app(Health()), host="127.0.0.1", port=0) as url:
        monkeypatch.setenv("MEDIA_HTTP_PORT", url.rpartition(":")[2])
        assert await _in_thread() == 0


async def test_a_port_that_nobody_serves_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serve_http(health_app(Health()), host="127.0.0.1", port=0) as url:
        port = url.rpartition(":")[2]
    monkeypatch.setenv("UPSTREAM_HTTP_PORT", port)
    assert await _in_thread() == 1
    assert "upstream: no reply" in capsys.readouterr().err


def test_without_a_fixed_port_it_says_what_to_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "*_HTTP_PORT" in capsys.readouterr().err


async def _in_thread() -> int:
    return await asyncio.to_thread(main, [])
