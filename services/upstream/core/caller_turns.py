"""The caller's turns: utterances become items and ask for responses as the turn detection in force says."""

from services.contracts.audio import FRAME_MS
from services.contracts.messages import CloseReason
from services.contracts.turn_detection import DetectsTurns, turn_detection_of
from services.upstream.core.capabilities import Capabilities
from services.upstream.core.command_buffer import CommandBuffer
from services.upstream.core.commands import ApplyTurnDetection, CountEagerLimit
from services.upstream.core.eager_waste import EagerWaste
from services.upstream.core.idle_timeout import IdleTimeout
from services.upstream.core.input_audio_buffer import InputAudioBuffer
from services.upstream.core.responses import AheadRequest, ResponseTracker
from services.upstream.core.session_config_state import SessionConfigState

LEFT_TO_CLIENT: tuple[CloseReason, ...] = ("client_commit", "client_clear", "turn_detection")


class CallerTurns:
    """One session's turns. Call `apply` whenever the session in force may have changed.

    ``granted``: the turn detection with which media begins the call.
    """

    def __init__(  # noqa: PLR0913 - most by keyword
        self,
        commands: CommandBuffer,
        config: SessionConfigState,
        *,
        input_buffer: InputAudioBuffer,
        responses: ResponseTracker,
        idle: IdleTimeout,
        granted: DetectsTurns,
        capabilities: Capabilities,
        waste: EagerWaste,
    ) -> None:
        self._capabilities = capabilities
        self._waste = waste
        self._steps = 0  # of the waste, that were applied
        self._commands = commands
        self._config = config
        self._input_buffer = input_buffer
        self._responses = responses
        self._idle = idle
        self._applied = granted
        self._changes = 0
        self._barged_in = False

    def apply(self) -> None:
        """Make media apply the turn detection in force, if it has changed.

        Call it before the client is told. From push to talk to voice detection, what the client has not committed is
        cleared, and it gets `input_audio_buffer.cleared`.
        """
        detection = self._detection()
        if detection == self._applied:
            return
        was, self._applied = self._applied, detection
        self._changes += 1
        self._commands.add(ApplyTurnDetection(self._changes, detection))
        if detection.automatic and not was.automatic:
            self._input_buffer.clear_uncommitted()

    def _detection(self) -> DetectsTurns:
        detection = turn_detection_of(self._config.turn_detection, self._config.turn_terms)
        may_be_eager = self._capabilities.takes_back and not self._config.may_act_by_itself
        eager_ms = self._waste.limited(detection.eager_ms, detection.silence_duration_ms) if may_be_eager else 0
        return detection.model_copy(update={"eager_ms": eager_ms})

    @property
    def is_eager(self) -> bool:
        """Whether answers are requested before a turn's end."""
        return self._applied.eager_ms > 0

    def begin(self, index: int, *, now: float) -> None:
        """Begin an utterance: the gate opened. ``index``: its first frame, pre-roll included."""
        if self._applied.automatic:
            if self._applied.interrupt_response:
                self._responses.interrupt(now=now)
            if self._barged_in:
                self._input_buffer.clear()
            self._input_buffer.utterance_started(index)
            self._idle.restart()
        self._barged_in = False

    def append(self, pcm: bytes, *, now: float) -> None:
        """Append caller audio, s16le mono 16 kHz; with voice detection, audio outside of an utterance is dropped.

        In push to talk, none comes between the pieces that the client appends itself: they are one sound.
        """
        push_to_talk = not self._applied.automatic
        if self._input_buffer.is_open or (push_to_talk and not self._input_buffer.has_client_audio):
            self._input_buffer.append_frames(pcm, push_to_talk=push_to_talk, keeps=self.is_eager, now=now)

    def end(
        self, index: int, *, reason: CloseReason, hangover_ms: int, ahead: AheadRequest | None = None, now: float
    ) -> None:
        """End the utterance: the gate closed before frame ``index``. ``hangover_ms``: silence that it waited out.

        ``ahead``: the request for its answer, if that and the commit were sent before.
        """
        automatic, has_manual_turns = self._applied.automatic, self._input_buffer.has_manual_turns
        left_to_client = has_manual_turns and reason in LEFT_TO_CLIENT
        committed = self._input_buffer.utterance_ended(index, commits=automatic and not left_to_client)
        if automatic and left_to_client and reason == "turn_detection":
            self._input_buffer.clear_uncommitted()  # the client has switched back to voice detection meanwhile
        if committed and ahead is not None:
            self._responses.requested_ahead(ahead, hangover_ms=hangover_ms, now=now)
        elif committed and has_manual_turns and self._creates_response:
            self._responses.request({}, asker="turn", hangover_ms=hangover_ms, now=now)

    def abandon(self) -> None:
        """Drop the utterance: the caller hung up during it, so that no answer is requested."""
        self._input_buffer.drop_utterance()

    def playout_cut_by_caller(self) -> None:
        """Record that the caller has stopped an answer by speaking: what is in the buffer was said before."""
        self._barged_in = True

    def heard_until(self, index: int, *, now: float) -> None:
        """Record that media has received the caller's frames before ``index``."""
        self._idle.heard_until(index * FRAME_MS, now=now)

    def on_timer(self, *, now: float) -> None:
        """Ask for a response if the caller has been silent for longer than the session's `idle_timeout_ms`.

        Make media's eager ends come later if those so far have cost too much.
        """
        if self._steps != self._waste.steps:
            self._steps = self._waste.steps
            self._commands.add(CountEagerLimit("later" if self._detection().eager_ms else "off"))
            self.apply()
        if self._idle.is_over(now=now):
            self._idle.commit_silence(now=now)
            if self._creates_response:
                self._responses.request({}, asker="turn", now=now)

    @property
    def _creates_response(self) -> bool:
        return (self._config.turn_detection or {}).get("create_response") is not False
