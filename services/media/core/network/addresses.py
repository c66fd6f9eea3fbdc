"""Addresses of candidates, by preference, and addresses to bind; resolves the names that settings may contain."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from itertools import chain, zip_longest

LOOPBACK, INTERFACES = "loopback", "interfaces"
"""Names that settings may use: for 127.0.0.1 and ::1, and for the addresses of this machine's interfaces."""
MAX_ADVERTISED = 8
"""Candidates in an answer. Each is paired with each of the client's, and a browser checks every pair."""
_CONTAINER_INTERFACES = (
    "br-",
    "cali",
    "cbr",
    "cilium",
    "cni",
    "docker",
    "flannel",
    "kube",
    "lxc",
    "podman",
    "veth",
    "virbr",
)
"""Bridges to this machine's own containers, which reach the machine's other addresses, too."""


@dataclass(frozen=True, slots=True)
class Present:
    """An address of this machine. ``default``: it is the source of packets to the internet."""

    interface: str
    host: str
    default: bool = False


def parse(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list of IP addresses, `loopback` and `interfaces`.

    Raises:
        ValueError: the list is empty or too long, or has any other entry.
    """
    parts = (part.strip() for part in text.split(","))
    entries = tuple(dict.fromkeys(part if is_name(part) else parse_one(part) for part in parts))
    if len(entries) > MAX_ADVERTISED:
        raise ValueError(f"give at most {MAX_ADVERTISED} addresses: a client tries each of them")
    return entries


def is_name(entry: str) -> bool:
    """Whether ``entry`` is `loopback` or `interfaces`, whose addresses may change."""
    return entry in (LOOPBACK, INTERFACES)


def advertised(entries: Iterable[str], present: Sequence[Present]) -> tuple[str, ...]:
    """Return the addresses for the answer, the best first; names are resolved by those that are ``present``."""
    found = {LOOPBACK: _interleaved(_loopback(present)), INTERFACES: _interleaved(_reachable(present))}
    hosts = chain.from_iterable(found.get(entry, [entry]) for entry in entries)
    return tuple(dict.fromkeys(hosts))[:MAX_ADVERTISED]


def every(present: Sequence[Present], *, versions: Iterable[int]) -> tuple[str, ...]:
    """Return all addresses of these IP versions that a forwarder may send to, to be bound."""
    wanted = set(versions)
    return tuple(one.host for one in present if version(one.host) in wanted and not ip_address(one.host).is_link_local)


def version(host: str) -> int:
    """Return the IP version of ``host``, 4 or 6."""
    return ip_address(host).version


def parse_one(text: str) -> str:
    """Parse an IP address that can be a candidate; return its shortest form.

    Raises:
        ValueError: it is not one.
    """
    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError(f"{text!r} is no IP address, nor {LOOPBACK!r} or {INTERFACES!r}") from None
    if address.is_unspecified or address.is_multicast:
        raise ValueError("clients cannot reach an unspecified or multicast address; name the one they use")
    if isinstance(address, IPv6Address) and (address.ipv4_mapped or address.is_link_local):
        raise ValueError(f"{text} cannot be advertised: give an IPv6 address that other machines can route to")
    return str(address)


def _loopback(present: Sequence[Present]) -> list[str]:
    return [host for host in ("127.0.0.1", "::1") if any(one.host == host for one in present)]


def _reachable(present: Sequence[Present]) -> list[str]:
    """Addresses that other machines, and browsers that do not use loopback, can reach; the default route's first."""
    usable = [one for one in present if not one.interface.startswith(_CONTAINER_INTERFACES) and _is_unicast(one.host)]
    return [one.host for one in sorted(usable, key=lambda one: not one.default)]


def _is_unicast(host: str) -> bool:
    address = ip_address(host)
    return not (address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified)


def _interleaved(hosts: Sequence[str]) -> list[str]:
    """Interleave IPv4 and IPv6 (RFC 8421), so that neither family is tried only after the other."""
    by_version = ([host for host in hosts if version(host) == wanted] for wanted in (4, 6))
    return [host for pair in zip_longest(*by_version) for host in pair if host is not None]
