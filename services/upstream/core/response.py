"""One response, from the provider's `response.created` to the `response.done` that the client sees, exactly one."""

from dataclasses import dataclass
from typing import Literal

from services.contracts.frame import Flag
from services.contracts.ids import ItemId, ResponseId
from services.upstream.core.author import NOWHERE, Author, Place
from services.upstream.core.commands import ClearPlayout, CountError
from services.upstream.core.conversation import Conversation, shown_item, status_details
from services.upstream.core.ids import IdMap
from services.upstream.core.items import OutputItem
from services.upstream.core.shape import Json, fields, text
from services.upstream.core.transcript import Pace
from services.upstream.core.usage import shown_usage

StopReason = Literal["turn_detected", "client_cancelled"]

SETTLE_S = 1.0
"""After a stop: how long `response.done` waits for the provider's own, which has the usage."""
GIVE_UP_S = 4.0
"""After a stop: when a provider that never says that it is done is taken to be."""
MAX_ITEMS = 128
_KEPT = ("metadata", "output_modalities", "max_output_tokens", "audio")
_STATUSES = ("completed", "cancelled", "failed", "incomplete")


@dataclass(frozen=True, slots=True)
class Shared:
    """What all responses of a session work with."""

    author: Author
    ids: IdMap
    pace: Pace
    conversation: Conversation
    conversation_id: str


@dataclass(frozen=True, slots=True)
class Report:
    """How far media has played an item. ``played`` samples left the socket."""

    item_id: str
    played: int
    heard_ms: int
    cut: bool = False


