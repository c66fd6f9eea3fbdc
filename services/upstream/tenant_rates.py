"""The rates of tenants over all workers: what each has used of its minute is an entry of a KV bucket.

While one update of a tenant's entry is on its way, further questions about the tenant wait and share the next.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from nats.errors import Error as NatsError
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from services.contracts.ids import TenantId
from services.runtime import clock
from services.runtime.telemetry.logging import get_logger
from services.upstream import metrics
from services.upstream.core.commands import CountRateRefusal
from services.upstream.core.minute_use import Charge, MinuteUse, RateExceeded

ANSWER_S = 1.0
"""Longest that an answer of the bucket is waited for."""
_LOG_EVERY_S = 60.0

Reply = Callable[[RateExceeded | None], None]


@dataclass(frozen=True, slots=True)
class _Question:
    charges: tuple[Charge, ...]
    reply: Reply


class TenantRates:
    """One worker's view of all tenants' rates. Its tasks are of ``group``."""

    def __init__(self, entries: KeyValue, group: asyncio.TaskGroup) -> None:
        self._entries = entries
        self._group = group
        self._waiting: dict[TenantId, list[_Question]] = {}
        self._busy: set[TenantId] = set()
        self._known: dict[TenantId, MinuteUse] = {}
        self._logged_at: dict[TenantId, float] = {}

    def take(self, tenant: TenantId, charges: tuple[Charge, ...], reply: Reply) -> None:
        """Take all of ``charges`` or none; ``reply`` gets None, or the first that was above its limit.

        While the bucket does not answer, what this worker knew last and has taken since decides.
        """
        self._waiting.setdefault(tenant, []).append(_Question(charges, reply))
        if tenant not in self._busy:
            self._busy.add(tenant)
            self._group.create_task(self._answer_all(tenant), name=f"rates {tenant}")

    def count_refusal(self, tenant: TenantId, refusal: CountRateRefusal) -> None:
        """Count a refusal, and log it at most once a minute for each tenant."""
        metrics.RATE_REFUSALS.labels(refusal.owner, refusal.kind).inc()
        now = clock.monotonic()
        if now - self._logged_at.get(tenant, float("-inf")) >= _LOG_EVERY_S:
            self._logged_at[tenant] = now
            get_logger().warning("tenant_limited", tenant_id=tenant, owner=refusal.owner, limit=refusal.kind)

    async def _answer_all(self, tenant: TenantId) -> None:
        while (questions := self._waiting.pop(tenant, None)) is not None:
            try:
                async with asyncio.timeout(ANSWER_S):
                    answers = await self._take_shared(tenant, questions)
            except (NatsError, TimeoutError, ValueError) as exc:
                metrics.RATES_ALONE.inc()
                get_logger().warning("rates_alone", tenant_id=tenant, reason=type(exc).__name__)
                answers = _taken(self._known.setdefault(tenant, MinuteUse()), questions)
            for question, answer in zip(questions, answers, strict=True):
                question.reply(answer)
        self._busy.discard(tenant)

    async def _take_shared(self, tenant: TenantId, questions: list[_Question]) -> list[RateExceeded | None]:
        while True:
            before, revision = await self._read(tenant)
            use = MinuteUse.decode(before)
            answers = _taken(use, questions)
            after = use.encode()
            if after != before:
                try:
                    await self._entries.update(tenant, after, last=revision)
                except KeyWrongLastSequenceError:  # another worker was faster
                    continue
            self._known[tenant] = use
            return answers

    async def _read(self, tenant: TenantId) -> tuple[bytes, int]:
        try:
            entry = await self._entries.get(tenant)
        except KeyNotFoundError:
            return b"{}", 0
        return entry.value or b"{}", entry.revision or 0


def _taken(use: MinuteUse, questions: list[_Question]) -> list[RateExceeded | None]:
    return [use.take(question.charges, now_ms=clock.unix_ms()) for question in questions]
