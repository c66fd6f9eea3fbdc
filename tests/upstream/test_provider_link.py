"""A call's connection to a provider that reads too slowly."""

import asyncio
from itertools import groupby
from typing import Any

import pytest
from pydantic import SecretStr

from services.upstream.connectors.openai import OpenAIConnector
from services.upstream.core.commands import AppendAudio, SendToProvider
from services.upstream.errors import UpstreamUnavailableError
from services.upstream.provider_link import MAX_UNSENT, ProviderLink
from tests.upstream.provider import ScriptedProvider, running


async def test_too_much_that_is_not_written_is_the_providers_fault_however_full_the_inbox_is() -> None:
    inbox: asyncio.Queue[Any] = asyncio.Queue(1)
    inbox.put_nowait("full")
    link = ProviderLink(OpenAIConnector("ws://127.0.0.1:1", SecretStr("")), "gpt-realtime-2.1", inbox)
    for _ in range(MAX_UNSENT):
        link.queue_command(AppendAudio(bytes(640)))
    with pytest.raises(UpstreamUnavailableError, match="does not read"):
        link.queue_command(AppendAudio(bytes(640)))


async def test_audio_that_waits_is_written_together_and_the_events_stay_where_they_were() -> None:
    async with running(ScriptedProvider()) as provider:
        inbox: asyncio.Queue[Any] = asyncio.Queue()
        link = ProviderLink(OpenAIConnector(provider.url), "gpt-realtime-2.1", inbox)
        for _ in range(2):
            for _ in range(4):
                link.queue_command(AppendAudio(bytes(640)))
            link.queue_command(SendToProvider({"type": "input_audio_buffer.commit"}))
        link.queue_command(AppendAudio(bytes(640)))
        link.queue_command(SendToProvider({"type": "input_audio_buffer.clear"}))
        running_link = asyncio.create_task(link.keep_open())
        try:
            provider_session = await provider.session()
            await provider_session.until("input_audio_buffer.clear")
        finally:
            running_link.cancel()
        sent = [str(event["type"]).removeprefix("input_audio_buffer.") for event in provider_session.events]
        before_each = [list(kinds) for end, kinds in groupby(sent, lambda kind: kind != "append") if not end]
        assert [kind for kind in sent if kind != "append"] == ["commit", "commit", "clear"]
        assert all(len(appends) <= 2 for appends in before_each), "one append, and the resampler's rest"
        assert provider_session.committed_ms == [80, 80]
