import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from services.contracts import subjects
from services.contracts.ids import ProcessId
from services.contracts.messages import Heartbeat, OfferRefused, expect
from services.media.__main__ import main
from services.media.settings import MediaSettings
from services.runtime.bus.client import Bus
from services.runtime.errors import NoRespondersError, SettingsError
from services.runtime.process.settings import load
from tests.media.harness import an_offer

PROCESS = ProcessId("media-7")


def environment(nats_url: str, data: Path) -> dict[str, str]:
    return {
        "PATH": os.defpath,
        "MEDIA_NATS_URL": nats_url,
        "MEDIA_DATA_DIR": str(data),
        "MEDIA_PROCESS_ID": PROCESS,
        "MEDIA_ADVERTISED_ADDRESS": "127.0.0.1",
        "MEDIA_DRAIN_TIMEOUT_S": "1",
        "MEDIA_ZONE": "z1",
    }


async def line_with(reader: asyncio.StreamReader, event: str) -> dict[str, object]:
    while line := await reader.readline():
        fields: dict[str, object] = json.loads(line)
        if fields.get("event") == event:
            return fields
    raise AssertionError(f"the process ended before {event}")


async def test_a_process_beats_refuses_without_a_worker_drains_and_exits_with_0(
    bus: Bus, nats_url: str, tmp_path: Path
) -> None:
    beats: asyncio.Queue[Heartbeat] = asyncio.Queue()
    await bus.subscribe(subjects.HEARTBEATS, lambda _, data: beats.put_nowait(expect(Heartbeat, data)))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.media",
        env=environment(nats_url, tmp_path / "data"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        ready = await line_with(process.stdout, "service_ready")
        beat = await beats.get()
        assert (beat.process, beat.zone, beat.draining, beat.active) == (PROCESS, "z1", False, 0)
        assert beat.http_url == ready["http_url"]
        offer = an_offer()
        refused = await bus.request(subjects.offer(PROCESS), offer, timeout_s=5)
        assert isinstance(refused, OfferRefused)
        process.send_signal(signal.SIGTERM)
        while not beat.draining:
            beat = await beats.get()
        assert await process.wait() == 0
        with pytest.raises(NoRespondersError):
            await bus.request(subjects.offer(PROCESS), offer, timeout_s=5)


def test_arguments_are_refused() -> None:
    with pytest.raises(SystemExit) as refused:
        main(["--help-me"])
    assert refused.value.code == 2


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"MEDIA_ADVERTISED_ADDRESS": "0.0.0.0"}, "unspecified"),  # noqa: S104 - what is refused
        ({"MEDIA_ADVERTISED_ADDRESS": "example.org"}, "ADVERTISED_ADDRESS"),
        ({"MEDIA_VAD": "ears"}, "'auto', 'silero' or 'webrtcvad'"),
        ({"MEDIA_VAD": "silero", "MEDIA_VAD_MODE": "2"}, "are webrtcvad's"),
        ({"MEDIA_VAD_GAIN_DB": "20"}, "are webrtcvad's"),
        ({"MEDIA_VAD": "webrtcvad", "MEDIA_VAD_MODEL": "a.onnx"}, "VAD_MODEL is silero's"),
        ({"MEDIA_VAD_TAIL_MS": "600"}, "VAD_TAIL_MS"),
        ({"MEDIA_VAD_ONSET_MS": "50"}, "multiple of 20"),
        ({"MEDIA_VADD": "1"}, "unknown setting MEDIA_VADD"),
    ],
)
def test_a_wrong_setting_is_named(changed: dict[str, str], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        load(MediaSettings, {"MEDIA_ADVERTISED_ADDRESS": "127.0.0.1", **changed})


def test_the_address_must_be_chosen() -> None:
    with pytest.raises(SettingsError, match="ADVERTISED_ADDRESS"):
        load(MediaSettings, {})


def test_settings_in_milliseconds_become_frames() -> None:
    settings = load(MediaSettings, {"MEDIA_ADVERTISED_ADDRESS": "::1", "MEDIA_VAD_HANGOVER_MS": "700"})
    assert settings.gate.hangover_frames == 35
    assert settings.gate.max_utterance_frames == 3000
    assert settings.webrtc_detector.mode == 3
    assert settings.settle_timeout_s == 10
