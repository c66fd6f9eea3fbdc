"""One session: writes every event for the client and drives the provider.

Sans-IO. A method is an event; it returns the commands to execute, in order. ``now``: monotonic seconds.
"""

from functools import partial

from pydantic import JsonValue

from services.contracts.client_event import RefusedEvent
from services.contracts.endings import EndReason
from services.contracts.grant import Grant
from services.contracts.ids import SessionId
from services.contracts.messages import CloseReason
from services.contracts.turn_detection import TurnTerms, granted_turn_detection, turn_detection_of
from services.upstream.core.caller_turns import LEFT_TO_CLIENT
from services.upstream.core.capabilities import Capabilities
from services.upstream.core.client_requests import Requests
from services.upstream.core.commands import BookUsage, CountError, EndSession, SessionCommand
from services.upstream.core.conversation_events import ConversationEvents
from services.upstream.core.json_shape import Json, fields, text, text_chars
from services.upstream.core.minute_use import RateExceeded
from services.upstream.core.output_item_events import ITEM_EVENTS
from services.upstream.core.provider_errors import ProviderErrors
from services.upstream.core.provider_events import IGNORED, REQUIRED, MalformedEventError, checked, rate_limits
from services.upstream.core.provider_reconnect import ProviderSetup
from services.upstream.core.response import Report, StopReason
from services.upstream.core.session_config_state import SessionConfigState
from services.upstream.core.session_parts import connected_parts
from services.upstream.core.waiting_inputs import InputStep, WaitingInputs

USAGE_EVERY_S = 5.0
TRANSCRIPTION_S = 1.0
"""Longest that the end of a call waits for a transcription: some models never send it."""


