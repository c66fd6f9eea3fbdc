"""A maker of usage events for the tests of metering."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from services.contracts import subjects
from services.contracts.call_history import CallPlaced
from services.contracts.ids import CallId, Epoch, ProcessId, SessionId, TenantId, WorkerId
from services.contracts.subjects import UsageRole
from services.contracts.usage import MEDIA_METERS, Meter, UsageData, UsageEvent, usage_event
from services.metering.held_messages import InboundMessage
from services.metering.store import Ledger

_CALL = CallId("rtc_" + "a" * 26)
MEDIA, WORKER = ProcessId("media-0"), WorkerId("upstream-0")
SOURCES: dict[UsageRole, str] = {"media": f"{MEDIA}-{'a' * 16}", "upstream": f"{WORKER}-{'b' * 16}"}
PROCESSES: dict[UsageRole, str] = {"media": MEDIA, "upstream": WORKER}


def role_of(meters: Iterable[str]) -> UsageRole:
    """Return the role of the process that reports these meters."""
    return "media" if {Meter(meter) for meter in meters} <= MEDIA_METERS else "upstream"


@dataclass(slots=True)
class EventMaker:
    """EventMaker of events of a call's media process and worker, numbered in an outbox for each."""

    now: datetime = datetime(2026, 11, 20, 12, tzinfo=UTC)
    call: CallId = _CALL
    made: int = 0
    written: Counter[UsageRole] = field(default_factory=Counter)
    media_outbox: str = SOURCES["media"]
    worker_outbox: str = SOURCES["upstream"]

    def data(self, meters: dict[str, int], **changes: Any) -> UsageData:  # noqa: ANN401 - any field
        fields: dict[str, Any] = {
            "call_id": self.call,
            "session_id": SessionId("sess_1"),
            "epoch": Epoch(7),
            "seq": self.made,
            "provider": "rehearsal",
            "model": "gpt-realtime-2.1",
            "meters": {Meter(name): quantity for name, quantity in meters.items()},
            "worker": WORKER if role_of(meters) == "media" else "",
        }
        return UsageData(**fields | changes)

    def event(self, meters: dict[str, int], **changes: Any) -> UsageEvent:  # noqa: ANN401 - any field
        role = role_of(meters)
        self.made += 1
        self.written[role] += 1
        envelope: dict[str, Any] = {
            "event_id": f"event-{self.made}",
            "source": SOURCES[role],
            "tenant": TenantId("acme"),
            "time": self.now,
            "sequence": self.written[role],
            "floor": 1,
        }
        envelope |= {name: changes.pop(name) for name in list(changes) if name in envelope}
        return usage_event(self.data(meters, **changes), **envelope)

    def delivery(self, event: UsageEvent) -> InboundMessage:
        role = role_of(event.data.meters)
        return InboundMessage(subjects.usage(role, PROCESSES[role], event.subject), event.encode())

    def placed(self, **changes: Any) -> CallPlaced:  # noqa: ANN401 - any field
        fields: dict[str, Any] = {
            "call": self.call,
            "tenant": TenantId("acme"),
            "process": MEDIA,
            "model": "gpt-realtime-2.1",
            "max_seconds": 86_400,
            "placed_unix_ms": round(self.at(days=-1).timestamp() * 1000),
        }
        return CallPlaced(**fields | changes)

    def place(self, ledger: Ledger, *events: UsageEvent, **changes: Any) -> None:  # noqa: ANN401 - any field
        """Record the call's placement, and events of media that name the owner of the sessions of ``events``."""
        now = self.at(days=-1)
        ledger.record_placed([InboundMessage(subjects.PLACED, self.placed(**changes).encode())], now=now)
        for key in {(event.data.session_id, event.data.epoch) for event in events} or {(SessionId("sess_1"), Epoch(7))}:
            mine = [event.data for event in events if (event.data.session_id, event.data.epoch) == key]
            said = {"provider": mine[0].provider} if mine else {}
            owner = self.event({"call_ms": 0}, session_id=key[0], epoch=key[1], source=f"{MEDIA}-{'c' * 16}", **said)
            self.written["media"] -= 1  # it is of another outbox
            assert ledger.record([self.delivery(owner)], now=self.now).results.total()

    def at(self, **delta: float) -> datetime:
        return self.now + timedelta(**delta)

    def place_another(self, ledger: Ledger, event: UsageEvent) -> None:
        """Record the placement of the call of ``event``, and an event of media that names the session's owner."""
        other = replace(self, call=event.data.call_id, written=Counter())
        call = event.data.call_id
        placed = self.placed(call=call, tenant=event.subject)
        ledger.record_placed([InboundMessage(subjects.PLACED, placed.encode())], now=self.at(days=-1))
        owner = other.event({"call_ms": 0}, tenant=event.subject, event_id=f"owner-{call}")
        ledger.record([other.delivery(owner)], now=self.now)
