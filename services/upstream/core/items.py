"""One piece of an answer: what the client was told of it, what of that it will see, and how it ends.

Media shows an event that is CUTTABLE unless the item is cut before the event's position. So a report of the cut
says exactly which of the endings were shown; the others are written once more, the way it really ended.
"""

from dataclasses import dataclass, field
from typing import Literal

from services.contracts.audio import DOWN_HZ, SAMPLE_BYTES, samples_to_ms
from services.contracts.frame import Flag
from services.contracts.ids import ItemId, ResponseId
from services.upstream.core.author import NOWHERE, Author, Place
from services.upstream.core.commands import ItemOver, PublishAudio
from services.upstream.core.shape import Json
from services.upstream.core.transcript import Pace, pieces

ItemStatus = Literal["completed", "incomplete", "in_progress"]
_RELEASE_ALL = Place(flags=Flag.RELEASE_ALL)
MAX_PARTS = 64
MAX_CHARS = 200_000
MAX_SAMPLES = 30 * 60 * DOWN_HZ
"""Half an hour in one item: a provider that says more has gone mad."""


@dataclass(slots=True)
class _Part:
    audible: bool
    text: str = ""
    words: list[tuple[int, str]] = field(default_factory=list)  # position from which it is shown, text


class OutputItem:
    """A message or a tool call of a response. ``fixed`` is what of its JSON never changes, with our ids."""

    def __init__(  # noqa: PLR0913 - all by keyword
        self,
        author: Author,
        pace: Pace,
        *,
        item_id: ItemId,
        response_id: ResponseId,
        output_index: int,
        fixed: Json,
        in_conversation: bool,
    ) -> None:
        self._author = author
        self._pace = pace
        self._response_id = response_id
        self._fixed = fixed
        self._in_conversation = in_conversation
        self._parts: dict[int, _Part] = {}
        self._endings: dict[tuple[str, int], int] = {}  # type and part -> position from which it is shown
        self._previous: str | None = None
        self.arguments = ""
        self.id = item_id
        self.output_index = output_index
        self.samples = 0
        self._half = b""  # of a sample: nothing says that deltas end with whole ones
        self.audio_ended = False
        self.over = False  # played to its end, or cut
        self.status: ItemStatus = "in_progress"

    @property
    def is_call(self) -> bool:
        """A function call: its events wait for no sound."""
        return self._fixed.get("type") == "function_call"

    @property
    def audible(self) -> bool:
        """It has a part that sounds."""
        return any(part.audible for part in self._parts.values())

    @property
    def sounds(self) -> bool:
        """Media has, or is about to have, audio of it to play."""
        return self.audible and not self.over

    @property
    def generated_ms(self) -> int:
        """How much audio the provider made of it."""
        return samples_to_ms(self.samples)

    @property
    def audio_part(self) -> int:
        """The content index of its sound."""
        return next((index for index, part in self._parts.items() if part.audible), 0)

    @property
    def end(self) -> Place:
        """Where events belong that are true when it has been heard."""
        if self.is_call and self.status != "incomplete":
            return _RELEASE_ALL
        return Place(self.id, self.samples, Flag.CUTTABLE) if self.sounds else NOWHERE

    def begin(self, *, previous: str | None) -> None:
        """Tell the client that it exists."""
        self._previous = previous
        item = self.json()
        place = _RELEASE_ALL if self.is_call else NOWHERE
        fields: Json = {"response_id": self._response_id, "output_index": self.output_index, "item": item}
        self._author.publish("response.output_item.added", fields, place)
        if self._in_conversation:
            self._author.publish("conversation.item.added", {"item": item, "previous_item_id": previous}, place)

    def open_part(self, index: int, *, audible: bool) -> bool:
        """A part begins, unless it is known; False if there are too many."""
        if index in self._parts:
            return True
        if len(self._parts) >= MAX_PARTS:
            return False
        self._parts[index] = _Part(audible)
        part: Json = {"type": "audio", "transcript": ""} if audible else {"type": "text", "text": ""}
        self._author.publish("response.content_part.added", {**self._of_part(index), "part": part})
        return True

    def speak(self, index: int, pcm: bytes) -> bool:
        """Audio of it came."""
        if self.samples >= MAX_SAMPLES or not self.open_part(index, audible=True):
            return False
        pcm = self._half + pcm
        whole = len(pcm) - len(pcm) % SAMPLE_BYTES
        self._half = pcm[whole:]
        if whole:
            self._author.do(PublishAudio(self.id, self.samples, pcm[:whole]))
            self.samples += whole // SAMPLE_BYTES
        return True

    def say(self, index: int, delta: str) -> bool:
        """What its audio says: each word is shown when it has been spoken."""
        if not self._opened(index, delta, audible=True):
            return False
        part = self._parts[index]
        for word in pieces(delta):
            part.text += word
            position = self._pace.position(len(part.text), end=self.samples if self.audio_ended else None)
            position = max(position, part.words[-1][0] if part.words else 0)
            part.words.append((position, word))
            place = Place(self.id, position, Flag.CUTTABLE)
            fields: Json = {**self._of_part(index), "delta": word}
            self._author.publish("response.output_audio_transcript.delta", fields, place)
        return True

    def write(self, index: int, delta: str) -> bool:
        """Text without sound."""
        if not self._opened(index, delta, audible=False):
            return False
        self._parts[index].text += delta
        self._author.publish("response.output_text.delta", {**self._of_part(index), "delta": delta})
        return True

    def settle_text(self, index: int, final: str, *, audible: bool) -> bool:
        """The provider's final words of a part; some send no others."""
        if not self._opened(index, "", audible=audible) or len(final) > MAX_CHARS:
            return False
        part = self._parts[index]
        if part.text:
            part.text = final
            return True
        return self.say(index, final) if audible else self.write(index, final)

    def argue(self, delta: str) -> bool:
        """A piece of the arguments of a call."""
        if not self.is_call or len(self.arguments) + len(delta) > MAX_CHARS:
            return False
        self.arguments += delta
        fields: Json = {**self._of_call(), "delta": delta}
        self._author.publish("response.function_call_arguments.delta", fields, _RELEASE_ALL)
        return True

    def end_arguments(self, final: str) -> bool:
        """The arguments are complete."""
        if not self.is_call or len(final) > MAX_CHARS:
            return False
        self.arguments = final or self.arguments
        fields: Json = {**self._of_call(), "arguments": self.arguments, "name": self._fixed["name"]}
        self._end("response.function_call_arguments.done", 0, fields)
        return True

    def end_part(self, index: int) -> None:
        """A part is complete, or never will be."""
        part, where = self._parts[index], self._of_part(index)
        if part.audible:
            self._end("response.output_audio.done", index, where)
            self._end("response.output_audio_transcript.done", index, {**where, "transcript": part.text})
            done: Json = {"type": "audio", "transcript": part.text}
        else:
            self._end("response.output_text.done", index, {**where, "text": part.text})
            done = {"type": "text", "text": part.text}
        self._end("response.content_part.done", index, {**where, "part": done})

    def finish(self, status: ItemStatus) -> None:
        """No more comes of it: write every ending that the client has not seen."""
        self.status = status
        self._end_audio()
        if self.is_call and status == "completed":
            self.end_arguments("")
        for index in self._parts:
            self.end_part(index)
        item = self.json()
        if self._in_conversation:
            self._end("conversation.item.done", 0, {"item": item, "previous_item_id": self._previous})
        fields: Json = {"response_id": self._response_id, "output_index": self.output_index, "item": item}
        self._end("response.output_item.done", 0, fields)

    def end_playout(self) -> None:
        """Nothing of it will be played any more."""
        self.over = True
        self._author.do(ItemOver(self.id))

    def cut(self, position: int) -> None:
        """Playout stopped after ``position`` samples: forget what the client will not see."""
        self.audio_ended = True
        self.end_playout()
        self._endings = {key: at for key, at in self._endings.items() if at <= position}
        for part in self._parts.values():
            if part.audible:
                part.words = [(at, word) for at, word in part.words if at <= position]
                part.text = "".join(word for _, word in part.words)

    def replace(self, final: Json) -> None:
        """The final form of an item whose kind we only pass on."""
        if not self.is_call and self._fixed.get("type") != "message":
            self._fixed = final

    def was_shown(self) -> None:
        """Everything written so far is shown, whatever was played."""
        self._endings = dict.fromkeys(self._endings, 0)
        for part in self._parts.values():
            part.words = [(0, word) for _, word in part.words]

    def json(self) -> Json:
        """The item as the client sees it now."""
        item: Json = {**self._fixed, "id": self.id, "object": "realtime.item", "status": self.status}
        if item.get("type") == "message":
            item["content"] = [_content(part) for _, part in sorted(self._parts.items())]
        elif self.is_call:
            item["arguments"] = self.arguments
        return item

    def _end_audio(self) -> None:
        if not self.audible or self.audio_ended:
            return
        self.audio_ended = True
        self._pace.learn(samples=self.samples, chars=sum(len(p.text) for p in self._parts.values() if p.audible))
        self._author.do(PublishAudio(self.id, self.samples, b"", end=True))

    def _end(self, kind: str, index: int, fields: Json) -> None:
        if (kind, index) in self._endings:
            return
        place = self.end
        self._endings[kind, index] = place.position
        self._author.publish(kind, fields, place)

    def _opened(self, index: int, more: str, *, audible: bool) -> bool:
        """The part is there, is of this kind and has room."""
        if not self.open_part(index, audible=audible):
            return False
        part = self._parts[index]
        return part.audible == audible and len(part.text) + len(more) <= MAX_CHARS

    def _of_call(self) -> Json:
        return {
            "response_id": self._response_id,
            "item_id": self.id,
            "output_index": self.output_index,
            "call_id": self._fixed["call_id"],
        }

    def _of_part(self, index: int) -> Json:
        return {
            "response_id": self._response_id,
            "item_id": self.id,
            "output_index": self.output_index,
            "content_index": index,
        }


def _content(part: _Part) -> Json:
    if part.audible:
        return {"type": "output_audio", "transcript": part.text}
    return {"type": "output_text", "text": part.text}
