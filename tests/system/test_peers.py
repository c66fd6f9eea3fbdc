"""Calls of GStreamer's webrtcbin and Pion to a whole gateway, with an answer and a barge-in."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.runtime import clock
from tests.peers.peer import (
    DEBIAN_PYTHON,
    HERE,
    PeerProcess,
    build_pion,
    missing_go,
    missing_gstreamer,
    running,
    write_speech,
)
from tests.system.gateway import Up

CALLS, WHIP = "/v1/realtime/calls", "/v1/whip"
Start = Callable[..., AbstractAsyncContextManager[PeerProcess]]


@pytest.fixture(scope="module")
def gstreamer() -> Start:
    if reason := missing_gstreamer():
        pytest.skip(reason)

    def start(*arguments: str) -> AbstractAsyncContextManager[PeerProcess]:
        return running(DEBIAN_PYTHON, str(HERE / "gstreamer.py"), *arguments)

    return start


@pytest.fixture(scope="module")
def pion(tmp_path_factory: pytest.TempPathFactory) -> Start:
    if reason := missing_go():
        pytest.skip(reason)
    program = build_pion(tmp_path_factory.mktemp("pion"))

    def start(*arguments: str) -> AbstractAsyncContextManager[PeerProcess]:
        return running(str(program), *arguments)

    return start


@pytest.fixture(params=["gstreamer", "pion"])
def start(request: pytest.FixtureRequest) -> Start:
    found: Start = request.getfixturevalue(request.param)
    return found


@asynccontextmanager
async def calling(
    up: Up, peer: PeerProcess, *, endpoint: str = CALLS, change: tuple[str, str] = ("", "")
) -> AsyncIterator[Callable[[], Any]]:
    """Let ``peer`` call; yield a function that returns the bill of its call."""
    headers = {"Authorization": f"Bearer {up.tenant_key}"}
    async with httpx.AsyncClient(base_url=up.url, headers=headers) as http:
        offer = peer.offer.replace(*change)
        sent = await http.post(endpoint, content=offer, headers={"Content-Type": "application/sdp"})
        assert sent.status_code == 201, sent.text
        peer.tell(answer=sent.text)
        await peer.until(lambda: "connected" in peer.states, "connected")
        call = sent.headers["Location"].rpartition("/")[2]

        async def bill() -> dict[str, Any]:
            usage: dict[str, Any] = (await http.get(f"/v1/calls/{call}/usage")).raise_for_status().json()
            return usage

        yield bill
        await http.post(f"{CALLS}/{call}/hangup")


async def interrupted(peer: PeerProcess, tmp_path: Path) -> float:
    """Interrupt a long answer; return an upper bound of the seconds from the barge-in to silence."""
    question = await write_speech("tell me a long story", tmp_path)
    interruption = await write_speech("stop. what time is it", tmp_path)
    peer.tell(say=str(question))
    await peer.until(lambda: peer.packets[-1] >= 30, "0.6 s of the answer")  # the shortest answer has 2.1 s
    peer.tell(say=str(interruption))
    spoke_at = clock.monotonic()
    await peer.until(peer.is_silent, "silence after the interruption")
    return clock.monotonic() - spoke_at


async def test_a_call_is_answered_and_interrupted(up: Up, start: Start, tmp_path: Path) -> None:
    async with start("--channel") as peer, calling(up, peer) as bill:
        await peer.until(lambda: peer.has("session.created"), "session.created")
        await interrupted(peer, tmp_path)
        await peer.until(lambda: peer.has("conversation.item.truncated"), "the truncation")
        (cut,) = (event for event in peer.events if event["type"] == "conversation.item.truncated")
        assert 0 < cut["audio_end_ms"] < 10_000
        sent = peer.packets[-1]
        await peer.until(lambda: peer.packets[-1] >= sent + 25, "the answer to the interruption")
        assert (await bill())["meters"]["audio_sent_ms"] > 0


async def test_audio_alone_is_answered_and_interrupted_through_whip(up: Up, start: Start, tmp_path: Path) -> None:
    async with start() as peer, calling(up, peer, endpoint=WHIP):
        await interrupted(peer, tmp_path)


@pytest.mark.parametrize("endpoint", [CALLS, WHIP])
async def test_who_only_sends_is_sent_nothing_and_heard_nothing(
    up: Up, start: Start, tmp_path: Path, endpoint: str
) -> None:
    async with start("--channel", "--direction", "sendonly") as peer, calling(up, peer, endpoint=endpoint) as bill:
        peer.tell(say=str(await write_speech("tell me a long story", tmp_path)))
        await peer.until(lambda: peer.has("response.done"), "the end of the answer")
        usage = await bill()
    assert peer.packets[-1] == 0
    assert not any(event["type"].startswith("output_audio_buffer.") for event in peer.events)
    assert usage["meters"].get("audio_played_ms", 0) == 0


@pytest.mark.parametrize("setup", ["active", "passive"])
async def test_gstreamer_with_its_rsa_key_is_met_in_both_roles(up: Up, gstreamer: Start, setup: str) -> None:
    async with gstreamer() as peer, calling(up, peer, change=("a=setup:actpass", f"a=setup:{setup}")):
        pass


@pytest.mark.parametrize("setup", ["active", "passive"])
@pytest.mark.parametrize("key", ["ecdsa", "rsa"])
async def test_pion_is_met_in_both_roles_with_each_key(up: Up, pion: Start, setup: str, key: str) -> None:
    async with pion("--key", key) as peer, calling(up, peer, change=("a=setup:actpass", f"a=setup:{setup}")):
        pass


@pytest.mark.parametrize("profile", ["UDP/TLS/RTP/SAVP", "RTP/SAVPF", "RTP/SAVP"])
async def test_each_profile_comes_back_in_the_answer(up: Up, pion: Start, profile: str) -> None:
    async with pion() as peer, calling(up, peer, change=("UDP/TLS/RTP/SAVPF", profile)):
        pass
