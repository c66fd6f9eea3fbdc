"""Allowed browser origins, and the origin of the demo page."""

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass

ANY = "*"


@dataclass(frozen=True, slots=True)
class OwnOrigin:
    """The API's own origin: scheme and `Host` header of a request."""

    scheme: str
    host: str

    @property
    def origin(self) -> str:
        """The `Origin` header that a browser sends from the demo page."""
        return f"{self.scheme}://{self.host}".lower()


def allowed(origin: str, *, origins: Collection[str], own: OwnOrigin) -> bool:
    """Return whether a page of ``origin`` may call the API. Compares exact text; `null` is an origin like any other."""
    return ANY in origins or origin in origins or origin.lower() == own.origin


def is_own_page(origin: str | None, *, own: OwnOrigin) -> bool:
    """Return whether the request comes from the demo page.

    Over plain http the host must also be loopback: otherwise a foreign name that resolves to this address
    (DNS rebinding) would count as the demo page. Over https the certificate prevents that.
    """
    if origin is None or origin.lower() != own.origin:
        return False
    return own.scheme == "https" or _is_loopback(own.host.lower())


def _is_loopback(host: str) -> bool:
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
