"""`hushgate rehearsal`."""

import sys
from collections.abc import Sequence

from services.rehearsal import app
from services.rehearsal.settings import RehearsalSettings
from services.runtime.process import runner
from services.runtime.process.command_line import parse_service


def main(arguments: Sequence[str]) -> int:
    """Run the embedded provider until a signal."""
    parse_service("rehearsal", RehearsalSettings, arguments, about="Serve the Realtime API with a local voice.")
    return runner.run("rehearsal", RehearsalSettings, app.serve)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
