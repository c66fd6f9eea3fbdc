"""One call, decided: frames and events of both sides and the clock go in, commands come out.

Nothing here waits, and nothing calls back; `media.call` carries the commands out in the order given.
"""

from dataclasses import dataclass, field

from pydantic import JsonValue

from services.contracts.audio import FRAME_MS, PcmFrame
from services.contracts.endings import EndReason
from services.contracts.frame import Frame, Kind
from services.contracts.grant import OwnEvent
from services.contracts.ids import Epoch
from services.contracts.messages import Ended, MalformedMessageError, expect
from services.contracts.usage import Meter
from services.media.core import notices
from services.media.core.commands import (
    Command,
    CountDropped,
    CountGateClose,
    CountGateOpen,
    CountTurn,
    EndCall,
    SendEvent,
    SendUp,
)
from services.media.core.deadlines import Deadlines
from services.media.core.downlink import Downlink
from services.media.core.gate import GateClosed, GateConfig, GateOpened
from services.media.core.inbox import ClientEvent, Inbox, Rejected
from services.media.core.playout import Pulled
from services.media.core.release import HeldEvent
from services.media.core.uplink import GateMoved, Uplink

MAX_STATED_MS = 60_000


@dataclass(frozen=True, slots=True)
class ConversationConfig:
    """What a grant and the settings say about one call."""

    epoch: Epoch
    max_seconds: int
    gate: GateConfig = field(default_factory=GateConfig)
    own_events: tuple[OwnEvent, ...] = ()
    receive_delay_ms: int = 0  # how old a leg's frames are when they come
    listens: bool = True  # the client takes sound from us


