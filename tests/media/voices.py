"""Sounds for detectors: a recorded sentence, and noise."""

import wave
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from services.contracts.audio import PcmFrame
from services.media.detectors import installed_model

threadpool_limits(limits=1, user_api="blas")  # as in a media process: threads wait for each other longer than they work
RECORDED = Path(__file__).parents[2] / "services" / "callers" / "recorded.wav"


@cache
def model() -> bytes:
    path = installed_model()
    assert path is not None, "pip install --no-deps -r requirements/models.txt"
    return path.read_bytes()


@cache
def sentence() -> Any:  # noqa: ANN401 - samples
    """2.2 s of speech at 16 kHz."""
    with wave.open(str(RECORDED)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float)


def hiss(seconds: float, level: float = 3, seed: int = 1) -> Any:  # noqa: ANN401 - samples
    return np.random.default_rng(seed).normal(0, level, int(seconds * 16_000))


def frames(*sounds: Any) -> list[PcmFrame]:  # noqa: ANN401 - samples
    """The frames of sounds one after the other."""
    pcm = np.clip(np.concatenate(sounds), -32768, 32767).astype("<i2").tobytes()
    return [PcmFrame(n, pcm[n * 640 : n * 640 + 640]) for n in range(len(pcm) // 640)]
