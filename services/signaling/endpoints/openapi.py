"""The public API as an OpenAPI 3.1 document.

Handlers read request bodies themselves within limits of size and time, so FastAPI cannot derive the document; a
test compares its paths and methods with the application's routes.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from services.contracts.session.fields import SessionFields
from services.runtime.process.version import installed_version
from services.signaling.core.mint import MintRequest

Json = dict[str, Any]

_REF = "#/components/schemas/"
_CALL_ID: Json = {
    "name": "call_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^rtc_[a-z0-9]{26}$"},
}
_SDP: Json = {"application/sdp": {"schema": {"type": "string", "description": "SDP (RFC 8866), at most 16 KiB"}}}
_FRAGMENT: Json = {"application/trickle-ice-sdpfrag": {"schema": {"type": "string"}}}
_MULTIPART: Json = {
    "schema": {
        "type": "object",
        "required": ["sdp"],
        "properties": {
            "sdp": {"type": "string"},
            "session": {"type": "string", "description": "A session as JSON; it cannot change a locked field."},
        },
    }
}
_ANY_OBJECT: Json = {"application/json": {"schema": {"type": "object"}}}
_REASONS = {
    400: "The request is wrong, or has an unknown query parameter; `param` names the field or parameter.",
    401: "No key or token, or one that is unknown, expired or used.",
    403: "The origin is not allowed, or a locked field would change.",
    404: "No such call of this key or token.",
    409: "The call is not in a state for this.",
    412: "`If-Match` names another ICE session.",
    413: "The body is too large.",
    422: "The offer is not SDP that can be answered; the message says why.",
    429: "Too many requests; `Retry-After` says when the next one is accepted.",
    502: "The provider or a media process refused.",
    503: "No media process or worker accepts the call now, or NATS or metering does not answer.",
}


def _errors(*codes: int) -> Json:
    error: Json = {"application/json": {"schema": {"$ref": f"{_REF}Error"}}}
    return {str(code): {"description": _REASONS[code], "content": error} for code in codes}


def _operation(
    summary: str,
    responses: Json,
    *,
    body: Json | None = None,
    by: tuple[str, ...] = ("tenantKey",),
    parameters: tuple[Json, ...] = (),
) -> Json:
    operation: Json = {"summary": summary, "responses": responses, "security": [{name: []} for name in by]}
    if body is not None:
        operation["requestBody"] = {"required": True, "content": body}
    if parameters:
        operation["parameters"] = list(parameters)
    return operation


def _header(description: str) -> Json:
    return {"description": description, "schema": {"type": "string"}}


_ANY = ("tenantKey", "token")
_LOCATION: Json = {"Location": _header("The call's own URL; its last segment is the call's id.")}
_ANSWER: Json = {"description": "The answer, with every candidate of the gateway.", "content": _SDP}


def _parameter(name: str, where: str, description: str) -> Json:
    return {"name": name, "in": where, "description": description, "schema": {"type": "string"}}


_IF_MATCH = _parameter("If-Match", "header", "The `ETag` of the ICE session, or `*` to restart ICE.")
_MODEL = _parameter("model", "query", "The model, for a call that is made with a tenant key.")
_PERIOD = tuple(
    _parameter(name, "query", f"ISO 8601, {name} when; the last 30 days if left out") for name in ("from", "to")
)


def _paths() -> dict[str, Json]:
    secret: Json = {"application/json": {"schema": {"$ref": f"{_REF}ClientSecret"}}}
    wanted: Json = {"application/json": {"schema": {"$ref": f"{_REF}MintRequest"}}}
    return {
        "/v1/realtime/client_secrets": {
            "post": _operation(
                "Make a single-use token for one call",
                {
                    "200": {"description": "The token and its session.", "content": secret},
                    **_errors(400, 401, 403, 413, 429, 503),
                },
                body=wanted,
            )
        },
        "/v1/realtime/calls": {
            "post": _operation(
                "Answer an offer: begin a call",
                {"201": {**_ANSWER, "headers": _LOCATION}, **_errors(400, 401, 403, 413, 422, 429, 502, 503)},
                body={**_SDP, "multipart/form-data": _MULTIPART},
                by=_ANY,
                parameters=(_MODEL,),
            )
        },
        "/v1/realtime/calls/{call_id}/restart": {
            "post": _operation(
                "Answer a new offer of the same peer connection after `restartIce()`",
                {"200": _ANSWER, **_errors(400, 401, 403, 404, 413, 422, 429, 503)},
                body=_SDP,
                by=_ANY,
                parameters=(_CALL_ID,),
            )
        },
        "/v1/realtime/calls/{call_id}/hangup": {
            "post": _operation(
                "Hang up",
                {"200": {"description": "The call is over."}, **_errors(400, 401, 403, 404, 429, 503)},
                by=_ANY,
                parameters=(_CALL_ID,),
            )
        },
        "/v1/calls/{call_id}/usage": {
            "get": _operation(
                "What a call used and cost",
                {
                    "200": {"description": "Meters and prices.", "content": _ANY_OBJECT},
                    **_errors(400, 401, 403, 404, 429, 503),
                },
                by=_ANY,
                parameters=(_CALL_ID,),
            )
        },
        "/v1/usage": {
            "get": _operation(
                "What a tenant used and paid in a period",
                {
                    "200": {"description": "Meters and prices.", "content": _ANY_OBJECT},
                    **_errors(400, 401, 403, 429, 503),
                },
                parameters=_PERIOD,
            )
        },
        "/v1/whip": {
            "post": _operation(
                "Answer an offer by WHIP (RFC 9725)",
                {
                    "201": {**_ANSWER, "headers": {**_LOCATION, "ETag": _header("The ICE session, for `If-Match`.")}},
                    **_errors(400, 401, 403, 413, 422, 429, 502, 503),
                },
                body=_SDP,
                by=_ANY,
                parameters=(_MODEL,),
            ),
            "options": _operation(
                "What is taken here; with a token, `Link` headers name TURN servers",
                {"200": {"description": "`Accept-Post` and `Link` headers."}, **_errors(400, 401, 403, 429)},
                by=_ANY,
                parameters=(_MODEL,),
            ),
        },
        "/v1/whip/{call_id}": {
            "patch": _operation(
                "Restart ICE, or send candidates, which are accepted and not used",
                {
                    "200": {"description": "The gateway's new ICE credentials.", "content": _FRAGMENT},
                    "204": {"description": "Candidates were accepted."},
                    **_errors(400, 401, 403, 404, 412, 413, 422, 429, 503),
                },
                body=_FRAGMENT,
                by=_ANY,
                parameters=(_CALL_ID, _IF_MATCH),
            ),
            "delete": _operation(
                "Hang up",
                {"200": {"description": "The call is over."}, **_errors(400, 401, 403, 404, 429, 503)},
                by=_ANY,
                parameters=(_CALL_ID,),
            ),
            "options": _operation(
                "What is taken here",
                {"200": {"description": "`Accept-Patch`."}, **_errors(400)},
                by=_ANY,
                parameters=(_CALL_ID,),
            ),
        },
    }


def _schemas() -> Json:
    kinds: list[tuple[type[BaseModel], Literal["validation"]]] = [
        (MintRequest, "validation"),
        (SessionFields, "validation"),
    ]
    _, found = models_json_schema(kinds, ref_template=_REF + "{model}")
    schemas: Json = found["$defs"]
    schemas["Session"] = schemas.pop("SessionFields")  # the name in generated clients
    schemas["MintRequest"]["properties"]["session"] = {"$ref": f"{_REF}Session"}
    nothing_or_text: Json = {"type": ["string", "null"]}
    schemas["Error"] = {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type", "code", "param"],
                "properties": {
                    "message": {"type": "string", "description": "What is wrong and what to do."},
                    "type": {"type": "string"},
                    "code": nothing_or_text,
                    "param": nothing_or_text,
                },
            }
        },
    }
    schemas["ClientSecret"] = {
        "type": "object",
        "required": ["value", "expires_at", "session"],
        "properties": {
            "value": {"type": "string", "pattern": "^ek_", "description": "For one call."},
            "expires_at": {"type": "integer", "description": "Unix seconds until which it can be used."},
            "session": {"$ref": f"{_REF}Session"},
            "hushgate": {
                "type": "object",
                "description": "With TURN servers: `ice_servers` and `ice_transport_policy` of an RTCPeerConnection.",
            },
        },
    }
    return schemas


def document() -> Mapping[str, Any]:
    """Return the OpenAPI document of the public API."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Hushgate",
            "version": installed_version(),
            "description": "The OpenAI Realtime API for WebRTC clients, WHIP, and what calls cost.",
        },
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "tenantKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A tenant's key, `hg_…`: for backends.",
                },
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An ephemeral token, `ek_…`: for one call.",
                },
            },
        },
    }
