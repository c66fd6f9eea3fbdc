"""Which browser origins may use the API, and which one is our own page."""

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass

ANY = "*"


@dataclass(frozen=True, slots=True)
class Own:
    """This door as the request names it: its scheme and its `Host` header."""

    scheme: str
    host: str

    @property
    def origin(self) -> str:
        """What a browser on our own page sends as `Origin`."""
        return f"{self.scheme}://{self.host}".lower()


def allowed(origin: str, *, origins: Collection[str], own: Own) -> bool:
    """Whether a page of ``origin`` may call the API. Exact text only; `null` is an origin like any other."""
    return ANY in origins or origin in origins or origin.lower() == own.origin


def is_own_page(origin: str | None, *, own: Own) -> bool:
    """Whether the request comes from our own page.

    Over plain http the host must also be this very machine: otherwise a foreign name that is made to resolve to it
    (DNS rebinding) would be an own page. Over https the certificate takes care of that.
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
