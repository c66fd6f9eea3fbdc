"""Checks of an endpoint from a caller's side: DNS, port, certificate, health, clock, token, offer, UDP."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import SplitResult, urlsplit

import httpx
from aiortc import RTCConfiguration, RTCPeerConnection

from services.callers.endpoint_client import EndpointClient, Minted, root
from services.callers.errors import CallerError, EndpointRefusedError
from services.doctor.access import check_microphone
from services.doctor.finding import Finding, fail, ok, warn
from services.doctor.stun import StunTarget, answer_targets, check_target
from services.runtime import clock

TIMEOUT_S = 5.0
SKEW_S, BAD_SKEW_S = 5.0, 60.0
SOON_S = 14 * 86_400
_PORTS = {"http": 80, "https": 443}
_OK, _NOT_FOUND = 200, 404


async def check_endpoint(url: str, key: str | None) -> list[Finding]:
    """Run all checks of ``url``; checks that depend on a failed one are skipped."""
    parts = urlsplit(root(url))
    if parts.scheme not in _PORTS or not parts.hostname:
        return [fail("url", f"{url} is no http or https URL", "give for example https://voice.example.com")]
    findings, addresses = await _resolve(parts)
    if not addresses:
        return findings
    reached = await _connect(parts, addresses)
    findings.append(reached)
    if reached.state == "fail":
        return findings
    if parts.scheme == "https":
        certificate = await _certificate(parts)
        findings.append(certificate)
        if certificate.state == "fail":
            return findings
    findings.append(check_microphone(parts.hostname, tls=parts.scheme == "https"))
    async with httpx.AsyncClient(timeout=TIMEOUT_S) as http:
        findings += await _health(http, root(url))
        findings += await _call(EndpointClient(http, url), key)
    return findings


def _port(parts: SplitResult) -> int:
    return parts.port or _PORTS[parts.scheme]


async def _resolve(parts: SplitResult) -> tuple[list[Finding], list[str]]:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            found = await asyncio.get_running_loop().getaddrinfo(
                parts.hostname, _port(parts), type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
            )
    except (OSError, TimeoutError, ValueError) as exc:
        text = f"{parts.hostname} has no address ({exc or 'no answer'})"
        return [fail("dns", text, "correct the URL or the DNS record, or wait for the record to spread")], []
    addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
    return [ok("dns", f"{parts.hostname} is {', '.join(addresses)}")], addresses


async def _connect(parts: SplitResult, addresses: Sequence[str]) -> Finding:
    port = _port(parts)
    problems = dict(zip(addresses, await asyncio.gather(*(_tcp(host, port) for host in addresses)), strict=True))
    broken = [f"{host}: {problem}" for host, problem in problems.items() if problem]
    mend = f"is the gateway running, and do firewall and security group let TCP {port} in?"
    if len(broken) == len(problems):
        return fail("tcp", f"port {port} does not answer ({'; '.join(broken)})", mend)
    if broken:
        return warn("tcp", f"port {port} answers at some addresses only ({'; '.join(broken)})", mend)
    return ok("tcp", f"port {port} answers")


async def _tcp(host: str, port: int) -> str:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
        writer.close()
    except TimeoutError:
        return f"nothing within {TIMEOUT_S:g} s"
    except OSError as exc:
        return exc.strerror or str(exc)
    return ""


async def _certificate(parts: SplitResult) -> Finding:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, writer = await asyncio.open_connection(
                parts.hostname, _port(parts), ssl=ssl.create_default_context(), server_hostname=parts.hostname
            )
    except ssl.SSLCertVerificationError as exc:
        return fail("tls", f"the certificate is refused: {exc.verify_message}", "renew it, or install the whole chain")
    except (OSError, TimeoutError) as exc:
        return fail("tls", f"no TLS handshake ({exc or 'no answer in time'})", "is this port https?")
    certificate = writer.get_extra_info("peercert")
    writer.close()
    left_s = ssl.cert_time_to_seconds(certificate["notAfter"]) - clock.unix_ms() / 1000
    text = f"the certificate is trusted until {certificate['notAfter']}"
    return warn("tls", text, "renew it now") if left_s < SOON_S else ok("tls", text)


async def _health(http: httpx.AsyncClient, url: str) -> list[Finding]:
    findings: list[Finding] = []
    date = ""
    for path, mend in (
        ("/healthz", "restart signaling; its log says what is wrong"),
        ("/readyz", "look at the reason, and at the logs of signaling, media and nats-server"),
    ):
        try:
            response = await http.get(url + path)
        except httpx.HTTPError as exc:
            return [*findings, fail(path[1:], f"no HTTP answer ({type(exc).__name__})", "is this a Hushgate?")]
        date = response.headers.get("Date", date)
        text = f"{response.status_code} {response.text.strip()[:200]}"
        if response.status_code == _OK:
            findings.append(ok(path[1:], text))
        elif response.status_code == _NOT_FOUND:
            findings.append(
                warn(path[1:], "404: not reachable from here", "a proxy may hide it; request it from the pod itself")
            )
        else:
            findings.append(fail(path[1:], text, mend))
    return [*findings, skew(date)]


def skew(date: str) -> Finding:
    """Check the difference between this machine's clock and the endpoint's `Date` header."""
    try:
        skew_s = (clock.utc_now() - _utc(parsedate_to_datetime(date))).total_seconds()
    except ValueError:
        return warn("clock", "the endpoint does not say what time it is", "compare the clocks yourself")
    text = f"this machine is {abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} the endpoint"
    mend = "synchronise both clocks: tokens expire by them"
    if abs(skew_s) >= BAD_SKEW_S:
        return fail("clock", text, mend)
    return warn("clock", text, mend) if abs(skew_s) >= SKEW_S else ok("clock", text)


def _utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


async def _call(client: EndpointClient, key: str | None) -> list[Finding]:
    """Mint a token, send an offer, check each address in the answer, and hang up."""
    if key is None:
        return [warn("token", "not tried: there is no key", "give a tenant's key with --key-file FILE")]
    findings: list[Finding] = []
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        minted = await client.mint(key, session={"type": "realtime"})
        findings.append(ok("token", "the key gets a token"))
        peer.addTransceiver("audio")
        peer.createDataChannel("oai-events")
        await peer.setLocalDescription(await peer.createOffer())
        offer = peer.localDescription.sdp
        answer = await client.offer(minted.token, offer)
        targets = answer_targets(offer, answer.sdp)
        listed = ", ".join(f"{target.host}:{target.port}" for target in targets)
        findings.append(ok("offer", f"the offer is answered with {listed or 'no address'}"))
        findings.append(await _udp(targets, minted))
        if answer.call_id:
            await client.hang_up(minted.token, answer.call_id)
    except CallerError as exc:
        findings.append(fail("offer" if findings else "token", str(exc), _fix_for(exc)))
    finally:
        await peer.close()
    return findings


def _fix_for(exc: CallerError) -> str:
    if isinstance(exc, EndpointRefusedError) and exc.status == 503:  # noqa: PLR2004 - Service Unavailable
        return "start media and upstream processes, or more of them; /readyz and their logs say more"
    if isinstance(exc, EndpointRefusedError) and exc.status == 401:  # noqa: PLR2004 - Unauthorized
        return "use the key of a tenant of this endpoint (tenants file)"
    return "the message says what is wrong; the log of signaling says more"


async def _udp(targets: Sequence[StunTarget], minted: Minted) -> Finding:
    results = dict(zip(targets, await asyncio.gather(*(check_target(target) for target in targets)), strict=True))
    times = {target: result for target, result in results.items() if not isinstance(result, str)}
    works = [f"{target.host}:{target.port} in {time_ms:.0f} ms" for target, time_ms in times.items()]
    broken = [f"{target.host}:{target.port}: {result}" for target, result in results.items() if isinstance(result, str)]
    if works:
        rest = f" ({'; '.join(broken)})" if broken else ""
        return ok("media-udp", f"UDP goes both ways: {', '.join(works)}{rest}")
    text = f"UDP does not get through ({'; '.join(broken) or 'the answer has no address'})"
    if minted.ice_servers:
        return warn("media-udp", f"{text}; callers must use the TURN server", "open the media port for UDP if you can")
    return fail(
        "media-udp",
        text,
        "advertise an address that callers reach (MEDIA_ADVERTISED_ADDRESS, --advertise), open its UDP port in the"
        " firewalls, or set up TURN over TCP",
    )
