import asyncio
import json

import numpy as np
import pytest
from prometheus_client import REGISTRY

from services.contracts.audio import UP_FRAME_BYTES, PcmFrame
from services.contracts.connect import WebRtcOffer
from services.contracts.endings import EndReason
from services.contracts.ids import new_leg_id
from services.media.core import sdp
from services.media.core.rtp import rtp_packet
from services.media.leg import BadOfferError, LegClosed, LegConnected, LegInput, LegMessage, LegOpened
from services.media.legs.webrtc.answerer import WebRtcAnswerer
from tests.media.clients import TONE_HZ, WAIT_S, AiortcClient, Owner, a_stack, answered, connected


def lost_events(reason: str) -> float:
    return REGISTRY.get_sample_value("hushgate_media_events_lost_total", {"reason": reason}) or 0


def dropped(reason: str) -> float:
    return REGISTRY.get_sample_value("hushgate_datagrams_dropped_total", {"reason": reason}) or 0


def taken(owner: Owner) -> list[LegInput]:
    items: list[LegInput] = []
    while not owner.items.empty():
        items.append(owner.items.get_nowait())
    return items


async def test_the_caller_is_heard_as_an_unbroken_run_of_frames() -> None:
    async with connected(AiortcClient()) as (_, owner):
        frames: list[PcmFrame] = []

        def is_fiftieth(item: LegInput) -> bool:
            if isinstance(item, PcmFrame):
                frames.append(item)
            return len(frames) == 50

        await owner.first(is_fiftieth)
    assert [frame.index for frame in frames] == list(range(50))
    assert {len(frame.pcm) for frame in frames} == {UP_FRAME_BYTES}
    sound = np.frombuffer(b"".join(frame.pcm for frame in frames[10:]), "<i2").astype(float)
    loudest = np.argmax(np.abs(np.fft.rfft(sound))) * 16000 / len(sound)
    assert loudest == pytest.approx(TONE_HZ, abs=5)


async def test_what_plays_is_heard_by_the_client_and_nothing_is_sent_while_nothing_plays() -> None:
    client = AiortcClient()
    async with connected(client) as (leg, owner):
        await owner.first(LegConnected)
        assert owner.pulled == 0
        owner.playing = True
        leg.play()
        async with asyncio.timeout(WAIT_S):
            heard = [await client.heard.get() for _ in range(30)]
    assert owner.pulled >= 30
    loud = [np.abs(frame.to_ndarray()).max() for frame in heard[5:]]
    assert min(loud) > 4000


async def test_what_is_to_play_before_the_client_is_there_waits_for_it() -> None:
    client = AiortcClient()
    with a_stack() as stack:
        leg, owner, sdp = await answered(stack, client)
        owner.playing = True
        leg.play()
        assert owner.pulled == 0
        await client.accept(sdp)
        async with asyncio.timeout(WAIT_S):
            await client.heard.get()
        await leg.close()
    await client.close()


@pytest.mark.parametrize("profile", sdp.PROFILES)
async def test_a_client_that_only_sends_is_sent_no_sound(profile: str) -> None:
    client = AiortcClient(direction="sendonly", profile=profile)
    async with connected(client) as (leg, owner):
        assert not leg.receives_audio
        await owner.first(LegConnected)
        owner.playing = True
        for _ in range(20):  # 400 ms of the wheel
            leg.play()
            await owner.first(PcmFrame)
        assert owner.pulled == 0
        assert client.heard.empty()


async def test_a_client_that_only_listens_is_not_heard_whatever_it_sends() -> None:
    client = AiortcClient(direction="recvonly")
    before = dropped("rtp_not_negotiated")
    async with connected(client) as (leg, owner):
        await owner.first(LegConnected)
        owner.playing = True
        leg.play()
        async with asyncio.timeout(WAIT_S):
            await client.heard.get()
            sender = client.peer.getSenders()[0]
            for sequence in range(5):
                header = rtp_packet.header(96, sequence, sequence * 960, 7)
                await sender.transport._send_rtp(header + b"\xf8")  # noqa: SLF001 - what it must not
            while dropped("rtp_not_negotiated") < before + 5:
                await client.heard.get()
        assert not any(isinstance(item, PcmFrame) for item in taken(owner))


