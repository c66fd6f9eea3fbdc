"""Cancels tasks that wait in nats-py."""

import asyncio
from typing import Any


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel ``tasks`` until all are done.

    Repeatedly: nats-py waits by `wait_for`, which on Python 3.11 swallows a cancellation that meets its result.
    """
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=0.1)
