"""The order of the conversation, against a provider's ordered list and a client's that is built from the events."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from pydantic import JsonValue

from services.upstream.core.commands import PublishEvent, Reconnect, SendToProvider
from tests.upstream.created_items import DUE_S, LIMITED
from tests.upstream.drive import Drive, Json, core_of, object_of

SPOKEN: Json = {"type": "message", "role": "user", "content": [{"type": "input_audio", "transcript": None}]}


@dataclass(frozen=True)
class Habits:
    """What providers of the Realtime API do differently."""

    keeps_ids: bool = True
    names_previous: bool = True
    confirms_commits: bool = True
    is_beta: bool = False


@dataclass
class OrderedProvider:
    """A provider that carries out one event after the other; what it sends waits in `outbox`."""

    habits: Habits
    conversation: list[str] = field(default_factory=list)
    inbox: deque[Json] = field(default_factory=deque)
    outbox: deque[Json] = field(default_factory=deque)
    response: str | None = None
    item: str | None = None
    numbers: int = 0

    @property
    def is_answering(self) -> bool:
        """Whether a response is under way: it would be given up before the session is replaced."""
        under_way = [str(event["type"]) for event in (*self.inbox, *self.outbox)]
        return self.response is not None or any(kind.startswith("response.") for kind in under_way)

    def send(self, kind: str, **fields: JsonValue) -> None:
        self.outbox.append({"type": kind, "event_id": "event_theirs", **fields})

    def new_id(self, prefix: str) -> str:
        self.numbers += 1
        return f"{prefix}_P{self.numbers}"

    def carry_out(self, *, refuses: bool) -> None:
        event = self.inbox.popleft()
        match event["type"]:
            case "conversation.item.create" | "input_audio_buffer.commit" | "conversation.item.delete" if refuses:
                self.refuse(event)
            case "conversation.item.create":
                self.create(event)
            case "input_audio_buffer.commit":
                self.insert({**SPOKEN, "id": self.new_id("item")}, len(self.conversation), is_commit=True)
            case "conversation.item.delete" if event["item_id"] not in self.conversation:
                self.refuse(event)
            case "conversation.item.delete":
                self.conversation.remove(str(event["item_id"]))
                self.send("conversation.item.deleted", item_id=event["item_id"])
            case "response.create" if self.response:
                self.refuse(event, code="conversation_already_has_active_response")
            case "response.create":
                self.response = self.new_id("resp")
                self.send("response.created", response={"id": self.response, "status": "in_progress"})
            case "response.cancel":
                self.end_response()

    def refuse(self, event: Json, *, code: str = "invalid_value") -> None:
        error: Json = {"type": "invalid_request_error", "code": code, "message": "No.", "event_id": event["event_id"]}
        self.send("error", error=error)

    def create(self, event: Json) -> None:
        previous = event.get("previous_item_id")
        if previous not in (None, "root", *self.conversation):
            self.refuse(event)
            return
        item = {**object_of(event, "item")}
        if not self.habits.keeps_ids:
            item["id"] = self.new_id("item")
        at = len(self.conversation)
        if previous is not None:
            at = 0 if previous == "root" else self.conversation.index(str(previous)) + 1
        self.insert(item, at)

    def insert(self, item: Json, at: int, *, is_commit: bool = False) -> None:
        previous = self.conversation[at - 1] if at and self.habits.names_previous else None
        self.conversation.insert(at, str(item["id"]))
        if is_commit and self.habits.confirms_commits:
            self.send("input_audio_buffer.committed", item_id=item["id"], previous_item_id=previous)
        if self.habits.is_beta:
            self.send("conversation.item.created", item=item, previous_item_id=previous)
            return
        self.send("conversation.item.added", item=item, previous_item_id=previous)
        if item.get("role") != "assistant":
            self.send("conversation.item.done", item=item, previous_item_id=previous)

    def begin_item(self) -> None:
        self.item = self.new_id("item")
        item: Json = {"id": self.item, "type": "message", "role": "assistant", "content": []}
        self.send("response.output_item.added", response_id=self.response, output_index=0, item=item)
        self.insert(item, len(self.conversation))

    def end_response(self) -> None:
        if self.item is not None:
            item: Json = {"id": self.item, "type": "message", "role": "assistant", "content": []}
            self.send("response.output_item.done", response_id=self.response, output_index=0, item=item)
        self.send("response.done", response={"id": self.response, "status": "completed"})
        self.response = self.item = None


class ConversationMachine(RuleBasedStateMachine):
    """Items are created anywhere, deleted and spoken, and answered by a provider that is late."""

    def __init__(self) -> None:
        super().__init__()
        self.drive = Drive(core_of(capabilities=LIMITED)).ready()
        self.provider = OrderedProvider(Habits())
        self.list: list[str] = []  # of the client
        self.told: dict[str, str | None] = {}  # by `added`, while nothing has changed
        self.unanswered: set[str] = set()  # event ids of the client's creations and deletions
        self.numbers = 0

    @initialize(habits=st.builds(Habits, st.booleans(), st.booleans(), st.booleans(), st.booleans()))
    def meets_a_provider(self, habits: Habits) -> None:
        self.provider.habits = habits

    def settle(self) -> None:
        """Hand the core's newest commands to the client and the provider."""
        commands, self.drive.commands = self.drive.commands, []
        for command in commands:
            if isinstance(command, SendToProvider):
                self.provider.inbox.append(command.event)
            elif isinstance(command, PublishEvent):
                self.on_event(command.event)

    def on_event(self, event: Json) -> None:
        match event["type"]:
            case "input_audio_buffer.committed":
                previous = event["previous_item_id"]
                assert previous == (self.list[-1] if self.list else None), "an utterance is the last item"
                self.list.append(str(event["item_id"]))
                self.told.clear()
            case "conversation.item.added":
                self.on_added(str(object_of(event, "item")["id"]), event["previous_item_id"])
            case "conversation.item.done":
                item_id = str(object_of(event, "item")["id"])
                assert item_id not in self.list or event["previous_item_id"] == self.before(item_id)
                assert event["previous_item_id"] == self.told.get(item_id, event["previous_item_id"])
            case "conversation.item.deleted":
                self.list.remove(str(event["item_id"]))
                self.unanswered.discard(f"delete {event['item_id']}")
                self.told.clear()
            case "error":
                self.unanswered.discard(str(object_of(event, "error")["event_id"]))

    def on_added(self, item_id: str, previous: JsonValue) -> None:
        self.unanswered.discard(f"create {item_id}")
        assert previous is None or previous in self.list, "the client knows what is named"
        if item_id not in self.list or self.before(item_id) != previous:
            self.told.clear()
        if item_id in self.list:
            self.list.remove(item_id)
        self.list.insert(0 if previous is None else self.list.index(str(previous)) + 1, item_id)
        self.told[item_id] = self.before(item_id)

    def before(self, item_id: str) -> str | None:
        at = self.list.index(item_id)
        return self.list[at - 1] if at else None

    def client(self, kind: str, what: str, **fields: JsonValue) -> None:
        self.unanswered.add(f"{what}")
        self.drive.client(kind, event_id=what, **fields)
        self.settle()

    # --- the client and the caller

    @rule(data=st.data(), role=st.sampled_from(["user", "assistant", "system"]))
    def creates(self, data: st.DataObject, role: str) -> None:
        self.numbers += 1
        item_id = f"mine-{self.numbers}"
        others = [f"mine-{number}" for number in range(1, self.numbers)]
        previous = data.draw(st.sampled_from([None, None, "root", *self.list, *others]))
        part: Json = {"type": "output_text" if role == "assistant" else "input_text", "text": "hi"}
        item: Json = {"id": item_id, "type": "message", "role": role, "content": [part]}
        self.client("conversation.item.create", f"create {item_id}", item=item, previous_item_id=previous)

    @rule(data=st.data())
    @precondition(lambda self: self.list)
    def deletes(self, data: st.DataObject) -> None:
        item_id = data.draw(st.sampled_from(self.list))
        self.client("conversation.item.delete", f"delete {item_id}", item_id=item_id)

    @rule()
    def speaks(self) -> None:
        self.drive.utter()
        self.settle()

    @rule()
    def asks_for_a_response(self) -> None:
        self.drive.client("response.create")
        self.settle()

    # --- the provider

    @rule(refuses=st.sampled_from([False, False, False, True]))
    @precondition(lambda self: self.provider.inbox)
    def carries_out(self, refuses: bool) -> None:  # noqa: FBT001 - by hypothesis
        self.provider.carry_out(refuses=refuses)

    @rule()
    @precondition(lambda self: self.provider.response and not self.provider.item)
    def begins_an_item(self) -> None:
        self.provider.begin_item()

    @rule()
    @precondition(lambda self: self.provider.response)
    def ends_a_response(self) -> None:
        self.provider.end_response()

    @rule()
    @precondition(lambda self: self.provider.outbox)
    def is_heard(self) -> None:
        self.drive.record(self.drive.core.on_provider_event(self.provider.outbox.popleft(), now=self.drive.now))
        self.settle()

    @rule()
    def catches_up(self) -> None:
        """Carry out and hear all that is under way."""
        steps: list[tuple[deque[Json], Callable[[], None]]] = [
            (self.provider.outbox, self.is_heard),
            (self.provider.inbox, lambda: self.provider.carry_out(refuses=False)),
        ]
        while step := next((act for queue, act in steps if queue), None):
            step()

    # --- a new session

    @rule(data=st.data())
    @precondition(lambda self: not self.provider.is_answering)
    def is_reconnected(self, data: st.DataObject) -> None:
        """Replace the provider's session, if the core asks for it; the client may go on meanwhile."""
        commands = self.drive.advance(DUE_S)
        if not any(isinstance(command, Reconnect) for command in commands):
            self.settle()
            return
        self.settle()
        self.provider = OrderedProvider(self.provider.habits, numbers=self.provider.numbers)
        self.creates(data, "user")
        assert not self.provider.inbox, "it is closed"
        self.drive.open()
        self.settle()

    # --- always

    def teardown(self) -> None:
        """At rest, the client's list is the provider's, but for what a new session lacks."""
        self.catches_up()
        while self.provider.response:
            self.ends_a_response()
            self.catches_up()
        known = [self.theirs(item_id) for item_id in self.list]
        assert [theirs for theirs in self.provider.conversation if theirs in known] == [
            theirs for theirs in known if theirs in self.provider.conversation
        ]
        assert not self.unanswered

    def theirs(self, item_id: str) -> str | None:
        """Return the provider's id of the item; None if it has none."""
        self.drive.forget().client("conversation.item.retrieve", item_id=item_id)
        sent = [command.event["item_id"] for command in self.drive.commands if isinstance(command, SendToProvider)]
        return str(sent[0]) if sent else None


ConversationMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestConversations = ConversationMachine.TestCase
