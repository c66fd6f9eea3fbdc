"""What a figure was measured on."""

import platform
from pathlib import Path


def cpu_model() -> str:
    """The processor as the kernel names it, and how many of it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.machine()
