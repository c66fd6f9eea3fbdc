"""The downlink: answers into the playout buffer, events in step with them, reports of what was played."""

import json
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from services.contracts.audio import DOWN_HZ, SAMPLE_BYTES, samples_to_ms
from services.contracts.frame import Flag, Frame, Kind, MalformedFrameError, decode_server_event
from services.contracts.ids import ItemId
from services.contracts.messages import PlayoutReport
from services.media.core.commands import CallCommand, CountDropped, SendEvent, SendUp
from services.media.core.conversation import gateway_events
from services.media.core.conversation.playout import MAX_REMEMBERED_ITEMS, Cut, Playout, Pulled
from services.media.core.conversation.release import HeldEvent, ReleaseQueue
from services.media.core.conversation.truncation import EarDelay, HeardClock

REPORT_SAMPLES = DOWN_HZ // 5
"""Every 200 ms while playing: reports give the worker credit."""
MAX_POSITION = 24 * 3600 * DOWN_HZ
"""A day of audio; a position beyond that is an error."""

CutCause = Literal["barge_in", "client_clear", "worker_clear"]
_NAMES_RESPONSE = ("response.output_item.added", "response.content_part.added")


@dataclass(frozen=True, slots=True)
class WasCut:
    """An item that a cut stopped."""

    item_id: ItemId
    heard_ms: int
    started: bool


