"""A worker with a call, over the real bus."""

import json

from prometheus_client import REGISTRY

from services.contracts.endings import EndReason
from services.contracts.frame import Flag, Kind, decode_server_event
from services.contracts.messages import (
    ClaimGranted,
    Ended,
)
from services.contracts.usage import TIME_METERS, Meter
from services.runtime.bus.client import Bus
from services.upstream.event_counts import count_server_event
from tests.upstream.provider import ScriptedProvider
from tests.upstream.running_worker import CALL, WORKER, configured_session, running_worker


async def test_a_claim_is_granted_with_the_leases_revision_as_epoch(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider()) as h:
        granted = await h.claim()
        assert isinstance(granted, ClaimGranted)
        assert (granted.worker, granted.provider, granted.model) == (WORKER, "rehearsal", "gpt-realtime-2.1")
        entry = await h.leases.get(CALL)
        assert entry.revision == granted.epoch


async def test_a_whole_turn(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider(answer_ms=400)) as h:
        media = await h.call()
        _, created = await media.event("session.created")
        session = created["session"]
        assert isinstance(session, dict)
        assert session["id"] == media.granted.session
        await media.utter(400)
        frame, _ = await media.event("response.output_audio_transcript.delta")
        assert Flag.CUTTABLE in frame.flags
        last = await media.until(lambda f: f.kind is Kind.AUDIO_DOWN and Flag.ITEM_END in f.flags)
        assert last.position == 400 * 24
        await media.event("response.done")
        provider_session = h.provider.sessions[0]
        assert provider_session.committed_ms == [400]
        assert provider_session.types() == ["session.update", "input_audio_buffer.commit", "response.create"]
        update = provider_session.events[0]["session"]
        assert isinstance(update, dict)
        assert update["audio"] == {
            "input": {"format": {"type": "audio/pcm", "rate": 24000}, "turn_detection": None},
            "output": {"format": {"type": "audio/pcm", "rate": 24000}},
        }
    sequences = [decode_server_event(f.payload)[0] for f in media.all if f.kind is Kind.SERVER_EVENT]
    assert sequences == sorted(set(sequences))


async def test_usage_of_a_turn_is_kept(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider(answer_ms=400)) as h:
        media = await h.call()
        await media.utter(400)
        await media.event("response.done")
        await media.send(Kind.ENDED, Ended(reason=EndReason.HANGUP).encode())
        await h.wait_for_release()
    exact = [d for _, d in h.usage.events if d.provider_ref]
    assert {d.provider_ref[:6] for d in exact} == {"item_P", "resp_P"}
    response = next(d for d in exact if d.provider_ref.startswith("resp_"))
    assert dict(response.meters) == {
        Meter.TOKENS_TEXT_IN: 5,
        Meter.TOKENS_TEXT_IN_CACHED: 5,
        Meter.TOKENS_AUDIO_IN: 30,
        Meter.TOKENS_TEXT_OUT: 8,
        Meter.TOKENS_AUDIO_OUT: 12,
    }
    transcription = next(d for d in exact if d.provider_ref.startswith("item_"))
    assert dict(transcription.meters) == {Meter.TRANSCRIBE_MS: 400}
    assert (h.usage.latest(Meter.AUDIO_SENT_MS), h.usage.latest(Meter.AUDIO_GENERATED_MS)) == (400, 400)
    assert all((set(d.meters) <= TIME_METERS) == (not d.provider_ref) for _, d in h.usage.events)
    assert {(t, d.epoch, d.session_id) for t, d in h.usage.events} == {
        ("acme", media.granted.epoch, media.granted.session)
    }
    assert [d.seq for _, d in h.usage.events] == list(range(len(h.usage.events)))


async def test_nothing_comes_down_before_media_was_heard(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider()) as h:
        media = await h.call_without_frames()
        await configured_session(h.provider)
        await bus.flush()
        assert not media.all
        await media.send(Kind.ALIVE)
        await media.event("session.created")


async def test_barge_in_reaches_the_provider_in_its_order(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider(answer_ms=3000)) as h:
        media = await h.call()
        await media.utter(400)
        frame = await media.kind(Kind.AUDIO_DOWN)
        assert frame.item_id is not None
        await media.event("response.done")
        await media.report(frame.item_id, ms=700, cut=True)
        await media.utter(200)
        provider_session = h.provider.sessions[0]
        await provider_session.until("input_audio_buffer.commit", times=2)
        assert provider_session.types()[3:6] == [
            "conversation.item.truncate",
            "input_audio_buffer.clear",
            "input_audio_buffer.commit",
        ]
        truncate = await provider_session.until("conversation.item.truncate")
        assert (str(truncate["item_id"])[:6], truncate["audio_end_ms"]) == ("item_P", 700)
        _, event = await media.event("conversation.item.truncated")
        assert event["item_id"] == frame.item_id


async def test_audio_beyond_ten_seconds_waits_for_the_playout(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider(answer_ms=14_000)) as h:
        media = await h.call()
        await media.utter(400)
        await media.event("response.done")
        sent = [f for f in media.all if f.kind is Kind.AUDIO_DOWN]
        assert sum(len(f.payload) for f in sent) // 48 == 10_000
        assert sent[0].item_id is not None
        await media.report(sent[0].item_id, ms=5000)
        last = await media.until(lambda f: Flag.ITEM_END in f.flags)
        assert last.position == 14_000 * 24


async def test_a_client_event_is_answered(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider()) as h:
        media = await h.call()
        update = {"type": "session.update", "session": {"type": "realtime", "instructions": "Be kind."}}
        await media.send(Kind.CLIENT_EVENT, json.dumps(update).encode())
        frame, event = await media.event("session.updated")
        assert frame.item_id is None
        assert isinstance(event["session"], dict)
        assert event["session"]["instructions"] == "Be kind."


def refused_as(code: str) -> float:
    return REGISTRY.get_sample_value("hushgate_upstream_client_errors_total", {"code": code}) or 0.0


async def test_an_error_for_the_client_is_counted_by_its_code(bus: Bus) -> None:
    before = refused_as("unknown_parameter")
    async with running_worker(bus, ScriptedProvider()) as h:
        media = await h.call()
        update = {"type": "session.update", "session": {"type": "realtime", "temperature": 0.8}}
        await media.send(Kind.CLIENT_EVENT, json.dumps(update).encode())
        await media.event("error")
    assert refused_as("unknown_parameter") == before + 1


def transcripts_with(content: str) -> float:
    return REGISTRY.get_sample_value("hushgate_turn_transcripts_total", {"content": content}) or 0.0


async def test_a_transcript_is_counted_by_whether_it_has_words(bus: Bus) -> None:
    before = transcripts_with("words"), transcripts_with("nothing")
    async with running_worker(bus, ScriptedProvider()) as h:
        media = await h.call()
        await media.utter(400)
        await media.event("conversation.item.input_audio_transcription.completed")
    assert (transcripts_with("words"), transcripts_with("nothing")) == (before[0] + 1, before[1])
    for transcript in ("", " …", "…no"):
        count_server_event({"type": "conversation.item.input_audio_transcription.completed", "transcript": transcript})
    assert (transcripts_with("words"), transcripts_with("nothing")) == (before[0] + 2, before[1] + 2)


async def test_media_hears_that_the_worker_is_alive(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider()) as h:
        media = await h.call()
        await media.kind(Kind.ALIVE)
