"""One call's frames from media: decoded, checked, and passed to the session core.

The client's events wait here while the session does not take any (`SessionCore.takes_client_events`, and the queue of
the provider's connection); audio, reports and the end of the call pass them.
"""

from collections import deque

from services.contracts import frame as frames
from services.contracts.audio import UP_FRAME_BYTES
from services.contracts.client_event import MAX_EVENT_BYTES, RefusedEvent, read_event
from services.contracts.frame import Flag, Frame, Kind, MalformedFrameError
from services.contracts.ids import Epoch
from services.contracts.messages import (
    EagerEnd,
    Ended,
    MalformedMessageError,
    PlayoutReport,
    UtteranceEnd,
    UtteranceStart,
    expect,
)
from services.runtime import clock
from services.runtime.telemetry.metrics import BUS_DROPPED, BUS_FRAME_AGE
from services.upstream.core.commands import SessionCommand
from services.upstream.core.response import Report
from services.upstream.core.session import SessionCore
from services.upstream.media_publisher import MediaPublisher
from services.upstream.trace import SessionTrace

_MAX_AUDIO_UP_BYTES = 2 * UP_FRAME_BYTES
_REMEMBERED = 1024
"""Frames other than audio: more than media publishes again (runtime/bus/reliable_sender.py)."""
_CREDIT_EVERY = 64 * 1024
"""A quarter of what media sends without credit: an ordinary call needs none."""
_NEVER_RESENT = (Kind.AUDIO_UP, Kind.ALIVE)
_NO_TURN = ("client_clear", "turn_detection")
_TELLS_POSITION = (Kind.UTTERANCE_END, Kind.ALIVE)


