"""The core of a call: takes frames, events and time, and returns commands.

Nothing here waits or calls back; `media.call` executes the commands in the order given.
"""

from dataclasses import dataclass, field
from typing import Final

from services.contracts.audio import FRAME_MS, PcmFrame
from services.contracts.client_event import BadEvent, EncodedText, RefusedEvent, unknown_field
from services.contracts.endings import EndReason
from services.contracts.frame import Frame, Kind
from services.contracts.grant import OwnEvent
from services.contracts.ids import Epoch
from services.contracts.messages import Ended, MalformedMessageError, TurnDetection, expect
from services.contracts.turn_detection import DetectsTurns
from services.contracts.usage import Meter
from services.media.core.commands import (
    CallCommand,
    CountDropped,
    CountGateClose,
    CountGateOpen,
    CountTurn,
    DropReason,
    EndCall,
    SendEvent,
    SendUp,
    SetThreshold,
)
from services.media.core.conversation import gateway_events
from services.media.core.conversation.answer_hold import AnswerHold
from services.media.core.conversation.client_inbox import MAX_WAITING_BYTES, ClientInbox, ValidClientEvent
from services.media.core.conversation.client_stats import read_stats
from services.media.core.conversation.deadlines import Deadlines
from services.media.core.conversation.downlink import Downlink
from services.media.core.conversation.playout import Pulled
from services.media.core.conversation.score_report import ScoreReport
from services.media.core.conversation.uplink import GateMoved, Uplink
from services.media.core.speech.gate import GateClosed, GateOpened, JudgedOnset
from services.media.core.speech.gate_config import GateConfig

_REFUSALS: dict[BadEvent, DropReason] = {
    "binary": "client_event_binary",
    "malformed": "client_event_malformed",
    "too_large": "client_event_too_large",
}
_AWAITS_ANSWER: Final = ("speech_end", "no_packets", "max_utterance", "client_commit")
TELL_S = 3.0
"""Longest that a call which its worker ends during the set-up is kept, so that the client can read why."""


@dataclass(frozen=True, slots=True)
class ConversationConfig:
    """Configuration of one call, from its grant and the settings. ``turns``: the session's own turn detection."""

    epoch: Epoch
    max_seconds: int
    gate: GateConfig = field(default_factory=GateConfig)
    own_events: tuple[OwnEvent, ...] = ()
    receive_delay_ms: int = 0  # age of the leg's frames when they are delivered
    receives_audio: bool = True  # the client receives audio
    turns: DetectsTurns | None = None  # None: as the gate is configured


