"""The rates of one call: its token's are counted here, its tenant's by the worker, which answers a command."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from services.contracts.grant import MinuteLimits
from services.upstream.core.command_buffer import CommandBuffer
from services.upstream.core.commands import CountRateRefusal, RateOwner, TakeRates
from services.upstream.core.minute_use import MinuteUse, RateExceeded, RateKind, charges

_WHAT: dict[RateKind, str] = {
    "responses": "responses",
    "audio_seconds": "seconds of input audio",
    "input_tokens": "input tokens",
}


@dataclass(frozen=True, slots=True)
class RateRefusal:
    """What is above a rate, of whom, and for how long."""

    owner: RateOwner
    exceeded: RateExceeded

    @property
    def message(self) -> str:
        """A sentence for the client."""
        kind, limit = self.exceeded.kind, self.exceeded.limit
        most = limit // 1000 if kind == "audio_seconds" else limit
        wait_s = max(1, math.ceil(self.exceeded.wait_s))
        return f"Rate limit reached: {most} {_WHAT[kind]} a minute for this {self.owner}. Try again in {wait_s} s."


OnAnswer = Callable[[RateRefusal | None, float], None]
"""Gets the refusal, or None if the amounts were taken, and the time."""


@dataclass(frozen=True, slots=True)
class _Asked:
    amounts: dict[RateKind, int]
    on_answer: OnAnswer


class CallRates:
    """Takes amounts of both, or of neither. Amounts of audio are milliseconds."""

    def __init__(self, commands: CommandBuffer, *, token: MinuteLimits, tenant: MinuteLimits) -> None:
        self._commands = commands
        self._token = token
        self._tenant = tenant
        self._used = MinuteUse()
        self._asked: dict[int, _Asked] = {}
        self._tickets = 0

    def limits(self, kind: RateKind) -> bool:
        """Return whether there is a limit of ``kind``."""
        return bool(charges(self._token, {kind: 0}) or charges(self._tenant, {kind: 0}))

    def take(self, amounts: dict[RateKind, int], on_answer: OnAnswer, *, now: float) -> None:
        """Take ``amounts``, and answer within this call, or after the worker's answer if the tenant has a limit."""
        exceeded = self._used.take(charges(self._token, amounts), now_ms=int(now * 1000))
        shared = () if exceeded else charges(self._tenant, amounts)
        if not shared:
            on_answer(RateRefusal("token", exceeded) if exceeded else None, now)
            return
        self._tickets += 1
        self._asked[self._tickets] = _Asked(amounts, on_answer)
        self._commands.add(TakeRates(self._tickets, shared))

    def answered(self, ticket: int, exceeded: RateExceeded | None, *, now: float) -> None:
        """Handle the worker's answer to `TakeRates`."""
        asked = self._asked.pop(ticket)
        if exceeded is not None:
            back: dict[RateKind, int] = {kind: -amount for kind, amount in asked.amounts.items()}
            self._used.take(charges(self._token, back, forced=True), now_ms=int(now * 1000))
        asked.on_answer(RateRefusal("tenant", exceeded) if exceeded else None, now)

    def book(self, amounts: dict[RateKind, int], *, now: float) -> None:
        """Take ``amounts`` that were used already, whatever the limit; negative ones are given back."""
        self._used.take(charges(self._token, amounts, forced=True), now_ms=int(now * 1000))
        if shared := charges(self._tenant, amounts, forced=True):
            self._commands.add(TakeRates(0, shared))

    def publish_refusal(self, refusal: RateRefusal, client_event_id: str | None = None, *, effect: str = "") -> None:
        """Publish the `error` event of a refusal, and count it. ``effect``: a sentence about what it leads to."""
        self._commands.add(CountRateRefusal(refusal.owner, refusal.exceeded.kind))
        self._commands.publish_error(
            kind="rate_limit_error",
            code="rate_limit_exceeded",
            message=f"{refusal.message} {effect}".rstrip(),
            client_event_id=client_event_id,
        )
