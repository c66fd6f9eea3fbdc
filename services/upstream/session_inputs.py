"""What a session runner handles, one at a time."""

from dataclasses import dataclass

from services.contracts.endings import EndReason
from services.contracts.frame import Frame
from services.upstream.core.minute_use import RateExceeded
from services.upstream.provider_link import ProviderEvent, ProviderLost, ProviderOpened, ProviderReads


@dataclass(frozen=True, slots=True)
class EndRequested:
    """Why the call ends. ``by_media``: media has said so, and is told nothing."""

    reason: EndReason
    detail: str = ""
    by_media: bool = False


class TimerFired:
    """The timer's input, once in each period of the timer while no other waits."""


@dataclass(frozen=True, slots=True)
class RatesAnswered:
    """The answer to the `TakeRates` with that ticket: None, or what was above the tenant's rate."""

    ticket: int
    exceeded: RateExceeded | None


Input = RatesAnswered | Frame | ProviderOpened | ProviderEvent | ProviderLost | ProviderReads | TimerFired
"""Any of them."""
