"""The only place that touches what aiortc and aioice keep private. Checked at import, against exact versions.

aioice offers every address of the machine but loopback, on a port of its own for each. This process offers one: the
address it was told to advertise, loopback included, so that an offline laptop works.
"""

import socket
from importlib.metadata import version
from ipaddress import ip_address

import aioice.ice
import aiortc.rtcicetransport
from aioice import Candidate

TESTED = {"aiortc": "1.16.0", "aioice": "0.13.0"}
CONSENT_INTERVAL_S = 2.5
CONSENT_FAILURES = 4
"""aiortc has no `disconnected`: a dead peer is noticed when consent (RFC 7675) expires, after about 12 s, not 30."""


class UnsupportedVersionError(ImportError):
    """The WebRTC stack is not the one whose inner parts were checked."""

    def __init__(self, package: str, found: str, what: str) -> None:
        super().__init__(
            f"{package} {found}: {what}; this media process is built for {TESTED[package]}, install that version"
        )


def _check() -> None:
    for package, tested in TESTED.items():
        if (found := version(package)) != tested:
            raise UnsupportedVersionError(package, found, "its inner parts were not checked")
    for name in ("get_host_addresses", "CONSENT_FAILURES", "CONSENT_INTERVAL"):
        if not hasattr(aioice.ice, name):
            raise UnsupportedVersionError("aioice", version("aioice"), f"ice.{name} is gone")
    for name in ("get_component_candidates", "query_consent"):
        if not hasattr(aioice.ice.Connection, name):
            raise UnsupportedVersionError("aioice", version("aioice"), f"Connection.{name} is gone")
    if getattr(aiortc.rtcicetransport, "Connection", None) is not aioice.ice.Connection:
        raise UnsupportedVersionError("aiortc", version("aiortc"), "it makes its ICE connections elsewhere")


_check()
_gather = aioice.ice.Connection.get_component_candidates
_query_consent = aioice.ice.Connection.query_consent


def advertise(address: str) -> str:
    """Offer ``address``, and only it, in every answer of this process; returns the address that sockets bind to.

    An address of this machine is bound; any other (a node's, a router's) is reached by forwarding, so all are.
    """
    bound = _bindable(address)

    def host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:  # noqa: FBT001 - aioice calls it so
        del use_ipv4, use_ipv6
        return [bound]

    async def component_candidates(
        connection: aioice.ice.Connection,
        component: int,
        addresses: list[str],
        timeout: int = 5,  # noqa: ASYNC109
    ) -> list[Candidate]:
        candidates = await _gather(connection, component, addresses, timeout)
        for candidate in candidates:
            candidate.host = address
        return candidates

    async def query_consent(connection: aioice.ice.Connection) -> None:
        # A connection that is closed while it connects would ask for consent for ever.
        if not connection._closing:  # noqa: SLF001 - this module's purpose
            await _query_consent(connection)

    aioice.ice.Connection.query_consent = query_consent  # type: ignore[assignment,method-assign]
    aioice.ice.get_host_addresses = host_addresses
    aioice.ice.Connection.get_component_candidates = component_candidates  # type: ignore[assignment,method-assign]
    aioice.ice.CONSENT_INTERVAL = CONSENT_INTERVAL_S  # type: ignore[assignment]
    aioice.ice.CONSENT_FAILURES = CONSENT_FAILURES
    return bound


def _bindable(address: str) -> str:
    wanted = ip_address(address)
    family = socket.AF_INET if wanted.version == 4 else socket.AF_INET6  # noqa: PLR2004 - IPv4
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return "0.0.0.0" if family is socket.AF_INET else "::"  # noqa: S104 - all interfaces is meant
    return address
