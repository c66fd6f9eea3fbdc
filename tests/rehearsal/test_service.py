import asyncio
import base64
import json
from typing import Any

import httpx
import pytest
import websockets
from openai import AsyncOpenAI

from services.rehearsal.session_archive import MAX_KEPT_ITEMS, SessionArchive
from tests.rehearsal.conftest import Serving, Speech
from tests.rehearsal.driver import SERVER_EVENT, RehearsalEvent, silence, tone

KEY = "rehearsal-key"
MODEL = "gpt-realtime-2.1"


def endpoint(url: str, path: str = f"/v1/realtime?model={MODEL}") -> str:
    return url.replace("http", "ws", 1) + path


def bearer(key: str = KEY) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def until(socket: websockets.ClientConnection, kind: str) -> list[RehearsalEvent]:
    """All events up to the first of ``kind``, each checked against its type."""
    events: list[RehearsalEvent] = []
    async with asyncio.timeout(20):
        while not events or events[-1]["type"] != kind:
            events.append(json.loads(await socket.recv()))
            assert SERVER_EVENT.validate_python(events[-1]).type == events[-1]["type"]
    return events


async def send(socket: websockets.ClientConnection, kind: str, **fields: Any) -> None:  # noqa: ANN401 - any JSON
    await socket.send(json.dumps({"type": kind, **fields}))


async def refusal(url: str, headers: dict[str, str]) -> tuple[int, RehearsalEvent]:
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with websockets.connect(url, additional_headers=headers):
            pass
    response = caught.value.response
    return response.status_code, json.loads(response.body)["error"]


async def test_a_wrong_key_is_refused_in_the_shape_of_the_provider(rehearsal: Serving) -> None:
    async with rehearsal(api_key=KEY) as url:
        for headers in ({}, bearer("other"), {"Authorization": KEY}):
            status, error = await refusal(endpoint(url), headers)
            assert (status, error["code"], error["type"]) == (401, "invalid_api_key", "invalid_request_error")


async def test_an_unknown_path_and_a_missing_model_are_refused(rehearsal: Serving) -> None:
    async with rehearsal(api_key=KEY) as url:
        assert (await refusal(endpoint(url, "/v1/dream"), bearer()))[0] == 404
        status, error = await refusal(endpoint(url, "/v1/realtime"), bearer())
        assert (status, error["param"]) == (400, "model")


async def test_a_browser_brings_its_key_as_a_subprotocol(rehearsal: Serving) -> None:
    protocols = [websockets.Subprotocol(name) for name in ("realtime", f"openai-insecure-api-key.{KEY}")]
    async with rehearsal(api_key=KEY) as url, websockets.connect(endpoint(url), subprotocols=protocols) as socket:
        assert socket.subprotocol == "realtime"
        assert (await until(socket, "session.created"))[-1]["session"]["model"] == MODEL


async def test_without_a_key_set_any_caller_is_served(rehearsal: Serving) -> None:
    async with rehearsal() as url, websockets.connect(endpoint(url)) as socket:
        await until(socket, "session.created")
        await socket.send("no json")
        assert (await until(socket, "error"))[-1]["error"]["code"] == "invalid_json"


