"""`hushgate gate tune` on folders of the three kinds."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.gate.__main__ import main
from services.gate.tuning import GRID
from services.media.settings import MediaSettings
from tests.gate.waves import voice, write_wav

QUICK = ("tune", "--set", "VAD=webrtcvad")
SECONDS = len(voice()) / 16_000
LABELS = f"0.55\t{SECONDS - 1.55:.3f}\twhat time is it\n"


def tuned(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> dict[str, Any]:
    assert main([*QUICK, str(folder), "--json", *arguments]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_labels_beside_recordings_are_what_settings_are_measured_by(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        write_wav(tmp_path / f"{name}.wav")
        (tmp_path / f"{name}.txt").write_text(LABELS)
    found = tuned(capsys, tmp_path)
    assert (found["basis"], found["streams"]) == ("labels", 2)
    assert found["current"]["delivered_pct"] == 100
    assert found["suggested"]["MEDIA_VAD_HANGOVER_MS"] < 500  # nobody pauses in these
    assert found["figures"]["eot_p50"] < found["current"]["eot_p50"]
    assert found["cross_validated"]["folds"] == 2
    assert found["cross_validated"]["figures"]["turns"] == 2
    tried = {(change["setting"], change["value"]) for change in found["changes"]}
    assert ("MEDIA_VAD_HANGOVER_MS", 300) in tried
    assert ("MEDIA_VAD_HANGOVER_MS", 500) not in tried  # the current one


def test_the_table_names_the_trades_and_claims_nothing_about_other_recordings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_wav(tmp_path / "a.wav")
    (tmp_path / "a.txt").write_text(LABELS)
    (tmp_path / "wrong.txt").write_text("no times")
    write_wav(tmp_path / "wrong.wav")
    assert main([*QUICK, str(tmp_path)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "HANGOVER_MS=300" in shown.replace("VAD_", "")
    assert "not used: wrong.wav: line 1 is not start, end and label" in shown
    assert "Too few recordings for a cross-validation" in shown


def test_two_sides_of_a_call_tell_when_turns_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quiet = np.zeros_like(voice())
    both = np.concatenate([np.stack([voice(), quiet], axis=1), np.stack([quiet, voice()], axis=1)])
    write_wav(tmp_path / "a.wav", both, channels=2)
    write_wav(tmp_path / "mono.wav")
    found = tuned(capsys, tmp_path)
    assert (found["basis"], found["streams"], found["current"]["turns"]) == ("stereo", 2, 2)
    assert {change["setting"] for change in found["changes"]} == {"MEDIA_VAD_HANGOVER_MS"}
    assert any("mono.wav: it is mono and has no labels" in note for note in found["notes"])


def manifest(folder: Path, **more: object) -> None:
    speech = [[0.55, SECONDS - 1.55]]
    stream = {"id": "a", "file": "a.wav", "speech": speech, "ignore": [], "turns": speech}
    (folder / "manifest.json").write_text(json.dumps({"fs": 16_000, "streams": [stream], **more}))
    write_wav(folder / "a.wav")


def test_a_manifest_makes_mixes_of_speech_and_noise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(3).normal(0, 1_000, 16_000).astype(np.int16)
    write_wav(tmp_path / "noise.wav", noise)
    manifest(
        tmp_path,
        noises=[{"id": "white", "file": "noise.wav"}, {"id": "gone", "file": "gone.wav"}],
        mixes=[
            {"stream": "a", "noise": None, "snr": None},
            {"stream": "a", "noise": "white", "snr": 30, "gain_db": -6},
            {"stream": None, "noise": "white", "gain_db": -20},
            {"stream": "a", "noise": "gone", "snr": 10},
            {"stream": "b", "noise": None},
        ],
    )
    found = tuned(capsys, tmp_path)
    assert (found["basis"], found["streams"], found["current"]["turns"]) == ("manifest", 3, 2)
    assert "not used: a|gone|10.0: it cannot be read: No such file or directory" in found["notes"]
    assert "not used: b: the manifest has no b" in found["notes"]


def test_without_mixes_the_streams_are_used_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest(tmp_path)
    assert tuned(capsys, tmp_path)["streams"] == 1


@pytest.mark.parametrize("content", ["no JSON", '{"streams": [{"id": "a"}]}', "[]"])
def test_an_invalid_manifest_is_refused(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "manifest.json").write_text(content)
    assert main([*QUICK, str(tmp_path)]) == 1
    assert "manifest.json is invalid" in capsys.readouterr().err


def test_a_folder_without_labelled_speech_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, str(tmp_path / "none")]) == 1
    assert "none is no folder" in capsys.readouterr().err
    write_wav(tmp_path / "mono.wav")
    assert main([*QUICK, str(tmp_path)]) == 1
    assert "has no labelled speech" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [("--folds", "1"), ("--delivered", "101"), ("--cut", "-1"), ("--set", "X=1")])
def test_wrong_arguments_are_refused(wrong: tuple[str, str], tmp_path: Path) -> None:
    try:
        code = main([*QUICK, str(tmp_path), *wrong])
    except SystemExit as exc:
        code = int(str(exc.code))
    assert code == 2


def test_all_settings_that_are_tried_exist() -> None:
    assert {name.lower() for name in GRID} <= MediaSettings.model_fields.keys()
