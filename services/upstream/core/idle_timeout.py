"""The idle timeout of `server_vad`: after an answer, when nobody speaks, the model is asked to continue."""

from services.contracts.ids import new_item_id
from services.upstream.core.command_buffer import CommandBuffer
from services.upstream.core.input_audio_buffer import InputAudioBuffer
from services.upstream.core.json_shape import Json, whole
from services.upstream.core.responses import ResponseTracker
from services.upstream.core.session_config_state import SessionConfigState
from services.upstream.core.usage import Tally


class IdleTimeout:
    """One session's idle timeout. It begins when the last answer has been played to its end."""

    def __init__(
        self,
        commands: CommandBuffer,
        config: SessionConfigState,
        *,
        input_buffer: InputAudioBuffer,
        responses: ResponseTracker,
        tally: Tally,
    ) -> None:
        self._commands = commands
        self._config = config
        self._input_buffer = input_buffer
        self._responses = responses
        self._tally = tally
        self._answers = 0  # that were followed by a timeout
        self._since: float | None = None
        self._heard_ms = 0
        self._heard_at = 0.0

    def restart(self) -> None:
        """Begin anew: the caller speaks."""
        self._since = None

    def heard_until(self, ms: int, *, now: float) -> None:
        """Record that the first ``ms`` of the caller's audio have been received at ``now``."""
        if ms >= self._heard_ms:
            self._heard_ms, self._heard_at = ms, now

    def is_over(self, *, now: float) -> bool:
        """Return whether it is over as of ``now``; call it several times a second."""
        timeout_s = self._timeout_ms / 1000
        is_quiet = self._responses.is_idle and not self._input_buffer.is_open and self._tally.responses > self._answers
        if not timeout_s or not is_quiet:
            self._since = None
            return False
        if self._since is None:
            self._since = now
        return now - self._since >= timeout_s

    def commit_silence(self, *, now: float) -> None:
        """Publish `timeout_triggered`, and commit a silence as the item that it names. Then it waits for an answer."""
        item = new_item_id()
        end_ms = self._heard_ms + round((now - self._heard_at) * 1000)
        event: Json = {
            "item_id": item,
            "audio_start_ms": max(0, end_ms - self._timeout_ms),
            "audio_end_ms": end_ms,
        }
        self._since, self._answers = None, self._tally.responses
        self._commands.publish_event("input_audio_buffer.timeout_triggered", event)
        self._input_buffer.commit_silence(item)

    @property
    def _timeout_ms(self) -> int:
        return whole(self._config.turn_detection or {}, "idle_timeout_ms")
