"""One item of a response: its parts, the events published for it and the positions at which media releases them.

What is no sound itself belongs behind the sound before it in its response, so that the response's events stay in order.
Media drops an event that is CUTTABLE if the item is cut before the event's position, unless an event that releases all
came before the cut. So a report of the cut, with the newest event that media had received, tells which of the endings
the client got; the others are published again with the status that the item then has.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue

from services.contracts.audio import DOWN_HZ, SAMPLE_BYTES, samples_to_ms
from services.contracts.frame import NO_FLAGS, Flag
from services.contracts.ids import ItemId, ResponseId
from services.upstream.core.command_buffer import AT_ONCE, AudioPosition, CommandBuffer
from services.upstream.core.commands import ItemOver, PublishAudio
from services.upstream.core.item_order import ItemOrder
from services.upstream.core.json_shape import Json
from services.upstream.core.transcript import SpeakingRate, pieces

ItemStatus = Literal["completed", "incomplete", "in_progress"]
MAX_PARTS = 64
MAX_CHARS = 200_000
MAX_SAMPLES = 30 * 60 * DOWN_HZ
"""Half an hour in one item; more is an error of the provider."""


@dataclass(frozen=True, slots=True)
class _Published:
    """An event that a cut may drop: its number, and the position at which it is released."""

    number: int
    position: int


@dataclass(slots=True)
class _ItemPart:
    audible: bool
    text: str = ""
    words: list[tuple[_Published, str]] = field(default_factory=list)


class OutputItem:
    """A message or a tool call of a response. ``fixed``: the fields of its JSON that never change, with our ids.

    ``order``: of the conversation that it is part of. ``siblings``: all items of its response, now and later.
    """

    def __init__(  # noqa: PLR0913 - all by keyword
        self,
        commands: CommandBuffer,
        pace: SpeakingRate,
        *,
        item_id: ItemId,
        response_id: ResponseId,
        output_index: int,
        fixed: Json,
        order: ItemOrder | None,
        siblings: Sequence["OutputItem"],
    ) -> None:
        self._commands = commands
        self._pace = pace
        self._response_id = response_id
        self._fixed = fixed
        self._order = order  # of the conversation; None: it is outside
        self._siblings = siblings
        self._parts: dict[int, _ItemPart] = {}
        self._endings: dict[tuple[str, int], _Published] = {}  # by type and part
        self._releases: list[int] = []  # numbers of the events with which media released what was published before
        self._may_release = False  # something was published since the newest of them
        self.arguments = ""
        self.id = item_id
        self.output_index = output_index
        self.samples = 0
        self._partial_sample = b""  # deltas need not end with a whole sample
        self.audio_ended = False
        self.playout_ended = False  # played to its end, or cut
        self.status: ItemStatus = "in_progress"

    @property
    def is_call(self) -> bool:
        """Whether it is a function call, whose events are released at once."""
        return self._fixed.get("type") == "function_call"

    @property
    def audible(self) -> bool:
        """Whether it has an audio part."""
        return any(part.audible for part in self._parts.values())

    @property
    def has_playout(self) -> bool:
        """Whether media has, or is about to get, audio of it to play."""
        return self.audible and not self.playout_ended

    @property
    def generated_ms(self) -> int:
        """Milliseconds of audio that the provider generated for it."""
        return samples_to_ms(self.samples)

    @property
    def audio_part(self) -> int:
        """The content index of its audio part; 0 if it has none."""
        return next((index for index, part in self._parts.items() if part.audible), 0)

    def behind(self, flags: Flag = NO_FLAGS) -> AudioPosition:
        """Return the place behind its sound, else behind that of its response; at once where none is to be played."""
        last = next((item for item in (self, *reversed(self._siblings)) if item.has_playout), None)
        return AudioPosition(last.id, last.samples, flags) if last else AT_ONCE

    def release_all(self) -> AudioPosition:
        """Return the place of an event with which media releases everything published for the response so far."""
        for item in self._siblings:
            item.mark_released(self._commands.published + 1)
        return AudioPosition(self.id, flags=Flag.RELEASE_ALL)

    def begin(self) -> None:
        """Publish the events that add it."""
        item = self.json()
        place = self.release_all() if self.is_call else self.behind()
        fields: Json = {"response_id": self._response_id, "output_index": self.output_index, "item": item}
        self._commands.publish_event("response.output_item.added", fields, place)
        if self._order is not None:
            previous = self._order.previous(self.id)
            self._commands.publish_event("conversation.item.added", {"item": item, "previous_item_id": previous}, place)

    def add_part(self, index: int, *, audible: bool) -> bool:
        """Add a content part if it is new; False if there are `MAX_PARTS` already."""
        if index in self._parts:
            return True
        if len(self._parts) >= MAX_PARTS:
            return False
        place = self.behind()
        self._parts[index] = _ItemPart(audible)
        part: Json = {"type": "audio", "transcript": ""} if audible else {"type": "text", "text": ""}
        self._commands.publish_event("response.content_part.added", self._where(content_index=index, part=part), place)
        return True

    def append_audio(self, index: int, pcm: bytes) -> bool:
        """Publish audio, s16le mono 24 kHz; False if there is too much of it, or too many parts."""
        if self.samples >= MAX_SAMPLES or not self.add_part(index, audible=True):
            return False
        pcm = self._partial_sample + pcm
        whole = len(pcm) - len(pcm) % SAMPLE_BYTES
        self._partial_sample = pcm[whole:]
        if whole:
            self._commands.add(PublishAudio(self.id, self.samples, pcm[:whole]))
            self.samples += whole // SAMPLE_BYTES
        return True

    def append_transcript(self, index: int, delta: str) -> bool:
        """Publish a delta of the transcript word by word, each at its estimated position; False if it cannot."""
        if not self._part_accepts(index, delta, audible=True):
            return False
        part = self._parts[index]
        for word in pieces(delta):
            part.text += word
            position = self._pace.position(len(part.text), end=self.samples if self.audio_ended else None)
            position = max(position, part.words[-1][0].position if part.words else 0)
            place = AudioPosition(self.id, position, Flag.CUTTABLE)
            fields = self._where(content_index=index, delta=word)
            part.words.append((self._publish("response.output_audio_transcript.delta", fields, place), word))
        return True

    def append_text(self, index: int, delta: str) -> bool:
        """Publish a delta of a text part; False if the part is of another kind or too long."""
        if not self._part_accepts(index, delta, audible=False):
            return False
        self._parts[index].text += delta
        fields = self._where(content_index=index, delta=delta)
        self._commands.publish_event("response.output_text.delta", fields, self.behind())
        return True

    def set_final_text(self, index: int, final: str, *, audible: bool) -> bool:
        """Set the final text of a part; publish it if no delta came before, as some providers send none."""
        if not self._part_accepts(index, "", audible=audible) or len(final) > MAX_CHARS:
            return False
        part = self._parts[index]
        if part.text:
            part.text = final
            return True
        return self.append_transcript(index, final) if audible else self.append_text(index, final)

    def append_arguments(self, delta: str) -> bool:
        """Publish a delta of a function call's arguments; False if it is none, or they are too long."""
        if not self.is_call or len(self.arguments) + len(delta) > MAX_CHARS:
            return False
        self.arguments += delta
        fields = self._where(call_id=self._fixed["call_id"], delta=delta)
        self._commands.publish_event("response.function_call_arguments.delta", fields, self.release_all())
        return True

    def end_arguments(self, final: str) -> bool:
        """Publish the complete arguments, ``final`` or else the deltas; False as for `append_arguments`."""
        if not self.is_call or len(final) > MAX_CHARS:
            return False
        self.arguments = final or self.arguments
        fields = self._where(call_id=self._fixed["call_id"], arguments=self.arguments, name=self._fixed["name"])
        self._end("response.function_call_arguments.done", 0, fields)
        return True

    def end_part(self, index: int) -> None:
        """Publish the endings of a part."""
        part, where = self._parts[index], self._where(content_index=index)
        if part.audible:
            self._end("response.output_audio.done", index, where)
            self._end("response.output_audio_transcript.done", index, {**where, "transcript": part.text})
            done: Json = {"type": "audio", "transcript": part.text}
        else:
            self._end("response.output_text.done", index, {**where, "text": part.text})
            done = {"type": "text", "text": part.text}
        self._end("response.content_part.done", index, {**where, "part": done})

    def finish(self, status: ItemStatus) -> None:
        """Set its status and publish every ending that the client has not got."""
        self.status = status
        self._end_audio()
        if self.is_call and status == "completed":
            self.end_arguments("")
        for index in self._parts:
            self.end_part(index)
        item = self.json()
        if self._order is not None:
            previous = self._order.previous(self.id)
            self._end("conversation.item.done", 0, {"item": item, "previous_item_id": previous})
        fields: Json = {"response_id": self._response_id, "output_index": self.output_index, "item": item}
        self._end("response.output_item.done", 0, fields)

    def end_playout(self) -> None:
        """Record that its playout has ended, and drop its audio that waits for credit."""
        self.playout_ended = True
        self._commands.add(ItemOver(self.id))

    def cut(self, position: int, *, received: int) -> None:
        """Record that playout stopped after ``position`` samples; discard events that media drops.

        ``received``: the number of the newest event that media had received before; -1 if it is not known.
        """
        self.audio_ended = True
        self.end_playout()
        released = max((number for number in self._releases if number <= received or received < 0), default=0)
        self._endings = {
            key: event for key, event in self._endings.items() if event.position <= position or event.number < released
        }
        for part in self._parts.values():
            if part.audible:
                part.words = [
                    (event, word) for event, word in part.words if event.position <= position or event.number < released
                ]
                part.text = "".join(word for _, word in part.words)

    def replace(self, final: Json) -> None:
        """Replace the JSON of an item that is neither a message nor a function call with its final form."""
        if not self.is_call and self._fixed.get("type") != "message":
            self._fixed = final

    def mark_released(self, number: int) -> None:
        """Record that media releases everything published for it so far when it receives the event ``number``."""
        if self._may_release:
            self._releases.append(number)
            self._may_release = False

    def json(self) -> Json:
        """Return the item in the client's form as it is now."""
        item: Json = {**self._fixed, "id": self.id, "object": "realtime.item", "status": self.status}
        if item.get("type") == "message":
            item["content"] = [_content(part) for _, part in sorted(self._parts.items())]
        elif self.is_call:
            item["arguments"] = self.arguments
        return item

    def for_item_create(self) -> Json | None:
        """Return the item as a `conversation.item.create` would; None if it is empty or cannot be created."""
        if self.is_call and self.status == "completed":
            kept = {name: self._fixed[name] for name in ("type", "name", "call_id")}
            return {**kept, "id": self.id, "arguments": self.arguments}
        spoken = " ".join(part.text for _, part in sorted(self._parts.items()) if part.text)
        if self._fixed.get("type") != "message" or not spoken:
            return None
        content: Json = {"type": "output_text", "text": spoken}
        return {"type": "message", "id": self.id, "role": "assistant", "content": [content]}

    def _end_audio(self) -> None:
        if not self.audible or self.audio_ended:
            return
        self.audio_ended = True
        self._pace.learn(samples=self.samples, chars=sum(len(p.text) for p in self._parts.values() if p.audible))
        self._commands.add(PublishAudio(self.id, self.samples, b"", end=True))

    def _end(self, kind: str, index: int, fields: Json) -> None:
        if (kind, index) in self._endings:
            return
        if self.is_call and self.status != "incomplete":
            place = self.release_all()
        else:
            place = self.behind(Flag.CUTTABLE if self.has_playout else NO_FLAGS)
        self._endings[kind, index] = self._publish(kind, fields, place)

    def _publish(self, kind: str, fields: Json, place: AudioPosition) -> _Published:
        """Publish an event that a cut may drop."""
        self._commands.publish_event(kind, fields, place)
        self._may_release = True
        return _Published(self._commands.published, place.position if self.has_playout else 0)

    def _part_accepts(self, index: int, more: str, *, audible: bool) -> bool:
        """Add the part if it is new; return whether it is of this kind and has room for ``more``."""
        if not self.add_part(index, audible=audible):
            return False
        part = self._parts[index]
        return part.audible == audible and len(part.text) + len(more) <= MAX_CHARS

    def _where(self, **more: JsonValue) -> Json:
        """Return the fields that name it in an event, and ``more``."""
        return {"response_id": self._response_id, "item_id": self.id, "output_index": self.output_index, **more}


def _content(part: _ItemPart) -> Json:
    if part.audible:
        return {"type": "output_audio", "transcript": part.text}
    return {"type": "output_text", "text": part.text}
