"""The only module that reads a clock. Cores get `now` as an argument."""

import time
from datetime import UTC, datetime


def monotonic() -> float:
    """Monotonic seconds, for timeouts and durations."""
    return time.monotonic()


def cpu_s() -> float:
    """CPU seconds that this process has used, over all its threads."""
    return time.process_time()


def unix_ms() -> int:
    """Milliseconds since 1970; for wires and records, never for durations."""
    return time.time_ns() // 1_000_000


def unix_ns() -> int:
    """Nanoseconds since 1970; for the spans of traces."""
    return time.time_ns()


def utc_now() -> datetime:
    """The wall clock as an aware datetime."""
    return datetime.now(UTC)


def unix_minus_monotonic() -> float:
    """Seconds to subtract from a wall-clock time, such as a packet's arrival by the kernel, for a monotonic one."""
    return time.time() - time.monotonic()
