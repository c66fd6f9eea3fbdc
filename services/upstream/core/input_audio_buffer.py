"""The provider's input audio buffer: utterances are appended and committed, and become items.

The provider's voice detection is off, so the client's speech and commit events are written here. The provider would
refuse a commit under 100 ms, so so short an utterance is cleared instead. A provider without manual turns detects and
commits them itself; it gets silence after each utterance, or it would not detect the end.
"""

from collections import OrderedDict, deque

from services.contracts.audio import FRAME_MS, UP_FRAME_BYTES
from services.contracts.ids import ItemId, new_item_id
from services.upstream.core.call_rates import RateRefusal
from services.upstream.core.caller_audio_rate import CallerAudioRate
from services.upstream.core.capabilities import Capabilities
from services.upstream.core.command_buffer import CommandBuffer, Origin
from services.upstream.core.commands import AppendAudio
from services.upstream.core.ids import IdMap
from services.upstream.core.item_registry import ItemRegistry
from services.upstream.core.json_shape import Json
from services.upstream.core.session_config_state import SessionConfigState
from services.upstream.core.usage import Tally

MIN_COMMIT_MS = 100
TRAILING_SILENCE_MS = 1000
"""Twice what voice detectors wait for by default, sent where the provider detects the turns."""
IDLE_SILENCE_MS = 200
"""What is committed after an idle timeout: more than `MIN_COMMIT_MS`, whatever a resampler holds."""
MAX_REPEATED_AUDIO_BYTES = 30_000 // FRAME_MS * UP_FRAME_BYTES
"""30 s: most that is kept to be sent again: in a new session, or when a committed turn goes on."""
_UTTERANCE_DROPPED = "The utterance is not committed."
_REST_NOT_TAKEN = "What was taken stays in the buffer; nothing more is taken until it is committed or cleared."
_APPEND_NOT_TAKEN = "This audio is not taken; what was taken before stays in the buffer."
_MAX_DURATIONS = 256
_MAX_UNCONFIRMED = 1024
_MAX_UNTRANSCRIBED = 16


