"""Health check of the container image (`HEALTHCHECK`); Kubernetes probes the service directly."""

import argparse
import http.client
import ssl
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from services.runtime.process.settings import http_ports

TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class HealthzReply:
    """Reply of `/healthz`; ``status`` 0: no reply, ``text`` is the error."""

    status: int
    text: str


def get_healthz(port: int, *, tls: bool) -> HealthzReply:
    """Request `/healthz` of the service on ``port`` of this machine."""
    # The certificate is not verified: the check is whether the process on this port answers.
    context = ssl._create_unverified_context() if tls else None  # noqa: S323, SLF001 - as said
    connection = (
        http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT_S, context=context)
        if tls
        else http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    )
    try:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        return HealthzReply(response.status, response.read(200).decode(errors="replace").strip())
    except (OSError, http.client.HTTPException) as exc:
        return HealthzReply(0, str(exc) or type(exc).__name__)
    finally:
        connection.close()


def main(arguments: Sequence[str]) -> int:
    """Check each service whose port the environment sets; exit code 0: all reply 200, 1: not all, 2: none is set."""
    argparse.ArgumentParser(
        prog="hushgate healthy", description="Check /healthz of each service whose *_HTTP_PORT is set."
    ).parse_args(arguments)
    ports = http_ports()
    if not ports:
        sys.stderr.write("hushgate healthy: no *_HTTP_PORT is set: set it to a fixed port and try again\n")
        return 2
    failing = {
        name: reply
        for name, (port, tls) in ports.items()
        if (reply := get_healthz(port, tls=tls)).status != http.client.OK
    }
    for name, reply in failing.items():
        sys.stderr.write(f"hushgate healthy: {name}: {reply.status or 'no reply'}: {reply.text}\n")
    return 1 if failing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
