"""A provider that refuses sessions and updates, over the real bus."""

import json

from pydantic import JsonValue

from services.contracts.endings import EndReason
from services.contracts.frame import Kind
from services.contracts.grant import Grant
from services.contracts.ids import TenantId
from services.contracts.messages import Ended, expect
from services.runtime.bus.client import Bus
from tests.upstream.drive import Json, object_of
from tests.upstream.provider import ScriptedProvider
from tests.upstream.running_worker import CALL, MediaSide, RunningWorker, running_worker

SESSION: Json = {
    "model": "gpt-realtime-2.1",
    "instructions": "Be kind.",
    "audio": {"output": {"voice": "nobody", "speed": 1.5}},
}


async def call_with(h: RunningWorker, session: Json, *, locked: tuple[str, ...] = ()) -> MediaSide:
    grant = Grant(tenant=TenantId("acme"), session=session, locked=locked)
    media = await h.call_without_frames(CALL, {"grant": grant})
    await media.send(Kind.ALIVE)
    return media


async def test_a_session_without_a_refused_voice_is_shown_without_it(bus: Bus) -> None:
    provider = ScriptedProvider(refused=("audio.output.voice",))
    async with running_worker(bus, provider) as h:
        media = await call_with(h, SESSION)
        _, created = await media.event("session.created")
        output = object_of(object_of(object_of(created, "session"), "audio"), "output")
        assert ("voice" in output, output["speed"]) == (False, 1.5)
        _, error = await media.event("error")
        assert object_of(error, "error")["param"] == "session.audio.output.voice"
        assert object_of(created, "session")["instructions"] == "Be kind."
        last = provider.sessions[0].events[-1]
        assert object_of(last, "session")["instructions"] == "Be kind."


async def test_a_call_whose_instructions_are_refused_ends_with_the_reason(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider(refused=("instructions",))) as h:
        media = await call_with(h, SESSION)
        _, error = await media.event("error")
        assert object_of(error, "error") == {
            "type": "server_error",
            "code": "session_refused",
            "message": "No instructions here.",
            "param": "session.instructions",
            "event_id": None,
        }
        ended = expect(Ended, (await media.kind(Kind.ENDED)).payload)
        assert ended.reason is EndReason.PROVIDER_REFUSED
        await h.wait_for_release()
    assert h.provider.sessions[0].types() == ["session.update"]


async def test_a_call_whose_locked_voice_is_refused_ends(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider(refused=("audio.output.voice",))) as h:
        media = await call_with(h, SESSION, locked=("audio",))
        await media.event("error")
        ended = expect(Ended, (await media.kind(Kind.ENDED)).payload)
        assert ended.reason is EndReason.PROVIDER_REFUSED


async def test_a_provider_that_confirms_late_is_waited_for(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider(answer_ms=100, confirms=False)) as h:
        media = await call_with(h, SESSION)
        await update(media, {"instructions": "Be brief."})
        await media.utter(400)
        provider_session = await h.provider.session()
        sent = await provider_session.until("session.update")
        await bus.flush()
        assert not [f for f in media.all if f.kind is Kind.SERVER_EVENT]
        assert provider_session.types() == ["session.update"]
        h.provider.confirms = True
        await provider_session.send_event("session.updated", session=sent["session"])
        await media.event("session.created")
        _, updated = await media.event("session.updated")
        assert object_of(updated, "session")["instructions"] == "Be brief."
        await media.event("response.done")


async def test_an_update_that_is_refused_leaves_the_session(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider(refused=("tools",))) as h:
        media = await call_with(h, SESSION)
        await media.event("session.created")
        await update(media, {"tools": [{"type": "function", "name": "look"}], "instructions": "Use it."})
        _, error = await media.event("error")
        assert (object_of(error, "error")["event_id"], object_of(error, "error")["param"]) == ("mine", "session.tools")
        await update(media, {"tool_choice": "none"})
        _, updated = await media.event("session.updated")
        session = object_of(updated, "session")
        assert (session["instructions"], session["tools"], session["tool_choice"]) == ("Be kind.", [], "none")


async def update(media: MediaSide, session: JsonValue) -> None:
    event = {"type": "session.update", "event_id": "mine", "session": session}
    await media.send(Kind.CLIENT_EVENT, json.dumps(event).encode())
