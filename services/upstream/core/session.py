"""One session: sole author of what the client sees, and driver of the provider.

Sans-IO. Methods are what happened, returns are what must happen, in order. Time is an argument.
"""

from pydantic import JsonValue

from services.contracts.endings import EndReason
from services.contracts.grant import Grant
from services.contracts.ids import SessionId
from services.upstream.core.author import AT_ONCE, Author, Origin
from services.upstream.core.commands import BookUsage, Command, CountError, EndCall
from services.upstream.core.config import SessionConfigState
from services.upstream.core.conversation import Conversation
from services.upstream.core.history import History
from services.upstream.core.ids import IdMap
from services.upstream.core.ingest import IGNORED, REQUIRED, MalformedEventError, checked
from services.upstream.core.requests import Parts, Requests
from services.upstream.core.response import Report, Shared, StopReason
from services.upstream.core.responses import Responses
from services.upstream.core.shape import Json, fields, text, whole
from services.upstream.core.speech import Speech
from services.upstream.core.stream import ITEM_EVENTS
from services.upstream.core.transcript import Pace
from services.upstream.core.usage import Tally

USAGE_EVERY_S = 5.0
TRANSCRIPTION_S = 1.0
"""So long the end of a call waits for one: some models never come to it."""
_QUIET_ERRORS = frozenset({"response_cancel_not_active", "conversation_already_has_active_response"})
_QUIET_KINDS = frozenset({"conversation.item.truncate", "input_audio_buffer.clear", "response.cancel"})
_MAX_LIMITS = 16


