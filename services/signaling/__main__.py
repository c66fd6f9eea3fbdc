"""`hushgate signaling`: run the public HTTP API."""

import sys
from collections.abc import Sequence

from services.runtime.process import runner
from services.runtime.process.command_line import parse_service
from services.signaling import app
from services.signaling.settings import SignalingSettings


def main(arguments: Sequence[str]) -> int:
    """Run signaling and return the exit code; all settings come from the environment."""
    parse_service(
        "signaling",
        SignalingSettings,
        arguments,
        about="Serve the public HTTP API: tokens, offers, placement, the page.",
    )
    return runner.run_with_bus("signaling", SignalingSettings, app.serve)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
