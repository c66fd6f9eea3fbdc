"""Chooses the speech detector of a process, and reads the file of its model."""

import importlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from services.media.core.speech.detector import Detector
from services.media.core.speech.detectors.webrtc import WebrtcConfig, webrtc_detector
from services.runtime.errors import SettingsError

DetectorChoice = Literal["auto", "silero", "webrtcvad"]
MODEL_FILE = "silero_vad_16k_op15.onnx"
_SILERO = "services.media.core.speech.detectors.silero"  # imported only where its packages are installed
_PACKAGES = ("earshot", "threadpoolctl")
_INSTALL = "`pip install hushgate[vad]`, and `pip install --no-deps silero-vad==6.2.3` for its model"


@dataclass(frozen=True, slots=True)
class ChosenDetector:
    """Which detector it is. ``lacks``: what silero would need, where webrtcvad takes its place."""

    name: Literal["silero", "webrtcvad"]
    model: Path | None = None
    lacks: str = ""


def choose_detector(choice: DetectorChoice, model: str) -> ChosenDetector:
    """Return the detector that ``choice`` means here. `auto`: silero where it is installed, else webrtcvad.

    ``model``: path of Silero's model; empty: that of the installed package.

    Raises:
        SettingsError: silero is asked for, or its model, and it is not complete.
    """
    if choice == "webrtcvad":
        return ChosenDetector("webrtcvad")
    path = Path(model) if model else installed_model()
    missing = [name for name in _PACKAGES if find_spec(name) is None] + ([] if path else ["silero-vad"])
    if path is not None and not missing:
        return ChosenDetector("silero", path)
    lacks = f"the detector silero needs {' and '.join(missing)}: {_INSTALL}"
    if choice == "silero" or model:
        raise SettingsError(f"MEDIA_VAD: {lacks}, or set MEDIA_VAD=webrtcvad")
    return ChosenDetector("webrtcvad", lacks=lacks)


def open_detector(chosen: ChosenDetector, webrtc: WebrtcConfig) -> Detector[Any]:
    """Return the detector itself. With silero, BLAS uses one thread in this process from then on.

    Raises:
        SettingsError: the model cannot be read or is another one.
    """
    return webrtc_detector(webrtc) if chosen.model is None else _silero(chosen.model)


def installed_model() -> Path | None:
    """Return where the model of the installed package is, if it is there."""
    spec = find_spec("silero_vad")  # which does not import it, and so not torch
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    return next((path for folder in folders if (path := Path(folder) / "data" / MODEL_FILE).is_file()), None)


def _silero(path: Path) -> Detector[Any]:
    # The matrices are small: with threads of its own BLAS took 20 times the CPU of one on shared cores.
    importlib.import_module("threadpoolctl").threadpool_limits(limits=1, user_api="blas")
    try:
        detector: Detector[Any] = importlib.import_module(_SILERO).SileroDetector(path.read_bytes())
    except OSError as exc:
        raise SettingsError(f"MEDIA_VAD_MODEL: {path} cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise SettingsError(f"MEDIA_VAD_MODEL: {path}: {exc}") from exc
    return detector
