"""Takes the caller's audio from the call's rates: microphone audio a second ahead, so that speech does not wait."""

from collections.abc import Callable

from services.upstream.core.call_rates import CallRates, RateRefusal

LUMP_MS = 1000
_AHEAD_MS = 500
"""The next second is taken when less than this is left."""

_OnRefusal = Callable[[RateRefusal | None], None]


class CallerAudioRate:
    """One call's. Call `settle` when a piece of audio is over: an utterance, or what is committed or cleared."""

    def __init__(self, rates: CallRates) -> None:
        self._rates = rates
        self._is_limited = rates.limits("audio_seconds")
        self._now = 0.0
        self._left_ms = 0  # taken and not sent; below 0: sent before the answer
        self._asking = False  # for microphone audio
        self._is_open = False
        self._refusal: RateRefusal | None = None
        self._is_cut = False
        self.client_waits = False
        """Whether audio that the client appended waits for an answer; its further events must wait behind it."""

    def admit(self, ms: int, on_cut: Callable[[RateRefusal], None], *, now: float) -> bool:
        """Return whether ``ms`` of the microphone may be sent; at the first that may not, ``on_cut`` is called."""
        if not self._is_limited:
            return True
        self._is_open, self._now = True, now
        if self._left_ms < _AHEAD_MS and self._refusal is None and not self._asking:
            self._asking = True
            self._rates.take({"audio_seconds": LUMP_MS}, self._microphone_answered, now=now)
        if self._refusal is not None and self._left_ms < ms:
            if not self._is_cut:
                self._is_cut = True
                on_cut(self._refusal)
            return False
        self._left_ms -= ms
        return True

    def take_for_client(self, ms: int, on_answer: _OnRefusal, *, now: float) -> None:
        """Take ``ms`` that the client appends; ``on_answer`` gets the refusal, or None if they may be sent."""
        if not self._is_limited or self._left_ms >= ms:
            self._left_ms -= ms if self._is_limited else 0
            on_answer(None)
            return
        self.client_waits, self._is_open, self._now = True, True, now
        taken_ms = max(LUMP_MS, ms)

        def answered(refusal: RateRefusal | None, at: float) -> None:
            self.client_waits, self._now = False, at
            if refusal is None:
                self._left_ms += taken_ms - ms
            on_answer(refusal)
            self._give_back()

        self._rates.take({"audio_seconds": taken_ms}, answered, now=now)

    def publish(self, refusal: RateRefusal, client_event_id: str | None = None, *, effect: str) -> None:
        """Publish the `error` event of a refusal. ``effect``: a sentence about what it leads to."""
        self._rates.publish_refusal(refusal, client_event_id, effect=effect)

    def settle(self) -> None:
        """Give back what was taken and not sent, and book what was sent before the answer."""
        self._refusal, self._is_cut, self._is_open = None, False, False
        self._give_back()

    def _microphone_answered(self, refusal: RateRefusal | None, now: float) -> None:
        self._asking, self._now = False, now
        if refusal is None:
            self._left_ms += LUMP_MS
        elif self._is_open:
            self._refusal = refusal
        self._give_back()

    def _give_back(self) -> None:
        if not self._is_open and not self._asking and self._left_ms:
            self._rates.book({"audio_seconds": -self._left_ms}, now=self._now)
            self._left_ms = 0
