"""HTTP and WebSocket routes of the rehearsal."""

import hmac

from fastapi import FastAPI, Response, WebSocket
from fastapi.responses import JSONResponse
from pydantic import SecretStr

from services.rehearsal import metrics
from services.rehearsal.connection import ClientConnection, now
from services.rehearsal.core.answers import Answers, SessionLimit
from services.rehearsal.core.commands import Json
from services.rehearsal.core.faults import faults_of
from services.rehearsal.core.session import RehearsalSession, SessionTerms
from services.rehearsal.session_archive import SessionArchive
from services.rehearsal.settings import RehearsalSettings
from services.rehearsal.voice.provided import SpeechEngine
from services.runtime.telemetry.logging import get_logger

_KEY_PROTOCOL = "openai-insecure-api-key."
_PROTOCOL = "realtime"
_GOING_AWAY = 1001
MAX_MESSAGE_BYTES = 24 * 1024 * 1024
"""15 MiB of audio or a picture, in base64, and what is around it."""


def _error(message: str, code: str, param: str | None = None) -> Json:
    return {"error": {"message": message, "type": "invalid_request_error", "code": code, "param": param}}


def key_of(socket: WebSocket) -> str:
    """The client's key, from its Authorization header or, as browsers must send it, from a subprotocol."""
    scheme, _, token = socket.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    offered: list[str] = socket.scope.get("subprotocols", [])
    return next((name.removeprefix(_KEY_PROTOCOL) for name in offered if name.startswith(_KEY_PROTOCOL)), "")


def is_allowed(key: str, expected_key: SecretStr) -> bool:
    """Whether ``key`` is accepted; an empty ``expected_key`` accepts any."""
    secret = expected_key.get_secret_value()
    return not secret or hmac.compare_digest(key.encode(), secret.encode())


class Realtime:
    """Serves Realtime sockets; `close_all` closes the open ones when the process stops."""

    def __init__(self, *, settings: RehearsalSettings, voice: SpeechEngine, ledger: SessionArchive) -> None:
        self._settings = settings
        self._voice = voice
        self._ledger = ledger
        self._limit = SessionLimit(settings.voice, capacity=settings.recognisers * settings.sessions_per_recogniser)
        self._is_paused = False
        self.open_sockets: set[WebSocket] = set()

    async def serve(self, socket: WebSocket) -> None:
        """Check key and model, then serve the session."""
        model = socket.query_params.get("model", "")
        if not is_allowed(key_of(socket), self._settings.api_key):
            await _refuse(socket, 401, "wrong_key", _error("Incorrect API key provided.", "invalid_api_key"))
        elif not model:
            body = _error("You must provide a model parameter.", "missing_required_parameter", "model")
            await _refuse(socket, 400, "no_model", body)
        else:
            offered: list[str] = socket.scope.get("subprotocols", [])
            await socket.accept(subprotocol=_PROTOCOL if _PROTOCOL in offered else None)
            await self._serve(socket, model)

    async def _serve(self, socket: WebSocket, model: str) -> None:
        answers = self._opened()
        try:
            await self._converse(socket, model, answers)
        finally:
            self._closed(answers)

    def _opened(self) -> Answers:
        was_exceeded = self._limit.is_exceeded
        answers = self._limit.opened()
        metrics.SESSIONS_ACTIVE.labels(answers.name).inc()
        if self._limit.is_exceeded and not was_exceeded:
            get_logger().warning("recorded_answers_began", reason=answers.reason, recognised=self._limit.capacity)
        self._pause_or_resume()
        return answers

    def _closed(self, answers: Answers) -> None:
        was_exceeded = self._limit.is_exceeded
        self._limit.closed(answers)
        metrics.SESSIONS_ACTIVE.labels(answers.name).dec()
        if was_exceeded and not self._limit.is_exceeded:
            get_logger().info("recorded_answers_ended")
        self._pause_or_resume()

    def _pause_or_resume(self) -> None:
        """Pause or resume recognition by the number of open sessions."""
        if self._limit.is_paused == self._is_paused:
            return
        self._is_paused = self._limit.is_paused
        self._voice.pause(paused=self._is_paused)
        get_logger().info("recogniser_paused" if self._is_paused else "recogniser_resumed")

    async def _converse(self, socket: WebSocket, model: str, answers: Answers) -> None:
        terms = SessionTerms(
            model[:128],
            max_session_s=self._settings.max_session_s,
            answers=answers,
            recordings=self._voice.recordings,
            faults=faults_of(self._settings.faults),
        )
        session = RehearsalSession(terms, now())
        self.open_sockets.add(socket)
        get_logger().info("session_opened", session_id=session.id, model=terms.model, answers=answers.name)
        try:
            await ClientConnection(socket, session, self._voice, self._ledger).run()
        finally:
            self.open_sockets.discard(socket)
            get_logger().info("session_closed", session_id=session.id, responses=len(session.book.responses))

    async def close_all(self) -> None:
        """Close every socket because the process stops."""
        for socket in list(self.open_sockets):
            await socket.close(_GOING_AWAY, "server_shutdown")


async def _refuse(socket: WebSocket, status: int, reason: str, body: Json) -> None:
    metrics.SESSIONS_REFUSED.labels(reason).inc()
    get_logger().info("session_refused", reason=reason, status=status)
    await socket.send_denial_response(JSONResponse(body, status))


def add_routes(app: FastAPI, *, realtime: Realtime, ledger: SessionArchive) -> None:
    """Add the provider's endpoint and our two for tests."""
    app.add_api_websocket_route("/v1/realtime", realtime.serve)

    @app.websocket("/{path:path}")
    async def unknown(socket: WebSocket, path: str) -> None:  # noqa: ARG001 - the route names it
        await _refuse(socket, 404, "unknown_path", _error("Unknown request URL.", "unknown_url"))

    @app.get("/billing")
    async def billing() -> Json:
        return ledger.as_json()

    @app.get("/audio/{item_id}")
    async def audio(item_id: str) -> Response:
        pcm = ledger.audio(item_id)
        if pcm is None:
            return JSONResponse(_error("No audio is kept for this item.", "item_not_found", "item_id"), 404)
        return Response(pcm, media_type="audio/L16; rate=24000; channels=1")