@pytest.mark.parametrize("change", [("a=sendrecv", "a=sendonly"), ("UDP/TLS/RTP/SAVPF", "RTP/SAVPF")])
async def test_an_ice_restart_keeps_direction_and_profile(change: tuple[str, str]) -> None:
    client = AiortcClient()
    with a_stack() as stack:
        offer = await client.offer()
        leg, _ = await WebRtcAnswerer(stack)(new_leg_id(), WebRtcOffer(sdp=offer))
        with pytest.raises(BadOfferError, match=r"cannot change .* directions and profiles"):
            await leg.restart(WebRtcOffer(sdp=offer.replace(*change)))
        assert "a=ice-ufrag" in (await leg.restart(WebRtcOffer(sdp=offer))).sdp
        await leg.close()
    await client.close()


async def test_a_leg_that_has_nothing_more_to_play_rests_until_it_is_told() -> None:
    client = AiortcClient()
    async with connected(client) as (leg, owner):
        await owner.first(LegConnected)
        for _ in range(2):
            owner.playing = True
            leg.play()
            async with asyncio.timeout(WAIT_S):
                for _ in range(10):
                    await client.heard.get()
            owner.playing = False
            pulled = owner.pulled
            await owner.first(PcmFrame)
            assert owner.pulled <= pulled + 1


async def test_events_pass_both_ways() -> None:
    client = AiortcClient()
    async with connected(client) as (leg, owner):
        async with asyncio.timeout(WAIT_S):
            await client.open.wait()
        client.channel.send('{"type":"response.create"}')
        assert await owner.first(LegMessage) == LegMessage('{"type":"response.create"}')
        leg.send_event('{"type":"session.created"}')
        async with asyncio.timeout(WAIT_S):
            assert json.loads(await client.said.get()) == {"type": "session.created"}


async def test_events_of_all_sizes_arrive_in_order_also_when_the_window_is_full() -> None:
    client = AiortcClient()
    async with connected(client) as (leg, owner):
        await owner.first(LegOpened)
        sizes = [1, 20, 1200, 1201, 5, 60_000, 3, 60_000, 200, 1, 30_000, 8] * 3
        texts = [json.dumps({"number": number, "fill": "x" * size}) for number, size in enumerate(sizes)]
        for text in texts:
            leg.send_event(text)
        async with asyncio.timeout(WAIT_S):
            assert [await client.said.get() for _ in texts] == texts


@pytest.mark.parametrize(("ordered", "retransmits"), [(False, None), (True, 0)])
async def test_a_client_may_choose_how_its_channel_delivers(ordered: bool, retransmits: int | None) -> None:  # noqa: FBT001
    client = AiortcClient(ordered=ordered, retransmits=retransmits)
    async with connected(client) as (leg, owner):
        await owner.first(LegOpened)
        leg.send_event('{"type":"session.created"}')
        async with asyncio.timeout(WAIT_S):
            assert json.loads(await client.said.get()) == {"type": "session.created"}


async def test_an_event_that_is_longer_than_the_client_takes_becomes_an_error() -> None:
    client = AiortcClient()
    async with connected(client) as (leg, owner):
        await owner.first(LegOpened)
        before = lost_events("too_large")
        leg.send_event("x" * 300_000)
        assert lost_events("too_large") == before + 1
        leg.send_event("well again")
        async with asyncio.timeout(WAIT_S):
            assert json.loads(await client.said.get())["error"]["code"] == "event_too_large"
            assert await client.said.get() == "well again"


async def test_the_last_event_still_reaches_a_client_that_is_hung_up() -> None:
    client = AiortcClient()
    async with connected(client) as (leg, owner):
        await owner.first(LegOpened)
        leg.send_event('{"type":"hushgate.ended"}')
        await leg.close()
        async with asyncio.timeout(WAIT_S):
            assert "hushgate.ended" in await client.said.get()


