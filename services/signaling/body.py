"""Read and parse request bodies within a size and a time limit."""

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from fastapi import Request
from pydantic import JsonValue
from pydantic_core import from_json
from python_multipart.multipart import parse_options_header
from starlette.formparsers import MultiPartException, MultiPartParser

from services.contracts.session.sizes import MAX_SESSION_BYTES
from services.signaling.core.sdp_lines import MAX_OFFER_BYTES
from services.signaling.errors import ApiError

SDP = "application/sdp"
_MAX_ESCAPED = 6
"""Bytes that JSON may write for one byte of UTF-8: `\\u0041` for `A`. The session itself is bounded without escapes."""
MAX_JSON_BYTES = _MAX_ESCAPED * MAX_SESSION_BYTES + 4096
_MAX_MULTIPART_BYTES = MAX_OFFER_BYTES + MAX_JSON_BYTES + 4096
_CHARSETS = frozenset({b"utf-8", b"utf8"})


@dataclass(frozen=True, slots=True)
class OfferBody:
    """Parsed body of `POST /v1/realtime/calls`."""

    sdp: bytes
    session: dict[str, JsonValue] | None


async def read(request: Request, limit: int) -> bytes:
    """Return the request's body.

    Raises:
        ApiError: 413, larger than ``limit`` bytes (by `Content-Length`, else while reading); 408, it took too long.
        ClientDisconnect: the client closed the connection.
    """
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(request.app.state.body_timeout_s):
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise _too_large(limit)
                parts.append(part)
    except TimeoutError:
        raise ApiError(408, "The body did not arrive in time.", code="body_timeout") from None
    return b"".join(parts)


async def read_json(request: Request) -> dict[str, JsonValue]:
    """Return the body as a JSON object; an empty body is `{}`.

    Raises:
        ApiError: 400, 408 or 413.
    """
    return json_object(await read(request, MAX_JSON_BYTES), param=None)


def json_object(text: bytes | str, *, param: str | None) -> dict[str, JsonValue]:
    """Parse a JSON object; empty text is `{}`.

    Raises:
        ApiError: 400, not JSON, nested too deeply, or not an object.
    """
    if not text.strip():
        return {}
    try:
        value = from_json(text, allow_inf_nan=False)
        json.dumps(value, allow_nan=False)  # 1e999 parses as infinity, which JSON cannot express
    except ValueError:
        raise ApiError(400, "The body is not valid JSON.", code="invalid_json", param=param) from None
    if not isinstance(value, dict):
        raise ApiError(400, "A JSON object is required here.", code="invalid_json", param=param)
    return value


def media_type(request: Request) -> str:
    """Return the media type of the body, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_sdp(request: Request) -> bytes:
    """Return the SDP offer of a body that may hold nothing else.

    Raises:
        ApiError: 408, 413 or 415.
    """
    if media_type(request) != SDP:
        raise ApiError(415, f"Send the offer as {SDP}.", code="media_type", headers={"Accept-Post": SDP})
    return await read(request, MAX_OFFER_BYTES)


async def read_offer(request: Request) -> OfferBody:
    """Return the SDP offer and the optional session of a body.

    Raises:
        ApiError: 400, 408, 413 or 415.
    """
    kind = media_type(request)
    if kind == SDP:
        return OfferBody(await read(request, MAX_OFFER_BYTES), None)
    if kind == "multipart/form-data":
        return await _read_parts(request)
    raise ApiError(
        415, "Send the offer as application/sdp, or as multipart/form-data with sdp and session.", code="media_type"
    )


async def _read_parts(request: Request) -> OfferBody:
    # The form parser decodes with any codec that the client names; some of Python's take quadratic time.
    _, options = parse_options_header(request.headers["content-type"])
    if options.get(b"charset", b"utf-8").lower() not in _CHARSETS:
        raise ApiError(415, "The charset of a multipart body is utf-8.", code="media_type")
    body = await read(request, _MAX_MULTIPART_BYTES)
    try:  # the form parser takes what is not UTF-8 for Latin-1
        body.decode()
    except UnicodeDecodeError:
        raise ApiError(400, "The multipart body is not UTF-8.", code="invalid_multipart") from None

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(request.headers, stream(), max_files=2, max_fields=4, max_part_size=_MAX_MULTIPART_BYTES)
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError):
        raise ApiError(400, "The multipart body cannot be read.", code="invalid_multipart") from None
    try:
        parts = {name: value if isinstance(value, str) else await value.read() for name, value in form.items()}
    finally:
        await form.close()
    if twice := next((name for name in parts if len(form.getlist(name)) > 1), None):
        name = twice[:64]
        raise ApiError(400, f"The body has several parts named '{name}'.", code="invalid_multipart", param=name)
    if others := sorted(parts.keys() - {"sdp", "session"}):
        name = others[0][:64]
        raise ApiError(400, f"Unknown part: '{name}'. There are sdp, session.", code="unknown_parameter", param=name)
    if "sdp" not in parts:
        raise ApiError(400, "The multipart body has no part named sdp.", code="invalid_multipart", param="sdp")
    sdp, session = parts["sdp"], parts.get("session")
    sdp = sdp.encode() if isinstance(sdp, str) else sdp
    if len(sdp) > MAX_OFFER_BYTES:
        raise _too_large(MAX_OFFER_BYTES)
    return OfferBody(sdp, None if session is None else json_object(session, param="session"))


def _too_large(limit: int) -> ApiError:
    return ApiError(413, f"The body is larger than {limit} bytes.", code="body_too_large")
