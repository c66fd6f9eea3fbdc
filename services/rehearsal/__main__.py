"""`hushgate rehearsal`."""

import sys
from collections.abc import Sequence

from services.rehearsal import app
from services.rehearsal.settings import RehearsalSettings
from services.runtime import process


def main(arguments: Sequence[str]) -> int:  # noqa: ARG001 - every command takes them; this one is set by its environment
    """Run the embedded provider until a signal."""
    return process.run("rehearsal", RehearsalSettings, app.serve)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
