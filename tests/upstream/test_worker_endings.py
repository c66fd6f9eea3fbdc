"""Invalid frames and claims, and the ends of calls, over the real bus."""

import asyncio
import json
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from services.contracts import frame as frames
from services.contracts import subjects
from services.contracts.endings import EndReason
from services.contracts.frame import Frame, Kind
from services.contracts.grant import Grant
from services.contracts.ids import Epoch, ProcessId, TenantId
from services.contracts.messages import (
    AnyMessage,
    ClaimGranted,
    ClaimRefused,
    Done,
    Ended,
    PlayoutReport,
    expect,
)
from services.contracts.usage import Meter
from services.runtime.bus.client import Bus
from services.runtime.errors import HushgateError, NoRespondersError
from services.up.nats_server import nats_server
from services.upstream.core.json_shape import Json
from tests.runtime.test_batch_sender import until
from tests.upstream.drive import object_of
from tests.upstream.provider import ScriptedProvider
from tests.upstream.running_worker import (
    CALL,
    MEDIA,
    OTHER,
    WORKER,
    MediaSide,
    claim_of,
    configured_session,
    eventually,
    running_worker,
)


async def test_frames_of_another_epoch_are_left(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider(answer_ms=0)) as h:
        media = await h.call()
        provider_session = await configured_session(h.provider)
        old = MediaSide(bus, media.granted.model_copy(update={"epoch": Epoch(0)}), CALL)
        await old.utter(400)
        await media.utter(200)
        await provider_session.until("input_audio_buffer.commit")
        assert provider_session.committed_ms == [200]


async def test_frames_that_are_none_are_left(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider()) as h:
        media = await h.call()
        await bus.publish_bytes(subjects.up(WORKER, MEDIA, CALL), b"nonsense")
        await bus.publish_bytes(subjects.up(WORKER, MEDIA, OTHER), b"nobody's")
        for kind in (Kind.UTTERANCE_START, Kind.UTTERANCE_END, Kind.PLAYOUT_REPORT, Kind.AUDIO_DOWN, Kind.AUDIO_UP):
            await media.send(kind, b"{}")
        await media.send(Kind.PLAYOUT_REPORT, PlayoutReport(heard_ms=1).encode())
        await media.send(Kind.CLIENT_EVENT, b"{")
        _, event = await media.event("error")
        assert event["event_id"]


async def test_a_silent_media_process_loses_its_call_and_the_provider_its_socket(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider()) as h:
        media = await h.call_without_frames()
        provider_session = await configured_session(h.provider)
        async with asyncio.timeout(10):
            await provider_session.closed.wait()
        await media.kind(Kind.ENDED)
        await h.wait_for_release()


async def test_media_ends_the_call(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider()) as h:
        media = await h.call()
        provider_session = await configured_session(h.provider)
        await media.send(Kind.ENDED, Ended(reason=EndReason.HANGUP).encode())
        async with asyncio.timeout(5):
            await provider_session.closed.wait()
        await h.wait_for_release()
        assert Kind.ENDED not in [f.kind for f in media.all]
        assert h.usage.latest(Meter.SESSION_MS) >= 0


async def test_a_provider_that_closes_ends_the_call(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider()) as h:
        media = await h.call()
        provider_session = await configured_session(h.provider)
        await provider_session.socket.close(1001, "session expired")
        ended = expect(Ended, (await media.kind(Kind.ENDED)).payload)
        assert (ended.reason, ended.detail) == (
            EndReason.PROVIDER_ERROR,
            "the provider closed with 1001 session expired",
        )
        await h.wait_for_release()


async def test_a_provider_that_refuses_ends_the_call(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider(close_code=3000)) as h:
        media = await h.call_without_frames()
        ended = expect(Ended, (await media.kind(Kind.ENDED)).payload)
        assert ended.reason is EndReason.PROVIDER_REFUSED


async def test_the_refusal_of_a_session_is_published_when_media_knows_the_call(bus: Bus) -> None:
    detection: Json = {"type": "server_vad", "silence_duration_ms": 1}
    session: Json = {"model": "gpt-realtime-2.1", "audio": {"input": {"turn_detection": detection}}}
    grant = Grant(tenant=TenantId("acme"), session=session, locked=("audio",))
    async with running_worker(bus, ScriptedProvider(first_event=None)) as h:
        media = await h.call_without_frames(claimed={"grant": grant})
        assert media.all == []
        await media.send(Kind.ALIVE)
        _, event = await media.event("error")
        assert object_of(event, "error")["code"] == "invalid_value"
        assert expect(Ended, (await media.kind(Kind.ENDED)).payload).reason is EndReason.PROVIDER_REFUSED


