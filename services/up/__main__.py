"""`hushgate up`: parse the command line and run everything."""

import sys
from collections.abc import Sequence

from services.runtime.errors import HushgateError
from services.up import app, options


def main(arguments: Sequence[str]) -> int:
    """Run nats-server and all services until a signal; return the exit code."""
    try:
        return app.run(options.parse(arguments))
    except HushgateError as exc:
        sys.stderr.write(f"hushgate: {exc}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
