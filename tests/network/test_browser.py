import pytest

from tests.network.browser import OpusWishes, wishes

OPUS = "m=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:0 PCMU/8000\r\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", OpusWishes()),
        ("a=fmtp:0 useinbandfec=1\r\n", OpusWishes()),
        ("a=fmtp:111 minptime=10;useinbandfec=1\r\n", OpusWishes(fec=True)),
        (
            "a=fmtp:111 useinbandfec=1; usedtx=1; maxplaybackrate=16000; maxaveragebitrate=24000; stereo=0\r\n",
            OpusWishes(fec=True, dtx=True, max_hz=16_000, bitrate=24_000),
        ),
        ("a=fmtp:111 maxaveragebitrate=64000;x\r\n", OpusWishes(bitrate=64_000)),
        ("a=fmtp:111 maxplaybackrate=16000\r\n", OpusWishes(max_hz=16_000, bitrate=20_000)),
    ],
)
def test_the_encoder_does_what_the_answer_asks(line: str, expected: OpusWishes) -> None:
    assert wishes(OPUS + line) == expected


def test_an_answer_without_opus_asks_nothing() -> None:
    assert wishes("v=0\r\n") == OpusWishes()
