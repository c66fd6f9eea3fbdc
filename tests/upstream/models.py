"""Models of media and a provider that keep to their protocols, for tests of random interleavings."""

from services.contracts.frame import Flag
from services.upstream.core.commands import (
    AppendAudio,
    PublishAudio,
    PublishEvent,
    SendToProvider,
    SessionCommand,
)
from tests.upstream.drive import Json, object_of


class MediaModel:
    """The rules of media's release queues, as the frame's flags state them."""

    def __init__(self) -> None:
        self.queues: dict[str, list[PublishEvent]] = {}  # by response
        self.shown: list[PublishEvent] = []
        self.played: dict[str, int] = {}
        self.received: dict[str, int] = {}
        self.ended: set[str] = set()
        self.cut: dict[str, int] = {}
        self.responses: dict[str, str] = {}  # of items
        self.newest = 0  # number of the newest event received

    @property
    def held(self) -> list[PublishEvent]:
        return [event for queue in self.queues.values() for event in queue]

    def playout_ended(self, item: str) -> bool:
        return item in self.cut or (item in self.ended and self.played.get(item, 0) >= self.received.get(item, 0))

    def on_command(self, command: SessionCommand) -> None:
        if isinstance(command, PublishAudio) and command.item_id not in self.cut:
            self.received[command.item_id] = command.position + len(command.pcm) // 2
            if command.end:
                self.ended.add(command.item_id)
        elif isinstance(command, PublishEvent):
            self.newest = command.sequence
            if command.event["type"] == "response.output_item.added":
                self.responses[str(object_of(command.event, "item")["id"])] = str(command.event["response_id"])
            if command.item_id is None:
                self.shown.append(command)
                return
            response = self.responses[command.item_id]
            self.queues.setdefault(response, []).append(command)
            if Flag.RELEASE_ALL in command.flags:
                self.release_from(self.queues[response], force=True)
        self.release()

    def release(self) -> None:
        for queue in self.queues.values():
            self.release_from(queue)

    def release_from(self, queue: list[PublishEvent], *, force: bool = False) -> None:
        while queue:
            head = queue[0]
            item = head.item_id
            assert item
            if not force and not self.playout_ended(item) and self.played.get(item, 0) < max(head.position, 1):
                return
            queue.pop(0)
            hidden = Flag.CUTTABLE in head.flags and item in self.cut and head.position > self.cut[item]
            if not hidden:
                self.shown.append(head)

    @property
    def playing(self) -> list[str]:
        return [item for item in self.received if not self.playout_ended(item)]


class ProviderModel:
    """A provider that keeps to the protocol, event by event."""

    def __init__(self) -> None:
        self.asked: list[Json] = []  # at most one: the parameters of the response that it has to begin
        self.asked_beside: list[Json] = []  # text responses outside the conversation
        self.active: str | None = None
        self.item: str | None = None
        self.generated: dict[str, int] = {}  # ms
        self.buffer_ms = 0.0
        self.number = 0
        self.unconfirmed = 0  # commits
        self.cancelled = False

    def on_command(self, command: SessionCommand) -> None:
        if isinstance(command, AppendAudio):
            self.buffer_ms += len(command.pcm) / 32
        elif isinstance(command, SendToProvider):
            self.on_client_event(command.event)

    def on_client_event(self, event: Json) -> None:
        match event["type"]:
            case "input_audio_buffer.commit":
                assert self.buffer_ms >= 100
                self.buffer_ms = 0
                self.unconfirmed += 1
            case "input_audio_buffer.clear":
                self.buffer_ms = 0
            case "response.create":
                asked = object_of(event, "response") if "response" in event else {}
                if asked.get("output_modalities") == ["text"]:
                    self.asked_beside.append(asked)
                    return
                assert not self.asked
                assert self.active is None
                self.asked.append(asked)
            case "response.cancel":
                assert event["response_id"] == self.active
                assert not self.cancelled
                self.cancelled = True
            case "conversation.item.truncate":
                end_ms = event["audio_end_ms"]
                assert isinstance(end_ms, int)
                assert 0 <= end_ms <= self.generated[str(event["item_id"])]
