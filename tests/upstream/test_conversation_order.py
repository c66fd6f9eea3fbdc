"""The order of the conversation, against a provider's ordered list and a client's that is built from the events."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from pydantic import JsonValue

from services.upstream.connectors.openai import CAPABILITIES
from services.upstream.core.client_requests import CONFIRMATION_S
from services.upstream.core.command_buffer import MAX_HELD_EVENTS
from services.upstream.core.commands import PublishEvent, Reconnect, SendToProvider
from services.upstream.core.item_registry import MAX_ITEMS
from tests.upstream.drive import Drive, Json, core_of, object_of

MESSAGE: Json = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
SPOKEN: Json = {"type": "message", "role": "user", "content": [{"type": "input_audio", "transcript": None}]}
LIMITED = replace(CAPABILITIES, session_limit_s=480)
DUE_S = 361


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


# --- what the client is told, event by event


def create(drive: Drive, item_id: str, **more: JsonValue) -> Json:
    """Create an item and confirm it, without a word on its place; return `added`."""
    drive.forget().client("conversation.item.create", item={**MESSAGE, "id": item_id}, **more)
    confirm(drive, item_id)
    assert (
        drive.one("conversation.item.added")["previous_item_id"]
        == drive.one("conversation.item.done")["previous_item_id"]
    )
    return drive.one("conversation.item.added")


def confirm(drive: Drive, item_id: str) -> None:
    for kind in ("added", "done"):
        drive.provider(f"conversation.item.{kind}", item={**MESSAGE, "id": item_id}, previous_item_id=None)


def refuse(drive: Drive, kind: str) -> None:
    error: Json = {"type": "invalid_request_error", "message": "No.", "event_id": drive.sent(kind)["event_id"]}
    drive.forget().provider("error", error=error)


def test_items_at_the_beginning_and_in_the_middle_are_told_with_their_place() -> None:
    drive = Drive().ready()
    told = [
        create(drive, item_id, **where)["previous_item_id"]
        for item_id, where in (
            ("a", {}),
            ("b", {"previous_item_id": None}),
            ("r", {"previous_item_id": "root"}),
            ("m", {"previous_item_id": "a"}),
        )
    ]
    assert told == [None, "a", None, "a"]
    drive.forget().utter()
    assert drive.one("input_audio_buffer.committed")["previous_item_id"] == "b"


def test_what_is_not_confirmed_is_no_place_for_the_client_and_one_for_the_provider() -> None:
    drive = Drive().ready()
    drive.client("conversation.item.create", item={**MESSAGE, "id": "a"})
    drive.forget().client("conversation.item.create", item={**MESSAGE, "id": "b"}, previous_item_id="a")
    assert drive.sent("conversation.item.create")["previous_item_id"] == "a"
    confirm(drive.forget(), "b")
    confirm(drive, "a")
    assert [e.event["previous_item_id"] for e in drive.named("conversation.item.added")] == [None, None]
    assert create(drive, "c")["previous_item_id"] == "b"


def test_done_tells_the_place_that_the_item_has_by_then() -> None:
    drive = Drive().ready()
    create(drive, "a")
    drive.forget().created()
    drive.message()
    assert drive.one("conversation.item.added")["previous_item_id"] == "a"
    create(drive, "b", previous_item_id="a")
    drive.forget().message_done("Hello")
    drive.done()
    assert drive.one("conversation.item.done")["previous_item_id"] == "b"


def test_neighbours_of_a_deleted_item_close_up() -> None:
    drive = Drive().ready()
    for item_id in ("a", "b"):
        create(drive, item_id)
    drive.client("conversation.item.delete", item_id="b")
    drive.provider("conversation.item.deleted", item_id="b")
    assert create(drive, "c")["previous_item_id"] == "a"
    assert create(drive, "b")["previous_item_id"] == "c", "its id is free again"


def test_a_refused_item_leaves_its_place_and_its_id() -> None:
    drive = Drive().ready()
    create(drive, "a")
    drive.forget().client("conversation.item.create", item={**MESSAGE, "id": "b"})
    refuse(drive, "conversation.item.create")
    assert drive.shown == ["error"]
    drive.forget().client("conversation.item.create", item=MESSAGE, previous_item_id="b", event_id="mine")
    assert (drive.error["code"], drive.error["event_id"]) == ("item_create_invalid_previous_item_id", "mine")
    assert create(drive, "b")["previous_item_id"] == "a"


def test_a_refused_commit_takes_the_utterance_back() -> None:
    drive = Drive().ready()
    drive.utter()
    utterance = drive.one("input_audio_buffer.committed")["item_id"]
    refuse(drive, "input_audio_buffer.commit")
    assert drive.one("conversation.item.deleted")["item_id"] == utterance
    assert create(drive, "a")["previous_item_id"] is None


def test_an_item_outside_of_the_conversation_is_no_place_in_it() -> None:
    drive = Drive().ready()
    drive.created(conversation_id=None)
    drive.message(part="text")
    [outside] = drive.items
    drive.forget().client("conversation.item.create", item=MESSAGE, previous_item_id=outside)
    assert drive.error["code"] == "item_create_invalid_previous_item_id"


@pytest.mark.parametrize("is_late", [False, True])
def test_an_answer_stands_before_what_was_said_during_it(is_late: bool) -> None:  # noqa: FBT001 - a parameter
    drive = Drive().ready()
    drive.client("response.create")
    create(drive, "a") if is_late else drive.client("conversation.item.create", item={**MESSAGE, "id": "a"})
    drive.forget().created()
    drive.message()
    assert drive.one("conversation.item.added")["previous_item_id"] == ("a" if is_late else None)


def test_an_item_of_a_stopped_answer_is_taken_for_nothing_else() -> None:
    drive = Drive().ready()
    drive.created()
    drive.client("response.cancel")
    drive.client("conversation.item.create", item={**MESSAGE, "role": "assistant", "id": "mine"})
    drive.forget().message()
    assert drive.shown == []
    assert drive.faults == []


# --- events that name an utterance before the provider has confirmed it


def spoken(drive: Drive) -> str:
    """Let the caller speak; return our id of the utterance."""
    drive.forget().utter()
    return str(drive.one("input_audio_buffer.committed")["item_id"])


def test_a_place_behind_an_utterance_waits_for_the_providers_id_of_it() -> None:
    drive = Drive().ready()
    utterance = spoken(drive)
    drive.forget().client("conversation.item.create", item={**MESSAGE, "id": "a"}, previous_item_id=utterance)
    drive.client("conversation.item.create", item={**MESSAGE, "id": "b"})
    drive.client("response.cancel")
    drive.advance(1)
    assert drive.sent_types == []
    drive.provider("input_audio_buffer.committed", item_id="item_PU")
    sent = [c.event for c in drive.commands if isinstance(c, SendToProvider)]
    assert [event.get("previous_item_id") for event in sent] == ["item_PU", None]
    confirm(drive, "a")
    assert drive.one("conversation.item.added")["previous_item_id"] == utterance


@pytest.mark.parametrize("verb", ["delete", "retrieve"])
def test_an_utterance_that_is_never_confirmed_is_given_up(verb: str) -> None:
    drive = Drive().ready()
    utterance = spoken(drive)
    drive.forget().client(f"conversation.item.{verb}", item_id=utterance, event_id="mine")
    drive.client("conversation.item.create", item={**MESSAGE, "id": "a"})
    assert drive.commands == []
    drive.advance(CONFIRMATION_S)
    assert (drive.error["code"], drive.error["event_id"]) == (f"item_{verb}_invalid_item_id", "mine")
    assert drive.sent("conversation.item.create")


def test_no_further_event_is_taken_while_many_wait() -> None:
    drive = Drive().ready()
    utterance = spoken(drive)
    drive.forget()
    for _ in range(MAX_HELD_EVENTS):
        assert drive.core.takes_client_events
        drive.client("conversation.item.retrieve", item_id=utterance)
    assert not drive.core.takes_client_events
    drive.provider("input_audio_buffer.committed", item_id="item_PU")
    assert drive.sent_types == ["conversation.item.retrieve"] * MAX_HELD_EVENTS
    assert (drive.core.takes_client_events, drive.shown) == (True, [])


def test_what_a_silent_provider_is_asked_for_is_remembered_within_bounds() -> None:
    drive = Drive().ready()
    for number in range(MAX_ITEMS + 1):
        drive.forget().client("conversation.item.create", item={**MESSAGE, "id": f"mine-{number}"})
        drive.client("conversation.item.delete", item_id=f"mine-{number}")
    confirm(drive.forget(), "item_PX")
    assert object_of(drive.one("conversation.item.added"), "item")["id"] == "mine-1", "the first is forgotten"


# --- a new session with the provider


def reopened(drive: Drive) -> Drive:
    assert any(isinstance(command, Reconnect) for command in drive.forget().advance(DUE_S))
    drive.open()
    return drive


def repeated(drive: Drive) -> list[JsonValue]:
    sent = [command.event for command in drive.commands if isinstance(command, SendToProvider)]
    return [object_of(event, "item")["id"] for event in sent if event["type"] == "conversation.item.create"]


def limited() -> Drive:
    return Drive(core_of(capabilities=LIMITED)).ready()


def test_items_are_repeated_in_the_order_of_the_conversation() -> None:
    drive = limited()
    for item_id, where in (("a", None), ("b", None), ("r", "root"), ("m", "a")):
        create(drive, item_id, previous_item_id=where)
    assert repeated(reopened(drive)) == ["r", "a", "m", "b"]


def test_what_the_old_session_did_not_confirm_is_carried_out_in_the_new() -> None:
    drive = limited()
    create(drive, "a")
    drive.client("conversation.item.delete", item_id="a")
    drive.client("conversation.item.create", item={**MESSAGE, "id": "b"}, event_id="mine")
    reopened(drive)
    assert drive.one("conversation.item.deleted")["item_id"] == "a"
    assert repeated(drive) == ["b"]
    refuse(drive, "conversation.item.create")
    assert drive.error["event_id"] == "mine"


def test_a_refused_deletion_deletes_nothing_later() -> None:
    drive = limited()
    create(drive, "a")
    drive.forget().client("conversation.item.delete", item_id="a")
    refuse(drive, "conversation.item.delete")
    assert repeated(reopened(drive)) == ["a"]


def test_items_that_the_new_session_lacks_keep_their_place() -> None:
    drive = limited()
    create(drive, "a")
    utterance = spoken(drive)
    drive.provider("input_audio_buffer.committed", item_id="item_PU")
    drive.created()
    drive.done()
    reopened(drive)
    drive.forget().client("conversation.item.create", item={**MESSAGE, "id": "b"}, previous_item_id=utterance)
    assert drive.sent("conversation.item.create")["previous_item_id"] == "a"
    confirm(drive, "b")
    assert drive.one("conversation.item.added")["previous_item_id"] == utterance
    drive.forget().client("conversation.item.delete", item_id=utterance)
    assert drive.shown == ["conversation.item.deleted"]
    assert drive.sent_types == []


def test_an_item_that_the_new_session_refuses_stays_with_the_client() -> None:
    drive = limited()
    create(drive, "a")
    refuse(reopened(drive), "conversation.item.create")
    assert drive.shown == []
    drive.forget().client("conversation.item.create", item={**MESSAGE, "id": "b"}, previous_item_id="a")
    assert drive.sent("conversation.item.create")["previous_item_id"] == "root"


def test_what_is_requested_before_the_new_session_is_open_is_requested_once() -> None:
    drive = limited()
    create(drive, "a")
    drive.forget().advance(DUE_S)
    drive.client("conversation.item.create", item={**MESSAGE, "id": "b"}, previous_item_id="a")
    drive.open()
    assert repeated(drive) == ["a", "b"]