@pytest.mark.parametrize("label", ["realtime-channel", "", "data", "ö" * 100])
async def test_a_channel_of_any_label_serves(label: str) -> None:
    client = AiortcClient(label=label)
    async with connected(client) as (leg, owner):
        await owner.first(LegOpened)
        leg.send_event('{"type":"session.created"}')
        async with asyncio.timeout(WAIT_S):
            assert json.loads(await client.said.get()) == {"type": "session.created"}
        client.channel.send('{"type":"response.create"}')
        assert await owner.first(LegMessage) == LegMessage('{"type":"response.create"}')


async def test_a_channel_that_was_negotiated_outside_serves_from_its_first_message() -> None:
    client = AiortcClient(negotiated=7)
    async with connected(client) as (leg, owner):
        async with asyncio.timeout(WAIT_S):
            await client.open.wait()
        client.channel.send('{"type":"response.create"}')
        await owner.first(LegOpened)
        assert await owner.first(LegMessage) == LegMessage('{"type":"response.create"}')
        leg.send_event('{"type":"session.created"}')
        async with asyncio.timeout(WAIT_S):
            assert json.loads(await client.said.get()) == {"type": "session.created"}


async def test_a_client_is_told_that_a_further_channel_was_closed() -> None:
    client = AiortcClient()
    closed = asyncio.Event()
    async with connected(client) as (_, owner):
        await owner.first(LegOpened)
        client.peer.createDataChannel("oai-events").on("close", closed.set)
        async with asyncio.timeout(WAIT_S):
            await closed.wait()
            event = json.loads(await client.said.get())
    assert (event["type"], event["error"]["code"]) == ("error", "extra_data_channel")


async def test_a_client_that_hangs_up_is_gone() -> None:
    client = AiortcClient()
    async with connected(client) as (_, owner):
        await owner.first(LegConnected)
        await client.close()
        assert await owner.first(LegClosed) == LegClosed(EndReason.CLIENT_GONE)


async def test_all_calls_share_one_port_and_leave_nothing_in_its_tables() -> None:
    clients = [AiortcClient() for _ in range(3)]
    with a_stack() as stack:
        legs = [await answered(stack, client) for client in clients]
        ports = {line.split()[5] for _, _, sdp in legs for line in sdp.splitlines() if line.startswith("a=candidate:")}
        assert ports == {str(stack.mux.port)}
        for client, (_, owner, sdp) in zip(clients, legs, strict=True):
            await client.accept(sdp)
            await owner.first(LegConnected)
            await owner.first(PcmFrame)
        assert len(stack.mux.routes.by_address) >= 3
        for client, (leg, _, _) in zip(clients, legs, strict=True):
            await leg.close()
            await client.close()
        assert len(stack.mux.routes) == 0


async def test_an_offer_without_a_data_channel_is_answered_without_one() -> None:
    client = AiortcClient()
    offer = await client.offer()
    audio_only = offer[: offer.index("m=application")].replace("BUNDLE 0 1", "BUNDLE 0")
    with a_stack() as stack:
        leg, answer = await WebRtcAnswerer(stack)(new_leg_id(), WebRtcOffer(sdp=audio_only))
        assert "m=application" not in answer.sdp
        leg.send_event("{}")
        await leg.close()
    await client.close()


@pytest.mark.parametrize("offer", ["", "v=0\r\n", "\0\0", "m=audio", "x" * 20_000, "v=0\r\nm=audio 99999999 X 1\r\n"])
async def test_an_offer_that_cannot_be_read_is_a_bad_offer(offer: str) -> None:
    with a_stack() as stack, pytest.raises(BadOfferError):
        await WebRtcAnswerer(stack)(new_leg_id(), WebRtcOffer(sdp=offer))


async def test_a_leg_that_is_closed_while_it_connects_leaves_no_task() -> None:
    before = asyncio.all_tasks()
    client = AiortcClient()
    with a_stack() as stack:
        leg, _, sdp = await answered(stack, client)
        await client.accept(sdp)
        await leg.close()
        await client.close()
        async with asyncio.timeout(10):
            while left := asyncio.all_tasks() - before:
                await asyncio.wait(left)
