"""Check that datagrams pass between two sockets of each address of this machine."""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Sequence
from ipaddress import ip_address

from services.doctor.finding import Finding, fail, ok, warn
from services.media.core.network import addresses
from services.media.legs.webrtc import interfaces

WAIT_S = 1.0
_LOOK = "look at `nft list ruleset` and `iptables -S`"


async def check_udp(entries: Sequence[str]) -> list[Finding]:
    """Check every address that media would advertise; ``entries`` as for `addresses.parse`."""
    hosts = addresses.advertised(entries, interfaces.present())
    problems = dict(zip(hosts, await asyncio.gather(*(round_trip(host) for host in hosts)), strict=True))
    loopback = {host: problem for host, problem in problems.items() if ip_address(host).is_loopback}
    others = {host: problem for host, problem in problems.items() if host not in loopback}
    findings = [_verdict("udp", loopback, others, where="loopback")] if loopback else []
    findings.append(_verdict("udp-lan", others, loopback, where="the addresses of this machine"))
    return findings


async def round_trip(host: str) -> str:
    """Send datagrams between two sockets of ``host`` in both directions; return the error, or "" for success."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        try:
            one, other = (stack.enter_context(socket.socket(family, socket.SOCK_DGRAM)) for _ in range(2))
            for sock in (one, other):
                sock.setblocking(False)  # noqa: FBT003 - positional only
                sock.bind((host, 0))
            for sender, receiver in ((one, other), (other, one)):
                probe = secrets.token_bytes(16)
                sender.sendto(probe, receiver.getsockname())
                async with asyncio.timeout(WAIT_S):
                    while (await loop.sock_recv(receiver, 64)) != probe:
                        pass  # a datagram of another program
        except TimeoutError:
            return f"a datagram did not arrive within {WAIT_S:g} s"
        except OSError as exc:
            return exc.strerror or str(exc)
    return ""


def _verdict(check: str, tried: dict[str, str], rest: dict[str, str], *, where: str) -> Finding:
    working = [host for host, problem in tried.items() if not problem]
    broken = [f"{host}: {problem}" for host, problem in tried.items() if problem]
    if not tried:
        return warn(
            check,
            "no interface has an address besides loopback",
            "connect to a network if callers use Firefox or other machines: Firefox does not pair with loopback",
        )
    if not broken:
        return ok(check, f"UDP goes both ways at {', '.join(working)}")
    mend = f"let the firewall of this machine pass UDP on {where}: {_LOOK}"
    if working or not all(rest.values()):
        return warn(check, f"{'; '.join(broken)}; calls must use the other addresses", mend)
    if rest:
        return fail(check, "; ".join(broken), mend)
    return fail(check, f"{'; '.join(broken)}, and there is no other address", mend)
