"""Drives a session core and records its commands; each event for the client is checked against OpenAI's types."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from openai.types.realtime import RealtimeServerEvent
from pydantic import JsonValue, TypeAdapter

from services.contracts.frame import Flag
from services.contracts.grant import Grant, Limits, MinuteLimits, OwnEvent
from services.contracts.ids import ItemId, SessionId, TenantId
from services.contracts.turn_detection import TurnTerms
from services.upstream.connectors.openai import CAPABILITIES
from services.upstream.core.capabilities import Capabilities
from services.upstream.core.commands import (
    AppendAudio,
    BookUsage,
    ClearPlayout,
    CountError,
    CountMissing,
    PublishAudio,
    PublishEvent,
    SendToProvider,
    SessionCommand,
)
from services.upstream.core.response import Report
from services.upstream.core.session import SessionCore

Json = dict[str, JsonValue]
SERVER_EVENT: TypeAdapter[object] = TypeAdapter(RealtimeServerEvent)
FRAME = bytes(640)
EAGER = TurnTerms(eager_ms=300)
OWN = {"hushgate.usage", "hushgate.turn"}


def core_of(  # noqa: PLR0913 - all by keyword
    session: Json | None = None,
    *,
    locked: tuple[str, ...] = (),
    events: tuple[OwnEvent, ...] = (),
    capabilities: Capabilities = CAPABILITIES,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    tenant_limits: MinuteLimits = MinuteLimits(),  # noqa: B008 - frozen
    turn_terms: TurnTerms = TurnTerms(),  # noqa: B008 - frozen
    eager_waste_percent: int = 10,
) -> SessionCore:
    """Return a core with a grant."""
    grant = Grant(tenant=TenantId("acme"), session=session or {}, locked=locked, events=events)
    grant = grant.model_copy(update={"limits": limits, "tenant_limits": tenant_limits})
    return SessionCore(
        session_id=SessionId("sess_ours"),
        grant=grant,
        model="gpt-realtime-2.1",
        expires_at=1_800_000_000,
        capabilities=capabilities,
        turn_terms=turn_terms,
        eager_waste_percent=eager_waste_percent,
    )


@dataclass
class Drive:
    """A core, and the commands that it has returned so far."""

    core: SessionCore = field(default_factory=core_of)
    now: float = 100.0
    commands: list[SessionCommand] = field(default_factory=list)
    index: int = 0

    def ready(self) -> "Drive":
        """Start and connect the core, put its session in force, and forget the commands of that."""
        self.record(self.core.started(now=self.now))
        self.open()
        self.commands.clear()
        return self

    def open(self) -> None:
        """Connect the core to the provider, which confirms its session."""
        self.record(self.core.provider_opened(now=self.now))
        self.confirm()

    def confirm(self, **reported: JsonValue) -> list[SessionCommand]:
        """Confirm the newest `session.update`, with the session as sent but for what is ``reported`` otherwise."""
        sent = [c.event for c in self.commands if isinstance(c, SendToProvider) and c.event["type"] == "session.update"]
        return self.provider("session.updated", session={**object_of(sent[-1], "session"), **reported})

    def record(self, commands: list[SessionCommand]) -> list[SessionCommand]:
        for command in commands:
            if isinstance(command, PublishEvent) and command.event["type"] not in OWN:
                SERVER_EVENT.validate_python(command.event, strict=False)
        self.commands += commands
        return commands

    def forget(self) -> "Drive":
        """Forget the commands so far."""
        self.commands.clear()
        return self

    # --- events for the core

    def provider(self, kind: str, **fields: JsonValue) -> list[SessionCommand]:
        return self.record(
            self.core.on_provider_event({"type": kind, "event_id": "event_theirs", **fields}, now=self.now)
        )

    def client(self, kind: str, **fields: JsonValue) -> list[SessionCommand]:
        return self.record(self.core.on_client_event({"type": kind, **fields}, now=self.now))

    def start(self) -> list[SessionCommand]:
        return self.record(self.core.utterance_started(self.index, now=self.now))

    def speak(self, frames: int = 10) -> list[SessionCommand]:
        self.index += frames
        return self.record([c for _ in range(frames) for c in self.core.audio_up(FRAME, now=self.now)])

    def stop(self, *, hangover_ms: int = 0) -> list[SessionCommand]:
        return self.record(self.core.utterance_ended(self.index, hangover_ms=hangover_ms, now=self.now))

    def pause(self, *, is_quiet: bool = True) -> list[SessionCommand]:
        """Say that the turn has probably ended."""
        return self.record(self.core.turn_probably_ended(is_quiet=is_quiet, now=self.now))

    def resume(self) -> list[SessionCommand]:
        return self.record(self.core.turn_resumed(now=self.now))

    def utter(self, frames: int = 10, *, hangover_ms: int = 0) -> None:
        self.start()
        self.speak(frames)
        self.stop(hangover_ms=hangover_ms)

    def advance(self, seconds: float) -> list[SessionCommand]:
        self.now += seconds
        return self.record(self.core.on_timer(now=self.now))

    def report(
        self,
        item_id: str,
        *,
        ms: int,
        heard_ms: int | None = None,
        cut: bool = False,
        by_caller: bool = True,
        received: int = -1,
    ) -> list[SessionCommand]:
        known = Report(item_id, ms * 24, ms if heard_ms is None else heard_ms, cut=cut, received=received)
        return self.record(self.core.playout_reported(known, by_caller=by_caller, now=self.now))

    # --- usual event sequences of a provider

    def created(self, rid: str = "resp_P1", **more: JsonValue) -> None:
        response: Json = {"id": rid, "object": "realtime.response", "status": "in_progress", "output": [], **more}
        self.provider("response.created", response=response)

    def message(self, rid: str = "resp_P1", iid: str = "item_P1", part: str = "audio") -> None:
        item: Json = {"id": iid, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        self.provider("response.output_item.added", response_id=rid, output_index=0, item=item)
        self.provider("conversation.item.added", item=item, previous_item_id=None)
        empty: Json = {"type": part, "transcript": ""} if part == "audio" else {"type": part, "text": ""}
        self.part("response.content_part.added", rid, iid, part=empty)

    def part(self, kind: str, rid: str = "resp_P1", iid: str = "item_P1", **more: JsonValue) -> list[SessionCommand]:
        return self.provider(kind, response_id=rid, item_id=iid, output_index=0, content_index=0, **more)

    def words(self, text: str, rid: str = "resp_P1", iid: str = "item_P1") -> None:
        self.part("response.output_audio_transcript.delta", rid, iid, delta=text)

    def sound(self, ms: int, rid: str = "resp_P1", iid: str = "item_P1") -> None:
        self.part("response.output_audio.delta", rid, iid, delta=base64.b64encode(bytes(48 * ms)).decode())

    def message_done(self, text: str, rid: str = "resp_P1", iid: str = "item_P1") -> None:
        self.part("response.output_audio.done", rid, iid)
        self.part("response.output_audio_transcript.done", rid, iid, transcript=text)
        self.part("response.content_part.done", rid, iid, part={"type": "audio", "transcript": text})
        content: JsonValue = [{"type": "output_audio", "transcript": text}]
        item: Json = {"id": iid, "type": "message", "role": "assistant", "status": "completed", "content": content}
        self.provider("conversation.item.done", item=item, previous_item_id=None)
        self.provider("response.output_item.done", response_id=rid, output_index=0, item=item)

    def done(self, rid: str = "resp_P1", status: str = "completed", **more: JsonValue) -> list[SessionCommand]:
        return self.provider("response.done", response={"id": rid, "status": status, "output": [], **more})

    def answer(self, text: str = "Hello there", ms: int = 1000, rid: str = "resp_P1", iid: str = "item_P1") -> str:
        """Send a whole response with audio; return our id of its item."""
        self.respond(text, ms, rid, iid)
        return self.items[-1]

    def respond(self, text: str = "Hello there", ms: int = 1000, rid: str = "resp_P1", iid: str = "item_P1") -> None:
        """Send a whole response with audio."""
        self.created(rid)
        self.message(rid, iid)
        self.words(text, rid, iid)
        self.sound(ms, rid, iid)
        self.message_done(text, rid, iid)
        self.done(rid)

    # --- commands of the core

    @property
    def events(self) -> list[PublishEvent]:
        return [c for c in self.commands if isinstance(c, PublishEvent)]

    @property
    def shown(self) -> list[str]:
        return [str(c.event["type"]) for c in self.events]

    @property
    def sent_types(self) -> list[str]:
        """The types of the events for the provider, in order; audio as `append`."""
        names = {AppendAudio: "append", SendToProvider: ""}
        return [
            str(c.event["type"]) if isinstance(c, SendToProvider) else names[type(c)]
            for c in self.commands
            if isinstance(c, (AppendAudio, SendToProvider))
        ]

    @property
    def audio(self) -> list[PublishAudio]:
        return [c for c in self.commands if isinstance(c, PublishAudio)]

    @property
    def items(self) -> list[str]:
        """Our ids of the responses' items, in order."""
        return [str(object_of(e.event, "item")["id"]) for e in self.named("response.output_item.added")]

    @property
    def cleared(self) -> list[ItemId]:
        return [c.item_id for c in self.commands if isinstance(c, ClearPlayout)]

    @property
    def booked(self) -> list[BookUsage]:
        return [c for c in self.commands if isinstance(c, BookUsage)]

    @property
    def faults(self) -> list[str]:
        return [c.kind for c in self.commands if isinstance(c, CountError)]

    @property
    def missing(self) -> list[str]:
        return [c.capability for c in self.commands if isinstance(c, CountMissing)]

    def named(self, kind: str) -> list[PublishEvent]:
        return [c for c in self.events if c.event["type"] == kind]

    def one(self, kind: str) -> Json:
        found = self.named(kind)
        assert len(found) == 1, f"{len(found)} of {kind} in {self.shown}"
        return found[0].event

    def sent(self, kind: str) -> Json:
        found = [c.event for c in self.commands if isinstance(c, SendToProvider) and c.event["type"] == kind]
        assert len(found) == 1, f"{len(found)} of {kind} in {self.sent_types}"
        return found[0]

    @property
    def error(self) -> Json:
        return object_of(self.one("error"), "error")


def between_sessions() -> Drive:
    """Return a core whose provider's session has ended, and whose next one is not open."""
    drive = Drive(core_of(capabilities=replace(CAPABILITIES, session_limit_s=480))).ready()
    drive.advance(400)
    return drive.forget()


def object_of(event: Json, name: str) -> Json:
    value = event[name]
    assert isinstance(value, dict)
    return value


def strings(value: JsonValue) -> Iterator[str]:
    """Yield all strings in JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def visible(drive: Drive, item_id: str, *, played: int) -> list[str]:
    """Return the types of the events that media releases if the item is cut after ``played`` samples."""
    return [
        str(e.event["type"])
        for e in drive.events
        if not (Flag.CUTTABLE in e.flags and e.item_id == item_id and e.position > played)
    ]
