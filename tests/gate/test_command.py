"""`hushgate gate` on recordings: tables, JSON, pictures, settings, and files that cannot be read."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.gate.__main__ import main
from services.gate.analysis import AnalysedFile, analyse
from services.gate.options import gate_settings
from services.media.settings import MediaSettings
from services.runtime.errors import SettingsError
from tests.gate.waves import header, voice, write_wav

QUICK = ("--set", "VAD=webrtcvad")


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, list[dict[str, Any]]]:
    code = main([*QUICK, "--json", *map(str, arguments)])
    shown = json.loads(capsys.readouterr().out)
    assert shown.keys() == {"files"}
    return code, shown["files"]


def test_json_says_what_is_sent_when_turns_end_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_wav(tmp_path / "a.wav")
    code, (found,) = as_json(capsys, file)
    assert code == 0
    assert list(found) == ["path", "seconds", "sent", "turn_ends_ms", "opens", "closes"]
    assert found["path"] == str(file)
    assert found["seconds"] == round(len(voice()) / 16_000, 3)
    ((start, end),) = found["sent"]
    assert 200 <= start <= 700
    assert 0 == start % 20 == end % 20
    assert [opened["cause"] for opened in found["opens"]] == ["speech"]
    assert [closed["reason"] for closed in found["closes"]] == ["speech_end"]
    assert found["turn_ends_ms"] == [closed["ms"] for closed in found["closes"]]
    assert start < found["opens"][0]["ms"] < end < found["turn_ends_ms"][0]
    assert not list(tmp_path.glob("*.png"))


def test_a_recording_that_ends_in_an_utterance_has_a_close_and_no_turn_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_wav(tmp_path / "a.wav", voice(tail_s=0)[:-4_000])
    _, (found,) = as_json(capsys, file)
    assert [closed["reason"] for closed in found["closes"]] == ["hangup"]
    assert found["turn_ends_ms"] == []


def test_each_channel_of_a_stereo_file_is_a_stream_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = np.stack([voice(), np.zeros_like(voice())], axis=1)
    file = write_wav(tmp_path / "a.wav", both, channels=2)
    _, (left, right) = as_json(capsys, file)
    assert (left["path"], right["path"]) == (f"{file}#1", f"{file}#2")
    assert (len(left["sent"]), right["sent"]) == (1, [])


def test_a_setting_can_be_tried(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_wav(tmp_path / "a.wav")
    ends = [as_json(capsys, file, "--set", f"HANGOVER_MS={ms}")[1][0]["turn_ends_ms"][0] for ms in (500, 800)]
    assert ends[1] - ends[0] == 300


def test_files_that_cannot_be_read_are_listed_and_stop_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "cut.wav").write_bytes(header(1, 16, size=32_000) + bytes(16_000))
    (tmp_path / "text.wav").write_text("no sound at all")
    good = write_wav(tmp_path / "good.wav")
    names = ["empty.wav", "cut.wav", "text.wav", "missing.wav", "."]
    code, found = as_json(capsys, *(tmp_path / name for name in names), good)
    assert code == 1
    assert [entry.get("error", "")[:20] for entry in found] == [
        "it is empty",
        "it is truncated: it ",
        "it is not a WAV file",
        "it cannot be read: N",
        "it is a folder",
        "",
    ]
    assert all(entry.keys() == {"path", "error"} for entry in found[:-1])
    assert found[-1]["sent"]


def test_a_picture_is_written_beside_each_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = np.stack([voice(), voice()], axis=1)
    files = [write_wav(tmp_path / "a.wav"), write_wav(tmp_path / "b.wav", both, channels=2)]
    assert main([*QUICK, *map(str, files), str(tmp_path / "none.wav")]) == 1
    shown = capsys.readouterr()
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["a.gate.png", "b.gate.png"]
    assert (tmp_path / "a.gate.png").read_bytes().startswith(b"\x89PNG")
    assert "What the gate sends" in shown.out
    assert shown.out.count("Utterances of") == 3
    assert "No such file" in shown.out


def test_pictures_of_the_same_name_do_not_replace_each_other(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_wav(tmp_path / name / "a.wav")
    files = [str(tmp_path / name / "a.wav") for name in ("one", "two")]
    assert main([*QUICK, "--json", *files, "--out", str(tmp_path / "new" / "folder")]) == 0
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == ["a.2.gate.png", "a.gate.png"]


def test_a_picture_that_cannot_be_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_wav(tmp_path / "a.wav")
    assert main([*QUICK, str(file), "--out", str(file / "in-a-file")]) == 1
    assert f"hushgate gate: cannot write {file / 'in-a-file'}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--set", "LOUDNESS=3"], "unknown setting LOUDNESS: there are AUDIBLE_DB"),
        (["--set", "HANGOVER_MS=510"], "MEDIA_VAD_HANGOVER_MS: Input should be a multiple of 20"),
        (["--set", "TAIL_MS=5000"], "VAD_TAIL_MS is part of VAD_HANGOVER_MS"),
        (["--set", "HANGOVER_MS"], "'HANGOVER_MS' is not KEY=VALUE"),
        (["--set", "PROCESSES=2"], "unknown setting PROCESSES"),
        (["--stdio"], "give recordings, or --stdio"),
    ],
)
def test_wrong_settings_and_arguments_are_refused(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["a.wav", *arguments])
    except SystemExit as exc:
        code = int(str(exc.code))
    assert code == 2
    assert reason in capsys.readouterr().err


def test_no_recording_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "give recordings" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["HANGOVER_MS", "hangover_ms", "VAD_HANGOVER_MS", "MEDIA_VAD_HANGOVER_MS"])
def test_a_setting_has_its_name_with_or_without_prefixes(name: str) -> None:
    assert gate_settings({name: "400"}, {}).vad_hangover_ms == 400


def test_the_settings_are_those_of_the_media_process() -> None:
    environment = {"MEDIA_VAD_HANGOVER_MS": "700", "MEDIA_MAX_CALLS": "no number", "MEDIA_EXTERNAL_ADDRESSES": "{}"}
    assert gate_settings({}, environment).gate == gate_settings({"HANGOVER_MS": "700"}, {}).gate
    assert gate_settings({}, {}).gate == MediaSettings(advertised_address="loopback").gate
    with pytest.raises(SettingsError, match="unknown setting MEDIA_VAD_HANGOVR"):
        gate_settings({}, {"MEDIA_VAD_HANGOVR": "1"})


def test_a_long_recording_is_read_in_blocks(tmp_path: Path) -> None:
    silence = np.zeros(16_000 * 120, np.int16)
    seen: list[float] = []
    found = analyse(write_wav(tmp_path / "a.wav", silence), gate_settings({"VAD": "webrtcvad"}, {}), seen.append)
    assert isinstance(found, AnalysedFile)
    assert seen == [1.0] * 120
    assert found.streams[0].decisions.share_saved == 1


def test_stdio_gates_one_stream_as_the_command_does_for_a_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = voice()
    pcm = samples.tobytes()
    command = [sys.executable, "-m", "services.cli", "gate", "--stdio", *QUICK]
    done = subprocess.run(command, input=pcm + b"odd", capture_output=True, timeout=60, check=True)  # noqa: S603 - our own
    frames = [pcm[at : at + 640] for at in range(0, len(pcm) - 639, 640)]
    at, sent, was_open, closed = 0, [], [], []
    for _ in frames:
        flags, count = done.stdout[at], int.from_bytes(done.stdout[at + 1 : at + 3], "little")
        sent += [done.stdout[at + 3 + 640 * n : at + 643 + 640 * n] for n in range(count)]
        was_open.append(bool(flags & 1))
        closed.append(bool(flags & 2))
        at += 3 + 640 * count
    assert at == len(done.stdout)
    _, (found,) = as_json(capsys, write_wav(tmp_path / "a.wav", samples))
    ((start, end),) = found["sent"]
    assert sent == frames[start // 20 : end // 20]
    assert [(n + 1) * 20 for n, ends in enumerate(closed) if ends] == found["turn_ends_ms"]
    assert was_open.index(True) == found["opens"][0]["ms"] // 20 - 1
