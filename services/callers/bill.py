"""Waits until a call's usage account is closed."""

import asyncio
from typing import Any

from services.callers.endpoint_client import EndpointClient
from services.callers.errors import EndpointRefusedError
from services.runtime import clock

_SETTLE_NAP_S = 0.25


async def wait_for_bill(wire: EndpointClient, token: str, call_id: str, *, timeout_s: float) -> dict[str, Any] | None:
    """Poll the account after the end of a call; returns the last state when it is not closed in time.

    Usage and the end of a call reach the ledger separately, so the account counts when it has stopped changing.

    Raises:
        EndpointRefusedError: not this token's call, or the ledger was unavailable for too long.
        UnreachableError: nobody answers.
    """
    deadline = clock.monotonic() + timeout_s
    before: dict[str, Any] | None = None
    while True:
        late = clock.monotonic() >= deadline
        try:
            account = await wire.usage(token, call_id)
        except EndpointRefusedError as exc:
            if late or not exc.retryable:
                raise
            account = None
        if late or (account and account == before and account.get("status") == "ended"):
            return account
        before = account
        await asyncio.sleep(_SETTLE_NAP_S)  # HTTP has no notification