class InputAudioBuffer:
    """What of the caller's audio is in the provider's input buffer, committed and not yet confirmed."""

    def __init__(  # noqa: PLR0913 - most by keyword
        self,
        commands: CommandBuffer,
        ids: IdMap,
        config: SessionConfigState,
        *,
        conversation: ItemRegistry,
        tally: Tally,
        capabilities: Capabilities,
        rate: CallerAudioRate,
    ) -> None:
        self._rate = rate
        self._commands = commands
        self.has_manual_turns = capabilities.manual_turns
        self._ids = ids
        self._config = config
        self._conversation = conversation
        self._tally = tally
        self._item: ItemId | None = None  # of the open utterance
        self._index = 0  # of the next frame of the open utterance
        self._stopped: ItemId | None = None  # of the utterance that the client's commit is about to end
        self._ms = 0.0  # in the buffer, neither committed nor cleared
        self.has_client_audio = False
        """Whether some of that was appended by the client itself."""
        self._kept = bytearray()  # the caller's audio in it, if that is all and not too long
        self._is_committed_ahead = False  # at the provider, which has nothing in its buffer
        self._commits: deque[ItemId] = deque(maxlen=_MAX_UNCONFIRMED)  # not yet confirmed
        self._clears: deque[bool] = deque(maxlen=_MAX_UNCONFIRMED)  # not yet confirmed; whether the client asked
        self._durations: OrderedDict[str, float] = OrderedDict()
        self._untranscribed: deque[str] = deque(maxlen=_MAX_UNTRANSCRIBED)

    @property
    def is_open(self) -> bool:
        """Whether an utterance is in progress."""
        return self._item is not None

    @property
    def untranscribed(self) -> bool:
        """Whether the transcription of an utterance is outstanding."""
        return bool(self._untranscribed)

    @property
    def can_commit_ahead(self) -> bool:
        """Whether the utterance in progress can be committed before its end, and sent again if it goes on."""
        is_kept = self._ms >= MIN_COMMIT_MS and self._ms == len(self._kept) / 32
        return self._item is not None and is_kept and self.has_manual_turns and not self._commits

    @property
    def can_be_repeated(self) -> bool:
        """Whether no utterance is in progress, and what waits for a commit can be sent in a new session."""
        return self._item is None and self._ms == len(self._kept) / 32

    def forget_unconfirmed(self) -> None:
        """Discard unconfirmed commits, clears and transcriptions: the provider's session ends."""
        self._commits.clear()
        self._clears.clear()
        self._untranscribed.clear()

    def repeat(self) -> None:
        """Send what waits for a commit in a new session, ahead of all that is held for it."""
        if self._kept:
            self._commands.add(AppendAudio(bytes(self._kept)))
            self._tally.sent_bytes += len(self._kept)

    def commit_ahead(self) -> Origin:
        """Commit the utterance at the provider only; then it ends, goes on (`append_again`) or is dropped."""
        origin = Origin("input_audio_buffer.commit", item_id=self._item)
        self._commands.send_to_provider(origin.kind, origin=origin)
        self._is_committed_ahead = True
        return origin

    def append_again(self) -> None:
        """Append what was committed ahead: the utterance goes on."""
        self._is_committed_ahead = False
        self._append(bytes(self._kept))

    def drop_committed(self) -> None:
        """Forget what was committed ahead: the utterance is about to be dropped."""
        self._is_committed_ahead = False
        self._emptied()

    def utterance_started(self, index: int) -> None:
        """Begin an utterance at frame ``index``."""
        self._item, self._stopped = new_item_id(), None
        self._index = index
        fields: Json = {"item_id": self._item, "audio_start_ms": index * FRAME_MS}
        self._commands.publish_event("input_audio_buffer.speech_started", fields)

    @property
    def awaits_rate(self) -> bool:
        """Whether audio of the client waits for the rates; its further events must wait behind it."""
        return self._rate.client_waits

    def append_frames(self, pcm: bytes, *, push_to_talk: bool = False, keeps: bool = False, now: float) -> None:
        """Append caller audio: s16le mono 16 kHz. ``keeps``: it may have to be sent again, as push to talk always.

        Above a rate the rest is dropped, until the buffer is committed or cleared, and so is the utterance before it;
        what there is of push to talk stays.
        """
        self._index += len(pcm) // UP_FRAME_BYTES
        if not self._rate.admit(len(pcm) // 32, self._stop_taking if push_to_talk else self._cut, now=now):
            return
        self._append_frames(pcm)
        if push_to_talk or keeps:
            self._kept += pcm
            if len(self._kept) > MAX_REPEATED_AUDIO_BYTES:
                self._kept.clear()

    def _append_frames(self, pcm: bytes) -> None:
        self._append(pcm)
        self._ms += len(pcm) / 32

    def _cut(self, refusal: RateRefusal) -> None:
        self._rate.publish(refusal, effect=_UTTERANCE_DROPPED)
        if self._ms:
            self.clear()

    def _stop_taking(self, refusal: RateRefusal) -> None:
        self._rate.publish(refusal, effect=_REST_NOT_TAKEN)

    def append_client_audio(self, pcm_24k: bytes, encoded: str, *, client_event_id: str | None, now: float) -> None:
        """Append audio of the client's `input_audio_buffer.append`, which has no reply unless a rate refuses it."""

        def answered(refusal: RateRefusal | None) -> None:
            if refusal is None:
                self._append_client_audio(pcm_24k, encoded)
            else:
                self._rate.publish(refusal, client_event_id, effect=_APPEND_NOT_TAKEN)

        self._rate.take_for_client(len(pcm_24k) // 48, answered, now=now)

    def _append_client_audio(self, pcm_24k: bytes, encoded: str) -> None:
        if self._commands.send_to_provider("input_audio_buffer.append", {"audio": encoded}):
            self._ms += len(pcm_24k) / 48
            self.has_client_audio = True
            self._tally.sent_24k_bytes += len(pcm_24k)

    def utterance_ended(self, index: int, *, commits: bool) -> bool:
        """End the utterance before frame ``index``; return whether it was committed.

        Without ``commits`` its audio stays in the buffer, and what the client commits next is its item.
        """
        item, self._item = self._item, None
        if item is None:
            return False
        self._rate.settle()
        fields: Json = {"item_id": item, "audio_end_ms": index * FRAME_MS}
        self._commands.publish_event("input_audio_buffer.speech_stopped", fields)
        if not commits:
            self._stopped = item
            return False
        if self._ms >= MIN_COMMIT_MS:
            return self._commit(item, Origin("input_audio_buffer.commit", item_id=item))
        if self._ms:
            self.clear()
        return False

    def drop_utterance(self) -> None:
        """Drop the utterance: the rest of it will not come."""
        self._item = None
        self._rate.settle()
        if self._ms:
            self.clear()

    def commit_for_client(self, client_event_id: str | None) -> bool:
        """Commit the buffer for the client; False if it holds less than `MIN_COMMIT_MS`."""
        self._rate.settle()
        if self._ms < MIN_COMMIT_MS:
            return False
        self.utterance_ended(self._index, commits=False)  # media has ended it before
        item, self._stopped = self._stopped or new_item_id(), None
        origin = Origin("input_audio_buffer.commit", by_client=True, client_event_id=client_event_id, item_id=item)
        return self._commit(item, origin)

    def commit_silence(self, item: ItemId) -> None:
        """Commit a short silence as ``item``: nobody has spoken."""
        self._append_frames(bytes(IDLE_SILENCE_MS // FRAME_MS * UP_FRAME_BYTES))
        self._commit(item, Origin("input_audio_buffer.commit", item_id=item))

    def clear_for_client(self, origin: Origin) -> None:
        """Clear the buffer for the client, which gets `input_audio_buffer.cleared`."""
        self._rate.settle()
        self.utterance_ended(self._index, commits=False)  # media has ended it before
        self.clear(origin)

    def clear_uncommitted(self) -> None:
        """Clear what the client has not committed, if anything: voice detection begins with an empty buffer."""
        self._rate.settle()
        if self._ms:
            self.clear(Origin("input_audio_buffer.clear", by_client=True))

    def clear(self, origin: Origin | None = None) -> None:
        """Clear the buffer, if the provider has manual turns. ``origin``: the client's request, to be confirmed."""
        self._stopped = None
        if not self.has_manual_turns:
            self._emptied()
            return
        if self._commands.send_to_provider("input_audio_buffer.clear", origin=origin):
            self._emptied()
            self._clears.append(origin is not None)

    def cleared(self) -> None:
        """Handle the provider's confirmation of a clear; the client gets it if it asked."""
        if self._clears and self._clears.popleft():
            self._commands.publish_event("input_audio_buffer.cleared", {})

    def committed(self, theirs: str, *, previous: str | None) -> bool:
        """Handle the provider's confirmation of a commit: bind its item to the one that the client has already.

        ``previous``: the item that the provider names before it. Return False if the item belongs to no commit.
        """
        if not self._commits or self._ids.known("item", theirs) is not None:
            return False
        ours = self._commits.popleft()
        self._ids.bind("item", ours=ours, theirs=theirs)
        self._conversation.order.confirm(ours, previous=previous)
        return True

    def commit_failed(self, item_id: str) -> None:
        """Remove the commit: the provider makes no item of it. The client, which has `committed`, gets `deleted`."""
        if item_id in self._commits:
            self._commits.remove(ItemId(item_id))
            self.transcribed(item_id)
            self._conversation.remove(item_id)
            self._commands.publish_event("conversation.item.deleted", {"item_id": item_id})

    def transcribed(self, item_id: str) -> None:
        """Record that the item's transcription has arrived or failed."""
        if item_id in self._untranscribed:
            self._untranscribed.remove(item_id)

    def duration_s(self, item_id: str) -> float:
        """Return the seconds of audio in the utterance that became ``item_id``; 0 if unknown."""
        return self._durations.get(item_id, 0.0)

    def _emptied(self) -> None:
        self._ms = 0.0
        self.has_client_audio = False
        self._kept.clear()

    def _append(self, pcm: bytes) -> None:
        self._tally.sent_bytes += len(pcm) - self._commands.append_audio(pcm)

    def _commit(self, item: ItemId, origin: Origin) -> bool:
        if not self.has_manual_turns:
            self._append(bytes(TRAILING_SILENCE_MS // FRAME_MS * UP_FRAME_BYTES))
            while self._commits:  # what it did not detect as a turn never becomes an item
                self.commit_failed(self._commits[0])
        elif self._is_committed_ahead:
            self._is_committed_ahead = False
        elif not self._commands.send_to_provider("input_audio_buffer.commit", origin=origin):
            return False
        self._durations[item] = self._ms / 1000
        if len(self._durations) > _MAX_DURATIONS:
            self._durations.popitem(last=False)
        self._emptied()
        self._commits.append(item)
        if self._config.transcribes:
            self._untranscribed.append(item)
        self._conversation.reserve(item)
        fields: Json = {"item_id": item, "previous_item_id": self._conversation.order.show(item)}
        self._commands.publish_event("input_audio_buffer.committed", fields)
        return True
