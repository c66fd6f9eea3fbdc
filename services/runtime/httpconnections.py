"""Which connections a listener keeps: a bound in all and for each client address, and who gives way."""

import ipaddress
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Protocol

_RESERVED_PART = 8  # one connection in eight is never in a request, so that there is always one to give way
_IPV6_PREFIX = 64  # what one subscriber is given (RFC 6177): an address within it costs nothing

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What a listener takes."""

    max_connections: int = 4096
    max_connections_per_address: int = 1024
    """Of one IPv4 address or one IPv6 /64; trusted proxies have no such bound, they carry everybody's."""
    head_timeout_s: float = 10.0
    """For a TLS handshake, and again from the first byte of a request's head to its last."""
    body_timeout_s: float = 10.0
    """From the end of the head to the end of the body."""
    write_timeout_s: float = 10.0
    """For a client to take what is written to it, before its connection is cut."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed."""


class Connection(Protocol):
    """What is kept."""

    def evict(self) -> None:
        """Close at once: the place is needed."""


def network(text: str) -> Network:
    """An address or a network in CIDR notation.

    Raises:
        ValueError: it is neither.
    """
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(f"{text!r} is no address and no network: write 10.0.0.7, 10.0.0.0/8 or fd00::/8") from None


def plain_address(text: str) -> str:
    """The address without what a dual-stack socket puts before IPv4, and without a zone."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return text
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def source_of(address: str) -> str:
    """Who counts as one client: an IPv4 address, or an IPv6 /64."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:  # noqa: PLR2004 - IPv4
        return address
    return str(ipaddress.ip_network((int(found), _IPV6_PREFIX), strict=False))


class Connections:
    """A connection is busy while a request of it is handled; otherwise it may be evicted.

    First go those that rest after an answer, then those that have not sent a whole head yet, the oldest first.
    """

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self._trusted: Sequence[Network] = [network(text) for text in limits.trusted_proxies]
        self._sources: dict[Connection, str] = {}
        self._by_source: dict[str, dict[Connection, None]] = {}
        self._resting: dict[Connection, None] = {}
        self._waiting: dict[Connection, None] = {}
        self._busy: dict[Connection, str] = {}
        self._busy_by_source: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._sources)

    def admit(self, connection: Connection, address: str) -> str | None:
        """Keep ``connection``, whose place another may have to give up; a reason: there is no place for it."""
        source = "" if self._is_trusted(address) else source_of(address)
        mates = self._by_source.get(source, {})
        if source and len(mates) >= self._limits.max_connections_per_address:
            victim = next((mate for mate in mates if mate not in self._busy), None)
            reason = "address_full"
        elif len(self) >= self._limits.max_connections:
            victim = next(iter(self._resting), None) or next(iter(self._waiting), None)
            reason = "full"
        else:
            victim, reason = connection, ""
        if victim is None:
            return reason
        if victim is not connection:
            self.release(victim)
            victim.evict()
        self._sources[connection] = source
        self._by_source.setdefault(source, {})[connection] = None
        self._waiting[connection] = None
        return None

    def busy(self, connection: Connection) -> str | None:
        """A request of it is handled; a reason: it must be refused, there are too many at once."""
        self._resting.pop(connection, None)
        self._waiting.pop(connection, None)
        source = self._sources.get(connection)
        if source is None or connection in self._busy:
            return None
        self._busy[connection] = source
        self._busy_by_source[source] += 1
        if source and self._busy_by_source[source] > _most_busy(self._limits.max_connections_per_address):
            return "address_busy"
        return "busy" if len(self._busy) > _most_busy(self._limits.max_connections) else None

    def waiting(self, connection: Connection) -> None:
        """It owes us something: a handshake, the rest of a head or of a body."""
        self._not_busy(connection)
        if connection in self._sources and connection not in self._waiting:
            self._resting.pop(connection, None)
            self._waiting[connection] = None

    def resting(self, connection: Connection) -> None:
        """It was answered, and the next request has not begun."""
        self._not_busy(connection)
        if connection in self._sources:
            self._waiting.pop(connection, None)
            self._resting[connection] = None

    def release(self, connection: Connection) -> None:
        """It is gone."""
        self._not_busy(connection)
        self._resting.pop(connection, None)
        self._waiting.pop(connection, None)
        source = self._sources.pop(connection, None)
        if source is not None:
            mates = self._by_source[source]
            del mates[connection]
            if not mates:
                del self._by_source[source]

    def _not_busy(self, connection: Connection) -> None:
        source = self._busy.pop(connection, None)
        if source is not None:
            self._busy_by_source[source] -= 1
            if not self._busy_by_source[source]:
                del self._busy_by_source[source]

    def _is_trusted(self, address: str) -> bool:
        if not self._trusted:
            return False
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in each for each in self._trusted)


def _most_busy(bound: int) -> int:
    return bound - max(1, bound // _RESERVED_PART)
