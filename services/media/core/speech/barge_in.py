"""Judges what a caller utters while an answer plays: speech, which stops it, or not.

Frames whose score says speech make a sound. Unless it is the echo of the answer, the answer is held after two of them
(`HoldAnswer`). It is speech (`CallerSpeaks`) after three frames that are voiced and open, or after a longer one that is
not a hum. A sound that ends before that was a cough, a hum ("mm-hm"), a tone, and the answer goes on (`ReleaseAnswer`);
so it does after `BargeInConfig.max_hold_frames`. The same sound does not hold it twice.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final, Literal

from services.contracts.audio import UP_FRAME_BYTES, PcmFrame
from services.media.core.speech.echo import EchoDetector
from services.media.core.speech.timbre import Timbre, timbre

RefusedCause = Literal["backchannel", "noise", "tone", "echo", "timeout"]
JudgedOutcome = Literal["speech", "backchannel", "noise", "tone", "echo", "timeout", "stopped"]
"""What a sound over an answer was; `stopped`: the answer ended otherwise meanwhile."""

_SILENCE: Final = bytes(UP_FRAME_BYTES)
_FRAMES_OF_TIMBRE: Final = 2  # 40 ms hold the 32 ms that it looks at
_WINDOW_FRAMES: Final = 25  # so long a voiced frame counts: 500 ms
_ECHO_EVERY_FRAMES: Final = 3  # how often a sound that is an echo is compared again
_LOOK_EVERY_FRAMES: Final = 30  # how often an echo is looked for while nobody speaks: each 600 ms
_CLEAR_FRAMES: Final = 4  # so many in a row are no echo where an echo is likely
_LONG_FRAMES: Final = 10  # a sound of 200 ms needs one open frame less
_HUM_FRAMES: Final = 50  # a second of humming is more than "mm-hm"
_UNVOICED_FRAMES: Final = 20  # 400 ms without a voice: a whisper; coughs are shorter
_DECAY_DB: Final = 20.0  # frames so much below the loudest of the candidate are its decay


@dataclass(frozen=True, slots=True)
class BargeInConfig:
    """What stops an answer, in frames of 20 ms."""

    probability: float = 0.5  # a frame with this score is speech. Less holds the answer sooner, and for more noises
    hold_frames: int = 2  # speech that holds the answer. More holds it later, and less often for nothing
    speech_frames: int = 3  # voiced, open frames that stop it. More stops it later, and for fewer coughs and hums
    end_frames: int = 8  # 160 ms without speech end a candidate. Less lets the answer go on within a word
    max_hold_frames: int = 35  # 700 ms: the answer goes on if nothing was decided until then


@dataclass(frozen=True, slots=True)
class HoldAnswer:
    """Hold the answer: this may be speech."""


@dataclass(frozen=True, slots=True)
class ReleaseAnswer:
    """The sound was no speech, or nothing was decided in time; the answer goes on if it was held."""

    cause: RefusedCause


@dataclass(frozen=True, slots=True)
class CallerSpeaks:
    """The caller speaks since frame ``onset_index``: open the gate and stop the answer."""

    onset_index: int
    onset_at: float


Judgement = HoldAnswer | ReleaseAnswer | CallerSpeaks


@dataclass(slots=True)
class _Sound:
    """What was uttered since a first frame of speech."""

    onset: tuple[int, float] | None = None  # index and time of that frame
    held_frames: int = 0  # since the answer was held for it
    evidence: int = 0  # frames of speech; of them:
    hums: int = 0
    tones: int = 0
    open: deque[bool] = field(default_factory=lambda: deque(maxlen=_WINDOW_FRAMES))  # voiced and open, the newest
    tone_hz: float = 0.0  # of the frame before
    quiet: int = 0  # frames since the last one of speech
    loudest_dbfs: float = -math.inf
    was_echo: bool = False  # when last compared, or before
    since_echo: int = 0  # frames since it was
    clear: int = 0  # frames in a row that were none

    @property
    def cause(self) -> RefusedCause:
        """What it was, if it was no speech."""
        if self.was_echo:
            return "echo"
        if 2 * self.tones > self.evidence:
            return "tone"
        return "backchannel" if 2 * self.hums > self.evidence else "noise"

    def is_within_reach(self, level_dbfs: float) -> bool:
        """Say whether a level is not that of a decay; an unknown one never is."""
        if level_dbfs == math.inf:
            return True
        self.loudest_dbfs = max(self.loudest_dbfs, level_dbfs)
        return level_dbfs >= self.loudest_dbfs - _DECAY_DB

    def restart(self) -> None:
        """Forget what it has shown so far: it was an echo."""
        self.onset = None
        self.evidence = self.hums = self.tones = 0
        self.open.clear()

    def add(self, kind: Timbre) -> None:
        """Take in the timbre of a frame of speech."""
        tone = kind.tone_hz > 0 and kind.tone_hz == self.tone_hz
        self.tone_hz = kind.tone_hz
        self.evidence += 1
        self.tones += tone
        self.hums += kind.voiced and not kind.open and not tone
        self.open.append(kind.voiced and kind.open and not kind.tone_hz)

    def is_speech(self, needed: int, *, level_known: bool) -> bool:
        """Say whether it can be nothing but speech of the caller."""
        if self.evidence >= _LONG_FRAMES:
            needed = max(1, needed - 1)
        if self.open.count(True) >= needed:
            return True
        plain = self.evidence - self.hums - self.tones
        return level_known and (self.hums >= _HUM_FRAMES or plain >= _UNVOICED_FRAMES)


class BargeInJudge:
    """The judgement of one call. Use it for each frame while an answer plays, and `reset` it when none does."""

    def __init__(self, config: BargeInConfig) -> None:
        self._config = config
        self._echoes = EchoDetector()
        self._recent: deque[bytes] = deque([_SILENCE] * _FRAMES_OF_TIMBRE, maxlen=_FRAMES_OF_TIMBRE)
        self._frames = 0
        self._sound = _Sound()
        self._refused = False  # this sound must not hold the answer again

    @property
    def onset(self) -> tuple[int, float] | None:
        """Index and time of the first frame of the sound that is being judged, if there is one."""
        return self._sound.onset

    def on_played(self, pcm: bytes, *, now: float) -> None:
        """Record a frame of the answer, s16le at 24 kHz, that is sent at ``now``."""
        self._echoes.on_played(pcm, now=now)

    def on_unjudged(self, frame: PcmFrame, *, now: float) -> None:
        """Record a frame of the caller that is not judged."""
        self._echoes.on_received(frame, now=now)
        self._recent.append(frame.pcm)

    def reset(self) -> None:
        """Forget the sound: there is nothing to judge any more."""
        self._sound = _Sound()
        self._refused = False

    def on_frame(self, frame: PcmFrame, *, is_speech: bool, level_dbfs: float, now: float) -> Judgement | None:
        """Judge the next frame of the caller. ``level_dbfs``: infinite where unknown."""
        self.on_unjudged(frame, now=now)
        sound = self._sound
        self._frames += 1
        if self._frames % _LOOK_EVERY_FRAMES == 0 and sound.onset is None:
            self._echoes.look()
        if sound.held_frames:
            sound.held_frames += 1
        if not is_speech or not sound.is_within_reach(level_dbfs):
            return self._on_quiet(sound)
        sound.quiet = 0
        if self._is_echo(sound):
            return self._limit(sound)
        if sound.onset is None:
            sound.onset = (frame.index, now)
        sound.add(timbre(b"".join(self._recent)))
        if self._is_speech(sound, level_known=level_dbfs != math.inf):
            self.reset()
            return CallerSpeaks(*sound.onset)
        if sound.held_frames or self._refused or not self._holds(sound):
            return self._limit(sound)
        sound.held_frames = 1
        return HoldAnswer()

    def _is_speech(self, sound: _Sound, *, level_known: bool) -> bool:
        """Say so if it sounds like speech and is no echo, of which more is known by now than at its beginning."""
        if not sound.is_speech(self._config.speech_frames, level_known=level_known):
            return False
        sound.was_echo = not self._echoes.is_likely and self._echoes.is_echo()
        return not sound.was_echo

    def _is_echo(self, sound: _Sound) -> bool:
        """Compare the sound with what was played.

        Where an echo is likely that is done for every frame, and several in a row must be none; while the sound is
        one, now and then. Elsewhere it is done before the answer is held.
        """
        if not self._echoes.is_likely:
            if sound.held_frames or sound.evidence + 1 < self._config.hold_frames:
                return False
            return self._found_echo(sound, begins=True)
        sound.since_echo += 1
        if sound.was_echo and not sound.clear and sound.since_echo < _ECHO_EVERY_FRAMES and not sound.held_frames:
            return True
        if self._found_echo(sound):
            return True
        sound.clear += 1
        return sound.clear < _CLEAR_FRAMES

    def _found_echo(self, sound: _Sound, *, begins: bool = False) -> bool:
        if not self._echoes.is_echo(begins=begins):
            return False
        sound.was_echo = True
        sound.clear = sound.since_echo = 0
        sound.restart()
        return True

    def _holds(self, sound: _Sound) -> bool:
        enough = sound.evidence >= self._config.hold_frames
        return enough and not sound.tone_hz and 2 * sound.tones < sound.evidence

    def _on_quiet(self, sound: _Sound) -> ReleaseAnswer | None:
        if sound.onset is None and not sound.was_echo:
            self._refused = False
            return None
        sound.quiet += 1
        if sound.quiet < self._config.end_frames:
            return self._limit(sound)
        refused = self._refused
        self.reset()
        return None if refused else ReleaseAnswer(sound.cause)

    def _limit(self, sound: _Sound) -> ReleaseAnswer | None:
        """Let the answer go on when it was held for too long."""
        if sound.held_frames <= self._config.max_hold_frames:
            return None
        sound.held_frames = 0
        self._refused = True
        return ReleaseAnswer("timeout")
