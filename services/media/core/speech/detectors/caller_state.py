"""One caller as the two-stage detector knows it: the first stage's score, and what the second stage needs of it."""

import math
from collections import deque
from typing import Any, Final

import earshot
import numpy as np

from services.contracts.audio import UP_FRAME_BYTES, UP_FRAME_SAMPLES
from services.media.core.speech.detectors.silero_network import CHUNK_SAMPLES, CONTEXT_SAMPLES

WAKE: Final = 0.25
"""The first stage's score from which on a frame may be speech."""
AWAKE_FRAMES: Final = 25
"""500 ms that the second stage runs on after the last such frame."""
REPLAYED_CHUNKS: Final = 20
"""640 ms from which the second stage's state is made."""
REPLAYED_SAMPLES: Final = CONTEXT_SAMPLES + REPLAYED_CHUNKS * CHUNK_SAMPLES
CYCLE: Final = 8
"""Frames after which chunks end at the end of a frame again: 8 frames are 5 chunks."""
LEFT_OVER: Final = tuple(UP_FRAME_SAMPLES * position % CHUNK_SAMPLES for position in range(CYCLE))
"""Samples of the newest frame that are after the end of the newest chunk, by the position in the cycle."""
ENDS_CHUNK: Final = tuple(samples < UP_FRAME_SAMPLES for samples in LEFT_OVER)
"""Whether a chunk ends in the newest frame, by the position in the cycle."""

