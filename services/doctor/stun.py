"""ICE connectivity check of an address in an answer: a response shows that UDP works in both directions."""

import asyncio
import re
import socket
import struct
from dataclasses import dataclass, field

from aioice import stun

from services.runtime import clock

TRIES = 4
WAIT_S = 0.5
_CANDIDATE = re.compile(r"^a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class StunTarget:
    """An address in an answer, with the ICE credentials for its check."""

    host: str
    port: int
    username: str = field(repr=False)
    password: str = field(repr=False)


def answer_targets(offer: str, answer: str) -> list[StunTarget]:
    """Return the UDP host candidates of an answer, without duplicates."""
    ufrag, password = _value(answer, "ice-ufrag"), _value(answer, "ice-pwd")
    found = dict.fromkeys((match[1], int(match[2])) for match in _CANDIDATE.finditer(answer))
    return [StunTarget(host, port, f"{ufrag}:{_value(offer, 'ice-ufrag')}", password) for host, port in found]


async def check_target(target: StunTarget) -> float | str:
    """Send binding requests; return the round-trip time in ms, or what went wrong."""
    family = socket.AF_INET6 if ":" in target.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
            sock.connect((target.host, target.port))
            for _ in range(TRIES):
                began = clock.monotonic()
                request = _request(target)
                sock.send(bytes(request))
                try:
                    async with asyncio.timeout(WAIT_S):
                        await _response(sock, request.transaction_id, target.password)
                except TimeoutError:
                    continue
                return (clock.monotonic() - began) * 1000
    except ConnectionRefusedError:
        return "nothing listens there"
    except OSError as exc:
        return exc.strerror or str(exc)
    return f"no response to {TRIES} requests in {TRIES * WAIT_S:g} s"


def _request(target: StunTarget) -> stun.Message:
    attributes = {"USERNAME": target.username, "PRIORITY": 1, "ICE-CONTROLLING": 1}
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, attributes=attributes)
    message.add_message_integrity(target.password.encode())
    return message


async def _response(sock: socket.socket, transaction_id: bytes, password: str) -> None:
    while True:
        data = await asyncio.get_running_loop().sock_recv(sock, 2048)
        try:
            message = stun.parse_message(data)
        except (ValueError, struct.error):  # not STUN: other traffic to this port
            continue
        if message.transaction_id == transaction_id and message.check_message_integrity(password.encode()):
            return


def _value(sdp: str, name: str) -> str:
    found = re.search(rf"^a={name}:(\S+)", sdp, re.MULTILINE)
    return found[1] if found else ""
