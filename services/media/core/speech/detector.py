"""What a speech detector is: it gives the probability that frames are speech, for all callers of a process at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from services.contracts.audio import PcmFrame

_State = TypeVar("_State")


@dataclass(slots=True)
class DetectorCounts:
    """What a detector has done so far: both only rise, and are 0 for a detector of one stage."""

    chunks: int = 0
    """Chunks of 32 ms that the second stage has processed as they came."""
    replays: int = 0
    """Times that the second stage began anew with the last 640 ms."""


class Detector(Protocol[_State]):
    """Speech detection for all callers of a process, a batch at a time."""

    has_quick_way: bool
    """Whether ``quickly`` costs less."""
    counts: DetectorCounts

    def new_state(self) -> _State:
        """Return the state of a new caller, to be passed with each of its frames."""

    def set_threshold(self, state: _State, threshold: float) -> None:
        """Set what the caller's probabilities are compared with. Where it is not 0.5, they must be graded."""

    def probabilities(self, batch: Sequence[tuple[_State, PcmFrame]], *, quickly: bool = False) -> Sequence[float]:
        """Return the speech probability, 0 to 1, of each frame; a caller's frames come in order.

        ``quickly``: at less cost, by a first stage alone; what may be speech is then 1.
        """


class FrameDetector(Protocol):
    """A detector of one caller that looks at one frame at a time."""

    def set_threshold(self, threshold: float) -> None:
        """Set what the probabilities are compared with. Where it is not 0.5, they must be graded."""

    def probability(self, frame: PcmFrame) -> float:
        """Return the speech probability of the next frame, 0 to 1."""


class Unbatched:
    """A `Detector` that asks a `FrameDetector` for each frame."""

    has_quick_way = False

    def __init__(self, make: Callable[[], FrameDetector]) -> None:
        self.new_state = make
        self.counts = DetectorCounts()

    def set_threshold(self, state: FrameDetector, threshold: float) -> None:
        """Set what the caller's probabilities are compared with."""
        state.set_threshold(threshold)

    def probabilities(self, batch: Sequence[tuple[FrameDetector, PcmFrame]], *, quickly: bool = False) -> list[float]:
        """Return the speech probability of each frame; there is no quick way."""
        del quickly
        return [caller.probability(frame) for caller, frame in batch]
