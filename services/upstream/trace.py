"""A worker's part of a call's trace: the session, its connection, responses and function calls as spans.

`SessionRunner` passes it the events of the client and those for it, and the stages of a turn; audio never.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass

from pydantic import JsonValue

from services.contracts.endings import EndReason
from services.runtime import clock
from services.runtime.telemetry import tracing
from services.runtime.telemetry.tracing import NOTHING, LiveSpan
from services.upstream.claimed_call import ClaimedCall
from services.upstream.core.commands import ObserveStage
from services.upstream.core.json_shape import Json, fields, text

_MAX_OPEN = 64
"""Most responses, and most function calls, that may be open at a time; the oldest is ended for a newer one."""
_MAX_NAME = 64
_FAILED = frozenset({EndReason.PROVIDER_ERROR, EndReason.PROVIDER_REFUSED, EndReason.INTERNAL})


@dataclass(frozen=True, slots=True)
class _UtteranceMark:
    """The end of an utterance before the caller's frame ``index``, reported at ``at``, monotonic seconds."""

    index: int
    at: float


class SessionTrace:
    """The span of a session and those in it; records nothing without ``span``. ``now``: monotonic seconds."""

    def __init__(self, span: LiveSpan = NOTHING) -> None:
        self._span = span
        self._unix_s = clock.unix_minus_monotonic()
        self._connecting = NOTHING
        self._utterances: deque[_UtteranceMark] = deque(maxlen=_MAX_OPEN)
        self._asked_by_client: float | None = None
        self._responses: OrderedDict[str, LiveSpan] = OrderedDict()
        self._created = ""  # the response that was begun last
        self._turns_response = NOTHING  # the one that answers the last turn
        self._asked_ns = 0  # when it was asked for
        self._tools: OrderedDict[str, LiveSpan] = OrderedDict()

    def started(self) -> None:
        """Begin the span of the connection to the provider."""
        self._connecting = self._span.start_span("provider_connect", kind="client")

    def provider_opened(self) -> None:
        """End the span of the connection."""
        self._connecting.end()
        self._connecting = NOTHING  # a later connection has no span

    def session_in_force(self) -> None:
        """Mark in the session's span that the provider has confirmed the session."""
        self._span.add_event("session_in_force")

    def utterance_ended(self, index: int, *, now: float) -> None:
        """Record the end of an utterance, under whose turn the next response of a turn belongs."""
        if self._span.recording:
            self._utterances.append(_UtteranceMark(index, now))

    def on_client_event(self, event: JsonValue, *, now: float) -> None:
        """Record when the client asks for a response, and end a function call whose output it sends."""
        if not self._span.recording or not isinstance(event, dict):
            return
        kind, item = text(event, "type"), fields(event, "item")
        if kind == "response.create":
            self._asked_by_client = now
        elif kind == "conversation.item.create" and text(item, "type") == "function_call_output":
            tool = self._tools.pop(text(item, "call_id"), NOTHING)
            tool.set_attributes(outcome="answered")
            tool.end(at_ns=self._ns(now))

    def on_server_event(self, event: Json) -> None:
        """Begin and end the spans of responses and function calls by the server events that report them."""
        if not self._span.recording:
            return
        match text(event, "type"):
            case "response.created":
                self._response_created(text(fields(event, "response"), "id"))
            case "response.output_item.done":
                self._item_done(text(event, "response_id"), fields(event, "item"))
            case "response.done":
                self._response_done(fields(event, "response"))

    def on_stage(self, observed: ObserveStage, *, now: float) -> None:
        """Record a stage of a turn; ``provider_created`` says that the newest response answers a turn."""
        if not self._span.recording:
            return
        if observed.stage == "provider_created":
            self._turns_response = self._of_turn(now - observed.seconds)
            self._turns_response.add_event("commit", at_ns=self._asked_ns)
            self._turns_response.add_event("created", at_ns=self._ns(now))
        else:
            self._turns_response.start_span("first_audio", start_ns=self._asked_ns).end(at_ns=self._ns(now))

    def ended(self, facts: ClaimedCall, reason: EndReason) -> None:
        """End the session's span and all that are open in it."""
        for left in (*self._tools.values(), *self._responses.values()):
            left.set_attributes(outcome="call_ended")
            left.end()
        self._connecting.end(error=reason)  # if it never answered
        self._span.set_attributes(reason=reason, session=facts.session, provider=facts.provider, model=facts.model)
        self._span.end(error=reason if reason in _FAILED else "")

    def _response_created(self, response_id: str) -> None:
        """Begin a response as one that the client asked for; `on_stage` corrects it if it answers a turn."""
        asked_at, self._asked_by_client = self._asked_by_client, None
        start_ns = self._ns(asked_at) if asked_at is not None else clock.unix_ns()
        self._keep(self._responses, response_id, self._span.start_span("response", kind="client", start_ns=start_ns))
        self._created = response_id

    def _of_turn(self, asked_at: float) -> LiveSpan:
        """Begin the newest response again, under the turn that asked for it."""
        place = None
        self._asked_ns = self._ns(asked_at)
        if self._utterances and self._span.context is not None:
            turn = min(self._utterances, key=lambda utterance: abs(utterance.at - asked_at))
            place = self._span.context.derived(tracing.turn_name(turn.index))
        response = self._span.start_span("response", kind="client", start_ns=self._asked_ns, under=place)
        self._keep(self._responses, self._created, response)
        return response

    def _item_done(self, response_id: str, item: Json) -> None:
        if text(item, "type") == "function_call" and text(item, "status") == "completed":
            tool = self._responses.get(response_id, self._span).start_span("tool")
            tool.set_attributes(tool=text(item, "name")[:_MAX_NAME])
            self._keep(self._tools, text(item, "call_id"), tool)

    def _response_done(self, response: Json) -> None:
        span = self._responses.pop(text(response, "id"), NOTHING)
        status = text(response, "status")
        span.set_attributes(response_id=text(response, "id"), outcome=status)
        span.end(error="response_failed" if status == "failed" else "")

    def _keep(self, kept: OrderedDict[str, LiveSpan], key: str, span: LiveSpan) -> None:
        kept[key] = span
        if len(kept) > _MAX_OPEN:
            _, oldest = kept.popitem(last=False)
            oldest.end(error="left_open")

    def _ns(self, monotonic_s: float) -> int:
        return int((monotonic_s + self._unix_s) * 1e9)
