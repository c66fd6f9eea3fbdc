import numpy as np
import pytest

from services.contracts.audio import DOWN_FRAME_SAMPLES, DOWN_HZ, UP_FRAME_BYTES, PcmFrame
from services.media.core.speech.echo import EchoDetector
from tests.media.uttered import Waveform, babble, frames

AT = 50.0
SECONDS = 2.0


def echoed(played: Waveform, *, delay_ms: int, gain: float) -> list[bytes]:
    """What a microphone gets of 24 kHz audio, at 16 kHz: with two reflections, later and weaker."""
    delay = delay_ms * DOWN_HZ // 1000
    late = np.concatenate([np.zeros(delay), played])[: len(played)]
    late += 0.4 * np.roll(late, 70) - 0.3 * np.roll(late, 130)
    spectrum = np.fft.rfft(late)
    down = np.fft.irfft(spectrum[: len(late) // 3 + 1], len(late) * 2 // 3) * 2 / 3
    return frames(gain * down)


def played_to(detector: EchoDetector, answer: Waveform, heard: list[bytes]) -> None:
    """Play and receive for 1.5 s."""
    pcm = answer.astype("<i2").tobytes()
    size = DOWN_FRAME_SAMPLES * 2
    for index in range(75):
        detector.on_played(pcm[index * size : (index + 1) * size], now=AT + index * 0.02 + 0.002 * (index % 3))
        detector.on_received(PcmFrame(index, heard[index]), now=AT + (index + 1) * 0.02)


@pytest.mark.parametrize("delay_ms", [40, 150, 300, 560])
@pytest.mark.parametrize("gain", [0.5, 0.03])
def test_an_echo_is_found_at_any_delay_and_level(delay_ms: int, gain: float) -> None:
    detector, answer = EchoDetector(), babble(SECONDS, 1)
    played_to(detector, answer, echoed(answer, delay_ms=delay_ms, gain=gain))
    assert detector.is_echo()
    assert detector.is_echo(), "the path is known now"


def test_another_voice_is_no_echo() -> None:
    for seed in range(2, 12):
        detector = EchoDetector()
        played_to(detector, babble(SECONDS, 1), echoed(babble(SECONDS, seed), delay_ms=0, gain=0.5))
        assert not detector.is_echo()


def test_a_voice_over_an_echo_whose_path_is_known_is_no_echo() -> None:
    detector, answer = EchoDetector(), babble(SECONDS, 1)
    heard = echoed(answer, delay_ms=150, gain=0.1)
    played_to(detector, answer, heard)
    assert detector.is_echo()
    for index, frame in enumerate(echoed(babble(SECONDS, 7), delay_ms=0, gain=0.6)[:10], 75):
        detector.on_received(PcmFrame(index, frame), now=AT + (index + 1) * 0.02)
    assert not detector.is_echo()


def test_an_echo_by_another_path_is_found_too() -> None:
    detector, answer = EchoDetector(), babble(SECONDS, 1)
    played_to(detector, answer, echoed(answer, delay_ms=150, gain=0.1))
    assert detector.is_echo()
    again = babble(SECONDS, 3)
    other = EchoDetector()
    played_to(other, again, echoed(again, delay_ms=200, gain=0.1))
    detector.__dict__.update({key: value for key, value in vars(other).items() if key != "_path"})
    assert detector.is_echo()


def test_silence_is_no_echo() -> None:
    detector = EchoDetector()
    played_to(detector, babble(SECONDS, 1), [bytes(UP_FRAME_BYTES)] * 75)
    assert not detector.is_echo()


def test_where_silence_was_played_there_is_no_echo() -> None:
    detector = EchoDetector()
    played_to(detector, np.zeros(int(SECONDS * DOWN_HZ)), echoed(babble(SECONDS, 1), delay_ms=0, gain=0.5))
    assert not detector.is_echo()


def test_where_nothing_was_played_there_is_no_echo() -> None:
    detector = EchoDetector()
    for index, frame in enumerate(echoed(babble(SECONDS, 1), delay_ms=0, gain=0.5)[:40]):
        detector.on_received(PcmFrame(index, frame), now=AT + index * 0.02)
    assert not detector.is_echo()


def test_too_little_was_received_to_compare() -> None:
    detector = EchoDetector()
    detector.on_played(babble(0.1, 1).astype("<i2").tobytes(), now=AT)
    detector.on_received(PcmFrame(0, bytes(UP_FRAME_BYTES)), now=AT)
    assert not detector.is_echo()


def test_an_echo_is_found_by_when_it_was_played_also_after_a_pause() -> None:
    detector, answer = EchoDetector(), babble(SECONDS, 1)
    answer[: DOWN_HZ // 2] = 0  # played as a pause of the packets
    heard = echoed(answer, delay_ms=150, gain=0.3)
    pcm = answer.astype("<i2").tobytes()
    size = DOWN_FRAME_SAMPLES * 2
    for index in range(75):
        if index == 0 or index >= 25:
            detector.on_played(pcm[index * size : (index + 1) * size], now=AT + index * 0.02)
        detector.on_received(PcmFrame(index, heard[index]), now=AT + (index + 1) * 0.02)
    assert detector.is_echo()


def test_a_faint_end_of_an_echo_is_one_too() -> None:
    detector, answer = EchoDetector(), babble(SECONDS, 1)
    heard = echoed(answer, delay_ms=100, gain=0.3)
    heard[70:] = [bytes(UP_FRAME_BYTES)] * len(heard[70:])
    played_to(detector, answer, heard)
    assert detector.is_echo()
