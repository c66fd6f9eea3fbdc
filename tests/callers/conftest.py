"""Another Realtime WebRTC endpoint: plain aiortc behind FastAPI, which answers each utterance with a tune."""

import json
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI, Request, Response

from services.runtime.http.server import serve_http
from tests.callers.tune_endpoint import KEY, TuneEndpoint


def refusal(status: int, code: str, message: str) -> Response:
    error = {"error": {"message": message, "type": "invalid_request_error", "code": code, "param": None}}
    return Response(json.dumps(error), status, media_type="application/json")


def app_of(endpoint: TuneEndpoint) -> FastAPI:
    app = FastAPI()

    @app.post("/v1/realtime/client_secrets")
    async def mint(request: Request) -> Response:
        if request.headers["authorization"] != f"Bearer {KEY}":
            return refusal(401, "invalid_api_key", "Incorrect API key provided.")
        endpoint.minted.append(await request.json())
        return Response(json.dumps({"value": "ek_one"}), media_type="application/json")

    @app.post("/v1/realtime/calls")
    async def calls(request: Request) -> Response:
        if request.headers["authorization"] != "Bearer ek_one":
            return refusal(401, "token_used", "This token is not good any more.")
        sdp = await endpoint.accept_offer((await request.body()).decode())
        location = {"Location": "/v1/realtime/calls/rtc_one"}
        return Response(sdp, 201, headers=location, media_type="application/sdp")

    @app.post("/v1/realtime/calls/{call_id}/hangup")
    async def hangup(call_id: str) -> Response:
        endpoint.hung_up.append(call_id)
        return Response()

    @app.get("/v1/calls/{call_id}/usage")
    async def usage(call_id: str) -> Response:
        return Response(json.dumps({"call_id": call_id, **endpoint.usage}), media_type="application/json")

    return app


@pytest.fixture
async def endpoint(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TuneEndpoint]:
    running = TuneEndpoint(folder=tmp_path_factory.mktemp("endpoint"))
    running.write_key(running.key)
    async with serve_http(app_of(running), host="127.0.0.1", port=0) as url:
        running.url = url
        yield running
        await running.close()
