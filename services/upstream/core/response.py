"""One response, from the provider's `response.created` to the one `response.done` that the client gets."""

from dataclasses import dataclass
from typing import Literal

from services.contracts.frame import Flag
from services.contracts.ids import ItemId, ResponseId, new_response_id
from services.upstream.core.capabilities import Capabilities
from services.upstream.core.command_buffer import AT_ONCE, AudioPosition, CommandBuffer
from services.upstream.core.commands import ClearPlayout, CountError
from services.upstream.core.ids import IdMap
from services.upstream.core.item_registry import ItemRegistry, client_item, status_details
from services.upstream.core.items import OutputItem
from services.upstream.core.json_shape import Json, fields, text
from services.upstream.core.transcript import SpeakingRate
from services.upstream.core.usage import client_usage

StopReason = Literal["turn_detected", "client_cancelled"]

SETTLE_S = 1.0
"""After a stop: how long the client's `response.done` waits for the provider's, which has the usage."""
GIVE_UP_S = 4.0
"""After a stop: when a response counts as done if the provider sends no `response.done`."""
GIVE_UP_UNCANCELLED_S = 120.0
"""The same for a provider that cannot cancel: it generates the response to its end, and bills it."""
MAX_ITEMS = 128
_KEPT = ("metadata", "output_modalities", "max_output_tokens", "audio")
_STATUSES = ("completed", "cancelled", "failed", "incomplete")


@dataclass(frozen=True, slots=True)
class ResponseContext:
    """What all responses of a session share."""

    commands: CommandBuffer
    ids: IdMap
    pace: SpeakingRate
    conversation: ItemRegistry
    conversation_id: str
    capabilities: Capabilities


@dataclass(frozen=True, slots=True)
class Report:
    """How far media has played an item: ``played`` samples were sent to the client. ``cut``: playout stopped there.

    ``received``: of a cut, the number of the newest event that media had received before; -1 if it is not known.
    """

    item_id: str
    played: int
    heard_ms: int
    cut: bool = False
    received: int = -1