class Conversation:
    """The decisions of one call with one leg."""

    def __init__(self, config: ConversationConfig, *, now: float) -> None:
        self._config = config
        self._shows_gate = "gate" in config.own_events
        self._up = Uplink(config.gate)
        self.down = Downlink(listens=config.listens)
        self._inbox = Inbox()
        self._deadlines = Deadlines(started_at=now, max_seconds=config.max_seconds)
        self._unanswered_since: float | None = None  # true end of the caller's last speech
        self._client_heard_at = now
        self._ended = False

    def connected(self) -> list[Command]:
        """The leg's media flows."""
        self._deadlines.connected = True
        return []

    def opened(self) -> list[Command]:
        """The leg can be sent events."""
        return self.down.open()

    def caller_frame(self, frame: PcmFrame, *, speech: bool, now: float) -> list[Command]:
        """20 ms of the caller."""
        if self._ended:
            return []
        self._client_heard_at = now
        steps = self._up.push(frame, speech=speech, playing=self.down.playout.active, now=now)
        return self._went_up(self._moved(steps, now), now) if steps else []

    def measured(self, *, round_trip_ms: int, now: float) -> list[Command]:
        """The leg measured its round trip."""
        self._client_heard_at = now
        self.down.ear.measured(round_trip_ms=round_trip_ms)
        return []

    def lost(self, *, now: float) -> list[Command]:
        """Nothing comes from the client: its utterance is over, and the answer waits for it. Deadlines go on."""
        if self._ended:
            return []
        self.down.lost(since=self._client_heard_at)
        return self._went_up(self._moved(self._up.lost(), now), now)

    def recovered(self) -> list[Command]:
        """The client is back and hears the rest of the answer."""
        self.down.playout.resume()
        return []

    def client_message(self, message: str | bytes, *, now: float) -> list[Command]:
        """The client says something on its channel."""
        if self._ended:
            return []
        self._client_heard_at = now
        event = self._inbox.take(message, now=now)
        if isinstance(event, Rejected):
            return [CountDropped(event.reason)]
        if event.type == "hushgate.client_stats":
            return self._client_stats(event)
        if event.type == "output_audio_buffer.clear":
            return self._went_up(self.down.cut("client_clear", now=now)[1], now)
        said = SendUp(Kind.CLIENT_EVENT, self._up.next_index, event.raw)
        return self._went_up([*self._up.flush(), said], now)

    def worker_frame(self, frame: Frame, *, now: float) -> list[Command]:
        """A frame from the bus. Only the owner's count; those of an owner before it are thrown away."""
        if self._ended:
            return []
        if frame.epoch != self._config.epoch:
            return [CountDropped("stale_epoch")]
        self._deadlines.heard_worker(now=now)
        return self._went_up(self._from_worker(frame, now), now)

    def pull(self, frames: int = 1, *, now: float) -> tuple[Pulled | None, list[Command]]:
        """The next 20 ms for the caller, or up to ``frames`` times that."""
        if self._ended:
            return None, []
        pulled, commands = self.down.pull(frames, now=now)
        if pulled is not None and pulled.item_id is not None and self._unanswered_since is not None:
            latency_s = max(0.0, now - self._unanswered_since)
            self._unanswered_since = None
            commands.append(CountTurn(latency_s))
            if self._shows_gate:
                notice = notices.turn_answered(item_id=pulled.item_id, latency_ms=round(latency_s * 1000))
                commands += self._own_event(notice)
        return pulled, self._went_up(commands, now) if commands else commands

    def tick(self, *, now: float, bus: bool = True) -> list[Command]:
        """Time passes: call this several times a second; ``bus``: whether the bus is there."""
        if self._ended:
            return []
        if reason := self._deadlines.over(bus=bus, now=now):
            return [EndCall(reason)]
        self.down.playout.tick(now=now)
        commands = self._moved(self._up.tick(now=now), now)
        if not commands and self._deadlines.alive_due(now=now):
            commands = [SendUp(Kind.ALIVE, self._up.next_index)]
        return self._went_up(commands, now)

    def end(self, reason: EndReason, *, now: float, by_worker: bool = False) -> list[Command]:
        """The call is over: close what is open, tell whom it concerns. Afterwards nothing is accepted."""
        if self._ended:
            return []
        commands = self._moved(self._up.hang_up(), now)
        self._ended = True
        if not by_worker:
            commands.append(SendUp(Kind.ENDED, self._up.next_index, Ended(reason=reason).encode()))
        return commands + self._own_event(notices.ended(reason)) if self._shows_gate else commands

    def meters(self, *, now: float) -> dict[Meter, int]:
        """Cumulative usage of the call, as media counts it."""
        return {
            Meter.AUDIO_GATED_MS: self._up.gated_ms,
            Meter.AUDIO_PLAYED_MS: self.down.playout.played_ms,
            Meter.CALL_MS: max(0, int((now - self._deadlines.started_at) * 1000)),
        }

    def _from_worker(self, frame: Frame, now: float) -> list[Command]:
        match frame.kind:
            case Kind.AUDIO_DOWN:
                return self.down.audio(frame, now=now)
            case Kind.SERVER_EVENT:
                return self.down.server_event(frame)
            case Kind.CLEAR:
                return self.down.clear(frame, now=now)
            case Kind.ENDED:
                return self._worker_ended(frame)
            case Kind.ALIVE:
                return []
            case _:
                return [CountDropped("wrong_way")]

    def _moved(self, steps: list[GateMoved | Command], now: float) -> list[Command]:
        commands: list[Command] = []
        for step in steps:
            if not isinstance(step, GateMoved):
                commands.append(step)
            elif isinstance(step.event, GateOpened):
                commands += self._gate_opened(step.event, now)
            else:
                commands += self._gate_closed(step.event)
        return commands

    def _gate_opened(self, event: GateOpened, now: float) -> list[Command]:
        """A caller who speaks during playout stops it before anything else goes up."""
        self._unanswered_since = None
        cuts, commands = self.down.cut("barge_in", now=now)
        stop_s = max(0.0, now - event.onset_at) + self._config.receive_delay_ms / 1000
        commands.append(CountGateOpen(event.cause, stop_s if cuts else None))
        if not self._shows_gate:
            return commands
        commands += self._own_event(
            notices.gate_opened(
                at_ms=event.index * FRAME_MS,
                cause=event.cause,
                barge_in=bool(cuts),
                sent_ms=self._up.sent_ms,
                gated_ms=self._up.gated_ms,
            )
        )
        for cut in cuts:
            stopped = notices.playout_stopped(item_id=cut.item_id, heard_ms=cut.heard_ms, stop_ms=round(stop_s * 1000))
            commands += self._own_event(stopped)
        return commands

    def _gate_closed(self, event: GateClosed) -> list[Command]:
        speech_end_at = event.speech_end_at - self._config.receive_delay_ms / 1000
        self._unanswered_since = speech_end_at
        counted = CountGateClose(event.reason, event.index, speech_end_at)
        if not self._shows_gate:
            return [counted]
        notice = notices.gate_closed(
            at_ms=event.index * FRAME_MS,
            reason=event.reason,
            sent_ms=self._up.sent_ms,
            gated_ms=self._up.gated_ms,
        )
        return [counted, *self._own_event(notice)]

    def _client_stats(self, event: ClientEvent) -> list[Command]:
        """Measured by the client itself; never forwarded."""
        buffer_ms = _milliseconds(event.fields.get("jitter_buffer_ms"))
        if buffer_ms is None:
            return [CountDropped("client_event_malformed")]
        self.down.ear.reported(
            buffer_ms=buffer_ms,
            playout_ms=_milliseconds(event.fields.get("playout_delay_ms")),
            round_trip_ms=_milliseconds(event.fields.get("round_trip_ms")),
        )
        return []

    def _worker_ended(self, frame: Frame) -> list[Command]:
        try:
            ended = expect(Ended, frame.payload)
        except MalformedMessageError:
            return [CountDropped("malformed"), EndCall(EndReason.PROVIDER_ERROR, by_worker=True)]
        return [EndCall(ended.reason, by_worker=True)]

    def _own_event(self, text: str) -> list[Command]:
        return [SendEvent(shown) for shown in self.down.events.show(HeldEvent(text))]

    def _went_up(self, commands: list[Command], now: float) -> list[Command]:
        for command in commands:
            if isinstance(command, SendUp):
                self._deadlines.sent(now=now)
                break
        return commands


def _milliseconds(value: JsonValue) -> int | None:
    """JSON may hold anything there, and Python's reader accepts NaN and Infinity."""
    return int(value) if isinstance(value, (int, float)) and 0 <= value < MAX_STATED_MS else None
