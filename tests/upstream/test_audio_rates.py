"""Audio between a session core and providers of other rates."""

import base64
from dataclasses import replace

import numpy as np
import pytest
from pydantic import JsonValue

from services.upstream.connectors.audio_rates import AudioRates
from services.upstream.connectors.openai import CAPABILITIES
from services.upstream.connectors.resampler import Resampler
from tests.upstream.provider import Json


def rates(*, input_hz: int = 24_000, output_hz: int = 24_000) -> AudioRates:
    return AudioRates(replace(CAPABILITIES, input_hz=input_hz, output_hz=output_hz))


def delta(item: str, pcm: bytes, kind: str = "response.output_audio.delta") -> Json:
    return {"type": kind, "item_id": item, "delta": base64.b64encode(pcm).decode()}


def sound(events: list[JsonValue], item: str) -> int:
    """Bytes of an item's audio."""
    own = [e for e in events if isinstance(e, dict) and e["item_id"] == item and "delta" in e]
    return sum(len(base64.b64decode(str(e["delta"]))) for e in own)


@pytest.mark.parametrize(("input_hz", "output_hz"), [(16_000, 24_000), (24_000, 16_000), (8_000, 24_000)])
@pytest.mark.parametrize("frames", [1, 5, 37, 500])
def test_resampling_keeps_the_duration_in_sum(frames: int, input_hz: int, output_hz: int) -> None:
    resampler = Resampler(input_hz, output_hz)
    frame = bytes(input_hz // 50 * 2)
    out = b"".join(resampler.resample(frame) for _ in range(frames)) + resampler.flush()
    assert len(out) == frames * output_hz // 50 * 2
    assert resampler.flush() == b""


def test_resampling_keeps_a_tone() -> None:
    tone = (np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000) * 8000).astype("<i2")
    resampler = Resampler(16_000, 24_000)
    out = np.frombuffer(resampler.resample(tone.tobytes()) + resampler.flush(), "<i2")
    peak = np.argmax(np.abs(np.fft.rfft(out.astype(float))))
    assert peak == 440
    assert 7800 < np.abs(out[2000:-2000]).max() < 8200


def test_a_provider_of_the_callers_rate_gets_the_callers_audio_unchanged() -> None:
    wire = rates(input_hz=16_000)
    assert wire.resample_caller_audio(b"\1\2" * 320) == b"\1\2" * 320
    assert wire.flush_caller_audio() == b""


def test_the_clients_own_audio_is_brought_to_the_providers_rate() -> None:
    wire = rates(input_hz=16_000)
    event = wire.resample_client_event(
        {"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(48 * 100)).decode()}
    )
    sent = base64.b64decode(str(event["audio"])) + wire.flush_caller_audio()
    assert len(sent) == 32 * 100


def test_other_events_of_the_client_pass() -> None:
    event: Json = {"type": "response.create"}
    assert rates(input_hz=16_000).resample_client_event(event) is event
    append: Json = {"type": "input_audio_buffer.append", "audio": "AAAA"}
    assert rates().resample_client_event(append) is append


def test_cleared_audio_leaves_nothing_in_the_filter() -> None:
    wire = rates()
    wire.resample_caller_audio(bytes(640))
    wire.reset_caller_audio()
    assert wire.flush_caller_audio() == b""


@pytest.mark.parametrize("kind", ["response.output_audio.delta", "response.audio.delta"])
@pytest.mark.parametrize("end", ["response.output_audio.done", "response.output_item.done", "response.audio.done"])
def test_an_item_is_whole_before_its_end(kind: str, end: str) -> None:
    wire = rates(output_hz=16_000)
    events = [e for _ in range(5) for e in wire.resample_provider_event(delta("item_1", bytes(640), kind))]
    done: Json = {"type": end, "item_id": "item_1"}
    events += wire.resample_provider_event(done)
    assert events[-1] == done
    assert sound(events, "item_1") == 5 * 960


def test_audio_of_another_item_ends_the_stream_of_the_first() -> None:
    wire = rates(output_hz=48_000)
    events = wire.resample_provider_event(delta("item_1", bytes(1920)))
    events += wire.resample_provider_event(delta("item_2", bytes(1920)))
    events += wire.resample_provider_event({"type": "response.done", "item_id": ""})
    assert (sound(events, "item_1"), sound(events, "item_2")) == (960, 960)


@pytest.mark.parametrize("wrong", ["%", base64.b64encode(b"odd").decode()])
def test_audio_that_cannot_be_read_is_none(wrong: str) -> None:
    wire = rates(output_hz=16_000)
    assert wire.resample_provider_event({**delta("item_1", b""), "delta": wrong}) == [None]


def test_everything_else_of_the_provider_passes() -> None:
    event: Json = {"type": "response.created"}
    assert rates(output_hz=16_000).resample_provider_event(event) == [event]
    assert rates(output_hz=16_000).resample_provider_event(None) == [None]
    assert rates().resample_provider_event(delta("item_1", bytes(2))) == [delta("item_1", bytes(2))]
