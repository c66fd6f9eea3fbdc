"""A call's line to a provider that does not keep up."""

import asyncio
from typing import Any

import pytest
from pydantic import SecretStr

from services.upstream.connectors.openai import OpenAIConnector
from services.upstream.core.commands import AppendAudio
from services.upstream.errors import UpstreamUnavailableError
from services.upstream.line import MAX_UNSENT, Line


async def test_too_much_that_is_not_written_is_the_providers_fault_however_full_the_inbox_is() -> None:
    inbox: asyncio.Queue[Any] = asyncio.Queue(1)
    inbox.put_nowait("full")
    line = Line(OpenAIConnector("ws://127.0.0.1:1", SecretStr("")), "gpt-realtime-2.1", inbox)
    for _ in range(MAX_UNSENT):
        line.send(AppendAudio(bytes(640)))
    with pytest.raises(UpstreamUnavailableError, match="does not read"):
        line.send(AppendAudio(bytes(640)))
