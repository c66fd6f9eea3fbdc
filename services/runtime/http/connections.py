"""Which connections a listener keeps: a limit in total and for each client address, and which is evicted first."""

import ipaddress
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Protocol

_RESERVED_PART = 8  # one connection in eight is never in a request, so that there is always one to evict
_IPV6_PREFIX = 64  # one subscriber's prefix (RFC 6177): addresses within it are free

IPNetwork = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Limits of a listener."""

    max_connections: int = 4096
    max_connections_per_address: int = 1024
    """Per IPv4 address or IPv6 /64; trusted proxies have no such limit, they forward everybody's requests."""
    head_timeout_s: float = 10.0
    """For a TLS handshake, and again from the first to the last byte of a request's head."""
    body_timeout_s: float = 10.0
    """From the end of the head to the end of the body."""
    write_timeout_s: float = 10.0
    """For a client to read what is written to it, before its connection is closed."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed."""


class TrackedConnection(Protocol):
    """A connection that `Connections` can close."""

    def evict(self) -> None:
        """Close at once, to free the place for another connection."""


def network(text: str) -> IPNetwork:
    """Parse an address or a network in CIDR notation.

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
    """The key that counts as one client: an IPv4 address, or an IPv6 /64."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:  # noqa: PLR2004 - IPv4
        return address
    return str(ipaddress.ip_network((int(found), _IPV6_PREFIX), strict=False))


class Connections:
    """Counts connections. One is busy while a request of it is handled; otherwise it may be evicted.

    Idle connections are evicted first, then those whose request head is incomplete, the oldest first.
    """

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self._trusted: Sequence[IPNetwork] = [network(text) for text in limits.trusted_proxies]
        self._sources: dict[TrackedConnection, str] = {}
        self._by_source: dict[str, dict[TrackedConnection, None]] = {}
        self._resting: dict[TrackedConnection, None] = {}
        self._waiting: dict[TrackedConnection, None] = {}
        self._busy: dict[TrackedConnection, str] = {}
        self._busy_by_source: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many connections are open."""
        return len(self._sources)

    def admit(self, connection: TrackedConnection, address: str) -> str | None:
        """Count ``connection``, evicting another if necessary; returns the refusal's reason when there is no place."""
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

    def mark_busy(self, connection: TrackedConnection) -> str | None:
        """Mark it busy with a request; returns the refusal's reason when too many are handled at once."""
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

    def mark_waiting(self, connection: TrackedConnection) -> None:
        """Mark it as waiting for the client: for a handshake, or the rest of a head or body."""
        self._not_busy(connection)
        if connection in self._sources and connection not in self._waiting:
            self._resting.pop(connection, None)
            self._waiting[connection] = None

    def mark_idle(self, connection: TrackedConnection) -> None:
        """Mark it idle: it was answered, and the next request has not begun."""
        self._not_busy(connection)
        if connection in self._sources:
            self._waiting.pop(connection, None)
            self._resting[connection] = None

    def release(self, connection: TrackedConnection) -> None:
        """Stop counting it: it is closed."""
        self._not_busy(connection)
        self._resting.pop(connection, None)
        self._waiting.pop(connection, None)
        source = self._sources.pop(connection, None)
        if source is not None:
            mates = self._by_source[source]
            del mates[connection]
            if not mates:
                del self._by_source[source]

    def _not_busy(self, connection: TrackedConnection) -> None:
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
