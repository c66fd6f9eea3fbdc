"""What was used of each rate in the last minute, so that no sixty seconds have more than the limit.

Use is counted in slots of five seconds. Any sixty seconds lie in thirteen slots, so what leaves those is older.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import TypeAdapter

from services.contracts.grant import MinuteLimits

RateKind = Literal["responses", "audio_seconds", "input_tokens"]
SLOT_MS = 5000
SLOTS = 60_000 // SLOT_MS + 1
_SCALE: dict[RateKind, int] = {"responses": 1, "audio_seconds": 1000, "input_tokens": 1}
"""Units in which each kind is counted: audio in milliseconds."""

RateSlots = dict[RateKind, dict[int, int]]
"""Amounts by kind and slot; a negative one was given back."""
_SLOTS: TypeAdapter[RateSlots] = TypeAdapter(RateSlots)


@dataclass(frozen=True, slots=True)
class Charge:
    """An amount to take of a rate; 0: only if some is left. ``forced``: used already, or given back if negative."""

    kind: RateKind
    amount: int
    limit: int
    forced: bool = False


@dataclass(frozen=True, slots=True)
class RateExceeded:
    """A charge that was not taken; after ``wait_s`` it would be."""

    kind: RateKind
    limit: int
    wait_s: float


def charges(limits: MinuteLimits, amounts: dict[RateKind, int], *, forced: bool = False) -> tuple[Charge, ...]:
    """Return the charges of ``amounts`` for those kinds that have a limit. Audio is counted in milliseconds."""
    found: list[Charge] = []
    for kind, amount in amounts.items():
        limit: int | None = getattr(limits, f"{kind}_per_min")
        if limit is not None:
            found.append(Charge(kind, amount, limit * _SCALE[kind], forced))
    return tuple(found)


class MinuteUse:
    """The use of one tenant or call. ``now_ms`` must come from one clock."""

    def __init__(self, slots: RateSlots | None = None) -> None:
        self._slots: RateSlots = slots or {}

    @classmethod
    def decode(cls, data: bytes) -> "MinuteUse":
        """Read what `encode` wrote.

        Raises:
            ValueError: it is something else.
        """
        return cls(_SLOTS.validate_json(data))

    def encode(self) -> bytes:
        """Return the use as JSON."""
        return _SLOTS.dump_json(self._slots)

    def used(self, kind: RateKind, *, now_ms: int) -> int:
        """Return what was used of ``kind`` in the slots that count."""
        return sum(amount for _, amount in self._live(kind, now_ms))

    def take(self, wanted: Iterable[Charge], *, now_ms: int) -> RateExceeded | None:
        """Take all of ``wanted`` and return None, or take nothing and return the first that is above its limit."""
        wanted = tuple(wanted)
        slot = now_ms // SLOT_MS
        for charge in wanted:
            wait_ms = 0 if charge.forced else self._wait_ms(charge, now_ms)
            if wait_ms:
                return RateExceeded(charge.kind, charge.limit, wait_ms / 1000)
        for charge in wanted:
            if charge.amount:
                self._add(charge, slot)
        return None

    def merge(self, others: RateSlots, *, now_ms: int) -> None:
        """Add what was taken elsewhere, in the slots in which it was taken; what no longer counts is left out."""
        for kind, amounts in live_slots(others, now_ms=now_ms).items():
            for slot in sorted(amounts):
                self._add(Charge(kind, amounts[slot], 0, forced=True), slot)

    def _wait_ms(self, charge: Charge, now_ms: int) -> int:
        live = sorted(self._live(charge.kind, now_ms))
        excess = sum(amount for _, amount in live) + max(charge.amount, 1) - charge.limit
        wait_ms = 0
        for slot, amount in live:
            if excess <= 0:
                return wait_ms
            excess -= amount
            wait_ms = (slot + SLOTS) * SLOT_MS - now_ms
        return wait_ms if excess <= 0 else SLOTS * SLOT_MS

    def _live(self, kind: RateKind, now_ms: int) -> list[tuple[int, int]]:
        return list(live_slots(self._slots, now_ms=now_ms).get(kind, {}).items())

    def _add(self, charge: Charge, slot: int) -> None:
        slots = {known: amount for known, amount in self._slots.get(charge.kind, {}).items() if known > slot - SLOTS}
        left = -charge.amount
        for known in sorted(slots, reverse=True):  # what is given back was taken last
            back = min(max(left, 0), slots[known])
            slots[known] -= back
            left -= back
        if charge.amount > 0:
            slots[slot] = slots.get(slot, 0) + charge.amount
        self._slots[charge.kind] = {known: amount for known, amount in slots.items() if amount}


def live_slots(slots: RateSlots, *, now_ms: int) -> RateSlots:
    """Return those of ``slots`` that count for the minute before ``now_ms``."""
    first = now_ms // SLOT_MS - SLOTS + 1
    live = {kind: {slot: n for slot, n in amounts.items() if slot >= first and n} for kind, amounts in slots.items()}
    return {kind: amounts for kind, amounts in live.items() if amounts}
