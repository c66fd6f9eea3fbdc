"""`hushgate metering`."""

import sys
from collections.abc import Sequence

from services.metering import app, audit, backup, quarantine
from services.metering.settings import MeteringSettings
from services.runtime import process

_COMMANDS = "say nothing to run it, or audit, backup FILE, quarantine, release NUMBER…"


def main(arguments: Sequence[str]) -> int:
    """Run metering; `audit` checks that every figure of the ledger follows from its record, `backup FILE` copies it.

    `quarantine` shows what is not booked, `release NUMBER…` has it booked all the same.
    """
    match list(arguments):
        case ["audit"]:
            return audit.main()
        case ["backup", target]:
            return backup.main(target)
        case ["quarantine"]:
            return quarantine.show()
        case ["release", *numbers] if numbers:
            return quarantine.release(numbers)
        case [_, *_]:
            sys.stderr.write(f"hushgate metering does not know `{' '.join(arguments)}`: {_COMMANDS}\n")
            return 2
    return process.run_with_bus("metering", MeteringSettings, app.serve)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
