"""Credentials for TURN servers that hold for a time: the TURN REST API, as coturn reads it with `use-auth-secret`.

The server and we share a secret. A username is `<unix seconds of its expiry>:<name>`, its password the base64 of the
HMAC-SHA1 of the username (draft-uberti-behave-turn-rest-00, section 2.2). The server keeps no users and asks nobody.
"""

import base64
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue

MIN_SECRET_BYTES = 16
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])"
_URL = re.compile(rf"turns?:{_HOST}(?::(?P<port>\d{{1,5}}))?(?:\?transport=(?:udp|tcp))?")
_MAX_PORT = 65_535
_NAME_BYTES = 9

IceTransportPolicy = Literal["all", "relay"]


@dataclass(frozen=True, slots=True)
class Relays:
    """The TURN servers of a deployment, and how clients shall use them."""

    urls: tuple[str, ...]
    ttl_s: int
    """How long a credential holds."""
    only: bool = False
    """Whether clients reach the media processes by these servers alone."""


@dataclass(frozen=True, slots=True)
class IceServer:
    """What a client needs to get a relay."""

    urls: tuple[str, ...]
    username: str
    credential: str = field(repr=False)


def checked_url(url: str) -> str:
    """A TURN server's URL: `turn:` or `turns:`, host, perhaps port and transport (RFC 7065).

    Raises:
        ValueError: it is none.
    """
    found = _URL.fullmatch(url)
    if found is None or not 0 < int(found["port"] or 1) <= _MAX_PORT:
        raise ValueError("a TURN server is turn:HOST or turns:HOST, then :PORT and ?transport=udp or tcp if needed")
    return url


def checked_secret(text: bytes) -> bytes:
    """The secret in the text of its file; white space around it is not part of it.

    Raises:
        ValueError: it is too short to be one.
    """
    secret = text.strip()
    if len(secret) < MIN_SECRET_BYTES:
        raise ValueError(f"fewer than {MIN_SECRET_BYTES} bytes; `openssl rand -hex 32` makes a good one")
    return secret


def name_of(secret: bytes, identity: str) -> str:
    """A user's name for what it is a credential for: the same each time, and it tells nobody what that is."""
    return base64.urlsafe_b64encode(hmac.digest(secret, identity.encode(), "sha256")[:_NAME_BYTES]).decode()


def window(ttl_s: int, *, now_unix_s: int) -> int:
    """When the present window of ``ttl_s`` ends: a credential from then on holds for one to two times that long."""
    return (now_unix_s // ttl_s + 1) * ttl_s


def ice_server(relays: Relays, secret: bytes, *, name: str, now_unix_s: int) -> IceServer:
    """A credential for all servers that holds from ``now_unix_s`` on for their time.

    ``name`` is what the server counts quotas by and logs, in clear on the wire.
    """
    username = f"{now_unix_s + relays.ttl_s}:{name}"
    digest = hmac.digest(secret, username.encode(), "sha1")
    return IceServer(relays.urls, username, base64.b64encode(digest).decode())


def extension(relays: Relays, server: IceServer) -> Mapping[str, JsonValue]:
    """What an `RTCPeerConnection` is made with, in the browser's own shapes but for the names' case."""
    policy: IceTransportPolicy = "relay" if relays.only else "all"
    entry: dict[str, JsonValue] = {
        "urls": list(server.urls),
        "username": server.username,
        "credential": server.credential,
    }
    return {"ice_servers": [entry], "ice_transport_policy": policy}


def links(server: IceServer) -> list[str]:
    """Values of `Link` headers, one a URL (RFC 9725 section 4.6). Nothing in them needs escaping."""
    rest = f'rel="ice-server"; username="{server.username}"; credential="{server.credential}"'
    return [f'<{url}>; {rest}; credential-type="password"' for url in server.urls]
