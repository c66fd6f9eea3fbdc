import pytest

from tests.network.browser import EncoderSettings, encoder_settings

OPUS = "m=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:0 PCMU/8000\r\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", EncoderSettings()),
        ("a=fmtp:0 useinbandfec=1\r\n", EncoderSettings()),
        ("a=fmtp:111 minptime=10;useinbandfec=1\r\n", EncoderSettings(fec=True)),
        (
            "a=fmtp:111 useinbandfec=1; usedtx=1; maxplaybackrate=16000; maxaveragebitrate=24000; stereo=0\r\n",
            EncoderSettings(fec=True, dtx=True, max_hz=16_000, bitrate=24_000),
        ),
        ("a=fmtp:111 maxaveragebitrate=64000;x\r\n", EncoderSettings(bitrate=64_000)),
        ("a=fmtp:111 maxplaybackrate=16000\r\n", EncoderSettings(max_hz=16_000, bitrate=20_000)),
    ],
)
def test_the_encoder_follows_the_answers_fmtp(line: str, expected: EncoderSettings) -> None:
    assert encoder_settings(OPUS + line) == expected


def test_an_answer_without_opus_asks_nothing() -> None:
    assert encoder_settings("v=0\r\n") == EncoderSettings()
