"""Asks signaling which keys of live calls are still in the tenants file, and ends the calls of those that left it."""

import asyncio

from services.contracts import messages, subjects
from services.contracts.endings import EndReason
from services.contracts.ids import ProcessId
from services.contracts.messages import MAX_KEYS, KeyCheck, KeysChecked, MalformedMessageError, TenantKey
from services.media.call import Call
from services.media.core.revocation import Revocation
from services.media.pool import Pool
from services.runtime import clock
from services.runtime.bus.client import Bus
from services.runtime.telemetry import metrics as bus_metrics
from services.runtime.telemetry.logging import get_logger

_STEPS = 15
"""How often within the patience the core is called."""


class KeyChecks:
    """Checks the keys of one process's calls. ``revoke_after_s``: how long a key must be unknown to all signaling."""

    def __init__(self, pool: Pool, process: ProcessId, *, bus: Bus, revoke_after_s: float) -> None:
        self._pool = pool
        self._process = process
        self._bus = bus
        self._step_s = revoke_after_s / _STEPS
        self._revocation = Revocation(revoke_after_s)

    async def subscribe(self) -> None:
        """Subscribe to the answers of signaling. Call it once, before `keep_checking`."""
        await self._bus.subscribe(subjects.keys_checked(self._process), self._on_answer)

    async def keep_checking(self) -> None:
        """Check until cancelled."""
        while True:
            await self._check()
            await asyncio.sleep(self._step_s)

    async def _check(self) -> None:
        calls: dict[tuple[str, str], list[Call]] = {}
        for call in self._pool.calls():
            calls.setdefault((call.facts.tenant, call.facts.key), []).append(call)
        keys = {TenantKey(tenant=of[0].facts.tenant, key=of[0].facts.key): of for of in calls.values()}
        due = self._revocation.on_timer(keys, now=clock.monotonic())
        for first in range(0, len(due.ask), MAX_KEYS):
            check = KeyCheck(keys=due.ask[first : first + MAX_KEYS])
            await self._bus.publish(subjects.key_check(self._process), check)
        for revoked in due.revoked:
            get_logger().warning("key_revoked", tenant=revoked.tenant, key=revoked.key, calls=len(keys[revoked]))
            for call in keys[revoked]:
                call.end(EndReason.REVOKED)

    def _on_answer(self, _subject: str, data: bytes) -> None:
        try:
            answer = messages.expect(KeysChecked, data)
        except MalformedMessageError as exc:
            bus_metrics.BUS_DROPPED.labels("malformed").inc()
            get_logger().warning("keys_checked_malformed", error=str(exc))
            return
        self._revocation.on_answer(answer, now=clock.monotonic())