class Response:
    """What the client has been told of one response, and what is still owed to it."""

    def __init__(self, shared: Shared, created: Json, *, theirs: str) -> None:
        self._shared = shared
        self._author = shared.author
        self._created = created
        self._final: Json | None = None  # the provider's own ending
        self._stopped_at: float | None = None
        self._cleared: set[str] = set()
        self._done_at: Place | None = None  # where response.done was put, while it may still be unseen
        self.in_conversation = created.get("conversation_id", "") is not None
        self.items: list[OutputItem] = []
        self.id = ResponseId(shared.ids.ours("response", theirs))
        self.theirs = theirs
        self.stopped: StopReason | None = None
        self._author.publish("response.created", {"response": self._json("in_progress")})

    @property
    def generating(self) -> bool:
        """The provider has not said that it is done."""
        return self._final is None

    @property
    def is_over(self) -> bool:
        """Nothing more can happen to it."""
        return self._final is not None and self._done_at is not None and not any(item.sounds for item in self.items)

    def item(self, their_id: str) -> OutputItem | None:
        """The item by the provider's id."""
        ours = self._shared.ids.known("item", their_id)
        return next((item for item in self.items if item.id == ours), None)

    def add_item(self, their_item: Json, output_index: int) -> bool:
        """The provider begins an item; False if there are too many."""
        theirs = text(their_item, "id")
        if self.item(theirs) is not None:
            return True
        if len(self.items) >= MAX_ITEMS:
            return False
        ours = ItemId(self._shared.ids.ours("item", theirs))
        item = OutputItem(
            self._author,
            self._shared.pace,
            item_id=ours,
            response_id=self.id,
            output_index=output_index,
            fixed=_fixed(shown_item(their_item, item_id=ours, ids=self._shared.ids)),
            in_conversation=self.in_conversation,
        )
        self.items.append(item)
        self._shared.conversation.claim(ours)
        item.begin(previous=self._shared.conversation.add(ours) if self.in_conversation else None)
        return True

    def finish(self, response: Json) -> None:
        """The provider is done with it."""
        self._final = response
        self._settle()

    def stop(self, reason: StopReason, *, now: float) -> None:
        """End it before its time: no more of it is made, played or shown."""
        if self.stopped or self.is_over:
            return
        self._halt(reason, now)
        self._end_others()
        self._settle()

    def reported(self, item: OutputItem, report: Report, *, reason: StopReason, now: float) -> None:
        """Media says how far an item was played, or where it was cut."""
        if report.cut:
            self._cut(item, report, reason, now)
        elif item.audio_ended and report.played >= item.samples:
            item.end_playout()
            self._settle()

    def was_shown(self) -> None:
        """Everything written so far is shown, whatever was played."""
        for item in self.items:
            item.was_shown()
        if self._done_at is not None:
            self._done_at = NOWHERE

    def tick(self, *, now: float) -> None:
        """Time passes: a stop must come to its end even if the provider doesn't.

        Media answers in any case, or is silent and loses the call; without its word nobody knows what was shown.
        """
        if self._stopped_at is None:
            return
        if now >= self._stopped_at + SETTLE_S and not any(item.sounds for item in self.items):
            self._write_done()
        if now >= self._stopped_at + GIVE_UP_S and self._final is None:
            self._author.count(CountError("response_timeout", "cancel"))
            self._final = {}

    def _cut(self, item: OutputItem, report: Report, reason: StopReason, now: float) -> None:
        had_ended = item.audio_ended
        item.cut(report.played)
        if self._done_at is not None and self._done_at.item_id == item.id and self._done_at.position > report.played:
            self._done_at = None
        if self._done_at is None and not self.stopped:
            self._halt(reason, now)
        unheard = not had_ended or report.heard_ms < item.generated_ms
        self._end_cut(item, min(report.heard_ms, item.generated_ms) if unheard else None)
        if self.stopped:
            self._end_others()
        self._settle()

    def _halt(self, reason: StopReason, now: float) -> None:
        self.stopped = reason
        self._stopped_at = now
        if self.generating:
            self._author.send("response.cancel", {"response_id": self.theirs})

    def _end_others(self) -> None:
        """What sounds is cleared, and its end written when media says where; the rest ends here."""
        for item in self.items:
            if item.sounds:
                if item.id not in self._cleared:
                    self._cleared.add(item.id)
                    self._author.do(ClearPlayout(item.id))
            elif item.status == "in_progress":
                item.finish("incomplete")

    def _end_cut(self, item: OutputItem, audio_end_ms: int | None) -> None:
        item.finish("incomplete")
        if audio_end_ms is not None and item.samples and self.in_conversation:
            self._truncate(item, audio_end_ms)

    def _truncate(self, item: OutputItem, audio_end_ms: int) -> None:
        cut: Json = {"content_index": item.audio_part, "audio_end_ms": audio_end_ms}
        theirs = self._shared.ids.theirs("item", item.id)
        self._author.send("conversation.item.truncate", {"item_id": theirs, **cut})
        self._author.publish("conversation.item.truncated", {"item_id": item.id, **cut})

    def _settle(self) -> None:
        """Write `response.done` as soon as everything in front of it is settled."""
        if self.stopped:
            if self._final is not None and not any(item.sounds for item in self.items):
                self._write_done()
        elif self._final is not None:
            self._write_done()

    def _write_done(self) -> None:
        if self._done_at is not None:
            return
        status = "cancelled" if self.stopped else self._final_status()
        for item in self.items:
            if item.status == "in_progress":
                item.finish("completed" if status == "completed" else "incomplete")
        self._done_at = self._end()
        self._author.publish("response.done", {"response": self._json(status)}, self._done_at)

    def _final_status(self) -> str:
        final = self._final or {}
        status = text(final, "status")
        if status == "failed":
            error = fields(fields(final, "status_details"), "error")
            self._author.count(CountError("response_failed", text(error, "code")))
        return status if status in _STATUSES else "completed"

    def _end(self) -> Place:
        if not self.stopped and any(item.is_call for item in self.items):
            return Place(flags=Flag.RELEASE_ALL)
        last = next((item for item in reversed(self.items) if item.sounds), None)
        return last.end if last else NOWHERE

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
            "usage": shown_usage(usage) if usage else None,
        }

    def _details(self) -> Json | None:
        if self.stopped:
            return {"type": "cancelled", "reason": self.stopped}
        return status_details(self._final or {}, self._shared.ids)


def _fixed(item: Json) -> Json:
    """What of an item never changes, with what strict clients need; of kinds that we only pass on, everything."""
    if item.get("type") not in ("message", "function_call"):
        return item
    fixed = {name: value for name, value in item.items() if name not in ("content", "status", "arguments")}
    if fixed["type"] == "message":
        return {**fixed, "role": "assistant"}
    return {**fixed, "name": text(fixed, "name"), "call_id": text(fixed, "call_id")}