class Downlink:
    """One call's answers and events for the client.

    A client that receives no audio (a `sendonly` offer) is sent none: it is discarded as it comes, so that credit and
    events continue, and 0 ms of every item were heard.
    """

    def __init__(self, *, receives_audio: bool = True) -> None:
        self._listens = receives_audio
        self.playout = Playout()
        self.events = ReleaseQueue(self.playout)
        self.ear = EarDelay()
        self._heard = HeardClock()
        self._ends: OrderedDict[ItemId, int] = OrderedDict()  # heard_ms of finished items
        self._unreported = 0

    def channel_opened(self) -> list[CallCommand]:
        """Release the events that waited for the channel."""
        return [SendEvent(text) for text in self.events.channel_opened()]

    def on_audio(self, frame: Frame, *, now: float) -> list[CallCommand]:
        """Handle an AUDIO_DOWN frame."""
        if frame.item_id is None or frame.position > MAX_POSITION:
            return [CountDropped("malformed")]
        end = Flag.ITEM_END in frame.flags
        if not self._listens:
            return self._pass_over(frame.item_id, frame.position + len(frame.payload) // SAMPLE_BYTES, end=end)
        over = self.playout.queue_audio(frame.item_id, frame.position, frame.payload, end=end, now=now)
        return [command for item_id in over for command in self._item_over(item_id)]

    def on_server_event(self, frame: Frame) -> list[CallCommand]:
        """Handle a SERVER_EVENT frame."""
        try:
            sequence, raw = decode_server_event(frame.payload)
            text = raw.decode()
        except (MalformedFrameError, UnicodeDecodeError):
            return [CountDropped("malformed")]
        if any(name in text for name in _NAMES_RESPONSE):
            self._learn_response(text)
        held = HeldEvent(text, frame.item_id, frame.position, frame.flags)
        return [SendEvent(shown) for shown in self.events.enqueue_server_event(held, sequence=sequence)]

    def on_clear(self, frame: Frame, *, now: float) -> list[CallCommand]:
        """Handle a CLEAR frame: stop the item. The reply, a PLAYOUT_REPORT, is sent in any case."""
        if frame.item_id is not None and (heard_ms := self._ends.get(frame.item_id)) is not None:
            if Flag.RESENT in frame.flags:
                return []  # our reply is sent again, too
            return [self._report(frame.item_id, heard_ms, cause="worker_clear")]
        return self.cut("worker_clear", now=now, item_id=frame.item_id)[1]

    def cut(
        self, cause: CutCause, *, now: float, item_id: ItemId | None = None
    ) -> tuple[list[WasCut], list[CallCommand]]:
        """Stop playout (or only of ``item_id``), release its events, notify the client, then the worker."""
        sounding = self.playout.current
        cuts = self.playout.cut(item_id)
        done = [WasCut(cut.item_id, self._heard_of(cut, sounding, now), cut.started) for cut in cuts]
        played = {cut.item_id: cut.played for cut in cuts}
        commands: list[CallCommand] = [SendEvent(text) for text in self.events.cut(played)]
        for was in done:
            if was.started:
                commands += self._buffer_event("cleared", was.item_id)
            self._remember_end(was.item_id, was.heard_ms)
            commands.append(self._report(was.item_id, was.heard_ms, cause=cause))
        return done, commands

    def pull(self, frames: int = 1, *, now: float) -> tuple[Pulled | None, list[CallCommand]]:
        """Return the next 20 ms for the caller, or up to ``frames`` times that, and the commands that follow."""
        pulled = self.playout.pull(frames)
        if pulled is None or pulled.item_id is None:
            return pulled, []
        if pulled.first:
            self._heard.started()
            self._unreported = 0
        self._heard.played(pulled.start, pulled.end, now=now)
        self._unreported += pulled.end - pulled.start
        due = pulled.first or pulled.last or self._unreported >= REPORT_SAMPLES
        if due or self.events.may_release(pulled.item_id, pulled.end):
            return pulled, self._left(pulled, pulled.item_id, now)
        return pulled, []

    def client_lost(self, *, since: float) -> None:
        """Pause playout: the client is lost since ``since``, and audio sent later does not count as heard."""
        self.playout.pause()
        self._heard.lost(since=since)

    def _pass_over(self, item_id: ItemId, end_position: int, *, end: bool) -> list[CallCommand]:
        if self.playout.pass_over(item_id, end_position, end=end):
            return self._item_over(item_id)
        commands: list[CallCommand] = [SendEvent(text) for text in self.events.release(item_id)]
        return commands if self.playout.is_over(item_id) else [*commands, self._report(item_id, 0)]

    def _left(self, pulled: Pulled, item_id: ItemId, now: float) -> list[CallCommand]:
        commands = self._buffer_event("started", item_id) if pulled.first else []
        if pulled.last:
            return commands + self._item_over(item_id)
        commands += [SendEvent(text) for text in self.events.release(item_id)]
        if self._unreported >= REPORT_SAMPLES:
            self._unreported = 0
            commands.append(self._report(item_id, self._heard_ms(now)))
        return commands

    def _item_over(self, item_id: ItemId) -> list[CallCommand]:
        # Sent audio cannot be stopped any more.
        heard_ms = samples_to_ms(self.playout.played(item_id)) if self._listens else 0
        self._remember_end(item_id, heard_ms)
        commands: list[CallCommand] = [SendEvent(text) for text in self.events.release(item_id)]
        if heard_ms:
            commands += self._buffer_event("stopped", item_id)
        report = PlayoutReport(heard_ms=heard_ms)
        commands.append(SendUp(Kind.PLAYOUT_REPORT, self.playout.played(item_id), report.encode(), item_id=item_id))
        return commands

    def _heard_ms(self, now: float) -> int:
        return self._heard.heard_ms(now=now, ear_delay_ms=self.ear.ms)

    def _heard_of(self, cut: Cut, sounding: ItemId | None, now: float) -> int:
        return self._heard_ms(now) if cut.started and cut.item_id == sounding else 0

    def _remember_end(self, item_id: ItemId, heard_ms: int) -> None:
        self._ends[item_id] = heard_ms
        if len(self._ends) > MAX_REMEMBERED_ITEMS:
            self._ends.popitem(last=False)

    def _report(self, item_id: ItemId, heard_ms: int, *, cause: CutCause | None = None) -> SendUp:
        is_cut = cause is not None
        report = PlayoutReport(
            heard_ms=heard_ms, cut=is_cut, cause=cause, received=self.events.received if is_cut else -1
        )
        return SendUp(Kind.PLAYOUT_REPORT, self.playout.played(item_id), report.encode(), item_id=item_id)

    def _buffer_event(self, state: gateway_events.BufferState, item_id: ItemId) -> list[CallCommand]:
        response_id = self.events.response_of(item_id)
        if response_id is None:  # strict clients refuse the event without it
            return []
        text = gateway_events.output_audio_buffer(state, response_id=response_id)
        return [SendEvent(shown) for shown in self.events.send_now(text)]

    def _learn_response(self, text: str) -> None:
        try:
            event = json.loads(text)
            item_id = event["item"]["id"] if "item" in event else event["item_id"]
            response_id = event["response_id"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return  # another event whose text contains the name
        if isinstance(item_id, str) and isinstance(response_id, str):
            self.events.set_response(ItemId(item_id), response_id)
