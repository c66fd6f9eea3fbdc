"""A network namespace for a test, with loopback, one more address, and firewall rules."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

LAN = "198.51.100.20"
NEEDS_ROOT = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("iptables"),
    reason="needs root, iproute2 and iptables for a network namespace",
)


@dataclass(frozen=True)
class Namespace:
    """An `ip netns`."""

    name: str

    def command(self, *command: str) -> list[str]:
        return ["ip", "netns", "exec", self.name, *command]

    def run(self, *command: str) -> None:
        subprocess.run(self.command(*command), check=True, capture_output=True)  # noqa: S603 - our own commands

    def hushgate(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = self.command(sys.executable, "-m", "services.cli", *arguments)
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603

    def doctor(self, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
        """Run doctor; return its exit code and findings by check."""
        done = self.hushgate("doctor", "--json", *arguments)
        assert done.returncode in (0, 1), done.stderr
        return done.returncode, {finding["check"]: finding for finding in json.loads(done.stdout)}


@contextmanager
def namespace(*, lan: bool = True) -> Iterator[Namespace]:
    made = Namespace(f"hushgate-{os.getpid()}")
    subprocess.run(["ip", "netns", "add", made.name], check=True)  # noqa: S603, S607 - as above
    try:
        made.run("ip", "link", "set", "lo", "up")
        if lan:
            # On a machine its own addresses are reached through lo, whatever interface has them.
            made.run("ip", "address", "add", f"{LAN}/32", "dev", "lo")
        yield made
    finally:
        subprocess.run(["ip", "netns", "delete", made.name], check=True)  # noqa: S603, S607 - as above
