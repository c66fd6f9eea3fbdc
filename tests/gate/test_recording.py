import os
import struct
from pathlib import Path

import numpy as np
import pytest

from services.gate.core.wav import UnreadableRecordingError
from services.gate.recording import open_recording
from tests.gate.waves import header, voice, write_wav


def channels_of(path: Path) -> list[bytes]:
    with open_recording(path) as recording:
        blocks = list(recording.frames())
    return [b"".join(frame for block in blocks for frame in block[number]) for number in range(len(blocks[0]))]


def test_samples_at_16_khz_are_not_changed_and_the_last_frame_is_filled_with_silence(tmp_path: Path) -> None:
    samples = voice()[:40_001]
    (pcm,) = channels_of(write_wav(tmp_path / "a.wav", samples))
    assert pcm[: 2 * 40_001] == samples.tobytes()
    assert len(pcm) == 126 * 640
    assert not any(pcm[2 * 40_001 :])


@pytest.mark.parametrize("hz", [8_000, 11_025, 44_100, 48_000])
def test_other_rates_are_resampled(tmp_path: Path, hz: int) -> None:
    tone = (8_000 * np.sin(2 * np.pi * 500 * np.arange(2 * hz) / hz)).astype(np.int16)
    (pcm,) = channels_of(write_wav(tmp_path / "a.wav", tone, hz=hz))
    found = np.frombuffer(pcm, "<i2")
    expected = 8_000 * np.sin(2 * np.pi * 500 * np.arange(len(found)) / 16_000)
    assert 31_990 <= len(found) <= 32_320
    assert np.abs(found - expected)[1_000:31_000].max() < 100


def test_each_channel_of_a_stereo_file_is_a_stream(tmp_path: Path) -> None:
    both = np.stack([np.arange(640), -np.arange(640)], axis=1).astype(np.int16)
    left, right = channels_of(write_wav(tmp_path / "a.wav", both, channels=2))
    assert np.frombuffer(left, "<i2").tolist() == list(range(640))
    assert np.frombuffer(right, "<i2").tolist() == [-n for n in range(640)]


@pytest.mark.parametrize("stated", [0, 0xFFFFFFFF])
def test_a_file_whose_writer_did_not_know_its_length_goes_on_to_its_end(tmp_path: Path, stated: int) -> None:
    (tmp_path / "a.wav").write_bytes(header(1, 16, size=stated) + bytes(3_200))
    with open_recording(tmp_path / "a.wav") as recording:
        assert recording.seconds == 0.1


def test_a_file_of_more_than_4_gib_has_its_size_in_another_chunk(tmp_path: Path) -> None:
    plain = header(1, 16, size=0xFFFFFFFF)
    ds64 = b"ds64" + struct.pack("<IQQQI", 28, 0, 100 * 3600 * 32_000, 0, 0)
    (tmp_path / "a.wav").write_bytes(b"RF64" + plain[4:12] + ds64 + plain[12:])
    os.truncate(tmp_path / "a.wav", 100 * 3600 * 32_000 + 1_000)  # sparse: 100 hours that take no space
    with open_recording(tmp_path / "a.wav") as recording:
        assert recording.seconds == 360_000
        assert [len(frames) for frames in next(recording.frames())] == [50]


def test_other_chunks_are_skipped(tmp_path: Path) -> None:
    plain = header(1, 16, size=640)
    extra = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    (tmp_path / "a.wav").write_bytes(plain[:12] + extra + plain[12:] + bytes(640))
    with open_recording(tmp_path / "a.wav") as recording:
        assert recording.seconds == 0.02


UNREADABLE = {
    "it is empty": b"",
    "it is not a WAV file": b"ID3\x04 this is an MP3",
    "it ends before its data: it is truncated": header(1, 16, size=640)[:36],
    "its format chunk has 0 bytes": b"RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00",
    "its format chunk does not come before its data": b"RIFF\x00\x00\x00\x00WAVEdata\x02\x00\x00\x00\x00\x00",
    "it is truncated: it has 1.0 of the 2.0 s that it should have": header(1, 16, size=64_000) + bytes(32_000),
    "it has no samples": header(1, 16, size=1) + b"\0",
}


@pytest.mark.parametrize("reason", UNREADABLE)
def test_what_is_no_whole_recording_is_refused_with_a_reason(tmp_path: Path, reason: str) -> None:
    (tmp_path / "a.wav").write_bytes(UNREADABLE[reason])
    with pytest.raises(UnreadableRecordingError, match=reason), open_recording(tmp_path / "a.wav"):
        pass


def test_folders_missing_files_and_pipes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, reason in ((".", "a folder"), ("none.wav", "No such file"), ("pipe", "not a regular file")):
        with pytest.raises(UnreadableRecordingError, match=reason), open_recording(tmp_path / name):
            pass
