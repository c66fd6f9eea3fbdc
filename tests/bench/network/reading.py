"""What is read out: sentences of synthetic and recorded voices at one level, and where each lies in the whole."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from services.callers.correlation import best_match
from services.callers.speech import FliteVoice, Samples, clip, read_wav, resample, synthesise

S = TypeVar("S", bound=np.generic)

HZ = 16_000
FRAME = 320  # samples in 20 ms
_LEVEL = 1640.0  # RMS: -26 dBov, the level of ITU-T P.800
_PAUSE_S = 0.5
_LEAD_S = 0.8
_SEARCH_S = 1.5
_SHORTEST_S, _LONGEST_S = 3.5, 7.0
_RECORDINGS = ("conv0", "conv2")
_TEXTS: tuple[tuple[FliteVoice, str], ...] = (  # Harvard sentences, lists 1 and 2
    ("slt", "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background."),
    ("rms", "It's easy to tell the depth of a well. These days a chicken leg is a rare dish."),
    ("slt", "Rice is often served in round bowls. The juice of lemons makes fine punch."),
    ("rms", "The boy was there when the sun rose. A rod is used to catch pink salmon."),
)
_LEAD = "hello, here we go"


@dataclass(frozen=True, slots=True, eq=False)
class SentenceClip:
    """A sentence at 16 kHz, and the first sample of it in the reading."""

    name: str
    samples: Samples
    at: int


@dataclass(frozen=True, slots=True, eq=False)
class SpokenReading:
    """All sentences one after another, behind a few words that open the gate."""

    samples: Samples
    sentences: tuple[SentenceClip, ...]

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return len(self.samples) / HZ


async def reading(recorded: Path) -> tuple[SpokenReading, str]:
    """Make the reading; and why no recorded speech is in it, if there is none."""
    spoken = [(f"{voice}: {text}", (await synthesise(text, voice=voice)).samples) for voice, text in _TEXTS]
    real, reason = _recorded(recorded)
    lead = (await synthesise(_LEAD)).samples
    return _joined(lead, spoken + real), reason


def _joined(lead: Samples, spoken: list[tuple[str, Samples]]) -> SpokenReading:
    pause = np.zeros(round(_PAUSE_S * HZ), np.int16)
    pieces, sentences = [np.zeros(round(_LEAD_S * HZ), np.int16), levelled(lead), pause], []
    for name, samples in spoken:
        sound = levelled(samples)
        sentences.append(SentenceClip(name, sound, sum(map(len, pieces))))
        pieces += [sound, pause]
    return SpokenReading(np.concatenate(pieces), tuple(sentences))


def active(sound: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which 20 ms pieces are speech: not 30 dB below the loudest."""
    frames = sound[: len(sound) // FRAME * FRAME].reshape(-1, FRAME).astype(np.float64)
    energy = (frames**2).mean(axis=1)
    loud: npt.NDArray[np.bool_] = energy > energy.max() / 1000
    return loud


def levelled(samples: Samples) -> Samples:
    """From the first to the last sound, at -26 dBov."""
    bounds = clip(samples, hz=HZ)
    sound = samples[bounds.onset : bounds.end].astype(np.float64)
    speech = sound[: len(sound) // FRAME * FRAME].reshape(-1, FRAME)[active(sound)]
    loud: Samples = np.clip(sound * (_LEVEL / np.sqrt((speech**2).mean())), -32768, 32767).astype(np.int16)
    return loud


def _recorded(folder: Path) -> tuple[list[tuple[str, Samples]], str]:
    """One turn of suitable length from each of some labelled recordings."""
    try:
        streams = json.loads((folder / "manifest.json").read_text())["streams"]
    except (OSError, ValueError, KeyError):
        return [], f"no recorded speech in the scores: {folder} holds none"
    found = [_turn(folder, stream) for stream in streams if stream["id"] in _RECORDINGS]
    return [turn for turn in found if turn], ""


def _turn(folder: Path, stream: dict[str, Any]) -> tuple[str, Samples] | None:
    recording = read_wav(folder / stream["file"])
    for start, end in stream["turns"]:
        if _SHORTEST_S <= end - start <= _LONGEST_S:
            sound = recording.samples[round(start * recording.hz) : round(end * recording.hz)]
            return f"{stream['id']} at {start:.0f} s", resample(sound, from_hz=recording.hz, to_hz=HZ)
    return None


def find(heard: Samples, sentence: SentenceClip, *, start: int) -> int:
    """Where ``sentence`` begins in ``heard`` (16 kHz), if the whole reading begins about ``start`` samples into it."""
    reach = round(_SEARCH_S * HZ)
    size = len(sentence.samples)
    begin = max(0, start + sentence.at - reach)
    window = piece(heard, begin, size + 2 * reach)
    return begin + (best_match(sentence.samples, window).lag if window.any() else 0)


def piece(sound: npt.NDArray[S], at: int, size: int) -> npt.NDArray[S]:
    """``size`` samples from ``at`` on; behind the end there is silence."""
    found = sound[at : at + size]
    return np.concatenate((found, np.zeros(size - len(found), sound.dtype)))


def begins(heard: Samples, whole: SpokenReading) -> int:
    """Where the reading begins in ``heard``, by its loudest match of the first sentence; may be negative."""
    first = whole.sentences[0]
    padded = np.concatenate((heard, np.zeros(len(first.samples), np.int16)))
    return best_match(first.samples, padded).lag - first.at if heard.any() else 0
