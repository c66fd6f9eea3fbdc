"""`hushgate load` against plain aiortc, another Realtime endpoint, and against no endpoint."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import wave
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.callers.errors import CallerError, SpeechError
from services.callers.load.__main__ import main
from services.callers.load.options import LoadOptions
from services.callers.load.run import run_load
from tests.callers.tune_endpoint import TuneEndpoint


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    folder = tmp_path / "voice"
    folder.mkdir()
    for hz in (300, 400):
        tone = np.sin(np.arange(8000) / 16_000 * 2 * np.pi * hz) * 9000
        with wave.open(str(folder / f"{hz}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes(tone.astype("<i2").tobytes())
    return folder


async def load(url: str, key_file: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The command as a process of its own: it handles signals."""
    command = [sys.executable, "-m", "services.cli", "load", "--url", url, "--key-file", key_file, *arguments]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    out, err = await process.communicate()
    return subprocess.CompletedProcess(command, process.returncode or 0, out.decode(), err.decode())


async def test_another_endpoint_is_loaded_and_what_it_has_not_is_null(endpoint: TuneEndpoint, voice: Path) -> None:
    options = LoadOptions(url=endpoint.url, key=endpoint.key, calls=2, minutes=0.2, talk=0.5, dtx=False, wav=voice)
    figures = (await run_load(options)).figures
    assert figures["calls"] == {"asked": 2, "connected": 2, "failed": 0, "failed_by": figures["calls"]["failed_by"]}
    assert figures["turns"]["answered"] > 0
    assert figures["turn_ms"]["p50"] > 0
    assert figures["frames"]["received"] > 0
    assert endpoint.heard_frames > 100  # and aiortc could decode them
    assert endpoint.hung_up == ["rtc_one", "rtc_one"]
    assert figures["cost_usd"] is figures["saved_usd"] is None
    assert figures["services"].keys() == {"callers", "load"}


async def test_talking_all_the_time_has_no_turns(endpoint: TuneEndpoint, voice: Path) -> None:
    options = LoadOptions(url=endpoint.url, key=endpoint.key, calls=1, minutes=0.1, talk=1, wav=voice)
    figures = (await run_load(options)).figures
    assert figures["frames"]["sent"] > 50
    assert figures["turns"]["asked"] == 0
    assert figures["turn_ms"]["p95"] is figures["barge_in_ms"]["p95"] is None


async def test_an_unmet_requirement_is_named_and_fails_the_command(endpoint: TuneEndpoint, voice: Path) -> None:
    requirements = ("--require", "setup_ms.p95 <0.1", "--require", "calls.failed ==0")
    ended = await load(
        endpoint.url, endpoint.key_file, "--calls", "1", "--minutes", "0.02", "--wav", str(voice), *requirements
    )
    assert ended.returncode == 1
    assert "setup_ms.p95 < 0.1 is required, but it is" in ended.stderr
    assert "calls.failed == 0 is required" not in ended.stderr


async def test_ctrl_c_hangs_up_and_reports(endpoint: TuneEndpoint, voice: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    arguments = [
        "--url",
        endpoint.url,
        "--key-file",
        endpoint.key_file,
        "--calls",
        "1",
        "--minutes",
        "10",
        "--wav",
        str(voice),
    ]
    command = [sys.executable, "-m", "services.cli", "load", *arguments, "--json", str(report)]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    async with asyncio.timeout(60):
        await endpoint.utterance_received.wait()
        process.send_signal(signal.SIGINT)
        await process.communicate()
    assert process.returncode == 130
    assert json.loads(report.read_text())["interrupted"]
    assert endpoint.hung_up == ["rtc_one"]


async def test_an_unreachable_endpoint_is_reported_and_fails_the_command(voice: Path) -> None:
    key = voice.parent / "key"
    key.write_text("hg_any")
    ended = await load("http://127.0.0.1:1", str(key), "--calls", "2", "--minutes", "0.02", "--wav", str(voice))
    assert ended.returncode == 1
    assert "no call connected" in ended.stderr
    assert "2 unreachable" in ended.stdout
    assert "is it running" in " ".join(ended.stdout.split())


async def test_a_wrong_key_is_reported_by_reason(endpoint: TuneEndpoint, voice: Path) -> None:
    options = LoadOptions(url=endpoint.url, key="hg_wrong", calls=3, minutes=0.01, per_second=50, wav=voice)
    results = await run_load(options)
    assert results.connected == 0
    assert results.figures["calls"]["failed_by"]["refused"] == 3


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"key": "ek_one"}, "valid for one call"),
        ({"cpus": (4096,)}, "no CPU 4096"),
        ({"wav": Path("/proc")}, "no .wav"),
    ],
)
async def test_contradictory_options_are_reported_before_the_start(changed: dict[str, Any], complaint: str) -> None:
    options = LoadOptions(**{"url": "http://127.0.0.1:1", "key": "hg_any", "calls": 2, **changed})
    with pytest.raises((CallerError, SpeechError), match=complaint):
        await run_load(options)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--require", "setup_ms.p95 fast"], "FIGURE SIGN NUMBER"),
        (["--require", "set_up.p95 <5"], "no figure 'set_up.p95'"),
        (["--talk", "1.5"], "1 or less"),
        (["--calls", "0"], "1 or more"),
        (["--ramp", "0/s"], "more than 0"),
        (["--minutes", "nan"], "more than 0"),
    ],
)
def test_wrong_arguments_are_reported_before_the_start(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--url", "http://127.0.0.1:1", "--key-file", os.devnull, *arguments])
    assert ended.value.code == 2
    assert complaint in " ".join(capsys.readouterr().err.split())