class ProviderResponse:
    """The state of one response: its items, and which of its events the client has got.

    ``beside``: it may be generated beside one of the conversation. ``as_of``: see `ItemOrder.append`.
    """

    def __init__(
        self,
        shared: ResponseContext,
        created: Json,
        *,
        theirs: str,
        in_conversation: bool,
        beside: bool = False,
        as_of: int | None = None,
    ) -> None:
        self._shared = shared
        self._as_of = as_of  # the items requested before it
        self._commands = shared.commands
        self._created = created
        self._final: Json | None = None  # the provider's own ending
        self._stopped_at: float | None = None
        self._cleared: set[str] = set()
        self._done_at: AudioPosition | None = None  # place of response.done, while a cut may drop it
        self._done_number = 0
        self.in_conversation = in_conversation
        self.beside = beside
        self.items: list[OutputItem] = []
        self.id = ResponseId(shared.ids.ours("response", theirs))
        self.theirs = theirs
        self.stopped: StopReason | None = None
        self._commands.publish_event("response.created", {"response": self._json("in_progress")})

    @property
    def generating(self) -> bool:
        """Whether the provider has not sent its `response.done`."""
        return self._final is None

    @property
    def is_over(self) -> bool:
        """Whether it is done, for the provider and the client, and its playout has ended."""
        return (
            self._final is not None and self._done_at is not None and not any(item.has_playout for item in self.items)
        )

    @property
    def is_ending(self) -> bool:
        """Whether it was stopped, and the client has not got its `response.done`."""
        return self.stopped is not None and self._done_at is None

    def item(self, their_id: str) -> OutputItem | None:
        """Return the item with the provider's id, or None."""
        ours = self._shared.ids.known("item", their_id)
        return next((item for item in self.items if item.id == ours), None)

    def add_item(self, their_item: Json, output_index: int) -> bool:
        """Add an item that the provider begins; False if there are `MAX_ITEMS` already."""
        theirs = text(their_item, "id")
        if self.item(theirs) is not None:
            return True
        if len(self.items) >= MAX_ITEMS:
            return False
        ours = ItemId(self._shared.ids.ours("item", theirs))
        item = OutputItem(
            self._commands,
            self._shared.pace,
            item_id=ours,
            response_id=self.id,
            output_index=output_index,
            fixed=_fixed(client_item(their_item, item_id=ours, ids=self._shared.ids)),
            order=self._shared.conversation.order if self.in_conversation else None,
            siblings=self.items,
        )
        self.items.append(item)
        self._place_item(ours)
        if self.in_conversation:
            self._shared.conversation.add(ours)
        item.begin()
        return True

    def hide_item(self, their_item: Json) -> None:
        """Place an item that the provider begins after the stop: the client gets none of its events."""
        self._place_item(self._shared.ids.ours("item", text(their_item, "id")))

    def _place_item(self, item_id: str) -> None:
        self._shared.conversation.mark_response_item(item_id)
        if self.in_conversation:
            self._shared.conversation.append(item_id, as_of=self._as_of)

    def finish(self, response: Json) -> None:
        """Handle the provider's `response.done`."""
        self._final = response
        self._publish_done_if_settled()

    def stop(self, reason: StopReason, *, now: float) -> None:
        """Stop generation, playout and events of it; `response.done` follows as `cancelled`."""
        if self.stopped or self.is_over:
            return
        self._stop_generation(reason, now)
        self._end_others()
        self._publish_done_if_settled()

    def on_playout_report(self, item: OutputItem, report: Report, *, reason: StopReason, now: float) -> None:
        """Handle media's report how far an item was played, or where it was cut."""
        if report.cut:
            self._cut(item, report, reason, now)
        elif item.audio_ended and report.played >= item.samples:
            item.end_playout()
            self._publish_done_if_settled()

    def store_items(self) -> None:
        """Store its items for a later session with the provider."""
        for item in self.items if self.in_conversation else ():
            if (repeated := item.for_item_create()) is not None:
                self._shared.conversation.store_content(item.id, self._with_their_call_id(repeated))

    def _with_their_call_id(self, item: Json) -> Json:
        theirs = self._shared.ids.theirs("tool_call", text(item, "call_id"))
        return item if theirs is None else {**item, "call_id": theirs}

    def on_timer(self, *, now: float) -> None:
        """Complete a stop that the provider does not confirm in time.

        It always waits for media's report of the cut, which tells what the client got: a silent media process loses
        the call.
        """
        if self._stopped_at is None:
            return
        if now >= self._stopped_at + SETTLE_S and not any(item.has_playout for item in self.items):
            self._publish_done()
        patience_s = GIVE_UP_S if self._shared.capabilities.cancel else GIVE_UP_UNCANCELLED_S
        if now >= self._stopped_at + patience_s and self._final is None:
            self._commands.count_error(CountError("response_timeout", "cancel"))
            self._final = {}

    def _cut(self, item: OutputItem, report: Report, reason: StopReason, now: float) -> None:
        had_ended = item.audio_ended
        item.cut(report.played, received=report.received)
        if self._done_at is not None and self._is_done_dropped(self._done_at, item, report):
            self._done_at = None
        if self._done_at is None and not self.stopped:
            self._stop_generation(reason, now)
        is_shortened = not had_ended or report.heard_ms < item.generated_ms
        self._end_cut(item, min(report.heard_ms, item.generated_ms) if is_shortened else None)
        if self.stopped:
            self._end_others()
        self._publish_done_if_settled()

    def _is_done_dropped(self, done_at: AudioPosition, item: OutputItem, report: Report) -> bool:
        """Return whether the client does not get the `response.done` that was published at ``done_at``."""
        if done_at.item_id != item.id or done_at.position <= report.played:
            return False
        is_received = report.received < 0 or self._done_number <= report.received
        return not (is_received and Flag.RELEASE_ALL in done_at.flags)

    def _stop_generation(self, reason: StopReason, now: float) -> None:
        self.stopped = reason
        self._stopped_at = now
        if not self.generating:
            return
        if self._shared.capabilities.cancel:
            self._commands.send_to_provider("response.cancel", {"response_id": self.theirs})
        else:  # what is still generated is dropped on arrival
            self._commands.count_missing("cancel")

    def _end_others(self) -> None:
        """Clear the playout of items that have audio, whose ends follow media's report, and end the others."""
        for item in self.items:
            if item.has_playout:
                if item.id not in self._cleared:
                    self._cleared.add(item.id)
                    self._commands.add(ClearPlayout(item.id))
            elif item.status == "in_progress":
                item.finish("incomplete")

    def _end_cut(self, item: OutputItem, audio_end_ms: int | None) -> None:
        item.finish("incomplete")
        if audio_end_ms is not None and item.samples and self.in_conversation:
            self._truncate(item, audio_end_ms)

    def _truncate(self, item: OutputItem, audio_end_ms: int) -> None:
        cut: Json = {"content_index": item.audio_part, "audio_end_ms": audio_end_ms}
        if self._shared.capabilities.truncate:
            theirs = self._shared.ids.theirs("item", item.id)
            self._commands.send_to_provider("conversation.item.truncate", {"item_id": theirs, **cut})
        else:  # the provider keeps the words that were not heard; the client gets which
            self._commands.count_missing("truncate")
        self._commands.publish_event("conversation.item.truncated", {"item_id": item.id, **cut})

    def _publish_done_if_settled(self) -> None:
        """Publish `response.done` if the provider is done and no report of a cut is outstanding."""
        if self.stopped:
            if self._final is not None and not any(item.has_playout for item in self.items):
                self._publish_done()
        elif self._final is not None:
            self._publish_done()

    def _publish_done(self) -> None:
        if self._done_at is not None:
            return
        status = "cancelled" if self.stopped else self._final_status()
        for item in self.items:
            if item.status == "in_progress":
                item.finish("completed" if status == "completed" else "incomplete")
        self._done_at = self._end()
        self._commands.publish_event("response.done", {"response": self._json(status)}, self._done_at)
        self._done_number = self._commands.published

    def _final_status(self) -> str:
        final = self._final or {}
        status = text(final, "status")
        if status == "failed":
            error = fields(fields(final, "status_details"), "error")
            self._commands.count_error(CountError("response_failed", text(error, "code")))
        return status if status in _STATUSES else "completed"

    def _end(self) -> AudioPosition:
        if not self.items:
            return AT_ONCE
        if not self.stopped and any(item.is_call for item in self.items):
            released = self.items[-1].release_all()
            behind = self.items[-1].behind(released.flags | Flag.CUTTABLE)  # dropped if a cut came before it
            return behind if behind.item_id else released
        return self.items[-1].behind(Flag.CUTTABLE)

    def _json(self, status: str) -> Json:
        kept: Json = {name: self._created[name] for name in _KEPT if self._created.get(name) is not None}
        usage = fields(self._final or {}, "usage")
        return {
            **kept,
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": self._details(),
            "output": [item.json() for item in self.items],
            "conversation_id": self._shared.conversation_id if self.in_conversation else None,
            "usage": client_usage(usage) if usage else None,
        }

    def _details(self) -> Json | None:
        if self.stopped:
            return {"type": "cancelled", "reason": self.stopped}
        return status_details(self._final or {}, self._shared.ids)


