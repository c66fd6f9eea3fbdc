"""Callers outside the cluster: `hushgate load` as a child process."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.kube import ClusterError


@dataclass(frozen=True, slots=True)
class PublicEndpoint:
    """The public URL and the tenant's key."""

    url: str
    key: str


@dataclass(slots=True)
class RunningLoad:
    """A running load. `over` waits for its end."""

    number: int
    process: subprocess.Popen[str]
    report: Path
    figures: Any = None

    def over(self) -> Any:  # noqa: ANN401 - the figures of docs/load.md
        """Wait until the callers have hung up; return their figures.

        Raises:
            ClusterError: there are none.
        """
        if self.figures is None:
            _, errors = self.process.communicate(timeout=420)
            if not self.report.exists():
                raise ClusterError(f"hushgate load: {errors.strip()[-400:]}")
            self.figures = json.loads(self.report.read_text())
        return self.figures

    @property
    def failed(self) -> int:
        """The number of calls that were not connected, or ended early."""
        return int(self.over()["calls"]["failed"])

    def summary(self) -> str:
        """Return the figures as one short text."""
        figures = self.over()
        calls, turns = figures["calls"], figures["turns"]
        reasons = ", ".join(f"{count} {reason}" for reason, count in calls["failed_by"].items() if count)
        words = f"{calls['connected']} of {calls['asked']} calls, {reasons or 'none'} failed, {turns['answered']} turns"
        p95 = figures["setup_ms"]["p95"], figures["turn_ms"]["p95"]
        return words + (f", set-up p95 {p95[0]:.0f} ms, turn p95 {p95[1]:.0f} ms" if None not in p95 else "")


@contextmanager
def calling(endpoint: PublicEndpoint, calls: int, *, seconds: float, per_second: float = 4) -> Iterator[RunningLoad]:
    """Run ``calls`` callers, for ``seconds`` after the last was placed."""
    with tempfile.TemporaryDirectory(prefix="hushgate-cluster-") as folder:
        report, key = Path(folder) / "load.json", Path(folder) / "key"
        key.write_text(endpoint.key)
        command = [sys.executable, "-m", "services.cli", "load", "--url", endpoint.url, "--key-file", str(key)]
        command += ["--calls", str(calls), "--ramp", str(per_second), "--minutes", str(seconds / 60)]
        process = subprocess.Popen(  # noqa: S603 - our own words
            [*command, "--json", str(report)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            yield RunningLoad(calls, process, report)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(30)
