"""Nothing of a client is dropped: each message is forwarded in order or refused, whatever the worker takes."""

import json
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from services.contracts.client_event import EncodedText, RefusedEvent
from services.contracts.frame import Flag, Kind
from services.media.core.conversation import client_inbox
from services.media.core.conversation.client_inbox import ClientInbox, DueEvent, ValidClientEvent


@dataclass
class HandlingWorker:
    """Puts the pieces together and handles events when it is told to."""

    events: list[bytes] = field(default_factory=list)
    refused: list[str | None] = field(default_factory=list)
    outcome: list[str] = field(default_factory=list)
    arrived: list[int] = field(default_factory=list)
    pieces: bytes = b""
    handled: int = 0

    def take(self, due: list[DueEvent | RefusedEvent]) -> None:
        for one in due:
            if isinstance(one, RefusedEvent):
                self.refused.append(one.event_id)
                self.outcome.append("refused")
                continue
            frame = one.frame
            assert (one.type == "x") is (self.pieces == b"" and len(frame.payload) <= 16 * 1024 and not frame.flags)
            assert frame.kind is Kind.CLIENT_EVENT
            assert frame.position - self.handled <= client_inbox.MAX_IN_FLIGHT
            assert len(frame.payload) <= client_inbox.PIECE_BYTES
            assert frame.position > (self.arrived[-1] if self.arrived else 0), "each frame differs from all others"
            self.arrived.append(frame.position)
            self.pieces += frame.payload
            if Flag.MORE not in frame.flags:
                self.events.append(self.pieces)
                self.outcome.append("forwarded")
                self.pieces = b""

    def credit(self, share: float) -> int:
        if self.arrived:
            self.handled = max(self.handled, self.arrived[int(share * (len(self.arrived) - 1))])
        return self.handled


valid = st.builds(
    lambda n, size: json.dumps({"type": "x", "n": n, "fill": "é" * size}), st.integers(), st.integers(0, 300)
)
long = st.builds(lambda size: json.dumps({"type": "x", "fill": "y" * size}), st.integers(15_000, 400_000))
encoded = st.builds(lambda size: EncodedText(b'{"type":"x","fill":"%b"}' % (b"z" * size)), st.integers(16_500, 200_000))
bad = st.sampled_from(["", "{", "[]", "3", '{"event_id":"mine"}', '{"type":1}', b"{}", b"", "\ud800"])
steps = st.one_of(valid, long, encoded, bad, st.floats(0, 1), st.just(None))


@given(st.lists(steps, max_size=60))
def test_every_message_is_forwarded_in_order_or_refused(sent: list[str | EncodedText | bytes | float | None]) -> None:
    inbox, worker, now = ClientInbox(), HandlingWorker(), 100.0
    expected: list[str] = []
    forwarded: list[bytes] = []
    for step in sent:
        if isinstance(step, float):
            inbox.credit(worker.credit(step))
        elif step is None:
            now += 0.1
        else:
            message = inbox.read(step)
            expected.append("refused" if isinstance(message, RefusedEvent) else "forwarded")
            raw = message.raw if isinstance(message, ValidClientEvent) else message
            if isinstance(raw, bytes):
                forwarded.append(raw)
            inbox.append(raw, kind=message.type if isinstance(message, ValidClientEvent) else "")
        worker.take(inbox.take_due(now=now))
    while inbox.waiting_bytes:
        now += 1
        before = inbox.waiting_bytes
        inbox.credit(worker.credit(1))
        worker.take(inbox.take_due(now=now))
        assert inbox.waiting_bytes < before, "what waits becomes less with each credit"
    assert worker.outcome == expected
    assert worker.events == forwarded
    assert worker.pieces == b""


def test_what_a_long_message_holds_is_counted_until_it_is_sent() -> None:
    inbox, worker = ClientInbox(), HandlingWorker()
    inbox.append(b"x" * 1_000_000)
    assert inbox.waiting_bytes == 1_000_000 + client_inbox.MESSAGE_COST
    worker.take(inbox.take_due(now=0))
    sent = sum(client_inbox.PIECE_BYTES for _ in worker.arrived)
    assert inbox.waiting_bytes == 1_000_000 + client_inbox.MESSAGE_COST - sent
    assert sent <= client_inbox.MAX_IN_FLIGHT


def test_a_credit_for_what_was_never_sent_changes_nothing() -> None:
    inbox, worker = ClientInbox(), HandlingWorker()
    inbox.credit(2**60)
    inbox.append(b"x" * 1_000_000)
    worker.take(inbox.take_due(now=0))
    assert worker.arrived[-1] <= client_inbox.MAX_IN_FLIGHT


def test_bursts_go_at_once_and_the_rest_at_a_rate() -> None:
    inbox = ClientInbox()
    for _ in range(2000):
        inbox.append(b"{}")
        inbox.credit(2**60)
        inbox.take_due(now=0)
    waiting = inbox.waiting_bytes // (client_inbox.MESSAGE_COST + 2)
    assert waiting == 2000 - client_inbox.BURST_EVENTS
    inbox.credit(2**60)
    assert len(inbox.take_due(now=1)) == client_inbox.EVENTS_PER_S
