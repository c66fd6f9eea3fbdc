"""The worker as a process, with settings, signals and an exit code."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import pytest

from services.runtime.errors import SettingsError
from services.runtime.process.settings import load
from services.upstream.__main__ import main
from services.upstream.settings import UpstreamSettings
from tests.upstream.provider import ScriptedProvider, running

KEY = "sk-never-to-be-seen-0123456789"


@asynccontextmanager
async def worker(nats_url: str, data: Path, settings: Mapping[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {
        "PATH": os.defpath,
        "UPSTREAM_NATS_URL": nats_url,
        "UPSTREAM_DATA_DIR": str(data),
        "UPSTREAM_API_KEY": KEY,
        "UPSTREAM_DRAIN_TIMEOUT_S": "1",
        **settings,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.upstream", env=environment, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def lines(process: asyncio.subprocess.Process) -> list[dict[str, str]]:
    async with asyncio.timeout(30):
        out, _ = await process.communicate()
    assert KEY not in out.decode()
    return [json.loads(line) for line in out.splitlines()]


async def test_a_worker_starts_probes_and_stops(nats_url: str, tmp_path: Path) -> None:
    async with running(ScriptedProvider()) as provider:
        settings = {"UPSTREAM_URL": provider.url, "UPSTREAM_PROBE": "true"}
        async with worker(nats_url, tmp_path, settings) as process:
            assert process.stdout is not None
            async with asyncio.timeout(30):
                while b"service_ready" not in await process.stdout.readline():
                    pass
            process.send_signal(signal.SIGTERM)
            assert [line["event"] for line in await lines(process)][-1] == "service_stopped"
            assert process.returncode == 0
        assert len(provider.sessions) == 1
        assert provider.sessions[0].authorization == f"Bearer {KEY}"


async def test_a_wrong_key_is_one_clear_line(nats_url: str, tmp_path: Path) -> None:
    async with running(ScriptedProvider(status=HTTPStatus.UNAUTHORIZED)) as provider:
        settings = {"UPSTREAM_URL": provider.url, "UPSTREAM_PROBE": "true"}
        async with worker(nats_url, tmp_path, settings) as process:
            errors = [line for line in await lines(process) if line["level"] == "error"]
            assert process.returncode == 1
    assert len(errors) == 1
    assert errors[0]["error"].startswith("the provider refused the key: set OPENAI_API_KEY")


async def test_an_unreachable_provider_is_one_clear_line(nats_url: str, tmp_path: Path) -> None:
    settings = {"UPSTREAM_URL": "ws://127.0.0.1:1/v1/realtime", "UPSTREAM_PROBE": "true"}
    async with worker(nats_url, tmp_path, settings) as process:
        errors = [line for line in await lines(process) if line["level"] == "error"]
        assert process.returncode == 1
    assert ["cannot be reached" in line["error"] for line in errors] == [True]


@pytest.mark.parametrize("url", ["", "http://host/v1/realtime", "ws://", "wss://me:secret@host/", "wss://host/#x"])
def test_an_address_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="UPSTREAM_URL") as caught:
        load(UpstreamSettings, {"UPSTREAM_URL": url})
    assert "secret" not in str(caught.value)


def test_the_key_is_never_shown() -> None:
    settings = load(UpstreamSettings, {"UPSTREAM_URL": "wss://host/v1/realtime", "UPSTREAM_API_KEY": KEY})
    assert KEY not in f"{settings!r} {settings} {settings.model_dump_json()}"
    assert settings.secret("api_key").get_secret_value() == KEY


def test_a_key_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    environment = {"UPSTREAM_URL": "wss://host/v1/realtime", "UPSTREAM_API_KEY_FILE": str(tmp_path / "key")}
    assert load(UpstreamSettings, environment).secret("api_key").get_secret_value() == KEY


def test_a_key_file_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    environment = {"UPSTREAM_URL": "wss://host/v1/realtime", "UPSTREAM_API_KEY_FILE": str(tmp_path / "key")}
    with pytest.raises(SettingsError, match="UPSTREAM_API_KEY_FILE"):
        load(UpstreamSettings, environment).secret("api_key")


def test_arguments_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["--url"])
    assert refused.value.code == 2
    assert "unrecognized arguments: --url" in capsys.readouterr().err
