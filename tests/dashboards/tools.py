"""Debian's Prometheus: the server and promtool, as `make prometheus` unpacks them or as they are installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
RULES = ROOT / "deploy" / "helm" / "rules" / "hushgate.yaml"
_UNPACKED = ROOT / "build" / "prometheus" / "usr" / "bin"


def tool(name: str) -> str:
    """The path of ``prometheus`` or ``promtool``; without it the test fails and says what to install."""
    unpacked = _UNPACKED / name
    found = str(unpacked) if unpacked.exists() else shutil.which(name)
    if found is None:
        pytest.fail(
            f"{name} is not here: run `make prometheus`, or install Prometheus 2.40 or later so that PATH has it"
        )
    return found


def promtool(*arguments: str, folder: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    """Run promtool in ``folder``."""
    command = [tool("promtool"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - our own