class Conversation:
    """The decisions of one call with one leg."""

    def __init__(self, config: ConversationConfig, *, now: float) -> None:
        self._config = config
        self._shows_gate = "gate" in config.own_events
        self._scores = ScoreReport() if "gate.score" in config.own_events else None
        self._gate = config.gate if config.turns is None else config.gate.with_turn_detection(config.turns)
        self._turns_number = 0  # of the change that is in force
        self._up = Uplink(self._gate)
        self.down = Downlink(receives_audio=config.receives_audio)
        self._hold = None
        if config.gate.barge_in is not None:
            shown = self.down.events if self._shows_gate else None
            self._hold = AnswerHold(config.gate.barge_in, self.down.playout, shown)
        self._inbox = ClientInbox()
        self._deadlines = Deadlines(started_at=now, max_seconds=config.max_seconds)
        self._unanswered_since: float | None = None  # end of the caller's last speech
        self._client_heard_at = now
        self._ended = False
        self._untold_end: EndReason | None = None  # the worker's, for a client whose channel is not open yet
        self._tell_until = 0.0

    def media_connected(self) -> list[CallCommand]:
        """Handle that the leg's media connection is up."""
        self._deadlines.connected = True
        return []

    def channel_opened(self) -> list[CallCommand]:
        """Handle that the leg's event channel is open; a call that the worker has ended ends with its last events."""
        commands = self.down.channel_opened()
        return [*commands, EndCall(self._untold_end, by_worker=True)] if self._untold_end else commands

    def on_caller_frame(
        self, frame: PcmFrame, *, probability: float, level_dbfs: float, now: float
    ) -> list[CallCommand]:
        """Gate 20 ms of the caller. ``probability``: that it is speech. ``level_dbfs``: infinite where unknown."""
        if self._ended:
            return []
        self._client_heard_at = now
        judged: JudgedOnset | None = None
        commands: list[CallCommand] = []
        if self._hold is not None:
            judged, commands = self._hold.on_frame(frame, self._up, self._gate, probability, level_dbfs, now=now)
        steps = self._up.on_frame(
            frame,
            probability=probability,
            level_dbfs=level_dbfs,
            playing=self.down.playout.active,
            judged=judged,
            now=now,
        )
        if steps:
            commands += self._record_sent(self._on_gate_moved(steps, now), now)
        if self._scores is not None and self.down.events.is_open:
            notice = self._scores.on_frame(frame.index, probability)
            if notice is not None:
                commands.append(SendEvent(notice))
        return commands

    def round_trip_measured(self, *, round_trip_ms: int, now: float) -> list[CallCommand]:
        """Record the round trip that the leg measured."""
        self._client_heard_at = now
        self.down.ear.measured(round_trip_ms=round_trip_ms)
        return []

    def client_lost(self, *, now: float) -> list[CallCommand]:
        """Handle a lost client: end its utterance and pause playout. Deadlines continue."""
        if self._ended:
            return []
        commands = self._hold.stop(now=now) if self._hold else []
        self.down.client_lost(since=self._client_heard_at)
        return self._record_sent(commands + self._on_gate_moved(self._up.on_packets_lost(), now), now)

    def client_recovered(self) -> list[CallCommand]:
        """Resume playout: the client has recovered."""
        self.down.playout.resume()
        return []

    def on_client_message(self, message: str | EncodedText | bytes, *, now: float) -> list[CallCommand]:
        """Handle a message of the client on its event channel."""
        if self._ended:
            return []
        self._client_heard_at = now
        event = self._inbox.read(message)
        if not isinstance(event, ValidClientEvent):
            self._inbox.append(event)
        elif event.type == "output_audio_buffer.clear":
            refused = unknown_field(event.fields, frozenset())
            if refused is None:
                return self._record_sent(self.down.cut("client_clear", now=now)[1], now)
            self._inbox.append(refused)
        elif event.type != "hushgate.client_stats":
            self._inbox.append(event.raw, kind=event.type)
        elif isinstance(stats := read_stats(event.fields), RefusedEvent):
            self._inbox.append(stats)
        else:
            self.down.ear.reported(
                buffer_ms=stats.buffer_ms, playout_ms=stats.playout_ms, round_trip_ms=stats.round_trip_ms
            )
        if self._inbox.waiting_bytes > MAX_WAITING_BYTES:
            return [CountDropped("client_event_beyond_window"), EndCall(EndReason.FLOOD)]
        return self._record_sent(self._forward_client_events(now), now)

    @property
    def waiting_bytes(self) -> int:
        """What of the client's messages waits for the worker; the leg takes less from its client meanwhile."""
        return self._inbox.waiting_bytes

    def on_worker_frame(self, frame: Frame, *, now: float) -> list[CallCommand]:
        """Handle a frame of the worker. Those of another epoch are counted and dropped."""
        if self._ended:
            return []
        if frame.epoch != self._config.epoch:
            return [CountDropped("stale_epoch")]
        self._deadlines.worker_frame_received(now=now)
        return self._record_sent(self._from_worker(frame, now), now)

    def pull(self, frames: int = 1, *, now: float) -> tuple[Pulled | None, list[CallCommand]]:
        """Return the next 20 ms for the caller, or up to ``frames`` times that, and the commands that follow."""
        if self._ended:
            return None, []
        pulled, commands = self.down.pull(frames, now=now)
        if pulled is not None and self._hold is not None:
            self._hold.on_played(pulled.pcm, now=now)
        if pulled is not None and pulled.item_id is not None and self._unanswered_since is not None:
            latency_s = max(0.0, now - self._unanswered_since)
            self._unanswered_since = None
            commands.append(CountTurn(latency_s))
            if self._shows_gate:
                notice = gateway_events.turn_answered(item_id=pulled.item_id, latency_ms=round(latency_s * 1000))
                commands += self._own_event(notice)
        return pulled, self._record_sent(commands, now) if commands else commands

    def on_timer(self, *, now: float, bus: bool = True) -> list[CallCommand]:
        """Handle what is due as of ``now``; call it several times a second. ``bus``: whether the bus is connected."""
        if self._ended:
            return []
        if self._untold_end is not None:
            return [EndCall(self._untold_end, by_worker=True)] if now >= self._tell_until else []
        if reason := self._deadlines.end_reason(bus=bus, now=now):
            return [EndCall(reason)]
        self.down.playout.on_timer(now=now)
        commands = self._hold.on_timer(now=now) if self._hold else []
        commands += self._on_gate_moved(self._up.on_timer(now=now), now)
        commands += self._forward_client_events(now)
        if self._deadlines.alive_due(now=now) and not any(isinstance(command, SendUp) for command in commands):
            commands.append(SendUp(Kind.ALIVE, self._up.next_index))
        return self._record_sent(commands, now)

    def end(self, reason: EndReason, *, now: float, by_worker: bool = False) -> list[CallCommand]:
        """End the call: close the gate, stop playout, notify client and worker. Later inputs are ignored."""
        if self._ended:
            return []
        commands = self._on_gate_moved(self._up.hang_up(), now)
        self._ended = True
        if not by_worker:
            commands.append(SendUp(Kind.ENDED, self._up.next_index, Ended(reason=reason).encode()))
        return commands + self._own_event(gateway_events.ended(reason)) if self._shows_gate else commands

    def meters(self, *, now: float) -> dict[Meter, int]:
        """Return the cumulative usage of the call that media measures."""
        return {
            Meter.AUDIO_GATED_MS: self._up.gated_ms,
            Meter.AUDIO_PLAYED_MS: self.down.playout.played_ms,
            Meter.CALL_MS: max(0, int((now - self._deadlines.started_at) * 1000)),
        }

    def _from_worker(self, frame: Frame, now: float) -> list[CallCommand]:  # noqa: PLR0911 - one for each kind of frame
        match frame.kind:
            case Kind.AUDIO_DOWN:
                return self.down.on_audio(frame, now=now)
            case Kind.SERVER_EVENT:
                return self.down.on_server_event(frame)
            case Kind.CLEAR:
                return self.down.on_clear(frame, now=now)
            case Kind.TURN_DETECTION:
                return self._apply_turn_detection(frame, now)
            case Kind.ENDED:
                return self._worker_ended(frame, now)
            case Kind.CLIENT_CREDIT:
                self._inbox.credit(frame.position)
            case Kind.ALIVE:
                pass
            case _:
                return [CountDropped("wrong_way")]
        return self._forward_client_events(now)

    def _apply_turn_detection(self, frame: Frame, now: float) -> list[CallCommand]:
        try:
            detection = expect(TurnDetection, frame.payload)
        except MalformedMessageError:
            return [CountDropped("malformed")]
        if frame.position <= self._turns_number:  # sent again after a bus outage
            return []
        self._turns_number = frame.position
        commands: list[CallCommand] = []
        if detection.threshold != self._gate.threshold:
            commands.append(SetThreshold(detection.threshold))
        self._gate = self._config.gate.with_turn_detection(detection)
        return commands + self._on_gate_moved(self._up.configure(self._gate), now)

    def _on_gate_moved(self, steps: list[GateMoved | CallCommand], now: float) -> list[CallCommand]:
        commands: list[CallCommand] = []
        for step in steps:
            if not isinstance(step, GateMoved):
                commands.append(step)
            elif isinstance(step.event, GateOpened):
                commands += self._gate_opened(step.event, now)
            else:
                commands += self._gate_closed(step.event)
        return commands

    def _gate_opened(self, event: GateOpened, now: float) -> list[CallCommand]:
        """Handle an onset; during playout it is a barge-in, which stops it before anything else is sent up."""
        self._unanswered_since = None
        cuts, commands = self.down.cut("barge_in", now=now) if self._gate.interrupts else ([], [])
        silent_at = self._hold.take_silent_since() if self._hold else None
        delay_s = self._config.receive_delay_ms / 1000 - event.onset_at
        stop_s = max(0.0, (silent_at or now) + delay_s)
        commands.append(CountGateOpen(event.cause, stop_s if cuts else None, max(0.0, now + delay_s)))
        if not self._shows_gate:
            return commands
        commands += self._own_event(
            gateway_events.gate_opened(
                at_ms=event.index * FRAME_MS,
                cause=event.cause,
                barge_in=bool(cuts),
                sent_ms=self._up.sent_ms,
                gated_ms=self._up.gated_ms,
            )
        )
        for cut in cuts:
            stopped = gateway_events.playout_stopped(
                item_id=cut.item_id, heard_ms=cut.heard_ms, stop_ms=round(stop_s * 1000)
            )
            commands += self._own_event(stopped)
        return commands

    def _gate_closed(self, event: GateClosed) -> list[CallCommand]:
        speech_end_at = event.speech_end_at - self._config.receive_delay_ms / 1000
        if event.reason in _AWAITS_ANSWER:
            self._unanswered_since = speech_end_at
        counted = CountGateClose(event.reason, event.index, speech_end_at)
        if not self._shows_gate:
            return [counted]
        notice = gateway_events.gate_closed(
            at_ms=event.index * FRAME_MS,
            reason=event.reason,
            sent_ms=self._up.sent_ms,
            gated_ms=self._up.gated_ms,
        )
        return [counted, *self._own_event(notice)]

    def _forward_client_events(self, now: float) -> list[CallCommand]:
        commands: list[CallCommand] = []
        for due in self._inbox.take_due(now=now):
            if isinstance(due, RefusedEvent):
                commands.append(CountDropped(_REFUSALS[due.reason]))
                commands += self._own_event(gateway_events.refused(due))
            else:
                commands += self._on_gate_moved(self._up.before_client_event(due.type), now)
                commands.append(due.frame)
        return commands

    def _worker_ended(self, frame: Frame, now: float) -> list[CallCommand]:
        try:
            ended = expect(Ended, frame.payload)
        except MalformedMessageError:
            return [CountDropped("malformed"), EndCall(EndReason.PROVIDER_ERROR, by_worker=True)]
        self._tell_until = min(now + TELL_S, self._deadlines.set_up_by)
        if self.down.events.awaits_channel and now < self._tell_until:
            self._untold_end = ended.reason
            return []
        return [EndCall(ended.reason, by_worker=True)]

    def _own_event(self, text: str) -> list[CallCommand]:
        return [SendEvent(shown) for shown in self.down.events.send_now(text)]

    def _record_sent(self, commands: list[CallCommand], now: float) -> list[CallCommand]:
        for command in commands:
            if isinstance(command, SendUp):
                self._deadlines.frame_sent(now=now)
                break
        return commands
