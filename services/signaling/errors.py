"""Errors in the shape of the OpenAI API: `{"error": {"message", "type", "code", "param"}}`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from services.contracts.session.locks import LockedFieldError
from services.contracts.session.parse import InvalidSessionError
from services.runtime.errors import HushgateError
from services.signaling.core.mint import InvalidMintError
from services.signaling.core.placement import NoPlacement
from services.signaling.core.sdp_lines import InvalidOfferError

_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_SERVER_ERROR = 500

PLACEMENT: dict[str, str] = {
    NoPlacement.NONE_KNOWN: "No media process sends heartbeats. Start one (hushgate media) or check its NATS server.",
    NoPlacement.ALL_SILENT: "No media process sends heartbeats any more. Check that they run and reach NATS.",
    NoPlacement.ALL_DRAINING: "All media processes are shutting down. Try again when new ones are up.",
    NoPlacement.ALL_FULL: "All media processes are full. Try again, or add media processes.",
    NoPlacement.ALL_TRIED: "No media process accepted the call. Try again.",
    "timeout": "The media process did not answer in time. Try again; if this persists, check its log and load.",
    "no_responders": "The media process has stopped. Try again.",
    "malformed": "A media process gave an answer that cannot be read. Check that all services have the same version.",
    "full": "All media processes that were tried are full. Try again, or add media processes.",
    "draining": "The media processes are shutting down. Try again when new ones are up.",
    "no_worker": "No upstream worker accepted the call. Check that hushgate upstream runs and is not full.",
    "internal": "The media process failed to set up the call. Its log says why.",
}
"""Message for each reason why a call cannot be placed; it says what to do."""


class ApiError(HushgateError):
    """Error response to a request. ``str()`` is the message that the client receives."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.headers = dict(headers or {})

    def response(self) -> JSONResponse:
        """Return the HTTP response."""
        kind = "server_error" if self.status >= _SERVER_ERROR else _TYPES.get(self.status, "invalid_request_error")
        error = {"message": str(self), "type": kind, "code": self.code, "param": self.param}
        return JSONResponse({"error": error}, self.status, headers={"Cache-Control": "no-store", **self.headers})


def unauthorized() -> ApiError:
    """Return 401 for any invalid key or token; it does not say which part was wrong."""
    return ApiError(
        401,
        "The API key or token is missing, unknown, expired or already used.",
        code="invalid_api_key",
        headers={"WWW-Authenticate": 'Bearer realm="hushgate"'},
    )


def unavailable(message: str, code: str) -> ApiError:
    """Return 503: a retry may succeed."""
    return ApiError(503, message, code=code, headers={"Retry-After": "1"})


def rate_limited(message: str, retry_after_s: int, *, store_full: bool = False) -> ApiError:
    """Return 429 with `Retry-After`, or 503 if the store is full."""
    status, code = (503, "token_store_full") if store_full else (429, "rate_limit_exceeded")
    return ApiError(status, message, code=code, headers={"Retry-After": str(retry_after_s)})


def no_such_call() -> ApiError:
    """Return 404: the call does not exist, is over, or belongs to another tenant."""
    return ApiError(404, "There is no such call.", code="call_not_found", param="call_id")


@contextmanager
def bad_requests() -> Iterator[None]:
    """Convert the core's errors about a request to `ApiError`.

    Raises:
        ApiError: 400 for a field, 403 for a locked one, 422 for an offer.
    """
    try:
        yield
    except InvalidMintError as exc:
        raise ApiError(400, str(exc), code=exc.code, param=exc.param or None) from exc
    except InvalidSessionError as exc:
        raise ApiError(400, str(exc), code=exc.code, param=exc.param) from exc
    except LockedFieldError as exc:
        raise ApiError(403, str(exc), code="locked_field", param=exc.param) from exc
    except InvalidOfferError as exc:
        raise ApiError(422, str(exc), code="invalid_offer", param="sdp") from exc


async def on_api_error(_: Request, error: Exception) -> JSONResponse:
    """Return the response to an `ApiError`; an exception handler of FastAPI."""
    if not isinstance(error, ApiError):
        raise error
    return error.response()


async def on_http_error(_: Request, error: Exception) -> JSONResponse:
    """Return the API's error object for the framework's errors (404, 405); an exception handler of FastAPI."""
    if not isinstance(error, HTTPException):
        raise error
    messages = {404: "There is no such path.", 405: "This path does not allow this method."}
    message = messages.get(error.status_code, str(error.detail))
    return ApiError(error.status_code, message, headers=error.headers).response()


def internal() -> ApiError:
    """Return 500; the exception is in the log."""
    return ApiError(500, "The gateway failed to handle the request. Its log says why.", code="internal_error")
