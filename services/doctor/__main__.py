"""`hushgate doctor`: print one line per check; exit code 1 if one failed."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx

from services.callers.target import NotRunningError, key_of, running_target, up_info
from services.doctor import access, endpoint, machine, udp
from services.doctor.finding import Finding, fail, ok
from services.media.core.network import addresses
from services.runtime.errors import HushgateError
from services.up import options as up_options

_OK = 200


def main(arguments: Sequence[str]) -> int:
    """Run the checks and print their findings; exit code 0 if none failed, 2 if they could not run."""
    try:
        options = _parser().parse_args(arguments)
        key = key_of(options.key_file)
        findings = asyncio.run(_run_checks(options, key))
    except HushgateError as exc:
        sys.stderr.write(f"hushgate doctor: {exc}\n")
        return 2
    if options.json:
        sys.stdout.write(json.dumps([finding.as_json() for finding in findings], indent=2) + "\n")
    else:
        sys.stdout.writelines(f"{finding.line()}\n" for finding in findings)
    return int(any(finding.state == "fail" for finding in findings))


async def _run_checks(options: argparse.Namespace, key: str | None) -> list[Finding]:
    if options.url:
        known = up_info(options.data, options.url)
        return await endpoint.check_endpoint(options.url, key or (known["tenant_key"] if known else None))
    return await _this_machine(options)


async def _this_machine(options: argparse.Namespace) -> list[Finding]:
    """Check what `hushgate up` needs; if it is running, check its services and its endpoint, too."""
    try:
        entries = addresses.parse(options.advertise or up_options.advertised(options.host))
    except ValueError as exc:
        raise up_options.OptionError(f"--advertise: {exc}") from exc
    try:
        running = running_target(options.data)
        up = up_info(options.data, running.url) or {}
    except NotRunningError:
        running, up = None, {}
    provider = up_options.provider_of(options.upstream)
    findings = [
        machine.check_port(options.host, options.port, running_url=running.url if running else ""),
        *await udp.check_udp(entries),
        access.check_certificate(options.tls_cert, options.tls_key, options.host),
        access.check_microphone(options.host, tls=options.tls_cert is not None),
        await access.check_key(provider.key, provider.url),
        await machine.check_nats(options.data, running_url=str(up.get("nats_url", ""))),
        machine.check_clock(),
        *machine.check_data(options.data),
    ]
    if running is not None:
        findings += await _services(up)
        findings += [
            finding
            for finding in await endpoint.check_endpoint(running.url, running.key)
            if finding.check in ("tcp", "tls", "token", "offer", "media-udp")
        ]
    return findings


async def _services(up: dict[str, object]) -> list[Finding]:
    services = up.get("services")
    findings = []
    async with httpx.AsyncClient(timeout=endpoint.TIMEOUT_S, verify=False) as http:  # noqa: S501 - our own processes
        for name, service in services.items() if isinstance(services, dict) else ():
            try:
                response = await http.get(f"{service['http_url']}/readyz")
                text = "" if response.status_code == _OK else response.text.strip()[:200]
            except httpx.HTTPError as exc:
                text = f"no answer ({type(exc).__name__})"
            mend = "its lines in the output of hushgate up say why; restart that"
            findings.append(fail("service", f"{name}: {text}", mend) if text else ok("service", f"{name} is ready"))
    return findings


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hushgate doctor",
        description="Try what hushgate up needs on this machine, or with --url an endpoint as its callers see it.",
    )
    parser.add_argument("--url", help="root of an endpoint to check instead of this machine")
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="a tenant's key for --url, to try a call")
    parser.add_argument(
        "--data", type=Path, default=Path(".hushgate"), help="data directory of hushgate up (default: %(default)s)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="as of hushgate up (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="as of hushgate up (default: %(default)s)")
    parser.add_argument("--advertise", metavar="IP[,IP...]", help="as of hushgate up")
    parser.add_argument("--upstream", metavar="URL", help="as of hushgate up")
    parser.add_argument("--tls-cert", type=Path, metavar="PEM")
    parser.add_argument("--tls-key", type=Path, metavar="PEM")
    parser.add_argument("--json", action="store_true", help="print one JSON list instead of lines")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
