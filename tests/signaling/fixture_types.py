"""The types of the fixtures that are functions."""

from collections.abc import Awaitable, Callable

import httpx

from services.contracts.messages import Offer

OpenSignaling = Callable[..., Awaitable[httpx.AsyncClient]]
AddMedia = Callable[..., Awaitable[list[Offer]]]
MintToken = Callable[..., Awaitable[str]]
