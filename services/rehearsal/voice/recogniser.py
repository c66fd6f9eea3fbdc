"""Speech recognition with pocketsphinx: a language model for free speech, a grammar for the common commands.

Both decode while the audio arrives, so that only its end is left when the utterance is complete; on a
busy machine the language model falls behind, and the grammar does not wait for it.
The grammar costs a tenth of the language model and mishears commands much less often (`count to ten` is `down to
ten` for the model), but it matches anything to a command; its score tells the difference.
"""

import math
from collections import deque
from pathlib import Path

import numpy as np
import soxr
from pocketsphinx import Decoder, Hypothesis

from services.rehearsal.core.sound import HZ
from services.rehearsal.core.transcript import Transcript

_EAR_HZ = 16_000
_NOISE = 3.0
"""Of 32768, always the same noise: on digital silence the decoders do badly. (soxr's own dither for int16 is
random, and the results with it: the score of one utterance went from 0.65 to 0.73.)"""
_PIECE_BYTES = _EAR_HZ // 50 * 2
"""20 ms, independent of the input's size: decoders adapt with each piece that they get."""
_CERTAIN = 0.66
"""Commands score 0.6 to 0.87 in the grammar, other sentences below 0.55; above this the model is not used."""
_LIKELY = 0.62
_TAIL = (np.random.default_rng(1).normal(0, 12, _EAR_HZ // 5)).astype("<i2").tobytes()
"""200 ms of faint noise: the last word needs silence after it, and digital silence is unlike a room's."""
_MEANS = "41.8,-2.1,1.6,4.8,-3.0,-4.0,-5.4,-1.3,-5.0,-3.0,-1.1,-0.6,-1.2"
"""Cepstral means of the flite voices slt and rms behind Opus, measured over 48 utterances."""
_LEAST_SCORE = 1e-9
_GRAMMAR = Path(__file__).with_name("commands.gram")


class Recogniser:
    """Recognises one utterance at a time: `feed`, `catch_up` when idle, optionally `finish`, then `discard`."""

    def __init__(self) -> None:
        self._free = Decoder(samprate=_EAR_HZ, loglevel="FATAL")
        self._commands = Decoder(samprate=_EAR_HZ, loglevel="FATAL", lm=None)
        self._commands.add_jsgf_file("commands", str(_GRAMMAR))
        self._commands.activate_search("commands")
        self._resampler = soxr.ResampleStream(HZ, _EAR_HZ, 1, dtype="float32", quality="HQ")
        self._later: deque[bytes] = deque()
        self._noise = np.random.default_rng(1)
        self._rest = b""  # less than a piece
        self._open = False
        self._commands_open = False

    def warm_up(self) -> None:
        """Decode once with all models, so that the first caller does not wait for the disk."""
        noise = np.random.default_rng(2).normal(0, 2000, HZ * 3 // 10).astype("<i2").tobytes()
        self.feed(noise)
        self.finish()
        self.discard()

    def feed(self, pcm: bytes) -> None:
        """Append s16le mono 24 kHz. The grammar decodes it now, the model in `catch_up`."""
        if not self._open:
            self._start()
        self._feed_pieces(pcm)

    def _feed_pieces(self, pcm: bytes, *, last: bool = False) -> None:
        resampled = self._resampler.resample_chunk(np.frombuffer(pcm, dtype="<i2").astype(np.float32), last=last)
        noisy = resampled + self._noise.normal(0, _NOISE, len(resampled))
        heard = self._rest + np.clip(np.rint(noisy), -32768, 32767).astype("<i2").tobytes()
        whole = len(heard) - len(heard) % _PIECE_BYTES
        self._rest = heard[whole:]
        for start in range(0, whole, _PIECE_BYTES):
            self._process_piece(heard[start : start + _PIECE_BYTES])

    def _process_piece(self, piece: bytes) -> None:
        self._commands.process_raw(piece)
        self._later.append(piece)

    def _start(self) -> None:
        self._resampler.clear()
        self._noise = np.random.default_rng(1)
        self._rest = b""
        for decoder in (self._free, self._commands):
            # Every utterance starts from the same means: callers differ, and a noisy one must not affect the next.
            decoder.set_cmn(_MEANS)
            decoder.start_utt()
        self._open = self._commands_open = True

    def catch_up(self) -> bool:
        """Let the model decode one piece of 20 ms; False: nothing is left."""
        if not self._later:
            return False
        self._free.process_raw(self._later.popleft())
        return True

    def finish(self) -> Transcript:
        """Return the transcript; empty if nothing was recognised."""
        if not self._open:
            return Transcript("")
        self._feed_pieces(b"", last=True)  # what the resampler still buffers
        if self._rest:
            self._process_piece(self._rest)
        self._commands.process_raw(_TAIL)
        self._commands.end_utt()
        self._commands_open = False
        command = self._commands.hyp()
        if command and command.score >= _CERTAIN:
            self._later.clear()
            return _transcript(command)
        while self.catch_up():
            pass
        self._free.process_raw(_TAIL)
        self._settle()
        free = self._free.hyp()
        if command and command.score >= _LIKELY and (free is None or command.score >= free.score):
            return _transcript(command)
        return _transcript(free)

    def _settle(self) -> None:
        self._free.end_utt()
        self._open = False

    def discard(self) -> None:
        """Discard the utterance, or the decoding that `finish` did not need to complete."""
        self._later.clear()
        if self._commands_open:
            self._commands_open = False
            self._commands.end_utt()
        if self._open:
            self._settle()


def _transcript(found: Hypothesis | None) -> Transcript:
    """The words of a decoder's result, with its score as a log probability."""
    if found is None:
        return Transcript("")
    return Transcript(str(found.hypstr), math.log(min(max(found.score, _LEAST_SCORE), 1.0)))
