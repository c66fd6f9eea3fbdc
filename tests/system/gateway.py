"""A whole gateway, started by `hushgate up`."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import httpx
import psutil

from services.runtime import clock

STOP_TIMEOUT_S = 15.0
ECHO_VOICE = {"REHEARSAL_VOICE": "echo"}
"""Environment of a gateway whose provider answers anything with a recording: it is up sooner."""


@dataclass
class Up:
    """A running `hushgate up`."""

    process: "subprocess.Popen[str]"
    data: Path
    log: Path
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return str(self.info["url"])

    @property
    def page_url(self) -> str:
        """The page's URL with the secret of this start."""
        return str(self.info["page_url"])

    @property
    def tenant_key(self) -> str:
        return str(self.info["tenant_key"])

    def service(self, name: str) -> str:
        return str(self.read()["services"][name]["http_url"])

    def pid(self, name: str) -> int:
        return int(self.read()["services"][name]["pid"])

    def bus_pid(self) -> int:
        children = psutil.Process(self.process.pid).children()
        return next(int(child.pid) for child in children if child.name() == "nats-server")

    def is_well(self) -> bool:
        return all(ready(service["http_url"]) for service in self.read()["services"].values())

    def read(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.data / "up.json").read_text())
        return content

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_TIMEOUT_S)


def start_up(
    data: Path, log: IO[str] | int, *arguments: str, environment: Mapping[str, str] | None = None
) -> "subprocess.Popen[str]":
    without = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}  # noqa: TID251 - a child's
    return subprocess.Popen(  # noqa: S603 - our own command
        [
            sys.executable,
            "-m",
            "services.cli",
            "up",
            "--port",
            "0",
            "--data",
            str(data),
            "--log-format",
            "json",
            "--media-processes",
            "1",  # so that a test knows whose metrics count its calls; what is given beside wins
            *arguments,
        ],
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env={**without, **(environment or {})},
    )


@contextmanager
def running_up(data: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[Up]:
    log = data.with_suffix(".log")
    with log.open("w") as out, start_up(data, out, *arguments, environment=environment) as process:
        up = Up(process, data, log)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("Hushgate is up: http"), log.read_text()
            up.info = up.read()
            yield up
        finally:
            try:
                up.stop()
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def refused_up(
    data: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Start `up` where it must refuse; return its exit code and output."""
    with start_up(data, subprocess.PIPE, *arguments, environment=environment) as process:
        try:
            out, err = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@contextmanager
def running_rehearsal(*, key: str) -> Iterator[str]:
    """Run a rehearsal that requires ``key``; yield its Realtime URL."""
    environment = {**os.environ, "REHEARSAL_API_KEY": key, "REHEARSAL_VOICE": "echo"}  # noqa: TID251 - a child's
    command = [sys.executable, "-m", "services.cli", "rehearsal"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:  # noqa: S603
        assert process.stdout is not None
        try:
            for line in process.stdout:
                event = json.loads(line)
                if event["event"] == "service_ready":
                    yield event["http_url"].replace("http", "ws", 1) + "/v1/realtime"
                    break
        finally:
            process.terminate()
            process.stdout.read()


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def wait_until(true: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    """Poll until ``happened`` is true, for what causes no event here.

    Raises:
        TimeoutError: it did not become true in time.
    """
    deadline = clock.monotonic() + timeout_s
    while not true():
        if clock.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s:g} s: {what}")
        threading.Event().wait(0.02)