class SessionCore:
    """The session of one call, between its media process and its provider. Call `on_timer` several times a second."""

    def __init__(  # noqa: PLR0913 - all by keyword
        self,
        *,
        session_id: SessionId,
        grant: Grant,
        model: str,
        expires_at: int,
        capabilities: Capabilities,
        turn_terms: TurnTerms = TurnTerms(),  # noqa: B008 - frozen
        eager_waste_percent: int = 10,
    ) -> None:
        parts = connected_parts(
            SessionConfigState(
                session_id=session_id, grant=grant, model=model, expires_at=expires_at, turn_terms=turn_terms
            ),
            grant=grant,
            capabilities=capabilities,
            begins_with=granted_turn_detection(grant.session, turn_terms) or turn_detection_of({}, turn_terms),
            eager_waste_percent=eager_waste_percent,
        )
        self._commands = parts.commands
        self._tally = parts.tally
        self._config = parts.config
        self._rates = parts.rates
        self._responses = parts.responses
        self._input_buffer = parts.input_buffer
        self._turns = parts.turns
        self._updates = parts.updates
        self._eager = parts.eager
        self._requests = Requests(parts)
        self._setup = ProviderSetup(parts)
        self._conversation_events = ConversationEvents(parts)
        self._errors = ProviderErrors(parts)
        self._waiting = WaitingInputs()
        self._publishes_usage = "usage" in grant.events
        self._usage_at: float | None = None
        self._ended = False
        self._ending_at = 0.0

    # --- the session --------------------------------------------------------------------------------------------

    def started(self, *, now: float) -> list[SessionCommand]:  # noqa: ARG002 - all events have the time
        """Check the granted session against what the provider can do; it is in force once the provider confirms it."""
        self._updates.granted()
        return self._commands.pop_commands()

    def provider_opened(self, *, now: float) -> list[SessionCommand]:
        """Configure the provider's session, the first or a later one; what is held for it waits for its answer."""
        if self._tally.opened_at is None:
            self._tally.opened_at = now
        self._setup.opened(now=now)
        return self._commands.pop_commands()

    def provider_lost(self, reason: EndReason, detail: str, *, now: float) -> list[SessionCommand]:
        """Book what is left and end the call: the provider is lost, or refused the session."""
        return [*self.ended(now=now), EndSession(reason, detail)]

    def ending(self, *, now: float) -> list[SessionCommand]:
        """Stop requesting and generating responses: the call is about to end. Then wait for `is_settled`."""
        self._ending_at = now
        self._take_back(now, drops=True)
        self._responses.stop_all(now=now)
        return self._commands.pop_commands()

    def is_settled(self, *, now: float) -> bool:
        """Return whether the provider has reported all usage; transcriptions are waited for `TRANSCRIPTION_S`."""
        if self._ended or not self._commands.is_open:
            return True
        is_quiet = not self._input_buffer.untranscribed or now - self._ending_at >= TRANSCRIPTION_S
        return is_quiet and not self._responses.awaits_usage and self._eager.is_settled

    def ended(self, *, now: float) -> list[SessionCommand]:
        """Book the last reading of the meters: the call has ended."""
        if self._ended:
            return []
        self._ended = True
        self._take_back(now, drops=True)
        self._commands.add(BookUsage(self._tally.meters(now=now)))
        return self._commands.pop_commands()

    def on_timer(self, *, now: float) -> list[SessionCommand]:
        """Send what is due as of `now`; call it several times a second."""
        if self._eager.is_overdue(now=now):
            self._take_back(now)
        self._eager.on_timer(now=now)
        self._responses.on_timer(now=now)
        self._turns.on_timer(now=now)
        self._setup.on_timer(now=now)
        self._updates.on_timer(now=now)
        self._requests.proceed(now)
        if self._usage_at is not None and now >= self._usage_at:
            self._usage_at = now + USAGE_EVERY_S
            self._publish_usage(now)
        return self._commands.pop_commands()

    # --- the caller ---------------------------------------------------------------------------------------------

    def utterance_started(self, index: int, *, now: float) -> list[SessionCommand]:
        """Begin an utterance: the gate opened. ``index``: its first frame, pre-roll included."""
        self._take_back(now)
        self._when_in_force(lambda at: self._turns.begin(index, now=at), now)
        return self._commands.pop_commands()

    def audio_up(self, pcm: bytes, *, now: float) -> list[SessionCommand]:
        """Append caller audio, s16le mono 16 kHz; with voice detection, audio outside of an utterance is dropped."""
        if self._eager.is_tentative:
            self._take_back(now)
        if self._takes_inputs:
            self._turns.append(pcm, now=now)
        else:
            for _ in range(self._waiting.hold_audio(lambda at: self._turns.append(pcm, now=at), len(pcm))):
                self._commands.count_error(CountError("backlog", "audio"))
        return self._commands.pop_commands()

    def turn_probably_ended(self, *, is_quiet: bool, now: float) -> list[SessionCommand]:
        """Commit the utterance and request its answer, if that can be undone; the client sees neither before its end.

        ``is_quiet``: no event of the client waits for `takes_client_events`.
        """
        is_quiet = is_quiet and self._takes_inputs and self._requests.is_idle and self._updates.is_idle
        self._eager.begin(is_quiet=is_quiet, now=now)
        return self._commands.pop_commands()

    def turn_resumed(self, *, now: float) -> list[SessionCommand]:
        """Undo what was requested when the turn had probably ended: the caller speaks on."""
        self._take_back(now)
        return self._commands.pop_commands()

    def _take_back(self, now: float, *, drops: bool = False) -> None:
        for event in self._eager.take_back(drops=drops, now=now):
            self._on_event(event, now)

    def utterance_ended(
        self, index: int, *, reason: CloseReason = "speech_end", hangover_ms: int = 0, now: float
    ) -> list[SessionCommand]:
        """End the utterance: the gate closed before frame ``index``. ``hangover_ms``: silence that it waited out."""
        self._when_in_force(partial(self._end_turn, index, reason, hangover_ms), now)
        return self._commands.pop_commands()

    def _end_turn(self, index: int, reason: CloseReason, hangover_ms: int, now: float) -> None:
        if reason in LEFT_TO_CLIENT:
            self._take_back(now)
        answer = self._eager.keep()
        request = answer.request if answer else None
        self._turns.end(index, reason=reason, hangover_ms=hangover_ms, ahead=request, now=now)
        for event in answer.events if answer else ():
            self._on_event(event, now)

    def utterance_abandoned(self, *, now: float) -> list[SessionCommand]:
        """Drop the utterance: the caller hung up during it, so that no answer is requested."""
        self._take_back(now, drops=True)
        self._when_in_force(lambda _: self._turns.abandon(), 0.0)
        return self._commands.pop_commands()

    def playout_reported(self, report: Report, *, by_caller: bool, now: float) -> list[SessionCommand]:
        """Handle media's playout report. ``by_caller``: a cut is a barge-in, not a request of the client."""
        reason: StopReason = "turn_detected" if by_caller else "client_cancelled"
        self._responses.on_playout_report(report, reason=reason, now=now)
        if report.cut and by_caller:
            self._turns.playout_cut_by_caller()
        return self._commands.pop_commands()

    def heard_until(self, index: int, *, now: float) -> None:
        """Record that media has received the caller's frames before ``index``."""
        self._turns.heard_until(index, now=now)

    @property
    def takes_client_events(self) -> bool:
        """Whether `on_client_event` may be called: it can be handled now, or there is room to wait for that."""
        if not self._takes_inputs:
            return self._waiting.has_room
        may_be_handled = self._commands.is_open and not self._input_buffer.awaits_rate
        return may_be_handled and not self._eager.is_tentative and self._requests.has_room

    @property
    def _takes_inputs(self) -> bool:
        return self._updates.in_force and self._waiting.is_empty

    def rates_answered(self, ticket: int, exceeded: RateExceeded | None, *, now: float) -> list[SessionCommand]:
        """Handle the answer to `TakeRates`: None, or what was above the tenant's rate."""
        self._rates.answered(ticket, exceeded, now=now)
        self._responses.send_waiting(now=now)
        self._requests.proceed(now)
        self._handle_waiting(now)
        return self._commands.pop_commands()

    def on_client_event(self, event: JsonValue, *, now: float) -> list[SessionCommand]:
        """Handle an event of the client, any JSON; call it while `takes_client_events`."""
        if self._takes_inputs:
            self._requests.on_client_event(event, now)
        else:
            size = text_chars(event) if isinstance(event, dict) else 0
            self._waiting.hold_event(lambda at: self._requests.on_client_event(event, at), size)
        return self._commands.pop_commands()

    def refuse_client_event(self, refused: RefusedEvent) -> list[SessionCommand]:
        """Answer a message of the client that is no event."""
        self._when_in_force(lambda _: self._requests.refuse(refused), 0.0)
        return self._commands.pop_commands()

    def _when_in_force(self, step: InputStep, now: float) -> None:
        if self._takes_inputs:
            step(now)
        else:
            self._waiting.hold(step)

    # --- the provider -------------------------------------------------------------------------------------------

    def on_provider_event(self, event: JsonValue, *, now: float) -> list[SessionCommand]:
        """Handle an event of the provider, any JSON; one that is invalid is counted."""
        try:
            self._on_event(checked(event), now)
        except MalformedEventError as exc:
            self._commands.count_error(CountError("malformed", str(exc)))
        return self._commands.pop_commands()

    def _on_event(self, event: Json, now: float) -> None:
        kind = text(event, "type")
        if self._eager.takes(event, now=now):
            if self._eager.is_full:
                self._take_back(now)
        elif kind in ITEM_EVENTS:
            self._config.voice_is_fixed = self._config.voice_is_fixed or kind == "response.output_audio.delta"
            self._responses.on_item_event(event, now)
        elif kind.startswith(("conversation.item.", "input_audio_buffer.")) and kind in REQUIRED:
            self._conversation_events.on_event(kind, event)
            self._requests.proceed(now)
        elif kind.startswith(("response.mcp_", "mcp_list_tools.")) and kind in REQUIRED:
            self._conversation_events.on_mcp(kind, event)
        else:
            self._on_other(kind, event, now)

    def _on_other(self, kind: str, event: Json, now: float) -> None:
        match kind:
            case "response.created":
                self._responses.created(event, now)
            case "response.done":
                self._responses.done(event, now)
                self._requests.proceed(now)
                self._publish_usage(now)
            case "error":
                self._errors.on_error(fields(event, "error"), now)
                self._requests.proceed(now)
            case "rate_limits.updated":
                self._commands.publish_event(kind, {"rate_limits": rate_limits(event)})
            case "session.updated":
                if self._updates.on_updated(fields(event, "session"), now=now):
                    self._provider_in_force(now)
                self._requests.proceed(now)
                self._handle_waiting(now)
            case "session.created":
                pass  # before our session.update; the client gets its own session instead
            case _ if kind not in IGNORED:
                self._commands.count_error(CountError("unexpected", kind[:64]))

    def _provider_in_force(self, now: float) -> None:
        """Send the provider what was held for its session."""
        self._setup.in_force()
        if self._usage_at is None:
            self._usage_at = now + USAGE_EVERY_S

    def _handle_waiting(self, now: float) -> None:
        while (
            self._updates.in_force and not self._input_buffer.awaits_rate and (step := self._waiting.pop()) is not None
        ):
            step(now)

    def _publish_usage(self, now: float) -> None:
        self._commands.add(BookUsage(self._tally.meters(now=now)))
        if self._publishes_usage:
            tally = self._tally
            figures: Json = {
                "sent_ms": tally.sent_ms,
                "generated_ms": tally.generated_ms,
                "responses": tally.responses,
                "taken_back": tally.taken_back,
                "wasted_tokens": tally.wasted_tokens,
            }
            self._commands.publish_event("hushgate.usage", figures)
