"""Reads a folder of labelled recordings: a manifest, labels beside the files, or stereo calls."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from services.contracts.audio import UP_FRAME_BYTES, UP_HZ
from services.gate.core.labels import LabelSyntaxError, labels_of_stereo, parse_audacity, speech_of
from services.gate.core.measures import Labels
from services.gate.core.replay import ScoredStream
from services.gate.core.wav import Floats, UnreadableRecordingError
from services.gate.recording import open_recording
from services.runtime.errors import HushgateError

Basis = Literal["manifest", "labels", "stereo"]
Pcm = list[bytes]
"""Frames of 640 bytes."""
Score = Callable[[list[Pcm]], list[ScoredStream]]
"""Runs the detector on streams that run at the same time."""
_Times = tuple[tuple[float, float], ...]
_PEAK = 0.99


class NothingToTuneError(HushgateError):
    """A folder has no recordings from which settings can be suggested."""


@dataclass(frozen=True, slots=True)
class LabelledStream:
    """A stream with its scores and labels. ``group``: what it was made of, the same for its noisy copies."""

    name: str
    group: str
    scored: ScoredStream
    labels: Labels


@dataclass(slots=True)
class LabelledFolder:
    """The streams of a folder; ``skipped``: the files that could not be used, with the reason."""

    basis: Basis
    streams: list[LabelledStream]
    skipped: dict[str, str]


class _Tolerant(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Stream(_Tolerant):
    id: str
    file: str
    speech: _Times
    ignore: _Times = ()
    turns: _Times = ()


class _Noise(_Tolerant):
    id: str
    file: str


class _Mix(_Tolerant):
    stream: str | None = None
    noise: str | None = None
    snr: float | None = None
    gain_db: float = 0.0


class _Manifest(_Tolerant):
    streams: tuple[_Stream, ...]
    noises: tuple[_Noise, ...] = ()
    mixes: tuple[_Mix, ...] = ()


def read_folder(folder: Path, score: Score) -> LabelledFolder:
    """Read and score the recordings of a folder.

    Raises:
        NothingToTuneError: there is no such folder, its manifest is invalid, or it has no recording with labels.
    """
    if not folder.is_dir():
        raise NothingToTuneError(f"{folder} is no folder")
    if (folder / "manifest.json").is_file():
        found = _from_manifest(folder, score)
    else:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".wav")
        labelled = [path for path in files if path.with_suffix(".txt").is_file()]
        found = _from_labels(labelled, score) if labelled else _from_stereo(files, score)
    if not any(stream.labels.speech for stream in found.streams):
        reasons = "".join(f"; {name}: {reason}" for name, reason in found.skipped.items())
        raise NothingToTuneError(
            f"{folder} has no labelled speech: it needs a manifest.json, labels beside the recordings, or stereo calls "
            f"(see hushgate gate tune --help){reasons}"
        )
    return found


def _from_labels(files: list[Path], score: Score) -> LabelledFolder:
    found = LabelledFolder("labels", [], {})
    for path in files:
        try:
            labels = parse_audacity(path.with_suffix(".txt").read_text(encoding="utf-8"))
            (scored,) = score(_read(path, channels=1, otherwise="labels are for mono recordings; this one is stereo"))
            found.streams.append(LabelledStream(path.name, path.name, scored, labels))
        except (UnreadableRecordingError, LabelSyntaxError, UnicodeDecodeError) as exc:
            found.skipped[path.name] = str(exc)
    return found


def _from_stereo(files: list[Path], score: Score) -> LabelledFolder:
    found = LabelledFolder("stereo", [], {})
    for path in files:
        try:
            sides = score(_read(path, channels=2, otherwise="it is mono and has no labels"))
            found.streams += _both_sides(path.name, sides)
        except UnreadableRecordingError as exc:
            found.skipped[path.name] = str(exc)
    return found


def _both_sides(name: str, sides: list[ScoredStream]) -> Iterator[LabelledStream]:
    speech = [speech_of(side.scores) for side in sides]
    for number, side in enumerate(sides):
        labels = labels_of_stereo(speech[number], speech[1 - number])
        yield LabelledStream(f"{name}#{number + 1}", name, side, labels)


def _from_manifest(folder: Path, score: Score) -> LabelledFolder:
    try:
        manifest = _Manifest.model_validate_json((folder / "manifest.json").read_bytes())
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise NothingToTuneError(f"{folder / 'manifest.json'} is invalid: {where}: {first['msg']}") from None
    found = LabelledFolder("manifest", [], {})
    streams = {stream.id: stream for stream in manifest.streams}
    noises = {noise.id: noise for noise in manifest.noises}
    for mix in manifest.mixes or [_Mix(stream=stream.id) for stream in manifest.streams]:
        name = "|".join(part for part in (mix.stream, mix.noise, f"{mix.snr}") if part and part != "None")
        try:
            spoken = streams[mix.stream] if mix.stream is not None else None
            pcm = _mixed(folder, mix, spoken, noises[mix.noise] if mix.noise is not None else None)
        except KeyError as exc:
            found.skipped[name] = f"the manifest has no {exc.args[0]}"
        except UnreadableRecordingError as exc:
            found.skipped[name] = str(exc)
        else:
            labels = Labels(spoken.speech, spoken.ignore, spoken.turns) if spoken else Labels()
            found.streams.append(LabelledStream(name, mix.stream or mix.noise or "", score([pcm])[0], labels))
    return found


def _mixed(folder: Path, mix: _Mix, spoken: _Stream | None, noise: _Noise | None) -> Pcm:
    """Return speech with noise at the mix's SNR, measured where there is speech; either alone where one is missing."""
    background = _samples(folder / noise.file) if noise else np.zeros(1, np.float32)
    if spoken is None:
        samples = background
    else:
        samples = _samples(folder / spoken.file)
        if mix.snr is not None and noise is not None:
            loud = np.zeros(len(samples), bool)
            for start, end in spoken.speech:
                loud[int(start * UP_HZ) : int(end * UP_HZ)] = True
            power = float(np.mean(samples[loud] ** 2)) / max(float(np.mean(background**2)), 1e-12)
            samples = samples + np.resize(background, len(samples)) * power**0.5 * 10 ** (-mix.snr / 20)
    samples = samples * 10 ** (mix.gain_db / 20)
    samples = samples * min(1.0, _PEAK / max(float(np.abs(samples).max(initial=0)), 1e-12))
    return _frames(np.rint(samples * 32767).astype("<i2").tobytes())


def _samples(path: Path) -> Floats:
    (frames,) = _read(path, channels=1, otherwise=f"{path.name} is stereo")
    samples: Floats = np.frombuffer(b"".join(frames), "<i2").astype(np.float32) / np.float32(32768)
    return samples


def _read(path: Path, *, channels: int, otherwise: str) -> list[Pcm]:
    """Return the frames of each channel of a recording that must have so many, else it is refused as ``otherwise``."""
    with open_recording(path) as recording:
        if recording.format.channels != channels:
            raise UnreadableRecordingError(otherwise)
        found: list[Pcm] = [[] for _ in range(channels)]
        for block in recording.frames():
            for stream, frames in zip(found, block, strict=True):
                stream.extend(frames)
    return found


def _frames(pcm: bytes) -> Pcm:
    return [pcm[at : at + UP_FRAME_BYTES] for at in range(0, len(pcm) - UP_FRAME_BYTES + 1, UP_FRAME_BYTES)]
