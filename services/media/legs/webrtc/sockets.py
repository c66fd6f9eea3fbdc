"""The sockets of the media port: one for each address, so that a reply has the request's destination as its source."""

import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from services.media.core.network import addresses
from services.media.core.network.addresses import Present
from services.runtime.errors import HushgateError

Sockets = dict[str, socket.socket]
"""By the address that each socket is bound to."""
_BUFFER_BYTES = 4 * 1024 * 1024  # the kernel may grant less
_TRIES = 16


class PortUnavailableError(HushgateError):
    """The media port cannot be bound."""

    def __init__(self, address: str, port: int, cause: str) -> None:
        super().__init__(f"UDP port {port} of {address} cannot be bound ({cause}): choose another MEDIA_UDP_PORT")


class NoAddressError(HushgateError):
    """No address of this machine can receive media."""

    def __init__(self, entries: Sequence[str]) -> None:
        super().__init__(
            f"this machine has no address for {', '.join(entries)}: connect it to a network, or set"
            " MEDIA_ADVERTISED_ADDRESS to the address that clients use"
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """``advertised``: candidates of answers. ``bound``: addresses to bind. ``required``: those that must be bound."""

    advertised: tuple[str, ...]
    bound: tuple[str, ...]
    required: frozenset[str]


def plan(entries: Sequence[str], present: Sequence[Present], *, everywhere: bool) -> Plan:
    """Return which addresses to bind for ``entries``, see `addresses.parse`.

    An advertised address of this machine is bound. Any other (a node's, a router's) is forwarded to an unknown
    address, so all of its IP version are bound; with ``everywhere`` always.
    """
    advertised = addresses.advertised(entries, present)
    explicit = [entry for entry in entries if not addresses.is_name(entry)]
    here = frozenset() if everywhere else frozenset(host for host in explicit if _is_here(host))
    forwarded = advertised if everywhere else [host for host in explicit if host not in here]
    behind = addresses.every(present, versions=(addresses.version(host) for host in forwarded))
    own = [host for host in advertised if host not in forwarded]
    return Plan(advertised, tuple(dict.fromkeys((*own, *behind))), here)


def bind(wanted: Plan, port: int) -> Sockets:
    """Bind all on one port; for port 0 another one is tried if it is in use on one of the addresses.

    Raises:
        PortUnavailableError: it is in use, or a required address cannot be bound.
    """
    for last in reversed(range(_TRIES if port == 0 else 1)):
        sockets: Sockets = {}
        chosen, host = port, ""
        try:
            for host in wanted.bound:
                try:
                    sockets[host] = bind_one(host, chosen)
                except OSError as exc:
                    if host in wanted.required or exc.errno == errno.EADDRINUSE:
                        raise
                    continue  # listed by the kernel, but removed since or not ready yet
                chosen = sockets[host].getsockname()[1]
        except OSError as exc:
            for sock in sockets.values():
                sock.close()
            if not last:
                raise PortUnavailableError(host, chosen, exc.strerror or str(exc)) from exc
        else:
            return sockets
    raise AssertionError("unreachable")  # pragma: no cover


def bind_one(host: str, port: int) -> socket.socket:
    """Return a non-blocking UDP socket bound to ``host``.

    Raises:
        OSError: it cannot be bound.
    """
    family = _family(host)
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if family is socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET if addresses.version(host) == 4 else socket.AF_INET6  # noqa: PLR2004 - IPv4


def _is_here(host: str) -> bool:
    """Whether ``host`` can be bound: an interface's address, or one with a local route."""
    try:
        with socket.socket(_family(host), socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True
