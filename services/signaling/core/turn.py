"""Time-limited TURN credentials: the TURN REST API, as coturn implements it with `use-auth-secret`.

TURN server and signaling share a secret. A username is `<unix seconds of its expiry>:<name>`, its password the base64
of the HMAC-SHA1 of the username (draft-uberti-behave-turn-rest-00, section 2.2). The server needs no list of users.
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
    """The TURN servers of a deployment, and the ICE transport policy for clients."""

    urls: tuple[str, ...]
    ttl_s: int
    """Validity of a credential, in seconds."""
    only: bool = False
    """Whether clients reach the media processes only through these servers (`iceTransportPolicy: relay`)."""


@dataclass(frozen=True, slots=True)
class IceServer:
    """URLs, username and password of the TURN servers (an `RTCIceServer`)."""

    urls: tuple[str, ...]
    username: str
    credential: str = field(repr=False)


def checked_url(url: str) -> str:
    """Return ``url`` if it is a TURN URL: `turn:` or `turns:`, host, optional port and transport (RFC 7065).

    Raises:
        ValueError: it is not.
    """
    found = _URL.fullmatch(url)
    if found is None or not 0 < int(found["port"] or 1) <= _MAX_PORT:
        raise ValueError("a TURN server is turn:HOST or turns:HOST, then :PORT and ?transport=udp or tcp if needed")
    return url


def checked_secret(text: bytes) -> bytes:
    """Return the secret in the file's bytes, without surrounding white space.

    Raises:
        ValueError: it is too short.
    """
    secret = text.strip()
    if len(secret) < MIN_SECRET_BYTES:
        raise ValueError(f"fewer than {MIN_SECRET_BYTES} bytes; `openssl rand -hex 32` makes a good one")
    return secret


def name_of(secret: bytes, identity: str) -> str:
    """Return the TURN username for ``identity``: deterministic, and it does not reveal the identity."""
    return base64.urlsafe_b64encode(hmac.digest(secret, identity.encode(), "sha256")[:_NAME_BYTES]).decode()


def window(ttl_s: int, *, now_unix_s: int) -> int:
    """Return the end of the current window of ``ttl_s``; a credential from then on is valid for 1 to 2 windows."""
    return (now_unix_s // ttl_s + 1) * ttl_s


def ice_server(relays: Relays, secret: bytes, *, name: str, now_unix_s: int) -> IceServer:
    """Return a credential for all servers, valid from ``now_unix_s`` for their time to live.

    The server counts quotas by ``name`` and logs it; the name is not encrypted on the wire.
    """
    username = f"{now_unix_s + relays.ttl_s}:{name}"
    digest = hmac.digest(secret, username.encode(), "sha1")
    return IceServer(relays.urls, username, base64.b64encode(digest).decode())


def extension(relays: Relays, server: IceServer) -> Mapping[str, JsonValue]:
    """Return the `RTCConfiguration` of a client, with snake_case names."""
    policy: IceTransportPolicy = "relay" if relays.only else "all"
    entry: dict[str, JsonValue] = {
        "urls": list(server.urls),
        "username": server.username,
        "credential": server.credential,
    }
    return {"ice_servers": [entry], "ice_transport_policy": policy}


def links(server: IceServer) -> list[str]:
    """Return the values of `Link` headers, one for each URL (RFC 9725 section 4.6)."""
    rest = f'rel="ice-server"; username="{server.username}"; credential="{server.credential}"'
    return [f'<{url}>; {rest}; credential-type="password"' for url in server.urls]
