"""For an image's health check; Kubernetes asks the service itself."""

import argparse
import http.client
import ssl
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from services.runtime.settings import http_ports

TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What `/healthz` said; ``status`` 0: nobody answered."""

    status: int
    text: str


def ask(port: int, *, tls: bool) -> Answer:
    """Ask the service on ``port`` of this machine."""
    # Whose certificate it is does not matter: the question is whether the process behind this very port lives.
    context = ssl._create_unverified_context() if tls else None  # noqa: S323, SLF001 - as said
    connection = (
        http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT_S, context=context)
        if tls
        else http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    )
    try:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        return Answer(response.status, response.read(200).decode(errors="replace").strip())
    except (OSError, http.client.HTTPException) as exc:
        return Answer(0, str(exc) or type(exc).__name__)
    finally:
        connection.close()


def main(arguments: Sequence[str]) -> int:
    """Exit code 0: every service that the environment names lives."""
    argparse.ArgumentParser(
        prog="hushgate healthy", description="Ask each service whose *_HTTP_PORT is set whether it lives."
    ).parse_args(arguments)
    ports = http_ports()
    if not ports:
        sys.stderr.write("hushgate healthy: no *_HTTP_PORT is set: set it to a fixed port and ask again\n")
        return 2
    sick = {
        name: answer for name, (port, tls) in ports.items() if (answer := ask(port, tls=tls)).status != http.client.OK
    }
    for name, answer in sick.items():
        sys.stderr.write(f"hushgate healthy: {name}: {answer.status or 'no answer'}: {answer.text}\n")
    return 1 if sick else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
