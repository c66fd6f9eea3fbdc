"""Upper bound of a call's usage since it was placed, in time and in money.

Far above what a real call can use; it limits what a faulty or compromised process can book.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.contracts.usage import Meter
from services.metering.core.reading import Reason
from services.metering.core.validation import PlacementRecord

SLACK_S = 120
"""Allowance in seconds for set-up, drain, usage reported after the end, and clock skew."""
EARLIER_S = 86_400
"""Assumed maximum duration, in seconds, of a call without a placement."""
BURST_MINUTES = 5
"""Burst of cost, in minutes of the maximum rate: a response's context is billed before its audio plays."""
_TOKENS_IN, _TOKENS_OUT = 50_000, 1_000

_MAX_PER_SECOND: Mapping[Meter, int] = {
    # One caller and one response at a time, doubled: an offer may have been sent to two media processes.
    Meter.AUDIO_SENT_MS: 2_000,
    Meter.AUDIO_GATED_MS: 2_000,
    Meter.AUDIO_PLAYED_MS: 2_000,
    Meter.SESSION_MS: 2_000,
    Meter.CALL_MS: 2_000,
    Meter.TRANSCRIBE_MS: 4_000,
    # Providers generate faster than real time, and a truncated response was generated nevertheless.
    Meter.AUDIO_GENERATED_MS: 60_000,
    # Each response is billed its whole context (at most 32,000 tokens in 2026), and a second has few responses.
    Meter.TOKENS_TEXT_IN: _TOKENS_IN,
    Meter.TOKENS_TEXT_IN_CACHED: _TOKENS_IN,
    Meter.TOKENS_AUDIO_IN: _TOKENS_IN,
    Meter.TOKENS_AUDIO_IN_CACHED: _TOKENS_IN,
    Meter.TOKENS_IMAGE_IN: _TOKENS_IN,
    Meter.TOKENS_IMAGE_IN_CACHED: _TOKENS_IN,
    Meter.TRANSCRIBE_TOKENS_IN: _TOKENS_IN,
    # Ten times the rate at which models generate.
    Meter.TOKENS_TEXT_OUT: _TOKENS_OUT,
    Meter.TOKENS_AUDIO_OUT: _TOKENS_OUT,
    Meter.TOKENS_IMAGE_OUT: _TOKENS_OUT,
    Meter.TRANSCRIBE_TOKENS_OUT: _TOKENS_OUT,
    Meter.ITEMS_CREATED: 1_000,
    Meter.TOOL_CALLS: 1_000,
}


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Limits of a call's usage. ``nano_per_minute``: maximum cost of a minute, in nano-dollars."""

    nano_per_minute: int

    def exceeded(self, totals: Mapping[Meter, int], cost_nano: int, *, seconds: float) -> Reason | None:
        """Return why a call placed ``seconds`` ago cannot have used that much; None: it can."""
        if any(total > _MAX_PER_SECOND[meter] * (seconds + SLACK_S) for meter, total in totals.items()):
            return Reason.OVER_TIME
        if cost_nano > self.nano_per_minute * (seconds / 60 + BURST_MINUTES):
            return Reason.OVER_PRICE
        return None


def seconds_since(placement: PlacementRecord | None, now: datetime) -> float:
    """Return for how many seconds the call can have lasted by ``now``."""
    if placement is None:
        return EARLIER_S
    return min(max(now - placement.placed, timedelta()).total_seconds(), placement.max_seconds)
