"""`hushgate media`: run one media process."""

import sys
from collections.abc import Sequence

from services.media import app
from services.media.settings import MediaSettings
from services.runtime import process


def _patience_s(settings: MediaSettings) -> float:
    return settings.drain_timeout_s + settings.settle_timeout_s + 15


def main(arguments: Sequence[str]) -> int:
    """Run until a signal; returns the exit code. Settings come from `MEDIA_*`; there are no arguments."""
    if arguments:
        sys.stderr.write(f"hushgate media takes no arguments, only MEDIA_* settings: {' '.join(arguments)}\n")
        return 2
    return process.run_with_bus("media", MediaSettings, app.serve, kill_after_s=_patience_s)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
