import struct

import numpy as np
import pytest

from services.gate.core.wav import UnreadableRecordingError, WavFormat, decode, parse_format
from tests.gate.waves import FORMATS, LAWS, encoded

RAMP = np.linspace(-0.99, 0.99, 199)
STEP = {"pcm8": 1 / 64, "pcm16": 1e-4, "pcm24": 1e-6, "pcm32": 1e-6, "float32": 1e-6, "float64": 1e-6}


def fmt(code: int, bits: int, *, hz: int = 16_000, channels: int = 1) -> bytes:
    block = channels * bits // 8
    return struct.pack("<HHIIHH", code, channels, hz, hz * block, block, bits)


@pytest.mark.parametrize("encoding", FORMATS)
def test_linear_samples_are_decoded_to_full_scale_one(encoding: str) -> None:
    source = parse_format(fmt(*FORMATS[encoding]))
    assert source.encoding == encoding
    samples = decode(encoded(RAMP, encoding), source)
    assert samples.shape == (len(RAMP), 1)
    assert np.abs(samples[:, 0] - RAMP).max() < STEP[encoding]


def test_alaw_is_decoded_as_g711_says() -> None:
    source = parse_format(fmt(*LAWS["alaw"], hz=8_000))
    assert (decode(bytes((0xD5, 0x55, 0xAA, 0x2A, 0xC5)), source)[:, 0] * 32768).tolist() == [8, -8, 32256, -32256, 264]


def test_ulaw_is_decoded_as_g711_says() -> None:
    source = parse_format(fmt(*LAWS["ulaw"], hz=8_000))
    assert (decode(bytes((0xFF, 0x7F, 0x80, 0x00, 0xEF)), source)[:, 0] * 32768).tolist() == [0, 0, 32124, -32124, 132]


def test_channels_are_columns_and_an_incomplete_sample_is_left_out() -> None:
    source = WavFormat("pcm16", 16_000, 2)
    assert (decode(struct.pack("<5h", 1, 2, 3, 4, 5), source) * 32768).tolist() == [[1, 2], [3, 4]]


def test_floats_that_are_no_numbers_or_too_loud_are_within_full_scale() -> None:
    samples = decode(
        struct.pack("<4f", float("nan"), float("inf"), float("-inf"), 2.0), WavFormat("float32", 16_000, 1)
    )
    assert samples[:, 0].tolist() == [0, 1, -1, 1]


def test_an_extensible_format_names_its_encoding_in_its_guid() -> None:
    extension = struct.pack("<HHIH14s", 22, 24, 4, 1, b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71")
    assert parse_format(fmt(0xFFFE, 24) + extension) == WavFormat("pcm24", 16_000, 1)


@pytest.mark.parametrize(
    ("chunk", "reason"),
    [
        (b"", "its format chunk has 0 bytes instead of 16 or more"),
        (fmt(2, 4), r"its encoding \(format 0x2, 4 bits\) is not supported"),
        (fmt(0xFFFE, 16), r"its encoding \(format 0xfffe, 16 bits\) is not supported"),
        (fmt(1, 12), "12 bits"),
        (fmt(1, 16, hz=7_999), "its rate is 7999 Hz: 8000 to 48000 Hz can be read"),
        (fmt(1, 16, hz=96_000), "its rate is 96000 Hz"),
        (fmt(1, 16, channels=0), "it has 0 channels: mono and stereo can be read"),
        (fmt(1, 16, channels=6), "it has 6 channels"),
    ],
)
def test_another_format_is_refused_with_a_reason(chunk: bytes, reason: str) -> None:
    with pytest.raises(UnreadableRecordingError, match=reason):
        parse_format(chunk)