def publish_cancelled(shared: ResponseContext, parameters: Json, reason: StopReason) -> None:
    """Publish the begin and end of a response that was cancelled before the provider began it.

    ``parameters``: those of its `response.create`.
    """
    out_of_band = parameters.get("conversation") == "none"
    response: Json = {
        **{name: parameters[name] for name in _KEPT if parameters.get(name) is not None},
        "object": "realtime.response",
        "id": new_response_id(),
        "output": [],
        "conversation_id": None if out_of_band else shared.conversation_id,
        "usage": None,
    }
    begun: Json = {**response, "status": "in_progress", "status_details": None}
    shared.commands.publish_event("response.created", {"response": begun})
    ended: Json = {**response, "status": "cancelled", "status_details": {"type": "cancelled", "reason": reason}}
    shared.commands.publish_event("response.done", {"response": ended})


def _fixed(item: Json) -> Json:
    """Return the fields of an item that never change; all of them unless it is a message or a function call."""
    if item.get("type") not in ("message", "function_call"):
        return item
    fixed = {name: value for name, value in item.items() if name not in ("content", "status", "arguments")}
    if fixed["type"] == "message":
        return {**fixed, "role": "assistant"}
    return {**fixed, "name": text(fixed, "name"), "call_id": text(fixed, "call_id")}
