"""`/v1/realtime/calls`: offers, ICE restarts and hang-up, compatible with the Realtime API."""

from dataclasses import dataclass, field

from fastapi import FastAPI, Request, Response

from services.contracts import ids
from services.runtime import clock
from services.runtime.telemetry.tracing import Tracer
from services.signaling import body
from services.signaling.auth import Authority
from services.signaling.call_control import CallControl, requested_session
from services.signaling.core import sdp
from services.signaling.errors import bad_requests
from services.signaling.trace import set_up, stage


@dataclass(frozen=True, slots=True)
class Calls:
    """Handlers of `/v1/realtime/calls`."""

    authority: Authority
    control: CallControl
    tracer: Tracer = field(default_factory=Tracer)

    def add_routes(self, app: FastAPI) -> None:
        """Add the routes to ``app``."""
        for path, handler in (
            ("/v1/realtime/calls", self.create),
            ("/v1/realtime/calls/{call_id}/restart", self.restart),
            ("/v1/realtime/calls/{call_id}/hangup", self.hang_up),
        ):
            app.add_api_route(path, handler, methods=["POST"], response_model=None)

    async def create(self, request: Request) -> Response:
        """Place a call and return the SDP answer to its offer."""
        call, began_ns = ids.new_call_id(), clock.unix_ns()
        admitted = await self.authority.admit_offer(request, call)
        with set_up(self.tracer, call, endpoint="realtime", began_ns=began_ns):
            with stage("sdp"):
                sent = await body.read_offer(request)
                with bad_requests():
                    offer = sdp.parse(sent.sdp)
            session = requested_session(request, sent.session)
            answer = await self.control.place(request, admitted.tenant, call, offer, session)
        headers = {"Location": f"/v1/realtime/calls/{call}", "Cache-Control": "no-store"}
        return Response(answer, 201, headers=headers, media_type="application/sdp")

    async def restart(self, request: Request, call_id: str) -> Response:
        """Answer the new offer of a client that restarts ICE."""
        call, _ = await self.authority.authorize_call(request, call_id)
        sent = await body.read_sdp(request)
        with bad_requests():
            # The media process compares the offer with the call's first one.
            offer = sdp.parse(sent)
        answer = await self.control.restart(call, offer)
        return Response(answer, headers={"Cache-Control": "no-store"}, media_type="application/sdp")

    async def hang_up(self, request: Request, call_id: str) -> Response:
        """End a call."""
        call, _ = await self.authority.authorize_call(request, call_id)
        await self.control.hang_up(call)
        return Response(status_code=200)
