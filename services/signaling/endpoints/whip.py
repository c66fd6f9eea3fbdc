"""WHIP (RFC 9725): calls from clients without a Realtime SDK, such as OBS or GStreamer.

`POST /v1/whip` answers an offer; the session URL in `Location` accepts `PATCH` (ICE) and `DELETE` (hang-up). Unlike the
RFC, because a conversation needs both directions: a `sendrecv` offer is answered `sendrecv`.
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
from services.runtime.telemetry.logging import get_logger
from services.runtime.telemetry.tracing import Tracer
from services.signaling import body
from services.signaling.auth import Authority, Principal
from services.signaling.call_control import CallControl, requested_session
from services.signaling.core import turn, whip
from services.signaling.core.sdp import ClientOffer
from services.signaling.core.sdp_lines import MAX_OFFER_BYTES, InvalidOfferError, MalformedOfferError
from services.signaling.core.stored_records import AccessRecord
from services.signaling.errors import ApiError, bad_requests, no_such_call, unavailable
from services.signaling.ice_sessions import IceSession, IceSessions, new_etag
from services.signaling.trace import set_up, stage
from services.signaling.turn_credentials import TurnCredentials

ENDPOINT = "/v1/whip"
_FRAGMENT = "application/trickle-ice-sdpfrag"
_NEVER_STORED = {"Cache-Control": "no-store"}
_OF_ENDPOINT = {"Allow": "OPTIONS, POST", "Accept-Post": body.SDP}
_OF_SESSION = {"Allow": "DELETE, OPTIONS, PATCH", "Accept-Patch": _FRAGMENT}


@dataclass(frozen=True, slots=True)
class Whip:
    """Handlers of the WHIP endpoint and of WHIP sessions."""

    authority: Authority
    control: CallControl
    sessions: IceSessions
    turn_credentials: TurnCredentials | None = None
    tracer: Tracer = field(default_factory=Tracer)

    def add_routes(self, app: FastAPI) -> None:
        """Add the routes to ``app``: one for each path, so that a 405 lists all methods of the path."""
        app.add_api_route(ENDPOINT, self.endpoint, methods=["POST", "OPTIONS"], response_model=None)
        path = f"{ENDPOINT}/{{call_id}}"
        app.add_api_route(path, self.session, methods=["PATCH", "DELETE", "OPTIONS"], response_model=None)

    async def endpoint(self, request: Request) -> Response:
        """Handle `POST` (an offer) and `OPTIONS`."""
        if request.method == "OPTIONS":
            return await self._options(request)
        call, began_ns = ids.new_call_id(), clock.unix_ns()
        admitted = await self.authority.admit_offer(request, call)
        with set_up(self.tracer, call, endpoint="whip", began_ns=began_ns):
            with stage("sdp"):
                sent = await body.read_sdp(request)
                with _malformed_sdp_as_400(), bad_requests():
                    offer = whip.read_offer(sent)
            etag = new_etag()
            store = partial(self._session_record, call, offer, etag)
            session = requested_session(request, None)
            answer = await self.control.place(request, admitted.tenant, call, offer, session, store=store)
        headers = {"Location": f"{ENDPOINT}/{call}", "ETag": etag, "Accept-Patch": _FRAGMENT, **_NEVER_STORED}
        return self._with_relays(Response(answer, 201, headers=headers, media_type=body.SDP), admitted, call)

    def _session_record(self, call: CallId, offer: ClientOffer, etag: str, granted: Grant) -> AccessRecord:
        return self.sessions.record(call, offer, etag=etag, seconds=granted.limits.max_seconds)

    async def _options(self, request: Request) -> Response:
        """Answer `OPTIONS`, with `Link` headers of the TURN servers for an authenticated client."""
        if self.turn_credentials is None or "authorization" not in request.headers:
            return Response(headers=_OF_ENDPOINT)
        admitted = await self.authority.admit(request, ids.new_call_id())
        return self._with_relays(Response(headers={**_OF_ENDPOINT, **_NEVER_STORED}), admitted)

    def _with_relays(self, response: Response, admitted: Principal, call: CallId | None = None) -> Response:
        """Add the TURN servers to ``response``. All requests of one token, and its call, get the same TURN user."""
        if self.turn_credentials is None:
            return response
        if admitted.token is not None:
            server = self.turn_credentials.of_token(admitted.token.key, admitted.token.issued)
        else:
            server = (
                self.turn_credentials.of_call(call) if call else self.turn_credentials.of_tenant(admitted.tenant.id)
            )
        for link in turn.links(server):
            response.headers.append("Link", link)
        return response

    async def session(self, request: Request, call_id: str) -> Response:
        """Handle `PATCH` (ICE), `DELETE` (hang-up) and `OPTIONS` of a call."""
        if request.method == "OPTIONS":
            return Response(headers=_OF_SESSION)
        call, _ = await self.authority.authorize_call(request, call_id)
        found = await self.sessions.find(call)
        if found is None:
            raise no_such_call()
        if request.method == "DELETE":
            return await self._hang_up(call)
        return await self._patch(request, call, found)

    async def _hang_up(self, call: CallId) -> Response:
        await self.control.hang_up(call)
        await self.sessions.delete(call)
        return Response(status_code=204)

    async def _patch(self, request: Request, call: CallId, found: IceSession) -> Response:
        fragment = await _read_fragment(request)
        if not whip.matches(request.headers["if-match"], found.etag):
            raise ApiError(412, "If-Match names another ICE session than the call's.", code="ice_session_changed")
        if fragment.ufrag is None or fragment.password is None or fragment.ufrag == found.offer.transport.ufrag:
            return Response(status_code=204)  # candidates; see core/whip.py
        offer = found.offer.with_ice(fragment.ufrag, fragment.password)
        answer = await self.control.restart(call, offer)
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
    with _malformed_sdp_as_400(), bad_requests():
        return whip.read_fragment(sent)


@contextmanager
def _malformed_sdp_as_400() -> Iterator[None]:
    """Answer 400 to text that is not SDP (RFC 9725 §4.2, §4.3.1); offers that we do not support stay 422."""
    try:
        yield
    except ApiError as exc:
        if not isinstance(exc.__cause__, MalformedOfferError):
            raise
        raise ApiError(400, str(exc), code=exc.code, param=exc.param) from exc.__cause__
