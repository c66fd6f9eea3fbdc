"""`hushgate signaling`: the public HTTP door."""

import sys
from collections.abc import Sequence

from services.runtime import process
from services.runtime.command import parse_service
from services.signaling import app
from services.signaling.settings import SignalingSettings


def main(arguments: Sequence[str]) -> int:
    """Run signaling; everything is set by the environment."""
    parse_service(
        "signaling",
        SignalingSettings,
        arguments,
        about="Serve the public HTTP API: tokens, offers, placement, the page.",
    )
    return process.run_with_bus("signaling", SignalingSettings, app.serve)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
