"""Which detector a process has, by its settings and by what is installed."""

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from services.media.core.speech.detector import Unbatched
from services.media.core.speech.detectors.silero import SileroDetector
from services.media.core.speech.detectors.webrtc import WebrtcConfig
from services.media.detectors import DetectorChoice, choose_detector, open_detector
from services.runtime.errors import SettingsError
from tests.media.voices import model

CONFIG = WebrtcConfig()


def chosen(choice: DetectorChoice, model_path: str = "") -> tuple[object, str]:
    found = choose_detector(choice, model_path)
    return type(open_detector(found, CONFIG)), found.name


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    real = importlib.util.find_spec

    def find_spec(name: str) -> ModuleSpec | None:
        return None if name == request.param else real(name)

    monkeypatch.setattr("services.media.detectors.find_spec", find_spec)
    return str(request.param)


def test_silero_is_the_default_where_it_is_installed() -> None:
    assert chosen("auto") == chosen("silero") == (SileroDetector, "silero")
    assert chosen("webrtcvad") == (Unbatched, "webrtcvad")


@pytest.mark.parametrize("without", ["earshot", "threadpoolctl", "silero_vad"], indirect=True)
def test_what_is_missing_is_named(without: str) -> None:
    name = without.replace("_", "-")
    with pytest.raises(SettingsError, match=rf"silero needs {name}: `pip install hushgate\[vad\]`, .*MEDIA_VAD=webrtc"):
        choose_detector("silero", "")
    found = choose_detector("auto", "")
    assert found.name == "webrtcvad"
    assert f"silero needs {name}" in found.lacks


@pytest.mark.parametrize("without", ["silero_vad"], indirect=True)
def test_a_model_may_be_named_and_is_checked(without: str, tmp_path: Path) -> None:
    assert without
    path = tmp_path / "model.onnx"
    path.write_bytes(model())
    assert chosen("auto", str(path)) == (SileroDetector, "silero")
    path.write_bytes(b"another")
    choices: list[DetectorChoice] = ["auto", "silero"]
    for choice in choices:
        with pytest.raises(SettingsError, match=r"MEDIA_VAD_MODEL: .*model.onnx: it is not silero_vad_16k_op15.onnx"):
            chosen(choice, str(path))
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        chosen("auto", str(tmp_path / "none"))


@pytest.mark.parametrize("without", ["earshot"], indirect=True)
def test_a_model_without_its_packages_is_refused_also_by_default(without: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"needs {without}"):
        choose_detector("auto", str(tmp_path / "model.onnx"))
