"""A pod of two media processes, as it is deployed: real children, real ports, a real bus."""

import asyncio
import json
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.media.processes import plan
from services.media.settings import MediaSettings
from services.runtime.errors import AddressInUseError, SettingsError
from services.runtime.http.server import listen
from services.runtime.process.settings import load

ADDRESS = {"MEDIA_ADVERTISED_ADDRESS": "127.0.0.1"}
UDP_PORT = 20_700


@dataclass
class RunningPod:
    """A running parent, its URL and its log."""

    process: asyncio.subprocess.Process
    lines: asyncio.StreamReader
    url: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)

    async def until(self, event: str, **fields: object) -> dict[str, Any]:
        """The next event of that name with those fields."""
        async with asyncio.timeout(60):
            while line := await self.lines.readline():
                logged: dict[str, Any] = json.loads(line)
                self.events.append(logged)
                if logged["event"] == event and all(logged.get(key) == value for key, value in fields.items()):
                    return logged
        raise AssertionError(f"the pod ended before {event}: {self.events[-3:]}")

    def children(self) -> dict[str, int]:
        """The pids of the children by their names."""
        pids = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return {settings_of(int(pid))["MEDIA_PROCESS_ID"]: int(pid) for pid in pids}

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.url) as client:
            return await client.get(path)


def settings_of(pid: int) -> dict[str, str]:
    """The MEDIA_* of a process."""
    pairs = (pair.partition("=") for pair in Path(f"/proc/{pid}/environ").read_text().split("\0"))
    return {name: value for name, _, value in pairs if name.startswith("MEDIA_")}


def free_ports(count: int) -> int:
    """The first of ``count`` TCP ports in a row that are free now, below those that the system gives away itself."""
    # Anywhere, because other tests look for some at the same time.
    for base in random.sample(range(21_000, 31_000, count), 100):
        try:
            for port in range(base, base + count):
                listen("127.0.0.1", port).close()
        except AddressInUseError:
            continue
        return base
    raise AssertionError("no ports are free")


