"""Answers a turn before its end is certain: committed and requested at the provider, shown and played only after it.

While a turn is tentative, what the provider sends is held, and so are the client's events. If the turn ends, it is
committed and its answer requested as always, except that both are at the provider already; then what was held is
handled. If the caller speaks on, the provider undoes both, and the utterance's audio is appended again.
"""

from dataclasses import dataclass, field
from functools import partial

from services.upstream.core.call_rates import CallRates, RateRefusal
from services.upstream.core.caller_turns import CallerTurns
from services.upstream.core.command_buffer import CommandBuffer, Origin
from services.upstream.core.commands import CountEagerTurn
from services.upstream.core.ids import IdMap
from services.upstream.core.input_audio_buffer import InputAudioBuffer
from services.upstream.core.json_shape import Json, fields, text, text_chars
from services.upstream.core.responses import AheadRequest, ResponseTracker
from services.upstream.core.taken_back import TakenBackTurn

MAX_HELD = 4096
MAX_HELD_CHARS = 4 * 1024 * 1024
"""More than a minute of audio. A turn whose answer is longer before its end is taken back."""
TENTATIVE_S = 12.0
"""Longer than any hangover: media has not said what became of the turn."""


@dataclass(frozen=True, slots=True)
class EagerAnswer:
    """What the provider has got, and sent, of a turn that has ended."""

    request: AheadRequest
    events: list[Json]


@dataclass(slots=True, eq=False)
class _TentativeTurn:
    began_at: float
    commit: Origin | None = None  # None: the rates have not answered
    request: AheadRequest | None = None
    held: list[Json] = field(default_factory=list)
    held_chars: int = 0


class EagerTurns:
    """One session's. Pass each event of the provider to `takes`, and handle what `take_back` and `keep` return."""

    def __init__(  # noqa: PLR0913 - most by keyword
        self,
        commands: CommandBuffer,
        ids: IdMap,
        *,
        input_buffer: InputAudioBuffer,
        responses: ResponseTracker,
        rates: CallRates,
        turns: CallerTurns,
        taken_back: TakenBackTurn,
    ) -> None:
        self._commands = commands
        self._ids = ids
        self._input_buffer = input_buffer
        self._responses = responses
        self._rates = rates
        self._turns = turns
        self._taken_back = taken_back
        self._turn: _TentativeTurn | None = None

    @property
    def is_tentative(self) -> bool:
        """Whether a turn has probably ended; the client's events must wait."""
        return self._turn is not None

    @property
    def is_settled(self) -> bool:
        """Whether the provider has undone what was taken back."""
        return self._taken_back.is_settled

    @property
    def is_full(self) -> bool:
        """Whether too much of the provider's is held: take the turn back."""
        turn = self._turn
        return turn is not None and (len(turn.held) > MAX_HELD or turn.held_chars > MAX_HELD_CHARS)

    def begin(self, *, is_quiet: bool, now: float) -> None:
        """Commit the utterance in progress and request its answer. ``is_quiet``: nothing of the client's waits."""
        if self._turn is not None:
            return
        is_possible = self._turns.is_eager and self._commands.is_open and self._input_buffer.can_commit_ahead
        if not (is_quiet and is_possible and self._responses.is_free):
            self._commands.add(CountEagerTurn("refused"))
            return
        self._turn = _TentativeTurn(now)
        self._rates.take({"input_tokens": 0, "responses": 1}, partial(self._rates_answered, self._turn), now=now)

    def _rates_answered(self, turn: _TentativeTurn, refusal: RateRefusal | None, now: float) -> None:
        if turn is not self._turn:
            if refusal is None:
                self._rates.book({"responses": -1}, now=now)
        elif refusal is not None:  # the end of the turn asks again, and tells the client
            self._turn = None
            self._commands.add(CountEagerTurn("refused"))
        else:
            turn.commit = self._input_buffer.commit_ahead()
            turn.request = AheadRequest(Origin("response.create"), now)
            self._commands.send_to_provider("response.create", origin=turn.request.origin)

    def keep(self) -> EagerAnswer | None:
        """Return what the provider has sent: the turn has ended. None: nothing was requested ahead."""
        turn, self._turn = self._turn, None
        if turn is None or turn.request is None:
            return None  # also if the rates have not answered: the end asks them again
        self._commands.add(CountEagerTurn("kept"))
        return EagerAnswer(turn.request, turn.held)

    def take_back(self, *, drops: bool = False, now: float) -> list[Json]:
        """Undo what was requested ahead, if anything; return what the provider has sent of other things.

        ``drops``: the utterance does not go on, and its audio is not appended again.
        """
        turn, self._turn = self._turn, None
        if turn is None or turn.commit is None or turn.request is None:
            return []
        self._commands.add(CountEagerTurn("taken_back"))
        self._rates.book({"responses": -1}, now=now)
        self._responses.hold_back()
        others = self._taken_back.begin(turn.commit, turn.request.origin, turn.held, now=now)
        if drops:
            self._input_buffer.drop_committed()
        else:
            self._input_buffer.append_again()
        self._release_if_settled(now)
        return others

    def takes(self, event: Json, *, now: float) -> bool:
        """Return whether an event of the provider is held, or is about what was taken back."""
        turn = self._turn
        if turn is not None and turn.commit is not None and not self._is_about_known_item(event):
            turn.held.append(event)
            turn.held_chars += text_chars(event)
            return True
        if not self._taken_back.is_needed:
            return False
        is_own = self._taken_back.swallow(event)
        self._release_if_settled(now)
        return is_own

    def is_refused(self, origin: Origin | None, *, is_active: bool, now: float) -> bool:
        """Return whether the provider's error is about what was taken back."""
        is_own = self._taken_back.is_refused(origin, is_active=is_active)
        self._release_if_settled(now)
        return is_own

    def is_overdue(self, *, now: float) -> bool:
        """Return whether media has not said for `TENTATIVE_S` what became of the turn: take it back."""
        return self._turn is not None and now - self._turn.began_at >= TENTATIVE_S

    def on_timer(self, *, now: float) -> None:
        """Give up on a provider that has not undone what was taken back."""
        self._taken_back.on_timer(now=now)
        self._release_if_settled(now)

    def _is_about_known_item(self, event: Json) -> bool:
        theirs = text(fields(event, "item"), "id") or text(event, "item_id")
        return self._ids.known("item", theirs) is not None

    def _release_if_settled(self, now: float) -> None:
        if self._responses.is_held_back and self._taken_back.is_settled:
            self._responses.release(now=now)
