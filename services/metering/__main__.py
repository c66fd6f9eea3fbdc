"""`hushgate metering`: the service and its subcommands."""

import sys
from collections.abc import Sequence

from services.metering import app, audit, backup, quarantine
from services.metering.settings import MeteringSettings
from services.runtime.process import runner
from services.runtime.process.command_line import parse_service


def main(arguments: Sequence[str]) -> int:
    """Run metering or a subcommand and return the exit code; subcommands may run while the service runs."""
    asked = parse_service(
        "metering",
        MeteringSettings,
        arguments,
        about="Book usage events into the ledger and serve metrics and usage. Settings come from the environment.",
        subcommands={
            "audit": ("check that every figure of the ledger follows from its record", ()),
            "backup": ("copy an SQLite ledger, - for standard output, while metering runs", ("FILE",)),
            "quarantine": ("show the usage that is not booked, and why", ()),
            "release": ("book quarantined usage all the same, by its numbers", ("NUMBER...",)),
        },
    )
    match asked.subcommand:
        case "audit":
            return audit.main()
        case "backup":
            return backup.main(asked.file)
        case "quarantine":
            return quarantine.show()
        case "release":
            return quarantine.release(asked.number)
    return runner.run_with_bus("metering", MeteringSettings, app.serve)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
