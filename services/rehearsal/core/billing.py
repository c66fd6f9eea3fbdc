"""What the imitated provider would charge: list prices of gpt-realtime-2.1, in integer nano-dollars."""

from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal

from services.rehearsal.core.commands import Json
from services.rehearsal.core.items import TokenCount
from services.rehearsal.core.sound import to_ms
from services.rehearsal.core.usage import TokenUsage

NANO_PER_USD = 1_000_000_000
PRICES_USD_PER_MILLION = {
    "text_in": Decimal(4),
    "text_in_cached": Decimal("0.40"),
    "text_out": Decimal(24),
    "audio_in": Decimal(32),
    "audio_in_cached": Decimal("0.40"),
    "audio_out": Decimal(64),
    "image_in": Decimal(5),
    "image_in_cached": Decimal("0.50"),
}
"""Every model name costs the same here. Transcription is free."""


def price_nano(meter: str, tokens: int) -> int:
    """Price a total in nano-dollars, rounded half-even once."""
    exact = PRICES_USD_PER_MILLION[meter] * tokens * NANO_PER_USD / 1_000_000
    return int(exact.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


@dataclass(slots=True)
class SessionBill:
    """The bill of one session."""

    session_id: str
    model: str
    received_bytes: int = 0
    generated_bytes: int = 0
    truncations: list[tuple[str, int]] = field(default_factory=list)
    responses: list[tuple[str, str, TokenUsage]] = field(default_factory=list)
    transcriptions: list[tuple[str, Json]] = field(default_factory=list)
    items: dict[str, list[str]] = field(default_factory=dict)
    """Response id to its item ids, as `GET /audio/{item_id}` accepts them."""
    trace: Json | None = None
    """Names of the session's trace, if it is traced."""

    def totals(self) -> dict[str, int]:
        """Tokens of the session per meter; the `_in` meters without what was cached."""
        given, cached, made = TokenCount(), TokenCount(), TokenCount()
        for _, _, usage in self.responses:
            given, cached, made = given + usage.given, cached + usage.cached, made + usage.made
        return {
            "text_in": given.text - cached.text,
            "text_in_cached": cached.text,
            "text_out": made.text,
            "audio_in": given.audio - cached.audio,
            "audio_in_cached": cached.audio,
            "audio_out": made.audio,
            "image_in": given.image - cached.image,
            "image_in_cached": cached.image,
        }

    def cost_nano_usd(self) -> int:
        """The price of the session: each meter's total is rounded once."""
        return sum(price_nano(meter, tokens) for meter, tokens in self.totals().items())

    def as_json(self) -> Json:
        """One entry of `GET /billing`."""
        return {
            "session_id": self.session_id,
            "model": self.model,
            "audio_received_ms": to_ms(self.received_bytes),
            "audio_generated_ms": to_ms(self.generated_bytes),
            "truncations": [{"item_id": item, "audio_end_ms": end_ms} for item, end_ms in self.truncations],
            "responses": [
                {
                    "response_id": response,
                    "status": status,
                    "item_ids": [*self.items.get(response, [])],
                    "usage": usage.as_json(),
                }
                for response, status, usage in self.responses
            ],
            "transcriptions": [{"item_id": item, "usage": usage} for item, usage in self.transcriptions],
            "trace": self.trace,
            "cost_nano_usd": self.cost_nano_usd(),
        }
