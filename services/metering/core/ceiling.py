"""The most that a call can have used since it was placed, by time and by money.

Generous on purpose: nothing that a call can do comes near, and nothing that a process makes up gets far.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.contracts.usage import Meter
from services.metering.core.fitting import Placement
from services.metering.core.reading import Reason

SLACK_S = 120
"""Set-up, drain, what is settled after the end, and clocks that run apart."""
EARLIER_S = 86_400
"""The longest call there is, for those of which only their usage is known."""
BURST_MINUTES = 5
"""What a call may cost at once, in minutes of its rate: the context of a response is paid before it is spoken."""
_TOKENS_IN, _TOKENS_OUT = 50_000, 1_000

_A_SECOND: Mapping[Meter, int] = {
    # A caller and an answer at a time, twice over: two media processes may have been asked for one call.
    Meter.AUDIO_SENT_MS: 2_000,
    Meter.AUDIO_GATED_MS: 2_000,
    Meter.AUDIO_PLAYED_MS: 2_000,
    Meter.SESSION_MS: 2_000,
    Meter.CALL_MS: 2_000,
    Meter.TRANSCRIBE_MS: 4_000,
    # Providers speak faster than real time, and an answer that is cut was generated all the same.
    Meter.AUDIO_GENERATED_MS: 60_000,
    # Each response pays for its whole context (32,000 tokens at most by 2026), and a second has few responses.
    Meter.TOKENS_TEXT_IN: _TOKENS_IN,
    Meter.TOKENS_TEXT_IN_CACHED: _TOKENS_IN,
    Meter.TOKENS_AUDIO_IN: _TOKENS_IN,
    Meter.TOKENS_AUDIO_IN_CACHED: _TOKENS_IN,
    Meter.TOKENS_IMAGE_IN: _TOKENS_IN,
    Meter.TOKENS_IMAGE_IN_CACHED: _TOKENS_IN,
    Meter.TRANSCRIBE_TOKENS_IN: _TOKENS_IN,
    # Ten times what models generate.
    Meter.TOKENS_TEXT_OUT: _TOKENS_OUT,
    Meter.TOKENS_AUDIO_OUT: _TOKENS_OUT,
    Meter.TOKENS_IMAGE_OUT: _TOKENS_OUT,
    Meter.TRANSCRIBE_TOKENS_OUT: _TOKENS_OUT,
    Meter.ITEMS_CREATED: 1_000,
    Meter.TOOL_CALLS: 1_000,
    Meter.TURN_RELAY_BYTES: 10_000_000,
}


@dataclass(frozen=True, slots=True)
class Ceiling:
    """``nano_per_minute``: the most that a minute of a call may cost, in nano-dollars."""

    nano_per_minute: int

    def exceeded(self, totals: Mapping[Meter, int], cost_nano: int, *, seconds: float) -> Reason | None:
        """Why a call that was placed ``seconds`` ago cannot have used that much."""
        if any(total > _A_SECOND[meter] * (seconds + SLACK_S) for meter, total in totals.items()):
            return Reason.OVER_TIME
        if cost_nano > self.nano_per_minute * (seconds / 60 + BURST_MINUTES):
            return Reason.OVER_PRICE
        return None


def seconds_since(placement: Placement | None, now: datetime) -> float:
    """How long the call can have lasted by now."""
    if placement is None:
        return EARLIER_S
    return min(max(now - placement.placed, timedelta()).total_seconds(), placement.max_seconds)
