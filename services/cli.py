"""The one command: `hushgate SERVICE`."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from services.runtime.version import installed_version

COMMANDS = {
    "up": "run everything on this machine, with the page",
    "signaling": "the public HTTP door: tokens, offers, placement, the page",
    "media": "WebRTC legs, gate and playout",
    "upstream": "Realtime sessions with the provider",
    "metering": "usage to ledger to Prometheus",
    "rehearsal": "the embedded provider: a Realtime server with a local voice",
    "call": "make one synthetic call and print what happened",
    "doctor": "try what a call needs, here or at a URL, and say how to mend what fails",
    "healthy": "ask the service of this container whether it lives",
    "load": "make many calls at once and report what they saw",
}
_PACKAGES = {"call": "callers", "load": "callers.load"}
"""Of the commands that have not a package of their own name."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; each lives in its package's `__main__` as `main(arguments) -> exit code`.

    Only the command's own package is imported, so that a pod needs only its service's extra.
    """
    parser = argparse.ArgumentParser(prog="hushgate", description=__doc__, epilog="hushgate COMMAND --help says more.")
    parser.add_argument("--version", action="version", version=f"hushgate {installed_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        commands.add_parser(name, help=text, add_help=False)
    chosen, rest = parser.parse_known_args(sys.argv[1:] if arguments is None else arguments)
    package = _PACKAGES.get(chosen.command, chosen.command)
    result: int = importlib.import_module(f"services.{package}.__main__").main(rest)
    return result


if __name__ == "__main__":
    sys.exit(main())