class SessionCore:
    """Decides everything between one call's media and one provider's socket."""

    def __init__(self, *, session_id: SessionId, grant: Grant, model: str, expires_at: int) -> None:
        self._author = Author()
        self._ids = IdMap()
        self._tally = Tally()
        self._config = SessionConfigState(session_id=session_id, grant=grant, model=model, expires_at=expires_at)
        self._shows_usage = "usage" in grant.events
        self._usage_at: float | None = None
        self._ended = False
        self._left_at = 0.0
        self._barged_in = False
        conversation = Conversation()
        shared = Shared(self._author, self._ids, Pace(), conversation, self._config.conversation_id)
        self._responses = Responses(shared, self._tally, shows_turns="turn" in grant.events)
        self._speech = Speech(self._author, self._ids, self._config, conversation=conversation, tally=self._tally)
        self._history = History(self._author, self._ids, self._config, conversation=conversation, speech=self._speech)
        self._requests = Requests(
            Parts(
                self._author,
                self._ids,
                self._config,
                conversation,
                self._responses,
                self._speech,
                self._history,
                self._tally,
            )
        )

    # --- the session --------------------------------------------------------------------------------------------

    def started(self, *, now: float) -> list[Command]:
        """The call is ours. The client is greeted at once, with the session as it will be."""
        self._usage_at = now + USAGE_EVERY_S
        self._author.publish("session.created", {"session": self._config.effective})
        return self._author.take()

    def provider_opened(self, *, now: float) -> list[Command]:
        """The provider is there: set it up, then let it have what was said meanwhile."""
        self._tally.opened_at = now
        self._author.open()
        self._author.send("session.update", {"session": self._config.for_provider()})
        self._author.release_held()
        return self._author.take()

    def provider_lost(self, reason: EndReason, detail: str, *, now: float) -> list[Command]:
        """There is no provider any more, or there never was."""
        return [*self.ended(now=now), EndCall(reason, detail)]

    def leaving(self, *, now: float) -> list[Command]:
        """The call is about to be over: nothing more is asked for, and what is being made is stopped."""
        self._left_at = now
        self._responses.abandon(now=now)
        return self._author.take()

    def is_settled(self, *, now: float) -> bool:
        """Whether the provider has billed all that it made; a transcription is not waited for as long as an answer."""
        if self._ended or not self._author.is_open:
            return True
        is_quiet = not self._speech.untranscribed or now - self._left_at >= TRANSCRIPTION_S
        return is_quiet and not self._responses.owed

    def ended(self, *, now: float) -> list[Command]:
        """The call is over: book what is left."""
        if self._ended:
            return []
        self._ended = True
        self._author.do(BookUsage(self._tally.meters(now=now)))
        return self._author.take()

    def tick(self, *, now: float) -> list[Command]:
        """Time passes: call this several times a second."""
        self._responses.tick(now=now)
        if self._usage_at is not None and now >= self._usage_at:
            self._usage_at = now + USAGE_EVERY_S
            self._show_usage(now)
        return self._author.take()

    # --- the caller ---------------------------------------------------------------------------------------------

    def utterance_started(self, index: int, *, now: float) -> list[Command]:
        """The gate opened; ``index``: the first frame that follows, pre-roll included."""
        automatic = self._config.turn_detection is not None
        if automatic:
            self._responses.interrupt(now=now)
            if self._barged_in:
                self._speech.clear()
        self._barged_in = False
        self._speech.started(index, shown=automatic)
        return self._author.take()

    def audio_up(self, pcm: bytes, *, now: float) -> list[Command]:  # noqa: ARG002 - all events have the time
        """Caller frames within an utterance: s16le mono 16 kHz."""
        if self._speech.is_open:
            self._speech.frames(pcm)
        return self._author.take()

    def utterance_ended(self, index: int, *, hangover_ms: int = 0, now: float) -> list[Command]:
        """The gate closed; ``index``: after the last frame; ``hangover_ms``: silence that it waited out."""
        detection = self._config.turn_detection
        committed = self._speech.ended(index, shown=detection is not None)
        if committed and detection and detection.get("create_response") is not False:
            self._responses.ask({}, asker="turn", hangover_ms=hangover_ms, now=now)
        return self._author.take()

    def utterance_abandoned(self) -> list[Command]:
        """The caller hung up in the midst of it: nobody waits for an answer."""
        self._speech.abandon()
        return self._author.take()

    def playout_reported(self, report: Report, *, by_caller: bool, now: float) -> list[Command]:
        """Media says how far an item was played, or that it was cut: by the caller's voice, or by a request."""
        reason: StopReason = "turn_detected" if by_caller else "client_cancelled"
        self._responses.reported(report, reason=reason, now=now)
        self._barged_in = self._barged_in or (report.cut and by_caller)
        return self._author.take()

    def client_event(self, event: JsonValue, *, now: float) -> list[Command]:
        """An event of the client, any JSON."""
        self._requests.handle(event, now)
        return self._author.take()

    # --- the provider -------------------------------------------------------------------------------------------

    def provider_event(self, event: JsonValue, *, now: float) -> list[Command]:
        """An event of the provider, any JSON."""
        try:
            self._take_event(checked(event), now)
        except MalformedEventError as exc:
            self._author.count(CountError("malformed", str(exc)))
        return self._author.take()

    def _take_event(self, event: Json, now: float) -> None:
        kind = text(event, "type")
        if kind in ITEM_EVENTS:
            self._config.voice_is_fixed = self._config.voice_is_fixed or kind == "response.output_audio.delta"
            self._responses.item_event(event, now)
        elif kind.startswith(("conversation.item.", "input_audio_buffer.")) and kind in REQUIRED:
            self._take_history(kind, event)
        elif kind.startswith(("response.mcp_", "mcp_list_tools.")) and kind in REQUIRED:
            self._take_mcp(kind, event)
        else:
            self._take_other(kind, event, now)

    def _take_other(self, kind: str, event: Json, now: float) -> None:
        match kind:
            case "response.created":
                self._responses.created(event, now)
            case "response.done":
                self._responses.done(event, now)
                self._show_usage(now)
            case "error":
                self._take_error(fields(event, "error"), now)
            case "rate_limits.updated":
                self._author.publish(kind, {"rate_limits": _rate_limits(event)}, AT_ONCE)
            case "session.created" | "session.updated":
                pass  # the client is shown its own session
            case _ if kind not in IGNORED:
                self._author.count(CountError("unexpected", kind[:64]))

    def _take_history(self, kind: str, event: Json) -> None:
        match kind.removeprefix("conversation.item."):
            case "added":
                self._history.added(event)
            case "created":
                self._history.added(event)
                self._history.done(event)
            case "done":
                self._history.done(event)
            case "retrieved":
                self._history.retrieved(event)
            case "deleted":
                self._history.deleted(event)
            case "truncated":
                self._history.truncated(event)
            case "input_audio_buffer.committed":
                self._speech.committed(text(event, "item_id"))
            case "input_audio_buffer.cleared":
                self._speech.cleared()
            case _:
                self._history.transcription(event)

    def _take_mcp(self, kind: str, event: Json) -> None:
        shown: Json = {"item_id": self._ids.ours("item", text(event, "item_id"))}
        if kind.startswith("response."):
            shown["output_index"] = whole(event, "output_index")
        if "response_id" in REQUIRED[kind]:
            shown["response_id"] = self._ids.ours("response", text(event, "response_id"))
        shown |= {name: text(event, name) for name in ("delta", "arguments") if name in REQUIRED[kind]}
        self._author.publish(kind, shown)

    def _take_error(self, error: Json, now: float) -> None:
        code = text(error, "code") or None
        origin = self._author.origin_of(error.get("event_id"))
        self._author.count(CountError("error_event", (code or "")[:64]))
        if self._is_settled(origin, code, now):
            return
        self._author.error(
            kind=text(error, "type", "server_error"),
            code=code,
            message=self._ids.scrub(text(error, "message", "The provider reports an error.")),
            param=text(error, "param") or None,
            client_event_id=origin.client_event_id if origin else None,
        )

    def _is_settled(self, origin: Origin | None, code: str | None, now: float) -> bool:
        """Take note of what did not happen; whether the client need not know of it."""
        kind = origin.kind if origin else ""
        is_active = code == "conversation_already_has_active_response"
        if kind == "response.create" or (origin is None and is_active):
            return self._responses.refused(is_active=is_active, now=now)
        if kind == "input_audio_buffer.commit":
            self._speech.commit_failed()
        if kind == "conversation.item.create" and origin and origin.item_id:
            self._history.create_failed(origin.item_id)
        return code in _QUIET_ERRORS or (kind in _QUIET_KINDS and origin is not None and not origin.by_client)

    def _show_usage(self, now: float) -> None:
        self._author.do(BookUsage(self._tally.meters(now=now)))
        if self._shows_usage:
            tally = self._tally
            figures: Json = {
                "sent_ms": tally.sent_ms,
                "generated_ms": tally.generated_ms,
                "responses": tally.responses,
            }
            self._author.publish("hushgate.usage", figures, AT_ONCE)


def _rate_limits(event: Json) -> list[JsonValue]:
    limits = event.get("rate_limits")
    known = [limit for limit in limits if isinstance(limit, dict)] if isinstance(limits, list) else []
    return [
        {
            "name": text(limit, "name"),
            "limit": whole(limit, "limit"),
            "remaining": whole(limit, "remaining"),
            "reset_seconds": _seconds(limit.get("reset_seconds")),
        }
        for limit in known[:_MAX_LIMITS]
        if text(limit, "name") in ("requests", "tokens")
    ]


def _seconds(value: JsonValue) -> float:
    return float(value) if isinstance(value, (int, float)) and 0 <= value < float("inf") else 0.0