async def test_what_was_said_before_the_provider_was_there_is_not_lost(bus: Bus) -> None:
    provider = ScriptedProvider(answer_ms=100, first_event=None)
    async with running_worker(bus, provider) as h:
        media = await h.call()
        await media.utter(400)
        create = {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": []}}
        await media.send(Kind.CLIENT_EVENT, json.dumps(create).encode())
        provider_session = await provider.session()
        await bus.flush()
        await provider_session.socket.send(json.dumps({"type": "session.created", "session": {}}))
        await media.event("session.created")
        await media.event("input_audio_buffer.committed")
        await provider_session.until("conversation.item.create")
        assert provider_session.committed_ms == [400]
        assert provider_session.types()[0] == "session.update"


async def test_a_provider_that_does_not_read_ends_the_call(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.upstream.provider_link.MAX_UNSENT", 4)
    async with running_worker(bus, ScriptedProvider(first_event=None)) as h:
        media = await h.call()
        await media.utter(400)
        provider_session = await h.provider.session()
        await bus.flush()
        await provider_session.socket.send(json.dumps({"type": "session.created", "session": {}}))
        ended = expect(Ended, (await media.kind(Kind.ENDED)).payload)
        assert (ended.reason, ended.detail) == (
            EndReason.PROVIDER_ERROR,
            "the provider does not read what it is sent",
        )
        await h.wait_for_release()


async def test_a_full_worker_leaves_the_queue_group_and_comes_back(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider(), capacity=1) as h:
        media = await h.call()
        await bus.flush()
        with pytest.raises(NoRespondersError):
            await h.claim(OTHER)
        await media.send(Kind.ENDED, Ended(reason=EndReason.HANGUP).encode())
        await h.wait_for_release()

        async def is_idle() -> bool:
            return h.worker.active == 0

        await eventually(is_idle)
        await bus.flush()
        assert isinstance(await h.claim(OTHER), ClaimGranted)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"deadline_unix_ms": 1}, "too_late"),
        ({"call": "rtc_*"}, "internal"),
    ],
)
async def test_claims_that_cannot_be_are_refused(bus: Bus, changed: dict[str, object], reason: str) -> None:
    async with running_worker(bus, ScriptedProvider()) as h:
        refused = await h.claim(changed=changed)
        assert isinstance(refused, ClaimRefused)
        assert refused.reason == reason


async def test_what_is_no_claim_is_not_answered(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider()) as h:
        message: AnyMessage = Done()
        with pytest.raises(HushgateError):
            await bus.request(subjects.claim(MEDIA), message, timeout_s=0.2)
        assert h.worker.active == 0


@pytest.mark.parametrize("process", ["media-1", "media.>", ""])
async def test_a_claim_in_the_name_of_another_process_is_not_answered(bus: Bus, process: str) -> None:
    async with running_worker(bus, ScriptedProvider()) as h:
        claim = claim_of(CALL).model_copy(update={"process": process})
        with pytest.raises(HushgateError):
            await bus.request(subjects.claim(MEDIA), claim, timeout_s=0.2)
        assert h.worker.active == 0


async def test_frames_of_another_media_process_are_left_and_counted(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider()) as h:
        media = await h.call()
        ended = Frame(Kind.ENDED, media.granted.epoch, 0, 0, payload=Ended(reason=EndReason.HANGUP).encode())
        before = dropped("wrong_sender")
        await bus.publish_bytes(subjects.up(WORKER, ProcessId("media-1"), CALL), frames.encode(ended))
        await media.send(Kind.CLIENT_EVENT, b"{")
        await media.event("error")
        assert dropped("wrong_sender") == before + 1
        assert h.worker.active == 1


def dropped(reason: str) -> float:
    return REGISTRY.get_sample_value("hushgate_bus_frames_dropped_total", {"reason": reason}) or 0


async def test_a_draining_worker_ends_what_is_left_as_drained(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider()) as h:
        media = await h.call()
        await configured_session(h.provider)
        await h.worker.close(timeout_s=0.05)
        ended = expect(Ended, (await media.kind(Kind.ENDED)).payload)
        assert ended.reason is EndReason.DRAINED
        assert isinstance(await h.worker.on_claim(subjects.claim(MEDIA), claim_of(OTHER)), ClaimRefused)
        with pytest.raises(NoRespondersError):
            await h.claim(OTHER)


async def test_a_bus_that_dies_and_comes_back_costs_no_call_and_no_word(tmp_path: Path) -> None:
    async with (
        nats_server(tmp_path) as server,
        Bus.connect(server.url, name="test") as bus,
        running_worker(bus, ScriptedProvider(answer_ms=100)) as h,
    ):
        media = await h.call()
        provider_session = await configured_session(h.provider)
        server.process.kill()
        await server.process.wait()
        await until(lambda: not bus.connected)
        await provider_session.send_event("rate_limits.updated", rate_limits=[])
        await server.restart()
        await until(lambda: bus.connected)
        await media.send(Kind.ALIVE)
        await media.event("rate_limits.updated")
        create = {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": []}}
        sent = await media.send(Kind.CLIENT_EVENT, json.dumps(create).encode())
        await media.send_again(sent)
        await media.utter(200)
        await media.event("response.done")
        assert provider_session.types().count("conversation.item.create") == 1
        assert Kind.ENDED not in [f.kind for f in media.all]


async def test_usage_that_cannot_be_kept_is_tried_again_and_stops_new_calls(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider(answer_ms=100)) as h:
        media = await h.call()
        h.usage.failures = 1
        await media.utter(400)
        await media.event("response.done")

        async def has_failed() -> bool:
            return h.usage.failures == 0

        await eventually(has_failed)
        refused = await h.claim(OTHER)
        assert isinstance(refused, ClaimRefused)
        assert "usage" in h.health.reasons
        await media.send(Kind.ENDED, Ended(reason=EndReason.HANGUP).encode())
        await h.wait_for_release()
    assert h.usage.latest(Meter.TOKENS_AUDIO_OUT) == 12
