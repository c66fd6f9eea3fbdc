"""What was requested of the provider for a turn that then went on: it is undone there, and the client sees none of it.

The response is cancelled; when it is over, its items and the turn's are deleted. The provider's events about them may
come long afterwards: they are recognised by their ids, and the ids by the order in which the provider answers.
"""

from collections import OrderedDict
from collections.abc import Iterable

from services.contracts.usage import taken_back_ref
from services.upstream.core.capabilities import BillingBasis
from services.upstream.core.command_buffer import CommandBuffer, Origin
from services.upstream.core.commands import BookUsage, CountError
from services.upstream.core.eager_waste import EagerWaste
from services.upstream.core.ids import IdMap
from services.upstream.core.item_registry import is_spoken
from services.upstream.core.json_shape import Json, fields, objects, text
from services.upstream.core.response import GIVE_UP_S
from services.upstream.core.response_requests import CREATED_TIMEOUT_S
from services.upstream.core.session_config_state import SessionConfigState
from services.upstream.core.usage import Tally, response_cost, response_meters, transcription_meters

MAX_REMEMBERED = 512
_TRANSCRIBED = "conversation.item.input_audio_transcription.completed"


class TakenBackTurn:
    """The newest turn of a session that was taken back, and the ids of those before it.

    Pass each event of the provider to `swallow`. Until `is_settled`, request nothing of the provider: what it then
    begins could not be told apart.
    """

    def __init__(
        self,
        commands: CommandBuffer,
        ids: IdMap,
        config: SessionConfigState,
        *,
        tally: Tally,
        waste: EagerWaste,
        meter: BillingBasis,
    ) -> None:
        self._meter = meter
        self._commands = commands
        self._ids = ids
        self._config = config
        self._tally = tally
        self._waste = waste
        self._known: OrderedDict[str, None] = OrderedDict()  # the provider's ids
        self._commit: Origin | None = None  # not confirmed yet
        self._request: Origin | None = None  # of the response that has not begun
        self._response = ""  # the turn's, which has begun and is not done
        self._unbooked: set[str] = set()  # responses that have begun and are not done
        self._is_cancelled = False
        self._may_state_limits = False  # the next that the provider states are of that response
        self._items: list[str] = []  # to be deleted
        self._generated_ms = 0
        self._since: float | None = None

    @property
    def is_needed(self) -> bool:
        """Whether an event of the provider may be about a turn that was taken back."""
        return self._since is not None or bool(self._known)

    @property
    def is_settled(self) -> bool:
        """Whether the provider has undone everything, or was given up."""
        return self._since is None

    def begin(self, commit: Origin, request: Origin, events: Iterable[Json], *, now: float) -> list[Json]:
        """Undo what was sent to the provider as ``commit`` and ``request``; return the others of its ``events``."""
        self._commit, self._request, self._since = commit, request, now
        self._response, self._is_cancelled, self._generated_ms = "", False, 0
        self._tally.taken_back += 1
        others = [event for event in events if not self._is_own(event)]
        self._undo()
        return others

    def swallow(self, event: Json) -> bool:
        """Return whether an event of the provider is about a turn that was taken back: then it needs nothing more."""
        if not self._is_own(event):
            return False
        self._undo()
        return True

    def is_refused(self, origin: Origin | None, *, is_active: bool) -> bool:
        """Return whether the provider's error is about such a turn. ``origin``: of what it refuses; None: unknown.

        ``is_active``: it refuses a response because it is generating one.
        """
        if origin is not None and origin is self._commit:
            self._commit = None
        elif self._request is not None and (origin is self._request or (origin is None and is_active)):
            self._request = None
        else:
            return False
        self._undo()
        return True

    def on_timer(self, *, now: float) -> None:
        """Give up on a provider that has not undone everything in time."""
        patience_s = GIVE_UP_S if self._request is None else CREATED_TIMEOUT_S
        if self._since is not None and now - self._since >= patience_s:
            self._commands.count_error(CountError("response_timeout", "taken_back"))
            self._commit = self._request = None
            self._delete_items()

    def _is_own(self, event: Json) -> bool:
        """Return whether the event is about a turn that was taken back, and record what it says."""
        kind, item, response = text(event, "type"), fields(event, "item"), fields(event, "response")
        item_id = text(item, "id") or text(event, "item_id")
        response_id = text(response, "id") or text(event, "response_id")
        if self._commit is not None and self._is_the_turn(kind, item, item_id):
            self._commit = None
            self._remember_item(item_id)
        elif self._request is not None and kind == "response.created":
            self._request, self._response = None, response_id
            self._unbooked.add(response_id)
            self._remember(response_id)
        elif response_id in self._known:
            self._on_response_event(kind, event, item_id)
        elif kind == "rate_limits.updated":
            return not self.is_settled or self._may_state_limits
        elif kind == "response.created":
            self._may_state_limits = False
            return False
        elif item_id not in self._known:
            return False
        elif kind == _TRANSCRIBED:
            self._book_transcription(event, item_id)
        return True

    def _is_the_turn(self, kind: str, item: Json, item_id: str) -> bool:
        if kind == "input_audio_buffer.committed":
            return True
        is_new = kind in ("conversation.item.added", "conversation.item.created") and is_spoken(item)
        return is_new and item_id not in self._known and self._ids.known("item", item_id) is None

    def _on_response_event(self, kind: str, event: Json, item_id: str) -> None:
        match kind:
            case "response.output_item.added":
                self._remember_item(item_id)
            case "response.output_audio.delta":
                delta = text(event, "delta")
                size = len(delta) * 3 // 4 - delta[-2:].count("=")
                self._tally.generated_bytes += size  # billed although it is not played
                self._generated_ms += size // 48
            case "response.done":
                self._done(fields(event, "response"))

    def _done(self, response: Json) -> None:
        for item in objects(response, "output"):
            self._remember_item(text(item, "id"))
        response_id, usage = text(response, "id"), fields(response, "usage")
        if response_id == self._response:
            self._response, self._may_state_limits = "", True
        if response_id not in self._unbooked:
            return
        self._unbooked.remove(response_id)
        self._tally.wasted_tokens += response_cost(usage)
        is_by_tokens = self._meter == "tokens"
        self._waste.record(response_cost(usage) if is_by_tokens else self._generated_ms, taken_back=True)
        reading = response_meters(usage)
        if not reading.sane:
            self._commands.count_error(CountError("usage", "response"))
        if reading.meters and is_by_tokens:
            self._commands.add(BookUsage(reading.meters, taken_back_ref(response_id)))

    def _book_transcription(self, event: Json, item_id: str) -> None:
        reading = transcription_meters(fields(event, "usage"))
        if reading.meters:
            self._commands.add(BookUsage(reading.meters, taken_back_ref(item_id), self._config.transcription_model))

    def _undo(self) -> None:
        """Send what may be sent as of now: the provider deletes no item that it is generating."""
        if self._response and not self._is_cancelled:
            self._is_cancelled = True
            self._commands.send_to_provider("response.cancel", {"response_id": self._response})
        if not (self._commit or self._request or self._response):
            self._delete_items()

    def _delete_items(self) -> None:
        for item_id in self._items:
            self._commands.send_to_provider("conversation.item.delete", {"item_id": item_id})
        self._items = []
        self._since = None

    def _remember_item(self, theirs: str) -> None:
        if theirs and theirs not in self._known:
            self._items.append(theirs)
            self._remember(theirs)

    def _remember(self, theirs: str) -> None:
        self._known[theirs] = None
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
