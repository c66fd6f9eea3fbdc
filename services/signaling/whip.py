"""WHIP (RFC 9725): the door for clients that know no provider's wire, such as OBS or GStreamer.

`POST /v1/whip` answers an offer; the session URL in `Location` takes `PATCH` (ICE) and `DELETE` (hang-up). What the
RFC forbids and a conversation needs: an offer that is `sendrecv` is answered `sendrecv`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from fastapi import FastAPI, Request, Response

from services.contracts import ids
from services.contracts.grant import Grant
from services.contracts.ids import CallId
from services.runtime import clock
from services.runtime.logging import get_logger
from services.runtime.tracing import Tracer
from services.signaling import body
from services.signaling.auth import Admitted, Authority
from services.signaling.calls import Calls, wanted_session
from services.signaling.core import turn, whip
from services.signaling.core.sdp import Offer
from services.signaling.core.sdp_lines import MAX_OFFER_BYTES, InvalidOfferError, MalformedOfferError
from services.signaling.errors import ApiError, bad_requests, no_such_call, unavailable
from services.signaling.ice_sessions import IceSession, IceSessions, new_etag
from services.signaling.relays import RelayDesk
from services.signaling.trace import set_up, stage

ENDPOINT = "/v1/whip"
_FRAGMENT = "application/trickle-ice-sdpfrag"
_NEVER_STORED = {"Cache-Control": "no-store"}
_OF_ENDPOINT = {"Allow": "OPTIONS, POST", "Accept-Post": body.SDP}
_OF_SESSION = {"Allow": "DELETE, OPTIONS, PATCH", "Accept-Patch": _FRAGMENT}


@dataclass(frozen=True, slots=True)
class Whip:
    """The handlers."""

    authority: Authority
    calls: Calls
    sessions: IceSessions
    relays: RelayDesk | None = None
    tracer: Tracer = field(default_factory=Tracer)

    def add_routes(self, app: FastAPI) -> None:
        """Give ``app`` the door. Each path has one route, so that the 405 for other methods names all that it takes."""
        app.add_api_route(ENDPOINT, self.endpoint, methods=["POST", "OPTIONS"], response_model=None)
        path = f"{ENDPOINT}/{{call_id}}"
        app.add_api_route(path, self.session, methods=["PATCH", "DELETE", "OPTIONS"], response_model=None)

    async def endpoint(self, request: Request) -> Response:
        """Answer an offer, or say what is taken here."""
        if request.method == "OPTIONS":
            return await self._options(request)
        call, began_ns = ids.new_call_id(), clock.unix_ns()
        admitted = await self.authority.admit_offer(request, call)
        with set_up(self.tracer, call, door="whip", began_ns=began_ns):
            with stage("sdp"):
                sent = await body.read_sdp(request)
                with _as_the_rfc_says(), bad_requests():
                    offer = whip.read_offer(sent)
            etag = new_etag()
            keep = partial(self._begin, call, offer, etag)
            answer = await self.calls.place(request, call, offer, wanted_session(request, None), keep=keep)
        headers = {"Location": f"{ENDPOINT}/{call}", "ETag": etag, "Accept-Patch": _FRAGMENT, **_NEVER_STORED}
        return self._with_relays(Response(answer, 201, headers=headers, media_type=body.SDP), admitted, call)

    async def _begin(self, call: CallId, offer: Offer, etag: str, granted: Grant) -> None:
        await self.sessions.begin(call, offer, etag=etag, seconds=granted.limits.max_seconds)

    async def _options(self, request: Request) -> Response:
        """What is taken here; and the way to the relays, for who could make a call now and needs it for its offer."""
        if self.relays is None or "authorization" not in request.headers:
            return Response(headers=_OF_ENDPOINT)
        admitted = await self.authority.admit(request, ids.new_call_id())
        return self._with_relays(Response(headers={**_OF_ENDPOINT, **_NEVER_STORED}), admitted)

    def _with_relays(self, response: Response, admitted: Admitted, call: CallId | None = None) -> Response:
        """The response with the relays. A token has one user for all that is asked with it, its call's too."""
        if self.relays is None:
            return response
        if admitted.token is not None:
            server = self.relays.of_token(admitted.token.key, admitted.token.issued)
        else:
            server = self.relays.of_call(call) if call else self.relays.of_tenant(admitted.tenant.id)
        for link in turn.links(server):
            response.headers.append("Link", link)
        return response

    async def session(self, request: Request, call_id: str) -> Response:
        """Change or end a call."""
        if request.method == "OPTIONS":
            return Response(headers=_OF_SESSION)
        call, _ = await self.authority.call(request, call_id)
        found = await self.sessions.find(call)
        if found is None:
            raise no_such_call()
        if request.method == "DELETE":
            return await self._hang_up(call)
        return await self._patch(request, call, found)

    async def _hang_up(self, call: CallId) -> Response:
        await self.calls.hang_up(call)
        await self.sessions.forget(call)
        return Response(status_code=204)

    async def _patch(self, request: Request, call: CallId, found: IceSession) -> Response:
        fragment = await _read_fragment(request)
        if not whip.matches(request.headers["if-match"], found.etag):
            raise ApiError(412, "If-Match names another ICE session than the call's.", code="ice_session_changed")
        if fragment.ufrag is None or fragment.password is None or fragment.ufrag == found.offer.transport.ufrag:
            return Response(status_code=204)  # candidates; see core/whip.py
        offer = found.offer.with_ice(fragment.ufrag, fragment.password)
        answer = await self.calls.restart(call, offer)
        etag = await self.sessions.replace(call, found, offer)
        if etag is None:
            raise ApiError(412, "Another ICE restart of this call was faster. Try again.", code="ice_session_changed")
        try:
            written = whip.write_fragment(answer)
        except InvalidOfferError as exc:
            get_logger().error("answer_without_ice", call_id=call, reason=str(exc))
            raise unavailable("The media process gave an answer without ICE. Try again.", "malformed") from exc
        return Response(written, headers={"ETag": etag, **_NEVER_STORED}, media_type=_FRAGMENT)


async def _read_fragment(request: Request) -> whip.Fragment:
    if body.media_type(request) != _FRAGMENT:
        raise ApiError(415, f"Send a fragment as {_FRAGMENT}.", code="media_type", headers={"Accept-Patch": _FRAGMENT})
    if "if-match" not in request.headers:
        raise ApiError(
            428, "Send If-Match with the ETag of the ICE session, or * to restart ICE.", code="if_match_missing"
        )
    sent = await body.read(request, MAX_OFFER_BYTES)
    with _as_the_rfc_says(), bad_requests():
        return whip.read_fragment(sent)


@contextmanager
def _as_the_rfc_says() -> Iterator[None]:
    """What is no SDP is 400 here (RFC 9725 §4.2, §4.3.1); an offer of other things than we answer stays 422."""
    try:
        yield
    except ApiError as exc:
        if not isinstance(exc.__cause__, MalformedOfferError):
            raise
        raise ApiError(400, str(exc), code=exc.code, param=exc.param) from exc.__cause__