_EARSHOT_SAMPLES: Final = 256
_BYTES: Final = 2  # of a sample
_ZEROS: Final = bytes(UP_FRAME_BYTES)
_REST_FRAMES: Final = 100  # digital silence until nothing runs: what earshot remembers of the sound before has faded
_HISTORY_FRAMES: Final = -(-(REPLAYED_SAMPLES + max(LEFT_OVER)) // UP_FRAME_SAMPLES)
_CHUNK_FRAMES: Final = 3  # contain a chunk with its context, wherever it ends
_QUIET_LOGIT: Final = math.log(0.3 / 0.7)
_QUIET_CHUNKS: Final = 125  # 4 s without speech, then the state is made anew: in steady noise it stops hearing
_SURE: Final = 1e-4  # probabilities are taken as at least this, and at most 1 minus this
_SURE_LOGIT: Final = math.log((1 - _SURE) / _SURE)
_FIRST_STAGE_WEIGHT: Final = 1.5
_LOUD_DBFS: Final = -23.0  # where the second stage is at its best
_MOST_GAIN_DB: Final = 30.0
_FADE_DB: Final = 0.006  # the loudest level falls by 0.3 dB/s, so that pauses stay quieter than speech
_FULL_SCALE: Final = 32768.0


class CallerState:
    """The state of one caller."""

    def __init__(self) -> None:
        self._earshot: Any = earshot.Detector()
        self._uncovered = b""  # samples that the first stage has not had yet
        self._frames: deque[bytes] = deque([_ZEROS] * _HISTORY_FRAMES, _HISTORY_FRAMES)
        self._heard_frames = 0
        self._silent_frames = 0
        self._awake_frames = 0
        self._loudest_dbfs = _LOUD_DBFS
        self._loudest_at = 0  # in frames
        self._quiet_chunks = 0
        self._logit = 0.0
        self.position = 0
        """In the cycle of 8 frames, of the newest one."""
        self.state: Any = None
        """The second stage's recurrent state; None while it sleeps, and until it has been made."""
        self.awaits_replay = False
        """Whether the second stage's state has to be made anew."""

    @property
    def awake(self) -> bool:
        """Whether the second stage is needed."""
        return self._awake_frames > 0

    @property
    def has_chunk(self) -> bool:
        """Whether a chunk for the second stage ended in the newest frame."""
        return self.state is not None and ENDS_CHUNK[self.position]

    def hear(self, pcm: bytes) -> float:
        """Return the first stage's score of the next frame, 0 to 1; 0 without running it after long digital silence."""
        self._frames.append(pcm)
        self._heard_frames += 1
        if pcm != _ZEROS:
            self._silent_frames = 0
        elif self._silent_frames == _REST_FRAMES:
            return 0.0
        else:
            self._silent_frames += 1
        samples = np.frombuffer(self._uncovered + pcm, "<i2")
        score: float = self._earshot.predict_i16(samples[:_EARSHOT_SAMPLES])
        used = _EARSHOT_SAMPLES
        if len(samples) == 2 * _EARSHOT_SAMPLES:
            score = max(score, self._earshot.predict_i16(samples[_EARSHOT_SAMPLES:]))
            used = 2 * _EARSHOT_SAMPLES
        self._uncovered = samples[used:].tobytes()
        return score

    def wakes(self, score: float) -> bool:
        """Follow the first stage's score of the newest frame; return whether the second stage has to start."""
        self.position = (self.position + 1) % CYCLE
        if score >= WAKE:
            woken = self._awake_frames == 0
            self._awake_frames = AWAKE_FRAMES
            self.awaits_replay = self.awaits_replay or woken
            return woken
        if self._awake_frames:
            self._awake_frames -= 1
            if not self._awake_frames:
                self.sleep()
        return False

    def sleep(self) -> None:
        """Forget the second stage's state."""
        self._awake_frames = 0
        self.state = None
        self.awaits_replay = False

    def chunk(self) -> bytes:
        """Return the samples of the chunk that ended in the newest frame, with its context."""
        frames = self._frames
        end = _CHUNK_FRAMES * UP_FRAME_SAMPLES - LEFT_OVER[self.position]
        begin = end - CHUNK_SAMPLES - CONTEXT_SAMPLES
        return (frames[-3] + frames[-2] + frames[-1])[begin * _BYTES : end * _BYTES]

    def replay(self) -> bytes:
        """Return the samples of the newest 20 chunks, with the context of the first."""
        end = _HISTORY_FRAMES * UP_FRAME_SAMPLES - LEFT_OVER[self.position]
        return b"".join(self._frames)[(end - REPLAYED_SAMPLES) * _BYTES : end * _BYTES]

    def factor(self, level_dbfs: float) -> float:
        """Return what samples of a chunk are multiplied with for the second stage, which lifts a quiet talker."""
        faded = self._loudest_dbfs - _FADE_DB * (self._heard_frames - self._loudest_at)
        self._loudest_dbfs = max(level_dbfs, faded)
        self._loudest_at = self._heard_frames
        gain_db = min(_MOST_GAIN_DB, max(0.0, _LOUD_DBFS - self._loudest_dbfs))
        factor: float = 10 ** (gain_db / 20) / _FULL_SCALE
        return factor

    def begin(self, logit: float, state: Any) -> None:  # noqa: ANN401 - an array, as mypyc takes it
        """Store what the second stage found in the newest chunk, beginning anew."""
        self._logit, self.state = logit, state
        self._quiet_chunks = 0
        self.awaits_replay = False

    def go_on(self, logit: float, state: Any) -> bool:  # noqa: ANN401 - as above
        """Store what the second stage found in the newest chunk; return whether it has to begin anew."""
        self._logit, self.state = logit, state
        self._quiet_chunks = 0 if logit >= _QUIET_LOGIT else self._quiet_chunks + 1
        if self._quiet_chunks < _QUIET_CHUNKS or self.awaits_replay:
            return False
        self.awaits_replay = True
        return True

    def probability(self, score: float) -> float:
        """Return the speech probability of the newest frame from the first stage's ``score`` and the newest chunk."""
        if not self._awake_frames:
            return 0.0
        if self.state is None:  # it waits for its replay
            return float(score >= WAKE)
        score = min(1 - _SURE, max(_SURE, score))
        logit = min(_SURE_LOGIT, max(-_SURE_LOGIT, self._logit))
        return 1 / (1 + math.exp(-logit - _FIRST_STAGE_WEIGHT * math.log(score / (1 - score))))
