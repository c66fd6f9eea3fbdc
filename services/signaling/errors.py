"""Errors as OpenAI's clients read them: `{"error": {"message", "type", "code", "param"}}`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from services.runtime.errors import HushgateError
from services.signaling.core.mint import InvalidMintError
from services.signaling.core.placement import NoPlace
from services.signaling.core.sdp_lines import InvalidOfferError
from services.signaling.core.session_config import InvalidSessionError, LockedFieldError

_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_SERVER_ERROR = 500

PLACEMENT: dict[str, str] = {
    NoPlace.NONE_KNOWN: "No media process has announced itself. Start one (hushgate media) or check its NATS server.",
    NoPlace.ALL_SILENT: "All media processes have fallen silent. Check that they run and reach NATS.",
    NoPlace.ALL_DRAINING: "All media processes are shutting down. Try again when new ones are up.",
    NoPlace.ALL_FULL: "All media processes are full. Try again, or add media processes.",
    NoPlace.ALL_TRIED: "No media process took the call. Try again.",
    "timeout": "The media process did not answer in time. Try again; if it goes on, look at its log and load.",
    "no_responders": "The media process is gone. Try again.",
    "malformed": "A media process gave an answer that cannot be read. Check that all services have the same version.",
    "full": "All media processes that were asked are full. Try again, or add media processes.",
    "draining": "The media processes are shutting down. Try again when new ones are up.",
    "no_worker": "No upstream worker took the call. Check that hushgate upstream runs and is not full.",
    "provider_refused": "The AI provider refused the session. Check the provider key, the model and its quota.",
    "internal": "The media process failed to set up the call. Its log says why.",
}
"""Every cause why a call finds no place, in words that say what to do."""


class ApiError(HushgateError):
    """A request that is answered with an error. ``str()`` is what the client reads."""

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
        """What is sent."""
        kind = "server_error" if self.status >= _SERVER_ERROR else _TYPES.get(self.status, "invalid_request_error")
        error = {"message": str(self), "type": kind, "code": self.code, "param": self.param}
        return JSONResponse({"error": error}, self.status, headers={"Cache-Control": "no-store", **self.headers})


def unauthorized() -> ApiError:
    """One answer for every key or token that does not fit: it must not tell which part was wrong."""
    return ApiError(
        401,
        "The API key or token is missing, unknown, expired or already used.",
        code="invalid_api_key",
        headers={"WWW-Authenticate": 'Bearer realm="hushgate"'},
    )


def unavailable(message: str, code: str) -> ApiError:
    """Trying again may help."""
    return ApiError(503, message, code=code, headers={"Retry-After": "1"})


def rate_limited(message: str, retry_after_s: int, *, store_full: bool = False) -> ApiError:
    """Asked too often, or nothing more fits (503, which is nobody's own fault)."""
    status, code = (503, "token_store_full") if store_full else (429, "rate_limit_exceeded")
    return ApiError(status, message, code=code, headers={"Retry-After": str(retry_after_s)})


def no_such_call() -> ApiError:
    """The call never was, is over, or is another's: the same answer for all."""
    return ApiError(404, "There is no such call.", code="call_not_found", param="call_id")


@contextmanager
def bad_requests() -> Iterator[None]:
    """Say in the provider's shape what the core finds wrong with a request.

    Raises:
        ApiError: 400 for a field, 403 for a locked one, 422 for an offer.
    """
    try:
        yield
    except (InvalidMintError, InvalidSessionError) as exc:
        raise ApiError(400, str(exc), code="invalid_value", param=exc.param or None) from exc
    except LockedFieldError as exc:
        raise ApiError(403, str(exc), code="locked_field", param=exc.param) from exc
    except InvalidOfferError as exc:
        raise ApiError(422, str(exc), code="invalid_offer", param="sdp") from exc


async def on_api_error(_: Request, error: Exception) -> JSONResponse:
    """Answer with an error of ours."""
    if not isinstance(error, ApiError):
        raise error
    return error.response()


async def on_http_error(_: Request, error: Exception) -> JSONResponse:
    """Answer with an error of the framework: no such path, no such method."""
    if not isinstance(error, HTTPException):
        raise error
    messages = {404: "There is no such path.", 405: "This path does not take this method."}
    message = messages.get(error.status_code, str(error.detail))
    return ApiError(error.status_code, message, headers=error.headers).response()


def internal() -> ApiError:
    """A fault of ours; the log has it."""
    return ApiError(500, "The gateway failed to handle the request. Its log says why.", code="internal_error")