@asynccontextmanager
async def pod(nats_url: str, data: Path, **more: str) -> AsyncIterator[RunningPod]:
    environment = {
        "PATH": os.defpath,
        "MEDIA_NATS_URL": nats_url,
        "MEDIA_DATA_DIR": str(data),
        "MEDIA_PROCESS_ID": "pod-a",
        "MEDIA_PROCESSES": "2",
        "MEDIA_UDP_PORT": str(UDP_PORT),
        "MEDIA_DRAIN_TIMEOUT_S": "1",
        **ADDRESS,
        **more,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.media", env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    running = RunningPod(process, process.stdout)
    try:
        yield running
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.communicate()


async def test_a_child_that_dies_is_started_again_and_its_sibling_never_notices(nats_url: str, tmp_path: Path) -> None:
    async with pod(nats_url, tmp_path) as running:
        running.url = (await running.until("service_ready", service="media", process=None))["http_url"]
        before = running.children()
        assert sorted(before) == ["pod-a-0", "pod-a-1"]
        os.kill(before["pod-a-0"], signal.SIGKILL)
        await running.until("child_died", child="pod-a-0", exit_code=-signal.SIGKILL)
        assert (await running.get("/healthz")).status_code == 200  # the pod's other calls must not pay for it
        assert (await running.get("/readyz")).status_code == 200
        await running.until("service_ready", process="pod-a-0")
        after = running.children()
        assert after["pod-a-1"] == before["pod-a-1"]
        assert after["pod-a-0"] != before["pod-a-0"]
        families = text_string_to_metric_families((await running.get("/metrics")).text)
        values = {(s.name, s.labels["process"]): s.value for f in families for s in f.samples if "process" in s.labels}
        assert values["hushgate_media_process_deaths_total", "parent"] == 1
        capacity = MediaSettings.model_fields["max_calls"].default  # each process carries it: the pod's is the sum
        assert [values["hushgate_media_calls_capacity", process] for process in "01"] == [capacity, capacity]
        running.process.send_signal(signal.SIGTERM)
        assert await running.process.wait() == 0


async def test_each_child_has_ports_and_a_name_of_its_own(nats_url: str, tmp_path: Path) -> None:
    base = free_ports(3)
    async with pod(nats_url, tmp_path, MEDIA_HTTP_PORT=str(base)) as running:
        running.url = (await running.until("service_ready", process=None))["http_url"]
        assert running.url == f"http://127.0.0.1:{base}"
        for name, pid in running.children().items():
            number = int(name.rpartition("-")[2])
            mine = settings_of(pid)
            assert (mine["MEDIA_UDP_PORT"], mine["MEDIA_PROCESSES"]) == (str(UDP_PORT + number), "1")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, pytest.raises(OSError, match="in use"):
                probe.bind(("127.0.0.1", UDP_PORT + number))
            async with httpx.AsyncClient() as client:
                assert (await client.get(f"http://127.0.0.1:{base + 1 + number}/readyz")).status_code == 200


async def test_a_child_that_hangs_makes_the_pod_not_live(nats_url: str, tmp_path: Path) -> None:
    async with pod(nats_url, tmp_path) as running:
        running.url = (await running.until("service_ready", process=None))["http_url"]
        hung = running.children()["pod-a-1"]
        os.kill(hung, signal.SIGSTOP)
        try:
            answer = await running.get("/healthz")
            assert (answer.status_code, answer.text) == (503, "silent: pod-a-1\n")
            assert (await running.get("/readyz")).status_code == 200  # the other one takes calls
            assert 'process="0"' in (await running.get("/metrics")).text
        finally:
            os.kill(hung, signal.SIGCONT)
        assert (await running.get("/healthz")).status_code == 200


async def test_a_signal_drains_all_children_and_the_pod_says_so_meanwhile(nats_url: str, tmp_path: Path) -> None:
    async with pod(nats_url, tmp_path) as running:
        running.url = (await running.until("service_ready", process=None))["http_url"]
        running.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await running.process.wait() == 0
        rest = [json.loads(line) for line in (await running.lines.read()).splitlines()]
        for event in ("service_stopping", "service_stopped"):  # whose comes first is nobody's business
            told = {logged.get("process") for logged in running.events + rest if logged["event"] == event}
            assert told == {"pod-a-0", "pod-a-1", None}


async def test_a_child_that_cannot_start_stops_the_start(nats_url: str, tmp_path: Path) -> None:
    base = free_ports(3)
    with listen("127.0.0.1", base + 2):
        async with pod(nats_url, tmp_path, MEDIA_HTTP_PORT=str(base)) as running:
            failed = await running.until("service_failed", process=None)
            assert f"127.0.0.1:{base + 2}" in failed["error"]
            assert await running.process.wait() == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"MEDIA_PROCESSES": "0"},
        {"MEDIA_PROCESSES": "65"},
        {"MEDIA_UDP_PORT": "65536"},
        {"MEDIA_UDP_PORT": "65535", "MEDIA_PROCESSES": "2"},
        {"MEDIA_HTTP_PORT": "65534", "MEDIA_PROCESSES": "2"},
    ],
)
def test_ports_that_do_not_exist_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="MEDIA_"):
        load(MediaSettings, {**ADDRESS, **wrong})


def test_the_last_ports_may_be_used() -> None:
    settings = load(
        MediaSettings, {**ADDRESS, "MEDIA_UDP_PORT": "65534", "MEDIA_HTTP_PORT": "65533", "MEDIA_PROCESSES": "2"}
    )
    assert [spec.environment["MEDIA_UDP_PORT"] for spec in plan(settings)] == ["65534", "65535"]
    assert load(MediaSettings, {**ADDRESS, "MEDIA_HTTP_PORT": "65535"}).processes == 1


def test_free_ports_stay_free_ports_for_children() -> None:
    settings = load(MediaSettings, {**ADDRESS, "MEDIA_PROCESSES": "3"})
    assert {spec.environment["MEDIA_HTTP_PORT"] for spec in plan(settings)} == {"0"}
    assert {spec.environment["MEDIA_UDP_PORT"] for spec in plan(settings)} == {"0"}
