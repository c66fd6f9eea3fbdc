"""The types of the fixtures that are functions."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import httpx

from services.contracts.messages import Offer

OpenSignaling = Callable[..., Awaitable[httpx.AsyncClient]]
AddMedia = Callable[..., Awaitable[list[Offer]]]
HeardHeartbeats = Callable[[], AbstractAsyncContextManager[None]]
MintToken = Callable[..., Awaitable[str]]
