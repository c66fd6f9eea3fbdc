"""Which addresses clients are told, by preference, and which are bound: names in the settings become addresses here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from itertools import chain, zip_longest

LOOPBACK, INTERFACES = "loopback", "interfaces"
"""What a setting may say instead of an address: 127.0.0.1 and ::1; the addresses of this machine's interfaces."""
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
"""Bridges to this machine's own containers. Whoever comes from there reaches the machine's other addresses, too."""


@dataclass(frozen=True, slots=True)
class Present:
    """An address of this machine. ``default``: it is the source of packets to the internet."""

    interface: str
    host: str
    default: bool = False


def parse(text: str) -> tuple[str, ...]:
    """Read a list with commas, of IP addresses, `loopback` and `interfaces`.

    Raises:
        ValueError: something else is in it, or nothing, or too much.
    """
    parts = (part.strip() for part in text.split(","))
    entries = tuple(dict.fromkeys(part if is_name(part) else parse_one(part) for part in parts))
    if len(entries) > MAX_ADVERTISED:
        raise ValueError(f"give at most {MAX_ADVERTISED} addresses: a client tries each of them")
    return entries


def is_name(entry: str) -> bool:
    """Whether ``entry`` stands for addresses that are found, and may change."""
    return entry in (LOOPBACK, INTERFACES)


def advertised(entries: Iterable[str], present: Sequence[Present]) -> tuple[str, ...]:
    """The addresses for the answer, the best first: names are replaced by what is ``present`` now."""
    found = {LOOPBACK: _interleaved(_loopback(present)), INTERFACES: _interleaved(_reachable(present))}
    hosts = chain.from_iterable(found.get(entry, [entry]) for entry in entries)
    return tuple(dict.fromkeys(hosts))[:MAX_ADVERTISED]


def every(present: Sequence[Present], *, versions: Iterable[int]) -> tuple[str, ...]:
    """All that can be bound of these IP versions, which is what a forwarder in front of us may send to."""
    wanted = set(versions)
    return tuple(one.host for one in present if version(one.host) in wanted and not ip_address(one.host).is_link_local)


def version(host: str) -> int:
    """4 or 6."""
    return ip_address(host).version


def parse_one(text: str) -> str:
    """An IP address that clients may be told, in its shortest form.

    Raises:
        ValueError: it is none.
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
    """Where other machines, and browsers that do not use loopback, may reach this one; the default route's first."""
    usable = [one for one in present if not one.interface.startswith(_CONTAINER_INTERFACES) and _is_unicast(one.host)]
    return [one.host for one in sorted(usable, key=lambda one: not one.default)]


def _is_unicast(host: str) -> bool:
    address = ip_address(host)
    return not (address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified)


def _interleaved(hosts: Sequence[str]) -> list[str]:
    """IPv4 and IPv6 in turns (RFC 8421), so that neither family waits for the end of the other."""
    by_version = ([host for host in hosts if version(host) == wanted] for wanted in (4, 6))
    return [host for pair in zip_longest(*by_version) for host in pair if host is not None]
