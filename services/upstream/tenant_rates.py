"""The rates of tenants over all workers: what each has used of its minute is an entry of a KV bucket.

Far below its limits a worker takes from what it knows, and books that within `BOOK_S`. Near them it asks the bucket:
while one update of a tenant's entry is on its way, further questions about the tenant wait and share the next. What is
taken while the bucket does not answer is booked when it does, unless it is older than a minute by then.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from nats.errors import Error as NatsError
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from services.contracts.ids import TenantId
from services.runtime import clock
from services.runtime.telemetry.logging import get_logger
from services.upstream import metrics
from services.upstream.core.commands import CountRateRefusal
from services.upstream.core.minute_use import Charge, MinuteUse, RateExceeded
from services.upstream.core.tenant_use import TenantUse

ANSWER_S = 1.0
"""Longest that an answer of the bucket is waited for."""
BOOK_S = 1.0
"""Longest that the other workers do not know what this one took alone."""
_LOG_EVERY_S = 60.0

Reply = Callable[[RateExceeded | None], None]


@dataclass(frozen=True, slots=True)
class _Question:
    charges: tuple[Charge, ...]
    reply: Reply


@dataclass(slots=True)
class _Account:
    """One tenant's. ``entry``: its value and revision in the bucket, as this worker read or wrote it last."""

    use: TenantUse = field(default_factory=TenantUse)
    questions: list[_Question] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    entry: tuple[bytes, int] | None = None
    is_kept: bool = False


class TenantRates:
    """One worker's view of all tenants' rates. Its tasks are of ``group``."""

    def __init__(self, entries: KeyValue, group: asyncio.TaskGroup) -> None:
        self._entries = entries
        self._group = group
        self._accounts: dict[TenantId, _Account] = {}
        self._logged_at: dict[TenantId, float] = {}
        self._is_closing = False

    def close(self) -> None:
        """Let the tasks end: what is not booked is tried once more."""
        self._is_closing = True
        for account in self._accounts.values():
            account.asked.set()

    def take(self, tenant: TenantId, charges: tuple[Charge, ...], reply: Reply) -> None:
        """Take all of ``charges`` or none; ``reply`` gets None, or the first that was above its limit.

        It gets that at once while the limits are far. When the bucket has not answered, what this worker knew last and
        has taken since decides for five seconds.
        """
        account = self._accounts.setdefault(tenant, _Account())
        now_ms = clock.unix_ms()
        if account.use.take_alone(charges, now_ms=now_ms):
            reply(None)
        elif account.use.cut_off_ms(now_ms=now_ms):
            metrics.RATES_ALONE.inc()
            reply(account.use.take_cut_off(charges, now_ms=now_ms))
        else:
            account.questions.append(_Question(charges, reply))
            account.asked.set()
        if not account.is_kept:
            account.is_kept = True
            self._group.create_task(self._keep(tenant, account), name=f"rates {tenant}")

    def count_refusal(self, tenant: TenantId, refusal: CountRateRefusal) -> None:
        """Count a refusal, and log it at most once a minute for each tenant."""
        metrics.RATE_REFUSALS.labels(refusal.owner, refusal.kind).inc()
        now = clock.monotonic()
        if now - self._logged_at.get(tenant, float("-inf")) >= _LOG_EVERY_S:
            self._logged_at[tenant] = now
            get_logger().warning("tenant_limited", tenant_id=tenant, owner=refusal.owner, limit=refusal.kind)

    async def _keep(self, tenant: TenantId, account: _Account) -> None:
        """Answer the questions about a tenant and book what was taken alone, until nothing is left."""
        while account.questions or not account.use.is_booked(now_ms=clock.unix_ms()):
            cut_off_s = account.use.cut_off_ms(now_ms=clock.unix_ms()) / 1000
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(BOOK_S, cut_off_s)):
                    await account.asked.wait()
            account.asked.clear()
            questions, account.questions = account.questions, []
            try:
                async with asyncio.timeout(ANSWER_S):
                    answers = await self._take_shared(tenant, account, questions)
            except (NatsError, TimeoutError, ValueError) as exc:
                metrics.RATES_ALONE.inc()
                get_logger().warning("rates_alone", tenant_id=tenant, reason=type(exc).__name__)
                now_ms = clock.unix_ms()
                account.use.on_unanswered(now_ms=now_ms)
                answers = [account.use.take_cut_off(question.charges, now_ms=now_ms) for question in questions]
            for question, answer in zip(questions, answers, strict=True):
                question.reply(answer)
            if self._is_closing and not account.questions:
                break
        account.is_kept = False

    async def _take_shared(
        self, tenant: TenantId, account: _Account, questions: list[_Question]
    ) -> list[RateExceeded | None]:
        """Take from the tenant's entry; a write at its revision proves that no other worker has changed it."""
        booked = account.use.pop_unbooked(now_ms=clock.unix_ms())
        known, account.entry = account.entry, None
        while True:
            before, revision = known or await self._read(tenant)
            use = MinuteUse.decode(before)
            use.merge(booked, now_ms=clock.unix_ms())
            answers = [use.take(question.charges, now_ms=clock.unix_ms()) for question in questions]
            after = use.encode()
            is_proven, known = known is None, None
            if after != before:
                try:
                    revision = await self._entries.update(tenant, after, last=revision)
                except KeyWrongLastSequenceError:  # another worker was faster
                    continue
                is_proven = True
            if is_proven:
                account.entry = (after, revision)
                account.use.on_read(use, now_ms=clock.unix_ms())
                return answers

    async def _read(self, tenant: TenantId) -> tuple[bytes, int]:
        try:
            entry = await self._entries.get(tenant)
        except KeyNotFoundError:
            return b"{}", 0
        return entry.value or b"{}", entry.revision or 0
