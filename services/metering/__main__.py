"""`hushgate metering`."""

import sys
from collections.abc import Sequence

from services.metering import app, audit, backup
from services.metering.settings import MeteringSettings
from services.runtime import process
from services.runtime.command import parse_service


def main(arguments: Sequence[str]) -> int:
    """Run metering; `audit` checks that every figure of the ledger follows from its record, `backup FILE` copies it."""
    asked = parse_service(
        "metering",
        MeteringSettings,
        arguments,
        about="Book usage events into the ledger and serve metrics and usage. Settings come from the environment.",
        subcommands={
            "audit": ("check that every figure of the ledger follows from its record", ()),
            "backup": ("copy an SQLite ledger, - for standard output, while metering runs", ("FILE",)),
        },
    )
    match asked.subcommand:
        case "audit":
            return audit.main()
        case "backup":
            return backup.main(asked.file)
    return process.run_with_bus("metering", MeteringSettings, app.serve)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
