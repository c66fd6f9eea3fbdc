"""`hushgate media`: run one media process, or a parent of several."""

import sys
from collections.abc import Sequence

from services.media import app, processes
from services.media.settings import MediaSettings
from services.runtime import aiortc_names
from services.runtime.process import runner
from services.runtime.process.command_line import parse_service
from services.runtime.process.runner import Process

_CARRY_CALLS = runner.with_bus("media", app.serve)


async def _work(settings: MediaSettings, running: Process) -> None:
    aiortc_names.check("media")
    work = processes.supervise if settings.processes > 1 else _CARRY_CALLS
    await work(settings, running)


def _patience_s(settings: MediaSettings) -> float:
    # A parent waits for its children's own timeouts, and a margin.
    return processes.patience_s(settings) + (processes.STOP_MARGIN_S if settings.processes > 1 else 0)


def main(arguments: Sequence[str]) -> int:
    """Run until a signal; returns the exit code. Settings come from `MEDIA_*`; there are no arguments."""
    parse_service("media", MediaSettings, arguments, about="Carry calls: WebRTC, gate and playout.")
    return runner.run("media", MediaSettings, _work, kill_after_s=_patience_s)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
