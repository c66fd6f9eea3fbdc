"""What a worker does for one call, as spans of the call's trace.

It listens to what passes through the call's shell anyway: what the client is shown, how long a turn's stages took, what
the client sends. None of it is called for audio.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass

from pydantic import JsonValue

from services.contracts.endings import EndReason
from services.runtime import clock, tracing
from services.runtime.tracing import NOTHING, Live
from services.upstream.core.commands import ObserveStage
from services.upstream.core.shape import Json, fields, text
from services.upstream.facts import CallFacts

_MAX_OPEN = 64
"""Responses, or function calls, that have not ended: more than any conversation has."""
_MAX_NAME = 64
_FAILED = frozenset({EndReason.PROVIDER_ERROR, EndReason.PROVIDER_REFUSED, EndReason.INTERNAL})


@dataclass(frozen=True, slots=True)
class _Utterance:
    """It ended before the caller's frame ``index``; ``at``: when the worker heard of it, monotonic seconds."""

    index: int
    at: float


class CallTrace:
    """The span of a session and those in it. Without one, nothing. ``now``: monotonic seconds."""

    def __init__(self, span: Live = NOTHING) -> None:
        self._span = span
        self._unix_s = clock.unix_minus_monotonic()
        self._connecting = NOTHING
        self._utterances: deque[_Utterance] = deque(maxlen=_MAX_OPEN)
        self._asked_by_client: float | None = None
        self._responses: OrderedDict[str, Live] = OrderedDict()
        self._created = ""  # the response that was begun last
        self._turns_response = NOTHING  # the one that answers the last turn
        self._asked_ns = 0  # when it was asked for
        self._tools: OrderedDict[str, Live] = OrderedDict()

    def started(self) -> None:
        """The provider is called."""
        self._connecting = self._span.begin("provider_connect", kind="client")

    def provider_opened(self) -> None:
        """The provider answered."""
        self._connecting.end()

    def utterance_ended(self, index: int, *, now: float) -> None:
        """A turn's end came from media, and is committed and answered if it is long enough."""
        if self._span.recording:
            self._utterances.append(_Utterance(index, now))

    def client_said(self, event: JsonValue, *, now: float) -> None:
        """An event of the client: it may ask for a response, or bring a function's output."""
        if not self._span.recording or not isinstance(event, dict):
            return
        kind, item = text(event, "type"), fields(event, "item")
        if kind == "response.create":
            self._asked_by_client = now
        elif kind == "conversation.item.create" and text(item, "type") == "function_call_output":
            tool = self._tools.pop(text(item, "call_id"), NOTHING)
            tool.note(outcome="answered")
            tool.end(at_ns=self._ns(now))

    def shown(self, event: Json) -> None:
        """The client is shown an event."""
        if not self._span.recording:
            return
        match text(event, "type"):
            case "response.created":
                self._response_created(text(fields(event, "response"), "id"))
            case "response.output_item.done":
                self._item_done(text(event, "response_id"), fields(event, "item"))
            case "response.done":
                self._response_done(fields(event, "response"))

    def stage(self, observed: ObserveStage, *, now: float) -> None:
        """A part of a turn is over."""
        if not self._span.recording:
            return
        if observed.stage == "provider_created":
            self._turns_response = self._of_turn(now - observed.seconds)
            self._turns_response.event("commit", at_ns=self._asked_ns)
            self._turns_response.event("created", at_ns=self._ns(now))
        else:
            self._turns_response.begin("first_audio", start_ns=self._asked_ns).end(at_ns=self._ns(now))

    def ended(self, facts: CallFacts, reason: EndReason) -> None:
        """The session is over."""
        for left in (*self._tools.values(), *self._responses.values()):
            left.note(outcome="call_ended")
            left.end()
        self._connecting.end(error=reason)  # if it never answered
        self._span.note(reason=reason, session=facts.session, provider=facts.provider, model=facts.model)
        self._span.end(error=reason if reason in _FAILED else "")

    def _response_created(self, response_id: str) -> None:
        """Asked for by the client, as long as `stage` does not say that it answers a turn."""
        asked_at, self._asked_by_client = self._asked_by_client, None
        start_ns = self._ns(asked_at) if asked_at is not None else clock.unix_ns()
        self._keep(self._responses, response_id, self._span.begin("response", kind="client", start_ns=start_ns))
        self._created = response_id

    def _of_turn(self, asked_at: float) -> Live:
        """The response that was just begun, begun again where it belongs."""
        place = None
        self._asked_ns = self._ns(asked_at)
        if self._utterances and self._span.context is not None:
            turn = min(self._utterances, key=lambda utterance: abs(utterance.at - asked_at))
            place = self._span.context.named(tracing.turn_name(turn.index))
        response = self._span.begin("response", kind="client", start_ns=self._asked_ns, under=place)
        self._keep(self._responses, self._created, response)
        return response

    def _item_done(self, response_id: str, item: Json) -> None:
        if text(item, "type") == "function_call" and text(item, "status") == "completed":
            tool = self._responses.get(response_id, self._span).begin("tool")
            tool.note(tool=text(item, "name")[:_MAX_NAME])
            self._keep(self._tools, text(item, "call_id"), tool)

    def _response_done(self, response: Json) -> None:
        span = self._responses.pop(text(response, "id"), NOTHING)
        status = text(response, "status")
        span.note(response_id=text(response, "id"), outcome=status)
        span.end(error="response_failed" if status == "failed" else "")

    def _keep(self, kept: OrderedDict[str, Live], key: str, span: Live) -> None:
        kept[key] = span
        if len(kept) > _MAX_OPEN:
            _, oldest = kept.popitem(last=False)
            oldest.end(error="left_open")

    def _ns(self, monotonic_s: float) -> int:
        return int((monotonic_s + self._unix_s) * 1e9)
