"""The HTTP client of a call: tokens, offers, hang-up, usage. The API is OpenAI's; usage is Hushgate's own."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from services.callers.errors import EndpointRefusedError, MalformedKeyError, UnexpectedReplyError, UnreachableError

_TOKEN_PREFIX = "ek_"  # noqa: S105 - what tokens begin with, not one
_NOT_FOUND = 404
_MESSAGE_CHARS = 300


@dataclass(frozen=True, slots=True)
class OfferReply:
    """The reply to an offer. ``call_id`` is empty when the endpoint names none."""

    sdp: str
    call_id: str


@dataclass(frozen=True, slots=True)
class Minted:
    """A token, and the relays that the endpoint returned with it, as Hushgate does if it has some."""

    token: str = field(repr=False)
    ice_servers: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    """In the browser's shape: `urls`, `username`, `credential`."""
    relay_only: bool = False


class EndpointClient:
    """One endpoint. ``url`` is its root, with or without `/v1` or `/v1/realtime` behind it."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http = http
        self.url = root(url)

    async def mint(
        self, key: str, *, session: dict[str, Any], events: Sequence[str] = (), max_seconds: int | None = None
    ) -> Minted:
        """Get a token for one call; a token given as ``key`` is used as it is.

        Raises:
            MalformedKeyError: ``key`` cannot be sent in a header.
            EndpointRefusedError: wrong key or session.
            UnexpectedReplyError: the reply contains no token.
            UnreachableError: nobody answers.
        """
        if key.startswith(_TOKEN_PREFIX):
            return Minted(key)
        body: dict[str, Any] = {"session": session}
        # Other endpoints reject unknown fields, so ours are sent only when set.
        own: dict[str, Any] = {"events": list(events)} if events else {}
        own |= {"max_seconds": max_seconds} if max_seconds is not None else {}
        body |= {"hushgate": own} if own else {}
        response = await self._send("POST", "/v1/realtime/client_secrets", key, what="the token", json=body)
        try:
            return _minted(response.json())
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise UnexpectedReplyError(self.url, "it gave no token") from exc

    async def offer(self, token: str, sdp: str) -> OfferReply:
        """Post the offer and return the reply.

        Raises:
            EndpointRefusedError: token or offer refused, or no capacity.
            UnreachableError: nobody answers.
        """
        response = await self._send(
            "POST",
            "/v1/realtime/calls",
            token,
            what="the call",
            content=sdp.encode(),
            headers={"Content-Type": "application/sdp"},
        )
        return OfferReply(response.text, response.headers.get("Location", "").rpartition("/")[2])

    async def hang_up(self, token: str, call_id: str) -> None:
        """End the call by HTTP. A call that has already ended is no error.

        Raises:
            EndpointRefusedError: not this token's call.
            UnreachableError: nobody answers.
        """
        path = f"/v1/realtime/calls/{call_id}/hangup"
        await self._send("POST", path, token, what="the hang-up", but_for=_NOT_FOUND)

    async def usage(self, token: str, call_id: str) -> dict[str, Any] | None:
        """Usage and cost of the call; None when they are unknown (yet), or the endpoint keeps no such account.

        Raises:
            EndpointRefusedError: not this token's call.
            UnreachableError: nobody answers.
        """
        response = await self._send("GET", f"/v1/calls/{call_id}/usage", token, what="the usage", but_for=_NOT_FOUND)
        return None if response.status_code == _NOT_FOUND else dict(response.json())

    async def _send(  # noqa: PLR0913 - what goes into a request
        self,
        method: str,
        path: str,
        bearer: str,
        *,
        what: str,
        json: object = None,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
        but_for: int = 0,
    ) -> httpx.Response:
        if not (bearer.isascii() and bearer.isprintable()):
            raise MalformedKeyError
        try:
            response = await self._http.request(
                method,
                f"{self.url}{path}",
                headers={"Authorization": f"Bearer {bearer}", **(headers or {})},
                json=json,
                content=content,
            )
        except (httpx.TransportError, httpx.InvalidURL) as exc:
            raise UnreachableError(self.url, str(exc) or type(exc).__name__) from exc
        if response.is_error and response.status_code != but_for:
            raise _refused(what, response)
        return response


def _minted(body: dict[str, Any]) -> Minted:
    own = body.get("hushgate") or {}
    return Minted(
        str(body["value"]), tuple(own.get("ice_servers", ())), relay_only=own.get("ice_transport_policy") == "relay"
    )


def root(url: str) -> str:
    """Return ``url`` without the path that people copy after the root of a Realtime endpoint."""
    bare = url.rstrip("/")
    for tail in ("/calls", "/realtime", "/v1"):
        bare = bare.removesuffix(tail)
    return bare


def _refused(what: str, response: httpx.Response) -> EndpointRefusedError:
    """Parse the API's error shape, or quote the body instead."""
    try:
        error = response.json()["error"]
        code, message = error.get("code") or error.get("type"), str(error.get("message", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        code, message = None, response.text.strip() or response.reason_phrase
    return EndpointRefusedError(what, status=response.status_code, code=code, message=message[:_MESSAGE_CHARS])
