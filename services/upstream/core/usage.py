"""Meters of provider and caller. Those of one response add up to the provider's own total."""

import math
from dataclasses import dataclass

from pydantic import JsonValue

from services.contracts.usage import MAX_QUANTITY, Meter
from services.upstream.core.json_shape import Json, fields, whole

_KINDS = ("text", "audio", "image")
_IN = {"text": Meter.TOKENS_TEXT_IN, "audio": Meter.TOKENS_AUDIO_IN, "image": Meter.TOKENS_IMAGE_IN}
_CACHED = {
    "text": Meter.TOKENS_TEXT_IN_CACHED,
    "audio": Meter.TOKENS_AUDIO_IN_CACHED,
    "image": Meter.TOKENS_IMAGE_IN_CACHED,
}
_OUT = {"text": Meter.TOKENS_TEXT_OUT, "audio": Meter.TOKENS_AUDIO_OUT, "image": Meter.TOKENS_IMAGE_OUT}


@dataclass(frozen=True, slots=True)
class UsageReading:
    """Meters without zeros. ``sane``: False if the provider's numbers are invalid or contradict each other."""

    meters: dict[Meter, int]
    sane: bool


def response_meters(usage: Json) -> UsageReading:
    """Read the usage object of `response.done`. Cached tokens are part of the input and get their own meters."""
    incoming, in_sane = _split(usage, "input_token_details", "input_tokens")
    outgoing, out_sane = _split(usage, "output_token_details", "output_tokens")
    cached, cache_sane = _cached(fields(usage, "input_token_details"), incoming)
    meters = {_IN[kind]: incoming[kind] - cached[kind] for kind in _KINDS}
    meters |= {_CACHED[kind]: cached[kind] for kind in _KINDS}
    meters |= {_OUT[kind]: outgoing[kind] for kind in _KINDS}
    total_sane = "total_tokens" not in usage or whole(usage, "total_tokens", -1) == sum(meters.values())
    return UsageReading(_without_zeros(meters), in_sane and out_sane and cache_sane and total_sane and _is_sane(usage))


def response_cost(usage: Json) -> int:
    """Return the tokens of a response, in and out, without the cached ones, which cost a fraction."""
    return sum(quantity for meter, quantity in response_meters(usage).meters.items() if meter not in _CACHED.values())


def input_tokens(usage: Json) -> int:
    """Return the input tokens of a response, cached ones too."""
    incoming, _ = _split(usage, "input_token_details", "input_tokens")
    return sum(incoming.values())


def transcription_meters(usage: Json) -> UsageReading:
    """Read the usage object of a finished input transcription: tokens, or seconds."""
    if "seconds" in usage:
        return _transcribed_seconds(usage["seconds"])
    meters = {
        Meter.TRANSCRIBE_TOKENS_IN: whole(usage, "input_tokens"),
        Meter.TRANSCRIBE_TOKENS_OUT: whole(usage, "output_tokens"),
    }
    return UsageReading(_without_zeros(meters), _is_sane(usage))


def _transcribed_seconds(seconds: JsonValue) -> UsageReading:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < MAX_QUANTITY / 1000:
        return UsageReading({}, sane=False)
    return UsageReading(_without_zeros({Meter.TRANSCRIBE_MS: math.ceil(round(seconds * 1000, 3))}), sane=True)


def _split(usage: Json, details: str, total: str) -> tuple[dict[str, int], bool]:
    """Return tokens by kind. Those that the details leave out (reasoning, or no details) are billed as text."""
    parts = fields(usage, details)
    by_kind = {kind: whole(parts, f"{kind}_tokens") for kind in _KINDS}
    explained = sum(by_kind.values())
    stated = whole(usage, total, explained)
    by_kind["text"] += max(0, stated - explained)
    return by_kind, stated >= explained


def _cached(details: Json, incoming: dict[str, int]) -> tuple[dict[str, int], bool]:
    """Return cached tokens by kind, at most the input's. Without details: text first, as prompts are cached."""
    stated = fields(details, "cached_tokens_details")
    claimed = {kind: whole(stated, f"{kind}_tokens") for kind in _KINDS}
    total = whole(details, "cached_tokens", sum(claimed.values()))
    if not stated:
        left = total
        for kind in _KINDS:
            claimed[kind] = min(left, incoming[kind])
            left -= claimed[kind]
    cached = {kind: min(claimed[kind], incoming[kind]) for kind in _KINDS}
    return cached, sum(cached.values()) == total


def _is_sane(usage: Json) -> bool:
    """Return whether no number of tokens is negative, fractional or above `MAX_QUANTITY`."""
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
    """The cumulative meters of one session."""

    def __init__(self) -> None:
        self.sent_bytes = 0  # 16 kHz from the caller's microphone
        self.sent_24k_bytes = 0  # appended by the client itself
        self.generated_bytes = 0
        self.items_created = 0
        self.tool_calls = 0
        self.responses = 0  # without those taken back
        self.taken_back = 0
        self.wasted_tokens = 0  # of responses that were taken back
        self.opened_at: float | None = None

    @property
    def sent_ms(self) -> int:
        """Milliseconds of caller audio appended at the provider."""
        return self.sent_bytes // 32 + self.sent_24k_bytes // 48

    @property
    def generated_ms(self) -> int:
        """Milliseconds of audio received from the provider, played or not."""
        return self.generated_bytes // 48

    def meters(self, *, now: float) -> dict[Meter, int]:
        """Return all meters, zeros too, so that a call without speech has its rows in the ledger."""
        session_ms = 0 if self.opened_at is None else max(0, int((now - self.opened_at) * 1000))
        return {
            Meter.AUDIO_SENT_MS: self.sent_ms,
            Meter.AUDIO_GENERATED_MS: self.generated_ms,
            Meter.SESSION_MS: session_ms,
            Meter.ITEMS_CREATED: self.items_created,
            Meter.TOOL_CALLS: self.tool_calls,
        }


def client_usage(usage: Json) -> Json:
    """Return a usage object for the client: the provider's names of tokens, whole numbers only."""
    result: Json = {}
    for name, value in usage.items():
        if isinstance(value, dict):
            result[name] = client_usage(value)
        elif name.endswith("tokens"):
            result[name] = whole(usage, name)
    return result
