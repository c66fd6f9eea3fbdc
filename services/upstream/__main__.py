"""`hushgate upstream`: run one upstream worker."""

import sys
from collections.abc import Sequence

from services.runtime.process import runner
from services.runtime.process.command_line import parse_service
from services.upstream import app
from services.upstream.settings import UpstreamSettings


def _patience_s(settings: UpstreamSettings) -> float:
    return settings.drain_timeout_s + settings.settle_timeout_s + 15


def main(arguments: Sequence[str]) -> int:
    """Run until a signal; returns the exit code. Settings come from `UPSTREAM_*`; there are no arguments."""
    parse_service("upstream", UpstreamSettings, arguments, about="Own calls and hold their sessions with the provider.")
    return runner.run_with_bus("upstream", UpstreamSettings, app.serve, kill_after_s=_patience_s)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
