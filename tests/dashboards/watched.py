"""A gateway that carries a load while Prometheus watches."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from services.runtime import clock
from tests.dashboards.boards import Window
from tests.dashboards.prometheus import Prometheus, running_prometheus
from tests.system.gateway import Up, running_up, wait_until

TENANTS = ("acme", "bonsai")


@dataclass(frozen=True, slots=True)
class Watched:
    """The gateway, and the Prometheus that scrapes it."""

    up: Up
    prometheus: Prometheus
    rate_s: int

    @property
    def window(self) -> Window:
        """From Prometheus' start until now."""
        return Window(clock.unix_ms() / 1000 - self.prometheus.began, self.rate_s)

    def load(self, *, calls: Sequence[int], minutes: float, talk: float = 0.42) -> None:
        """As many calls of each tenant, at the same time, by `hushgate load`."""
        commands = [
            [
                *(sys.executable, "-m", "services.cli", "load", "--url", self.up.url),
                *("--key-file", str(self.up.data / f"{tenant}.key")),
                *("--calls", str(count), "--minutes", str(minutes), "--talk", str(talk), "--processes", "1"),
            ]
            for tenant, count in zip(TENANTS, calls, strict=True)
        ]
        running = [
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # noqa: S603 - ours
            for command in commands
        ]
        for process in running:
            _, words = process.communicate()
            assert process.returncode == 0, words

    def settle(self) -> None:
        """Wait until the calls are over and Prometheus has seen that all of their usage is in the ledger."""
        for over in ("sum(hushgate_media_calls_active) == 0", "max(hushgate_usage_outbox_oldest_seconds) == 0"):
            wait_until(lambda over=over: bool(self.prometheus.now(over)), over)  # type: ignore[misc]


def key(tenant: str) -> str:
    """The key of a tenant of ours."""
    return f"hg_{tenant}-only-for-tests"


@contextmanager
def watched(folder: Path, *, rate_s: int) -> Iterator[Watched]:
    """Start both; each pod has been scraped once when this yields."""
    environment = {"METERING_METRIC_TENANTS": json.dumps(TENANTS), "REHEARSAL_VOICE": "echo"}
    with running_up(folder / "data", environment=environment) as up:
        _add_tenants(up)
        targets = {name: service["http_url"] for name, service in up.read()["services"].items()}
        with running_prometheus(folder / "prometheus", targets) as prometheus:
            wait_until(lambda: len(prometheus.now("up == 1")) == len(targets), "every pod is scraped")
            yield Watched(up, prometheus, rate_s)


def _add_tenants(up: Up) -> None:
    file = up.data / "tenants.json"
    content = json.loads(file.read_text())
    for tenant in TENANTS:
        (up.data / f"{tenant}.key").write_text(key(tenant))
        digest = hashlib.sha256(key(tenant).encode()).hexdigest()
        content["tenants"].append({**content["tenants"][0], "id": tenant, "keys_sha256": [digest]})
    file.write_text(json.dumps(content))

    def known() -> bool:
        authorization = {"Authorization": f"Bearer {key(TENANTS[0])}"}
        return httpx.post(f"{up.url}/v1/realtime/client_secrets", headers=authorization, json={}).is_success

    wait_until(known, "signaling has read the tenants")
