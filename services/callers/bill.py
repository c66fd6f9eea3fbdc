"""Waits until a call's account has come to rest."""

import asyncio
from typing import Any

from services.callers.errors import RefusedError
from services.callers.wire import Wire
from services.runtime import clock

_SETTLE_NAP_S = 0.25


async def settled(wire: Wire, token: str, call_id: str, *, timeout_s: float) -> dict[str, Any] | None:
    """The account after the end of a call; the last one that there is when it is not closed in time.

    Usage and the end of a call come to a ledger on different ways, so it counts when it has come to rest.

    Raises:
        RefusedError: not this token's call, or nobody could say in time (the ledger may be away for a moment).
        UnreachableError: nobody answers.
    """
    deadline = clock.monotonic() + timeout_s
    before: dict[str, Any] | None = None
    while True:
        late = clock.monotonic() >= deadline
        try:
            account = await wire.usage(token, call_id)
        except RefusedError as exc:
            if late or not exc.retryable:
                raise
            account = None
        if late or (account and account == before and account.get("status") == "ended"):
            return account
        before = account
        await asyncio.sleep(_SETTLE_NAP_S)  # HTTP has no way to tell us