async def test_a_turn_is_spoken_billed_and_kept(rehearsal: Serving) -> None:
    async with rehearsal() as url, httpx.AsyncClient(base_url=url) as http:
        async with websockets.connect(endpoint(url)) as socket:
            await send(
                socket, "session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}}
            )
            await send(socket, "input_audio_buffer.append", audio=base64.b64encode(tone(800)).decode())
            await send(socket, "input_audio_buffer.commit")
            await send(socket, "response.create")
            events = await until(socket, "response.done")
            sound = b"".join(base64.b64decode(e["delta"]) for e in events if e["type"] == "response.output_audio.delta")
            done = events[-1]["response"]
            item = done["output"][0]["id"]
            await until(socket, "rate_limits.updated")
            await send(socket, "conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=700)
            await until(socket, "conversation.item.truncated")
        assert sound.endswith(tone(800))
        kept = await http.get(f"/audio/{item}")
        assert kept.content == sound
        assert kept.headers["content-type"].startswith("audio/L16")
        assert (await http.get("/audio/item_none")).status_code == 404
        bill = (await http.get("/billing")).json()
        (session,) = bill["sessions"]
        assert session["audio_received_ms"] == 800
        assert session["audio_generated_ms"] == len(sound) // 48
        assert session["truncations"] == [{"item_id": item, "audio_end_ms": 700}]
        assert session["responses"][0]["usage"] == done["usage"]
        assert bill["cost_nano_usd"] == session["cost_nano_usd"] > 0


async def test_a_spoken_question_is_recognised_and_answered_by_the_local_voice(
    rehearsal: Serving, flite: Speech
) -> None:
    pytest.importorskip("pocketsphinx", reason="needs the extra `voice`")
    audio_input = {"turn_detection": None, "transcription": {"model": "gpt-4o-mini-transcribe"}}
    async with rehearsal(voice="full", recognisers=1) as url, websockets.connect(endpoint(url)) as socket:
        await send(socket, "session.update", session={"type": "realtime", "audio": {"input": audio_input}})
        await send(socket, "input_audio_buffer.append", audio=base64.b64encode(tone(400)).decode())
        await send(socket, "input_audio_buffer.clear")
        pcm = await flite("what time is it", "slt")
        for start in range(0, len(pcm), 960):
            await send(socket, "input_audio_buffer.append", audio=base64.b64encode(pcm[start : start + 960]).decode())
        await send(socket, "input_audio_buffer.commit")
        await send(socket, "response.create")
        events = await until(socket, "response.done")
        transcript = next(e["transcript"] for e in events if e["type"].endswith("transcription.completed"))
        answered = next(e["transcript"] for e in events if e["type"] == "response.output_audio_transcript.done")
        assert transcript == "what time is it"
        assert answered.startswith("It is ")
        await send(socket, "input_audio_buffer.append", audio=base64.b64encode(tone(400)).decode())


async def test_an_answer_can_be_cancelled_while_it_comes(rehearsal: Serving) -> None:
    async with rehearsal() as url, websockets.connect(endpoint(url)) as socket:
        await send(socket, "response.create")
        await until(socket, "response.output_audio.delta")
        await send(socket, "response.cancel")
        assert (await until(socket, "response.done"))[-1]["response"]["status"] == "cancelled"


async def test_the_openai_package_makes_a_written_and_a_spoken_turn(rehearsal: Serving) -> None:
    async with rehearsal(api_key=KEY) as url:
        client = AsyncOpenAI(api_key=KEY, base_url=f"{url}/v1", websocket_base_url=endpoint(url, "/v1"))
        async with client, client.realtime.connect(model=MODEL) as connection, asyncio.timeout(20):
            await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
            await connection.conversation.item.create(
                item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "I like tea"}]}
            )
            await connection.response.create()
            async for event in connection:
                if event.type == "response.output_text.done":
                    assert event.text == "You said: I like tea."
                if event.type == "response.done":
                    break
            await connection.session.update(session={"type": "realtime", "output_modalities": ["audio"]})
            for pcm in (silence(200), tone(600), silence(700)):
                await connection.input_audio_buffer.append(audio=base64.b64encode(pcm).decode())
            kinds = set()
            async for event in connection:
                kinds.add(event.type)
                if event.type == "response.done":
                    break
            assert {"input_audio_buffer.speech_started", "response.output_audio.delta"} <= kinds


async def test_a_session_ends_when_its_time_is_over(rehearsal: Serving) -> None:
    async with rehearsal(max_session_s=0.05) as url, websockets.connect(endpoint(url)) as socket:
        assert (await until(socket, "error"))[-1]["error"]["code"] == "session_expired"
        with pytest.raises(websockets.ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1001


async def test_stopping_closes_the_sockets(rehearsal: Serving) -> None:
    async with rehearsal() as url:
        socket = await websockets.connect(endpoint(url))
        await until(socket, "session.created")
    await socket.wait_closed()
    assert socket.close_code == 1001


async def test_a_binary_message_ends_the_session_and_nothing_else(rehearsal: Serving) -> None:
    async with rehearsal() as url:
        async with websockets.connect(endpoint(url)) as socket:
            await socket.send(b"\0\1")
            await socket.wait_closed()
        async with websockets.connect(endpoint(url)) as socket:
            await until(socket, "session.created")


async def test_health_and_metrics_are_served_on_the_same_port(rehearsal: Serving) -> None:
    async with rehearsal() as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/readyz")).status_code == 200
        metrics = (await http.get("/metrics")).text
        for answers in ("full", "light", "echo"):
            assert f'hushgate_rehearsal_sessions_active{{answers="{answers}"}} 0.0' in metrics


def test_only_the_newest_audio_is_kept() -> None:
    ledger = SessionArchive()
    for number in range(MAX_KEPT_ITEMS + 1):
        ledger.append_audio(f"item_{number}", b"\0\0")
    assert ledger.audio("item_0") is None
    assert ledger.audio("item_1") == b"\0\0"
