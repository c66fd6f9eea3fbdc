"""The command line's entry point: `hushgate COMMAND` runs the package of that name."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from services.runtime.process.version import installed_version

COMMANDS = {
    "up": "run everything on this machine, with the page",
    "signaling": "the public HTTP API: tokens, offers, placement, the page",
    "media": "WebRTC legs, gate and playout",
    "upstream": "Realtime sessions with the provider",
    "metering": "books usage in the ledger; serves Prometheus and usage queries",
    "rehearsal": "the embedded provider: a Realtime server with a local voice",
    "call": "make one synthetic call and print its events and bill",
    "doctor": "check what a call needs, here or at a URL, and print a fix for each failure",
    "healthy": "check the health of this container's service",
    "load": "make many calls at once and report set-up, turns, packets and cost",
    "gate": "show what the gate does with recordings, and suggest settings for it",
}
_PACKAGES = {"call": "callers", "load": "callers.load"}
"""Module of each command whose package has another name."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; each is its package's `__main__.main(arguments) -> exit code`.

    Only the command's own package is imported, so that a pod needs only its service's extra.
    """
    parser = argparse.ArgumentParser(
        prog="hushgate", description=__doc__, epilog="hushgate COMMAND --help lists its options."
    )
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
