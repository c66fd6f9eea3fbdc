"""Runs the speech detector on the frames of all calls together: one batch in each turn of the event loop."""

import asyncio
from typing import Any, Protocol

from services.contracts.audio import PcmFrame
from services.media import metrics
from services.media.core.speech.detector import Detector
from services.media.core.speech.level import UNKNOWN_DBFS, levels_dbfs
from services.runtime.telemetry.logging import get_logger

_SPEECH = 1.0


class FrameConsumer(Protocol):
    """The receiver of frames that were submitted."""

    def on_detected(self, frame: PcmFrame, probability: float, level_dbfs: float, *, now: float) -> None:
        """Handle ``frame``, its speech probability, 0 to 1, and its level. ``now``: as submitted. Must not raise.

        If the detector failed, the probability is 1 and the level unknown, which is infinite.
        """


class SpeechDetection:
    """The detector of a process, shared by its calls. If it fails, frames count as speech, so no audio is lost."""

    def __init__(self, detector: Detector[Any]) -> None:
        self._detector = detector
        self._batch: list[tuple[Any, PcmFrame]] = []
        self._consumers: list[tuple[FrameConsumer, float]] = []
        self._failing = False

    def open_stream(self) -> "SpeechStream":
        """Return the stream of a new caller."""
        return SpeechStream(self, self._detector.new_state())

    def set_threshold(self, state: object, threshold: float) -> None:
        """Set what the probabilities of a caller's next frames are compared with."""
        self._detector.set_threshold(state, threshold)

    def submit(self, state: object, frame: PcmFrame, consumer: FrameConsumer, *, now: float) -> None:
        """Add a frame to the batch; its consumer gets it within this iteration of the event loop, in order."""
        if not self._batch:
            asyncio.get_running_loop().call_soon(self.run)
        self._batch.append((state, frame))
        self._consumers.append((consumer, now))

    def run(self) -> None:
        """Process the batch now. Call it before another input of the same caller, to keep their order."""
        if not self._batch:
            return
        batch, self._batch = self._batch, []
        consumers, self._consumers = self._consumers, []
        probabilities, levels = self._detect(batch)
        for (_, frame), (consumer, now), probability, level_dbfs in zip(
            batch, consumers, probabilities, levels, strict=True
        ):
            consumer.on_detected(frame, probability, level_dbfs, now=now)

    def _detect(self, batch: list[tuple[Any, PcmFrame]]) -> tuple[list[float], list[float]]:
        try:
            found = list(self._detector.probabilities(batch))
            levels = levels_dbfs([frame for _, frame in batch])
            if len(found) != len(batch):
                raise ValueError(f"{len(found)} probabilities for {len(batch)} frames")  # noqa: TRY301 - handled alike
        except Exception:  # noqa: BLE001 - the edge: whatever the detector's fault is, audio must go on
            metrics.DETECTOR_FAILED_FRAMES.inc(len(batch))
            if not self._failing:
                get_logger().exception("detector_failed")
            self._failing = True
            return [_SPEECH] * len(batch), [UNKNOWN_DBFS] * len(batch)
        if self._failing:
            get_logger().info("detector_recovered")
            self._failing = False
        return found, levels


class SpeechStream:
    """One caller's access to the shared detector."""

    __slots__ = ("_detection", "_state")

    def __init__(self, detection: SpeechDetection, state: object) -> None:
        self._detection = detection
        self._state = state

    def set_threshold(self, threshold: float) -> None:
        """Set what the probabilities of the next frames are compared with."""
        self._detection.set_threshold(self._state, threshold)

    def submit(self, frame: PcmFrame, consumer: FrameConsumer, *, now: float) -> None:
        """Submit the next frame; ``consumer`` gets it within this iteration of the event loop."""
        self._detection.submit(self._state, frame, consumer, now=now)

    def flush(self) -> None:
        """Deliver the caller's pending frames now, so that a later input is handled after them."""
        self._detection.run()
