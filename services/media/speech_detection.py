"""Runs the speech detector on the frames of all calls together: one batch in each turn of the event loop."""

import asyncio
from typing import Any, Protocol

from services.contracts.audio import PcmFrame
from services.media import metrics
from services.media.core.speech.detection_load import DetectionLoad
from services.media.core.speech.detector import Detector
from services.media.core.speech.level import UNKNOWN_DBFS, levels_dbfs
from services.runtime import clock
from services.runtime.telemetry.logging import get_logger

_SPEECH = 1.0


class FrameConsumer(Protocol):
    """The receiver of frames that were submitted."""

    def on_detected(self, frame: PcmFrame, probability: float, level_dbfs: float, *, now: float) -> None:
        """Handle ``frame``, its speech probability, 0 to 1, and its level. ``now``: as submitted. Must not raise.

        If the detector failed or is behind, what may be speech has the probability 1, and the level is unknown, which
        is infinite.
        """


class SpeechDetection:
    """The detector of a process, shared by its calls.

    If it fails, frames count as speech; if it takes more time than there is, those count as speech that its first stage
    finds possible. So no audio is lost.
    """

    def __init__(self, detector: Detector[Any]) -> None:
        self._detector = detector
        self._batch: list[tuple[Any, PcmFrame]] = []
        self._consumers: list[tuple[FrameConsumer, float]] = []
        self._failing = False
        self._load = DetectionLoad()
        self._behind = False
        self._chunks = self._replays = 0  # that have been exported

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
        size = len(batch)
        began = clock.monotonic()
        quickly = self._behind and self._load.is_behind(now=began)
        if self._behind and not quickly:
            self._behind = False
            get_logger().info("detector_caught_up")
        try:
            found = list(self._detector.probabilities(batch, quickly=quickly))
            if len(found) != size:
                raise ValueError(f"{len(found)} probabilities for {size} frames")  # noqa: TRY301 - handled alike
            levels = [UNKNOWN_DBFS] * size if quickly else levels_dbfs([frame for _, frame in batch])
        except Exception:  # noqa: BLE001 - the edge: whatever the detector's fault is, audio must go on
            metrics.DETECTOR_PASSED_FRAMES.labels("failed").inc(size)
            if not self._failing:
                get_logger().exception("detector_failed")
            self._failing = True
            return [_SPEECH] * size, [UNKNOWN_DBFS] * size
        if self._failing:
            get_logger().info("detector_recovered")
            self._failing = False
        if quickly:
            metrics.DETECTOR_PASSED_FRAMES.labels("behind").inc(size)
        self._measure(size, began, quickly=quickly)
        return found, levels

    def _measure(self, size: int, began: float, *, quickly: bool) -> None:
        ended = clock.monotonic()
        metrics.DETECTOR_SECONDS.observe(ended - began)
        metrics.DETECTOR_BATCH.observe(size)
        counts = self._detector.counts
        if counts.chunks != self._chunks:
            metrics.DETECTOR_CHUNKS.inc(counts.chunks - self._chunks)
            self._chunks = counts.chunks
        if counts.replays != self._replays:
            metrics.DETECTOR_REPLAYS.inc(counts.replays - self._replays)
            self._replays = counts.replays
        if not quickly and self._detector.has_quick_way and self._load.measured(ended - began, now=ended):
            self._behind = True
            get_logger().warning("detector_behind")


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
