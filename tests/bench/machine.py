"""The machine that a benchmark ran on."""

import platform
from pathlib import Path


def cpu_model() -> str:
    """The kernel's name of the processor, and the number of CPUs."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.machine()
