"""Which detector a process has, by its settings and by what is installed."""

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.media.core.speech.detector import Unbatched
from services.media.core.speech.detectors.silero import SileroDetector
from services.media.core.speech.detectors.webrtc import WebrtcConfig
from services.media.detectors import DetectorChoice, open_detector
from services.runtime.errors import SettingsError
from tests.media.voices import model

CONFIG = WebrtcConfig()


def chosen(choice: DetectorChoice, model_path: str = "") -> tuple[object, str]:
    with capture_logs() as logs:
        detector = open_detector(choice, model=model_path, webrtc=CONFIG)
    return type(detector), logs[0]["name"]


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
        open_detector("silero", model="", webrtc=CONFIG)
    with capture_logs() as logs:
        assert isinstance(open_detector("auto", model="", webrtc=CONFIG), Unbatched)
    assert f"silero needs {name}" in logs[0]["reason"]


@pytest.mark.parametrize("without", ["silero_vad"], indirect=True)
def test_a_model_may_be_named_and_is_checked(without: str, tmp_path: Path) -> None:
    assert without
    path = tmp_path / "model.onnx"
    path.write_bytes(model())
    assert chosen("auto", str(path)) == (SileroDetector, "silero")
    path.write_bytes(b"another")
    for choice in ("auto", "silero"):
        with pytest.raises(SettingsError, match=r"MEDIA_VAD_MODEL: .*model.onnx: it is not silero_vad_16k_op15.onnx"):
            open_detector(choice, model=str(path), webrtc=CONFIG)
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        open_detector("auto", model=str(tmp_path / "none"), webrtc=CONFIG)


@pytest.mark.parametrize("without", ["earshot"], indirect=True)
def test_a_model_without_its_packages_is_refused_also_by_default(without: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"needs {without}"):
        open_detector("auto", model=str(tmp_path / "model.onnx"), webrtc=CONFIG)
