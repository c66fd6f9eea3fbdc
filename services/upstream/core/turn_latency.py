"""Measures how long the provider took to answer a turn."""

from services.upstream.core.command_buffer import CommandBuffer
from services.upstream.core.commands import ObserveStage
from services.upstream.core.json_shape import Json
from services.upstream.core.response_requests import ResponseRequest


class TurnLatency:
    """The stages of the newest answer to a turn. ``publishes``: the client gets `hushgate.turn`."""

    def __init__(self, commands: CommandBuffer, *, publishes: bool) -> None:
        self._commands = commands
        self._publishes = publishes
        self._silent: tuple[str, ResponseRequest] | None = None  # the provider's id of the answer, before its audio

    def begun(self, theirs: str, request: ResponseRequest, *, now: float) -> None:
        """Record that the provider has begun the response ``theirs`` to a request."""
        if request.asker == "turn":
            self._commands.add(ObserveStage("provider_created", now - request.asked_at))
            self._silent = (theirs, request)

    def audio_received(self, theirs: str, *, response_id: str, item_id: str, now: float) -> None:
        """Record audio of the response ``theirs``, whose ids for the client are given; only the first counts."""
        if self._silent is None or self._silent[0] != theirs:
            return
        _, request = self._silent
        self._silent = None
        seconds = now - request.asked_at
        self._commands.add(ObserveStage("provider_first_audio", seconds))
        if self._publishes:
            figures: Json = {
                "response_id": response_id,
                "item_id": item_id,
                "provider_ms": round(seconds * 1000),
                "hangover_ms": request.hangover_ms,
            }
            self._commands.publish_event("hushgate.turn", figures)
