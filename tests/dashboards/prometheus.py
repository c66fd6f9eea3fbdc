"""A real Prometheus that scrapes a gateway of this machine every second."""

import json
import math
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from services.runtime import clock
from tests.dashboards.boards import Ask, Window
from tests.dashboards.tools import RULES, tool
from tests.system.gateway import wait_until

NAMESPACE = "voice"
QueryLabels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Series:
    """A series of numbers: (unix seconds, number)."""

    labels: QueryLabels
    points: list[tuple[float, float]]

    @property
    def says_something(self) -> bool:
        return any(not math.isnan(value) for _, value in self.points)


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running server; asks raise `AssertionError` with the server's words when an expression is wrong."""

    http: httpx.Client
    began: float

    def ask(self, asked: Ask, *, window: Window, end: float | None = None) -> list[Series]:
        """What a panel gets: one point of each series, or all of the window."""
        now = end or clock.unix_ms() / 1000
        if asked.instant:
            return self.now(window.fill(asked.expr), at=now)
        span = {"start": str(now - window.seconds), "end": str(now), "step": "1"}
        return self._series("query_range", {"query": window.fill(asked.expr), **span})

    def now(self, expression: str, *, at: float | None = None) -> list[Series]:
        """The value of ``expression`` at one moment."""
        moment = {} if at is None else {"time": str(at)}
        return self._series("query", {"query": expression, **moment})

    def rules(self) -> list[dict[str, Any]]:
        """All rules, with how their last evaluation went."""
        groups = self.http.get("/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def metrics(self) -> set[str]:
        """All metrics that were scraped, those without a series too."""
        return set(self.http.get("/api/v1/metadata").json()["data"])

    def _series(self, path: str, asked: Mapping[str, str]) -> list[Series]:
        answer = self.http.post(f"/api/v1/{path}", data=dict(asked)).json()
        assert answer["status"] == "success", f"{answer.get('error')}: {asked['query']}"
        return [
            Series(each["metric"], [(at, float(value)) for at, value in each.get("values") or [each["value"]]])
            for each in answer["data"]["result"]
        ]


@contextmanager
def running_prometheus(folder: Path, targets: Mapping[str, str]) -> Iterator[Prometheus]:
    """Scrape ``targets`` (URLs by pod) with the rules of the chart."""
    folder.mkdir()
    config = folder / "prometheus.yml"
    config.write_text(json.dumps(_config(targets)))  # JSON is YAML
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [tool("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    began = clock.unix_ms() / 1000
    with (
        (folder / "prometheus.log").open("w") as log,
        subprocess.Popen([*command, f"--web.listen-address={address}"], stderr=log) as process,  # noqa: S603 - our own
    ):
        try:
            with httpx.Client(base_url=f"http://{address}", timeout=30) as http:
                wait_until(lambda: _ready(http), f"Prometheus is ready: {folder / 'prometheus.log'}")
                yield Prometheus(http, began)
        finally:
            process.terminate()


def _ready(http: httpx.Client) -> bool:
    try:
        return http.get("/-/ready").is_success
    except httpx.TransportError:
        return False


def _config(targets: Mapping[str, str]) -> dict[str, Any]:
    """What pod and service monitors make: labels `namespace`, `pod` and `job`."""
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {
                "job_name": f"{NAMESPACE}/{pod}",
                "static_configs": [
                    {
                        "targets": [url.removeprefix("http://")],
                        "labels": {"namespace": NAMESPACE, "pod": pod},
                    }
                ],
            }
            for pod, url in targets.items()
        ],
    }
