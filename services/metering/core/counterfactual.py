"""Cost that the gate saved on a call: counted only for meter kinds that bill silence, so often zero."""

from collections.abc import Iterable, Mapping

from services.contracts.usage import Meter
from services.metering.core.pricing import MeterKind, PriceRule

_NOTES: Mapping[MeterKind, str] = {
    MeterKind.RESPONSE_TOKENS: "This provider does not bill silence.",
    MeterKind.AUDIO_SECONDS: "Silence that was held back, at this provider's price of audio sent.",
    MeterKind.SESSION_SECONDS: "This provider bills the length of the session: holding audio back saves nothing.",
}
_UNKNOWN = "There is no price for this model, so nothing is known about savings."


def saved_nano(rate: PriceRule | None, gated_ms: int) -> int:
    """Return the nano-dollars that the provider would have billed for ``gated_ms`` of withheld audio."""
    if rate is None or rate.kind is not MeterKind.AUDIO_SECONDS:
        return 0
    return rate.prices[Meter.AUDIO_SENT_MS].nano(gated_ms)


def saved_note(kinds: Iterable[MeterKind]) -> str:
    """Return one sentence per meter kind of a call on what the gate saves; transcription is ignored."""
    used = set(kinds)
    return " ".join(note for kind, note in _NOTES.items() if kind in used) or _UNKNOWN
