"""What the provider and the caller used. Meters of one response add up to the provider's own total."""

import math
from dataclasses import dataclass

from pydantic import JsonValue

from services.contracts.usage import MAX_QUANTITY, Meter
from services.upstream.core.shape import Json, fields, whole

_KINDS = ("text", "audio", "image")
_IN = {"text": Meter.TOKENS_TEXT_IN, "audio": Meter.TOKENS_AUDIO_IN, "image": Meter.TOKENS_IMAGE_IN}
_CACHED = {
    "text": Meter.TOKENS_TEXT_IN_CACHED,
    "audio": Meter.TOKENS_AUDIO_IN_CACHED,
    "image": Meter.TOKENS_IMAGE_IN_CACHED,
}
_OUT = {"text": Meter.TOKENS_TEXT_OUT, "audio": Meter.TOKENS_AUDIO_OUT, "image": Meter.TOKENS_IMAGE_OUT}


@dataclass(frozen=True, slots=True)
class Reading:
    """Meters without zeros. ``sane`` is False when the provider's numbers contradict each other."""

    meters: dict[Meter, int]
    sane: bool


def response_meters(usage: Json) -> Reading:
    """The usage object of `response.done`. Cached tokens are a subset of the input and get meters of their own."""
    incoming, in_sane = _split(usage, "input_token_details", "input_tokens")
    outgoing, out_sane = _split(usage, "output_token_details", "output_tokens")
    cached, cache_sane = _cached(fields(usage, "input_token_details"), incoming)
    meters = {_IN[kind]: incoming[kind] - cached[kind] for kind in _KINDS}
    meters |= {_CACHED[kind]: cached[kind] for kind in _KINDS}
    meters |= {_OUT[kind]: outgoing[kind] for kind in _KINDS}
    total_sane = "total_tokens" not in usage or whole(usage, "total_tokens", -1) == sum(meters.values())
    return Reading(_without_zeros(meters), in_sane and out_sane and cache_sane and total_sane and _is_sane(usage))


def transcription_meters(usage: Json) -> Reading:
    """The usage object of a finished input transcription: tokens, or seconds."""
    if "seconds" in usage:
        return _transcribed_seconds(usage["seconds"])
    meters = {
        Meter.TRANSCRIBE_TOKENS_IN: whole(usage, "input_tokens"),
        Meter.TRANSCRIBE_TOKENS_OUT: whole(usage, "output_tokens"),
    }
    return Reading(_without_zeros(meters), _is_sane(usage))


def _transcribed_seconds(seconds: JsonValue) -> Reading:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < MAX_QUANTITY / 1000:
        return Reading({}, sane=False)
    return Reading(_without_zeros({Meter.TRANSCRIBE_MS: math.ceil(round(seconds * 1000, 3))}), sane=True)


def _split(usage: Json, details: str, total: str) -> tuple[dict[str, int], bool]:
    """Tokens by kind. What the details leave unexplained (reasoning, or no details at all) is billed as text."""
    parts = fields(usage, details)
    by_kind = {kind: whole(parts, f"{kind}_tokens") for kind in _KINDS}
    explained = sum(by_kind.values())
    stated = whole(usage, total, explained)
    by_kind["text"] += max(0, stated - explained)
    return by_kind, stated >= explained


def _cached(details: Json, incoming: dict[str, int]) -> tuple[dict[str, int], bool]:
    """Cached tokens by kind, never more than there are. Without details: text first, as prompts are cached."""
    stated = fields(details, "cached_tokens_details")
    wanted = {kind: whole(stated, f"{kind}_tokens") for kind in _KINDS}
    total = whole(details, "cached_tokens", sum(wanted.values()))
    if not stated:
        left = total
        for kind in _KINDS:
            wanted[kind] = min(left, incoming[kind])
            left -= wanted[kind]
    cached = {kind: min(wanted[kind], incoming[kind]) for kind in _KINDS}
    return cached, sum(cached.values()) == total


def _is_sane(usage: Json) -> bool:
    """No number in it is negative, fractional or beyond all measure."""
    for name, value in usage.items():
        if isinstance(value, dict):
            if not _is_sane(value):
                return False
        elif name.endswith("tokens") and value is not None and whole(usage, name, -1) < 0:
            return False
    return True


def _without_zeros(meters: dict[Meter, int]) -> dict[Meter, int]:
    return {meter: quantity for meter, quantity in meters.items() if quantity}


class Tally:
    """Cumulative quantities of one session."""

    def __init__(self) -> None:
        self.sent_bytes = 0  # 16 kHz from the caller's microphone
        self.sent_24k_bytes = 0  # appended by the client itself
        self.generated_bytes = 0
        self.items_created = 0
        self.tool_calls = 0
        self.responses = 0
        self.opened_at: float | None = None

    @property
    def sent_ms(self) -> int:
        """Caller audio appended at the provider."""
        return self.sent_bytes // 32 + self.sent_24k_bytes // 48

    @property
    def generated_ms(self) -> int:
        """Audio received from the provider, also what nobody heard."""
        return self.generated_bytes // 48

    def meters(self, *, now: float) -> dict[Meter, int]:
        """All of it, for the ledger; zeros too, so that a call without speech has its rows."""
        session_ms = 0 if self.opened_at is None else max(0, int((now - self.opened_at) * 1000))
        return {
            Meter.AUDIO_SENT_MS: self.sent_ms,
            Meter.AUDIO_GENERATED_MS: self.generated_ms,
            Meter.SESSION_MS: session_ms,
            Meter.ITEMS_CREATED: self.items_created,
            Meter.TOOL_CALLS: self.tool_calls,
        }


def shown_usage(usage: Json) -> Json:
    """A usage object fit for the client: whole numbers only, by the provider's own names."""
    shown: Json = {}
    for name, value in usage.items():
        if isinstance(value, dict):
            shown[name] = shown_usage(value)
        elif name.endswith("tokens"):
            shown[name] = whole(usage, name)
    return shown
