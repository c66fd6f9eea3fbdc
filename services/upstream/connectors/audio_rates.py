"""Resamples between a session core (16 kHz and the client's 24 kHz up, 24 kHz down) and a provider's rates."""

import base64
import binascii

from pydantic import JsonValue

from services.contracts.audio import DOWN_HZ, UP_HZ
from services.upstream.connectors.resampler import Resampler
from services.upstream.core.capabilities import Capabilities
from services.upstream.core.json_shape import Json, text
from services.upstream.core.provider_events import BETA_NAMES

_DELTA = "response.output_audio.delta"
_ENDS = frozenset(
    {"response.output_audio.done", "response.content_part.done", "response.output_item.done", "response.done"}
)


class AudioRates:
    """One connection's streams, in order. Where both sides have the same rate, audio passes unchanged."""

    def __init__(self, capabilities: Capabilities) -> None:
        self._from_caller = Resampler(UP_HZ, capabilities.input_hz)
        self._from_client = Resampler(DOWN_HZ, capabilities.input_hz)
        self._from_provider = Resampler(capabilities.output_hz, DOWN_HZ)
        self._input_hz = capabilities.input_hz
        self._output_hz = capabilities.output_hz
        self._delta: Json = {}  # the last one, whose item's stream is open

    def resample_caller_audio(self, pcm: bytes) -> bytes:
        """Return caller audio, s16le mono 16 kHz, at the provider's rate; the filter holds back some of it."""
        return self._from_caller.resample(pcm)

    def resample_client_event(self, event: Json) -> Json:
        """Return the client's event with its audio, s16le mono 24 kHz, at the provider's rate."""
        if event["type"] != "input_audio_buffer.append" or self._input_hz == DOWN_HZ:
            return event
        pcm = self._from_client.resample(base64.b64decode(text(event, "audio")))  # checked by the core
        return {**event, "audio": base64.b64encode(pcm).decode()}

    def flush_caller_audio(self) -> bytes:
        """Return what the filters hold of the caller's audio; what follows is a new stream."""
        return self._from_caller.flush() + self._from_client.flush()

    def reset_caller_audio(self) -> None:
        """Discard the caller's audio that the filters hold."""
        self._from_caller.reset()
        self._from_client.reset()

    def resample_provider_event(self, event: JsonValue) -> list[JsonValue]:
        """Return the provider's event with its audio at 24 kHz, None if that cannot be read.

        The rest of an item's audio comes before the event that ends the item.
        """
        if self._output_hz == DOWN_HZ or not isinstance(event, dict):
            return [event]
        kind = text(event, "type")
        kind = BETA_NAMES.get(kind, kind)
        if kind == _DELTA:
            return [*self._rest_before(text(event, "item_id")), *self._resampled(event)]
        return [*(self._rest() if kind in _ENDS else ()), event]

    def _resampled(self, event: Json) -> list[JsonValue]:
        try:
            pcm = base64.b64decode(text(event, "delta"), validate=True)
            out = self._from_provider.resample(pcm)
        except (binascii.Error, ValueError):
            return [None]
        self._delta = event
        return [{**event, "delta": base64.b64encode(out).decode()}]

    def _rest_before(self, item_id: str) -> list[JsonValue]:
        return self._rest() if self._delta and text(self._delta, "item_id") != item_id else []

    def _rest(self) -> list[JsonValue]:
        delta, self._delta = self._delta, {}
        pcm = self._from_provider.flush()
        return [{**delta, "delta": base64.b64encode(pcm).decode()}] if pcm else []
