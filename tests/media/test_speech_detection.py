"""The detector of a process: frames of all calls in one batch, in order, and audio that passes if it fails."""

import asyncio
import math
from collections.abc import Callable, Sequence

import pytest
from structlog.testing import capture_logs

from services.contracts.audio import PcmFrame
from services.media.core.speech.detection_load import LONG_S, MOST_LONG, RELIEF_S
from services.media.core.speech.detector import DetectorCounts
from services.media.speech_detection import SpeechDetection
from services.runtime import clock
from tests.media.harness import count


class Batched:
    """A detector that records its batches; its probabilities encode the numbers of caller and frame."""

    has_quick_way = True

    def __init__(self) -> None:
        self.counts = DetectorCounts()
        self.quick: list[bool] = []
        self.works: Callable[[], object] = list
        self.batches: list[list[tuple[int, int]]] = []
        self.opened = 0
        self.thresholds: dict[int, float] = {}
        self.fails = False
        self.short = False

    def new_state(self) -> int:
        self.opened += 1
        return self.opened

    def set_threshold(self, state: int, threshold: float) -> None:
        self.thresholds[state] = threshold

    def probabilities(self, batch: Sequence[tuple[int, PcmFrame]], *, quickly: bool = False) -> list[float]:
        self.quick.append(quickly)
        self.works()
        self.counts.chunks += 2
        self.counts.replays += 1
        self.batches.append([(caller, frame.index) for caller, frame in batch])
        if self.fails:
            raise RuntimeError("no model")
        return [caller / 10 + frame.index / 100 for caller, frame in batch][self.short :]


class Consumer:
    def __init__(self) -> None:
        self.got: list[tuple[int, float, float]] = []
        self.levels: list[float] = []
        self.came = asyncio.Event()

    def on_detected(self, frame: PcmFrame, probability: float, level_dbfs: float, *, now: float) -> None:
        self.got.append((frame.index, round(probability, 2), now))
        self.levels.append(level_dbfs)
        self.came.set()


def frame(index: int) -> PcmFrame:
    return PcmFrame(index, bytes(640))


async def test_the_frames_of_all_calls_of_a_turn_of_the_loop_are_one_batch() -> None:
    detector = Batched()
    detection = SpeechDetection(detector)
    one, other = detection.open_stream(), detection.open_stream()
    first, second = Consumer(), Consumer()
    one.submit(frame(0), first, now=1.0)
    other.submit(frame(7), second, now=1.0)
    one.submit(frame(1), first, now=1.02)
    assert not first.got
    async with asyncio.timeout(5):
        await first.came.wait()
    assert detector.batches == [[(1, 0), (2, 7), (1, 1)]]
    assert first.got == [(0, 0.1, 1.0), (1, 0.11, 1.02)]
    assert second.got == [(7, 0.27, 1.0)]


async def test_what_waits_is_handed_back_before_another_input_of_the_caller() -> None:
    detector, consumer = Batched(), Consumer()
    stream = SpeechDetection(detector).open_stream()
    stream.submit(frame(0), consumer, now=1.0)
    stream.flush()
    assert [index for index, _, _ in consumer.got] == [0]
    await asyncio.sleep(0)
    assert detector.batches == [[(1, 0)]]


@pytest.mark.parametrize("fault", ["fails", "short"])
async def test_a_detector_that_fails_lets_audio_pass_is_logged_once_and_recovers(fault: str) -> None:
    detector, consumer = Batched(), Consumer()
    stream = SpeechDetection(detector).open_stream()
    setattr(detector, fault, True)
    with capture_logs() as logs:
        for index in range(3):
            stream.submit(frame(index), consumer, now=1.0)
            stream.flush()
        setattr(detector, fault, False)
        for index in range(3, 5):
            stream.submit(frame(index), consumer, now=1.0)
            stream.flush()
    assert [probability for _, probability, _ in consumer.got] == [1, 1, 1, 0.13, 0.14]
    assert consumer.levels == [math.inf] * 3 + [-100.0] * 2
    assert [entry["event"] for entry in logs] == ["detector_failed", "detector_recovered"]


async def test_a_threshold_is_for_its_caller_alone() -> None:
    detector = Batched()
    detection = SpeechDetection(detector)
    detection.open_stream()
    detection.open_stream().set_threshold(0.9)
    assert detector.thresholds == {2: 0.9}


@pytest.mark.interpreted
async def test_a_detector_that_falls_behind_works_quickly_and_catches_up(monkeypatch: pytest.MonkeyPatch) -> None:
    detector, consumer, now = Batched(), Consumer(), [100.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])

    def work_long() -> None:
        now[0] += LONG_S + 0.001

    detector.works = work_long
    before = count("detector_passed_frames_total", reason="behind")
    stream = SpeechDetection(detector).open_stream()
    with capture_logs() as logs:
        for index in range(MOST_LONG + 2):
            stream.submit(frame(index), consumer, now=1.0)
            stream.flush()
        now[0] += RELIEF_S
        stream.submit(frame(99), consumer, now=1.0)
        stream.flush()
    assert detector.quick == [False] * MOST_LONG + [True] * 2 + [False]
    assert consumer.levels == [-100.0] * MOST_LONG + [math.inf] * 2 + [-100.0]
    assert [entry["event"] for entry in logs] == ["detector_behind", "detector_caught_up"]
    assert count("detector_passed_frames_total", reason="behind") == before + 2


@pytest.mark.interpreted
async def test_a_detector_without_a_quick_way_is_never_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    detector, now = Batched(), [100.0]
    detector.has_quick_way = False
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])

    def work_long() -> None:
        now[0] += 1.0

    detector.works = work_long
    stream = SpeechDetection(detector).open_stream()
    for index in range(9):
        stream.submit(frame(index), Consumer(), now=1.0)
        stream.flush()
    assert detector.quick == [False] * 9


async def test_what_a_detector_does_is_measured() -> None:
    def measured() -> list[float]:
        names = ("batch_frames_sum", "seconds_count", "chunks_total", "replays_total")
        return [count(f"detector_{name}") for name in names]

    stream, before = SpeechDetection(Batched()).open_stream(), measured()
    for size in (1, 3):
        for index in range(size):
            stream.submit(frame(index), Consumer(), now=1.0)
        stream.flush()
    assert [after - first for after, first in zip(measured(), before, strict=True)] == [4, 2, 4, 2]
