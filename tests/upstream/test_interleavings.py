"""Properties that hold for clients and providers in any order of events."""

import base64
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.upstream.core.commands import (
    ClearPlayout,
    PublishEvent,
    SessionCommand,
)
from services.upstream.core.response import Report
from tests.upstream.drive import EAGER, SERVER_EVENT, Drive, Json, core_of, object_of, strings
from tests.upstream.models import MediaModel, ProviderModel


class CallMachine(RuleBasedStateMachine):
    """Utterances, provider events, playout reports, client requests and time, interleaved."""

    def __init__(self) -> None:
        super().__init__()
        self.drive = Drive(core_of(turn_terms=EAGER, eager_waste_percent=100)).ready()
        self.media = MediaModel()
        self.provider = ProviderModel()
        self.sequence = max(0, *[e.sequence for e in self.drive.events], 0)
        self.talking = False
        self.requests = 0  # of the client, for responses
        self.pending: list[str] = []  # items whose clearing media has not reported
        self.on_the_way: list[SessionCommand] = []  # to media, while the bus is slow
        self.is_slow = False

    def settle(self) -> None:
        """Pass the core's newest commands to media and the provider."""
        for command in self.drive.commands:
            self.provider.on_command(command)
            if isinstance(command, PublishEvent):
                assert command.sequence > self.sequence
                self.sequence = command.sequence
                SERVER_EVENT.validate_python(command.event)
            if isinstance(command, ClearPlayout):
                self.pending.append(command.item_id)
            else:
                self.on_the_way.append(command)
        self.drive.commands.clear()
        if not self.is_slow:
            self.deliver()

    def deliver(self) -> None:
        """Pass to media what is on the way."""
        for command in self.on_the_way:
            self.media.on_command(command)
        self.on_the_way.clear()

    @rule()
    def the_bus_changes_its_pace(self) -> None:
        self.is_slow = not self.is_slow
        self.settle()

    # --- the caller

    @rule()
    @precondition(lambda self: not self.talking)
    def starts_to_speak(self) -> None:
        for item in self.media.playing:
            self.cut(item, by_caller=True)
        self.drive.start()
        self.settle()
        self.talking = True

    @rule(frames=st.integers(0, 12))
    @precondition(lambda self: self.talking)
    def speaks(self, frames: int) -> None:
        self.drive.speak(frames)
        self.settle()

    @rule()
    @precondition(lambda self: self.talking)
    def stops_speaking(self) -> None:
        self.drive.stop()
        self.settle()
        self.talking = False

    @rule()
    @precondition(lambda self: self.talking)
    def has_probably_ended(self) -> None:
        self.drive.pause()
        self.settle()

    @rule()
    @precondition(lambda self: self.talking)
    def goes_on_speaking(self) -> None:
        self.drive.resume()
        self.settle()

    @rule()
    @precondition(lambda self: not self.talking)
    def says_something(self) -> None:
        self.starts_to_speak()
        self.speaks(frames=8)
        self.stops_speaking()

    # --- media

    def cut(self, item: str, *, by_caller: bool) -> None:
        played = self.media.played.get(item, 0)
        self.media.cut.setdefault(item, played)
        self.media.release()
        report = Report(item, played, max(0, played // 24 - 60), cut=True, received=self.media.newest)
        self.drive.record(self.drive.core.playout_reported(report, by_caller=by_caller, now=self.drive.now))
        self.settle()

    @rule(ms=st.integers(1, 400))
    @precondition(lambda self: self.media.playing)
    def plays(self, ms: int) -> None:
        item = self.media.playing[0]
        self.media.played[item] = min(self.media.received[item], self.media.played.get(item, 0) + ms * 24)
        self.media.release()
        played = self.media.played[item]
        report = Report(item, played, played // 24)
        self.drive.record(self.drive.core.playout_reported(report, by_caller=False, now=self.drive.now))
        self.settle()

    @rule()
    @precondition(lambda self: self.pending)
    def answers_a_clear(self) -> None:
        item = self.pending.pop(0)
        if item not in self.media.cut:
            self.cut(item, by_caller=False)

    @rule()
    @precondition(lambda self: self.media.playing)
    def is_told_to_be_quiet_by_the_client(self) -> None:
        self.cut(self.media.playing[0], by_caller=False)

    # --- the provider

    @rule()
    @precondition(lambda self: self.provider.asked and self.provider.active is None)
    def begins_a_response(self) -> None:
        self.provider.number += 1
        asked = self.provider.asked.pop()
        self.provider.active = f"resp_P{self.provider.number}"
        self.provider.item = None
        self.provider.cancelled = False
        conversation = None if asked.get("conversation") == "none" else "conv_P"
        self.drive.created(self.provider.active, metadata=asked.get("metadata"), conversation_id=conversation)
        self.settle()

    @rule()
    @precondition(lambda self: self.provider.asked_beside)
    def answers_beside_the_conversation(self) -> None:
        asked = self.provider.asked_beside.pop(0)
        self.provider.number += 1
        response, item = f"resp_P{self.provider.number}", f"item_P{self.provider.number}x"
        self.drive.created(response, metadata=asked["metadata"], conversation_id=None)
        self.drive.message(response, item, "text")
        self.drive.part("response.output_text.done", response, item, text="yes")
        self.drive.done(response)
        self.settle()

    @rule(part=st.sampled_from(["audio", "text"]))
    @precondition(lambda self: self.provider.active and self.provider.item is None)
    def begins_an_item(self, part: str) -> None:
        assert self.provider.active
        self.provider.number += 1
        self.provider.item = f"item_P{self.provider.number}"
        self.provider.generated[self.provider.item] = 0
        self.drive.message(self.provider.active, self.provider.item, part)
        self.settle()

    @rule(complete=st.booleans())
    @precondition(lambda self: self.provider.active and self.provider.item is None)
    def calls_a_function(self, complete: bool) -> None:  # noqa: FBT001 - drawn
        assert self.provider.active
        self.provider.number += 1
        call: Json = {"id": f"item_P{self.provider.number}", "type": "function_call", "name": "f", "call_id": "call_P1"}
        where: Json = {"response_id": self.provider.active, "output_index": 0}
        self.drive.provider("response.output_item.added", **where, item={**call, "status": "in_progress"})
        if complete:
            done: Json = {**call, "status": "completed", "arguments": "{}"}
            self.drive.provider("response.output_item.done", **where, item=done)
        self.settle()

    @rule(words=st.sampled_from(["One", " two three", " and a half of it", ""]), ms=st.integers(0, 900))
    @precondition(lambda self: self.provider.active and self.provider.item)
    def goes_on(self, words: str, ms: int) -> None:
        assert self.provider.active
        assert self.provider.item
        self.drive.words(words, self.provider.active, self.provider.item)
        delta = base64.b64encode(bytes(48 * ms)).decode()
        self.drive.part("response.output_audio.delta", self.provider.active, self.provider.item, delta=delta)
        self.provider.generated[self.provider.item] += ms
        self.settle()

    @rule()
    @precondition(lambda self: self.provider.active and self.provider.item)
    def ends_an_item(self) -> None:
        assert self.provider.active
        assert self.provider.item
        self.drive.message_done("One two three", self.provider.active, self.provider.item)
        self.provider.item = None
        self.settle()

    @rule(status=st.sampled_from(["completed", "failed", "incomplete"]))
    @precondition(lambda self: self.provider.active)
    def is_done(self, status: str) -> None:
        assert self.provider.active
        response, self.provider.active = self.provider.active, None
        self.drive.done(response, "cancelled" if self.provider.cancelled else status)
        self.settle()

    @rule(ms=st.integers(100, 900), status=st.sampled_from(["completed", "incomplete", None]))
    @precondition(lambda self: self.provider.asked and self.provider.active is None)
    def answers(self, ms: int, status: str | None) -> None:
        self.begins_a_response()
        self.begins_an_item(part="audio")
        self.goes_on(words="One two three", ms=ms)
        if status is not None:
            self.ends_an_item()
            self.is_done(status)

    @rule()
    @precondition(lambda self: self.provider.asked and self.provider.active is None)
    def speaks_and_calls_a_function_while_the_bus_gets_slow(self) -> None:
        self.begins_a_response()
        self.begins_an_item(part="audio")
        self.goes_on(words="One two three", ms=900)
        self.ends_an_item()
        self.is_slow = True
        self.calls_a_function(complete=True)

    @rule()
    def confirms_a_commit(self) -> None:
        self.provider.unconfirmed = max(0, self.provider.unconfirmed - 1)
        self.provider.number += 1
        self.drive.provider("input_audio_buffer.committed", item_id=f"item_P{self.provider.number}")
        self.settle()

    # --- the client and time

    @rule(kind=st.sampled_from(["response.cancel", "input_audio_buffer.commit"]))
    @precondition(lambda self: self.drive.core.takes_client_events)
    def asks(self, kind: str) -> None:
        self.drive.client(kind)
        self.settle()

    @rule(
        where=st.sampled_from([{}, {"conversation": "none"}, {"conversation": "none", "output_modalities": ["text"]}])
    )
    @precondition(lambda self: self.drive.core.takes_client_events)
    def requests_a_response(self, where: Json) -> None:
        self.requests += 1
        name = f"request {self.requests}"
        parameters: Json = {"metadata": {"name": name}, **where}
        self.drive.client("response.create", event_id=name, response=parameters)
        self.settle()

    @rule(seconds=st.sampled_from([0.1, 0.3, 1.2]))
    def waits(self, seconds: float) -> None:
        # A core that gives up on a silent provider may rightly ask it again; this provider is only slow.
        if self.drive.now < 102.5:
            self.drive.advance(seconds)
            self.settle()

    # --- always

    @invariant()
    def ids_of_the_provider_are_never_shown(self) -> None:
        for event in self.media.shown:
            assert not [s for s in strings(event.event) if s.startswith(("item_P", "resp_P"))]

    @invariant()
    def every_event_is_shown_once_and_responses_end_once(self) -> None:
        shown = Counter(
            (str(e.event["type"]), str(object_of(e.event, "response")["id"]))
            for e in self.media.shown
            if e.event["type"] in ("response.created", "response.done")
        )
        assert not [key for key, times in shown.items() if times > 1]
        done = {response for kind, response in shown if kind == "response.done"}
        assert done <= {response for kind, response in shown if kind == "response.created"}
        endings = Counter(
            (str(e.event["type"]), str(e.event["item_id"]))
            for e in self.media.shown
            if "item_id" in e.event
            if str(e.event["type"]).endswith(".done")
        )
        assert not [key for key, times in endings.items() if times > 1]

    @invariant()
    def events_of_a_response_keep_their_order(self) -> None:
        last: dict[str, int] = {}
        for event in self.media.shown:
            response = response_of(event, self.media.responses)
            if response is not None:
                assert event.sequence > last.get(response, 0), event.event["type"]
                last[response] = event.sequence

    @invariant()
    def nothing_waits_but_for_its_own_response(self) -> None:
        for event in self.media.held:
            response = response_of(event, self.media.responses)
            assert response is not None
            assert event.item_id is not None
            assert self.media.responses[event.item_id] == response

    def teardown(self) -> None:
        """Finish everything in progress; then each begun response and item has ended."""
        self.is_slow = False
        self.settle()
        while self.pending:
            self.answers_a_clear()
        if self.talking:
            self.stops_speaking()
        for _ in range(40):
            if self.provider.unconfirmed:
                self.confirms_a_commit()
            elif self.provider.active:
                self.is_done("completed")
            elif self.provider.asked:
                self.begins_a_response()
            elif self.provider.asked_beside:
                self.answers_beside_the_conversation()
        for item in list(self.media.playing):
            self.media.ended.add(item)
            self.media.played[item] = self.media.received[item]
            self.drive.report(item, ms=self.media.received[item] // 24)
            self.settle()
        while self.pending:
            self.answers_a_clear()
        self.media.release()
        responses = {
            kind: sorted(str(object_of(e.event, "response")["id"]) for e in self.media.shown if e.event["type"] == kind)
            for kind in ("response.created", "response.done")
        }
        assert responses["response.created"] == responses["response.done"]
        assert not self.media.held
        items = {
            kind: sorted(str(object_of(e.event, "item")["id"]) for e in self.media.shown if e.event["type"] == kind)
            for kind in ("response.output_item.added", "response.output_item.done")
        }
        assert items["response.output_item.added"] == items["response.output_item.done"]
        answered = Counter(filter(None, (request_of(event) for event in self.media.shown)))
        assert answered == {f"request {number + 1}": 1 for number in range(self.requests)}


def request_of(event: PublishEvent) -> str | None:
    """Return the client's request that an event answers: by the begin of a response, or an error."""
    match event.event["type"]:
        case "response.created":
            metadata = object_of(event.event, "response").get("metadata")
            return str(metadata["name"]) if isinstance(metadata, dict) else None
        case "error":
            return str(object_of(event.event, "error")["event_id"] or "") or None
    return None


def response_of(event: PublishEvent, responses: dict[str, str]) -> str | None:
    """Return the response that an event is of, or None."""
    fields = event.event
    if "response" in fields:
        return str(object_of(fields, "response")["id"])
    if fields["type"] == "conversation.item.truncated":  # says what a cut did, in no order with the ends of items
        return None
    item_id = str(object_of(fields, "item")["id"] if "item" in fields else fields.get("item_id"))
    return responses.get(item_id)


CallMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestCalls = CallMachine.TestCase
