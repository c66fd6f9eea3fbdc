"""`hushgate metering`."""

import sys
from collections.abc import Sequence

from services.metering import app, audit
from services.metering.settings import MeteringSettings
from services.runtime import process


def main(arguments: Sequence[str]) -> int:
    """Run metering, or with `audit` check that every figure of the ledger follows from its record."""
    if list(arguments) == ["audit"]:
        return audit.main()
    return process.run_with_bus("metering", MeteringSettings, app.serve)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
