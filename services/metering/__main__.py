"""`hushgate metering`."""

import sys
from collections.abc import Sequence

from services.metering import app, audit, backup
from services.metering.settings import MeteringSettings
from services.runtime import process


def main(arguments: Sequence[str]) -> int:
    """Run metering; `audit` checks that every figure of the ledger follows from its record, `backup FILE` copies it."""
    match list(arguments):
        case ["audit"]:
            return audit.main()
        case ["backup", target]:
            return backup.main(target)
    return process.run_with_bus("metering", MeteringSettings, app.serve)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