class CallerFrames:
    """Handles one call's frames. Pass each payload to `decode_frame`, and what that returns to `on_frame`."""

    def __init__(self, *, epoch: Epoch, core: SessionCore, publisher: MediaPublisher, trace: SessionTrace) -> None:
        self._epoch = epoch
        self._core = core
        self._publisher = publisher
        self._trace = trace
        self._known: deque[int] = deque(maxlen=_REMEMBERED)
        self._waiting: deque[tuple[int, bytes]] = deque()  # the client's events, each with its position
        self._pieces = bytearray()  # of the event whose end has not come
        self._received = 0  # position of the client's last event
        self._audio_end = 0  # index after the last frame of audio
        self._eager_at = 0  # position of the last EAGER_END
        self._granted = 0

    def decode_frame(self, data: bytes) -> Frame | None:
        """Return the frame; None if it is malformed, of another epoch, or a resent one that arrived before."""
        try:
            frame = frames.decode(data)
        except MalformedFrameError:
            BUS_DROPPED.labels("malformed").inc()
            return None
        if frame.epoch != self._epoch:
            BUS_DROPPED.labels("stale_epoch").inc()
            return None
        BUS_FRAME_AGE.labels("up").observe(max(0, clock.unix_ms() - frame.sent_unix_ms) / 1000)
        if frame.kind not in _NEVER_RESENT:
            key = hash(frames.without_flags(data))
            if Flag.RESENT in frame.flags and key in self._known:
                return None
            self._known.append(key)
        return frame

    def on_frame(self, frame: Frame, *, now: float) -> list[SessionCommand] | Ended:
        """Return the commands that follow from ``frame``, or `Ended` if media ends the call by it.

        A frame with a malformed payload or of a kind that media never sends is counted and dropped.
        """
        self._publisher.on_media_frame(frame, now=now)
        if frame.kind in _TELLS_POSITION:
            self._core.heard_until(frame.position, now=now)
        result: list[SessionCommand] | Ended = []
        try:
            match frame.kind:
                case Kind.AUDIO_UP:
                    result = self._on_audio(frame, now)
                case Kind.UTTERANCE_START | Kind.UTTERANCE_END | Kind.EAGER_END | Kind.TURN_RESUMED:
                    result = self._on_turn(frame, now)
                case Kind.CLIENT_EVENT:
                    self._on_client_event(frame)
                case Kind.PLAYOUT_REPORT:
                    result = self._on_playout_report(frame, now)
                case Kind.ENDED:
                    result = expect(Ended, frame.payload)
                case Kind.ALIVE:
                    pass
                case _:
                    BUS_DROPPED.labels("wrong_way").inc()
        except MalformedMessageError:
            BUS_DROPPED.labels("malformed").inc()
        return result

    def next_client_event(self, *, now: float) -> list[SessionCommand] | None:
        """Return the commands that follow from the client's next event; None if the session takes none now."""
        if not self._waiting or not self._core.takes_client_events:
            return None
        position, raw = self._waiting.popleft()
        self._handled(position)
        event = read_event(raw)
        if isinstance(event, RefusedEvent):
            return self._core.refuse_client_event(event)
        self._trace.on_client_event(event, now=now)
        return self._core.on_client_event(event, now=now)

    def _on_client_event(self, frame: Frame) -> None:
        if Flag.RESENT in frame.flags and frame.position <= self._received:
            return  # of a burst of more than `_REMEMBERED`
        self._received = max(self._received, frame.position)
        self._pieces += frame.payload
        if len(self._pieces) > MAX_EVENT_BYTES:
            self._pieces.clear()
            raise MalformedMessageError("a client event that is too large")
        if Flag.MORE in frame.flags:
            self._handled(frame.position)
        else:
            self._waiting.append((frame.position, bytes(self._pieces)))
            self._pieces = bytearray()

    def _handled(self, position: int) -> None:
        if position - self._granted >= _CREDIT_EVERY:
            self._granted = position
            self._publisher.grant_credit(position)

    def _on_audio(self, frame: Frame, now: float) -> list[SessionCommand]:
        pcm = _checked_audio(frame.payload)
        self._audio_end = frame.position + len(pcm) // UP_FRAME_BYTES
        return self._core.audio_up(pcm, now=now)

    def _on_turn(self, frame: Frame, now: float) -> list[SessionCommand]:
        if frame.kind is Kind.UTTERANCE_START:
            expect(UtteranceStart, frame.payload)
            return self._core.utterance_started(frame.position, now=now)
        if frame.kind is Kind.UTTERANCE_END:
            return self._on_utterance_end(frame, now)
        if frame.position < max(self._audio_end, self._eager_at):  # sent again after an outage, and out of date
            return []
        if frame.kind is Kind.TURN_RESUMED:
            return self._core.turn_resumed(now=now)
        expect(EagerEnd, frame.payload)
        self._eager_at = frame.position
        return self._core.turn_probably_ended(is_quiet=not self._waiting, now=now)

    def _on_utterance_end(self, frame: Frame, now: float) -> list[SessionCommand]:
        end = expect(UtteranceEnd, frame.payload)
        if end.reason == "hangup":
            return self._core.utterance_abandoned(now=now)
        if end.reason not in _NO_TURN:
            self._trace.utterance_ended(frame.position, now=now)
        return self._core.utterance_ended(frame.position, reason=end.reason, hangover_ms=end.hangover_ms, now=now)

    def _on_playout_report(self, frame: Frame, now: float) -> list[SessionCommand]:
        report = expect(PlayoutReport, frame.payload)
        if frame.item_id is None:
            raise MalformedMessageError("a playout report without an item")
        self._publisher.on_played(frame.item_id, frame.position)
        played = Report(frame.item_id, frame.position, report.heard_ms, cut=report.cut, received=report.received)
        return self._core.playout_reported(played, by_caller=report.cause == "barge_in", now=now)


def _checked_audio(pcm: bytes) -> bytes:
    """Return ``pcm``, one or two whole frames.

    Raises:
        MalformedMessageError: it has another length.
    """
    if not 0 < len(pcm) <= _MAX_AUDIO_UP_BYTES or len(pcm) % UP_FRAME_BYTES:
        raise MalformedMessageError(f"audio of {len(pcm)} bytes")
    return pcm
