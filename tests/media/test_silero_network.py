"""Silero VAD in NumPy: the results of onnxruntime, for any batch."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.media.core.speech.detectors.onnx_weights import read_weights
from services.media.core.speech.detectors.silero_network import STATE_SIZE, SileroNetwork, WrongModelError
from tests.media.voices import hiss, model, sentence

# Of onnxruntime 1.32 with the same file, for the first 16 chunks of the recorded sentence.
BY_ONNXRUNTIME = [
    *(0.0136, 0.0133, 0.03, 0.4999, 0.8506, 0.8467, 0.7159, 0.513),
    *(0.5374, 0.4443, 0.6456, 0.5579, 0.7668, 0.744, 0.6937, 0.9313),
]
NETWORK = SileroNetwork(model())


def chunks(samples: Any, count: int) -> Any:  # noqa: ANN401 - arrays
    padded = np.concatenate([np.zeros(64), samples]) / 32768
    return np.array([padded[n * 512 : n * 512 + 576] for n in range(count)], np.float32)


def logits(inputs: Any) -> list[float]:  # noqa: ANN401 - arrays
    states, found = np.zeros((1, STATE_SIZE), np.float32), []
    for row in inputs:
        logit, states = NETWORK.step(row[np.newaxis], states)
        found += logit
    return found


def test_it_finds_what_onnxruntime_finds() -> None:
    found = 1 / (1 + np.exp(-np.array(logits(NETWORK.encode(chunks(sentence(), 16))))))
    assert found == pytest.approx(BY_ONNXRUNTIME, abs=1e-4)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(0, 9))
def test_a_batch_finds_what_its_callers_find_alone(gains: list[int], seed: int) -> None:
    sounds = [chunks(gain / 5 * (sentence()[: 512 * 6] + hiss(0.192, 300, seed)), 6) for gain in gains]
    states, together = np.zeros((len(sounds), STATE_SIZE), np.float32), []
    for number in range(6):
        found, states = NETWORK.step(NETWORK.encode(np.array([sound[number] for sound in sounds])), states)
        together.append(found)
    alone = [logits(NETWORK.encode(sound)) for sound in sounds]
    assert list(np.array(together).T.flat) == pytest.approx(list(np.array(alone).flat), abs=1e-3)


def test_loud_and_digitally_silent_chunks_are_finite() -> None:
    sounds = np.array([chunks(np.zeros(512), 1)[0], chunks(np.full(512, -32768.0), 1)[0]])
    assert np.isfinite(NETWORK.step(NETWORK.encode(sounds), np.zeros((2, STATE_SIZE), np.float32))[0]).all()


def test_another_model_is_refused() -> None:
    with pytest.raises(WrongModelError, match=r"it is not silero_vad_16k_op15.onnx .*: its SHA-256 is [0-9a-f]{64}"):
        SileroNetwork(model()[:-1])


def tensor(name: str, values: list[float], *, data_type: int = 1, size: int | None = None) -> bytes:
    """A TensorProto of one dimension; with the external data location, a field that is not read."""
    raw = np.array(values, "<f4").tobytes()
    fields = bytes([0x08, len(values) if size is None else size, 0x10, data_type, 0x70, 0])
    return fields + bytes([0x42, len(name)]) + name.encode() + bytes([0x4A, len(raw)]) + raw + bytes([0x62, 1, 0x2E])


def model_of(*tensors: bytes) -> bytes:
    graph = b"".join(bytes([0x2A, len(one)]) + one for one in tensors) + bytes([0x12, 1, 0x67, 0x28, 1])
    return bytes([0x08, 0x88, 0x01, 0x38, 1, 0x3A, len(graph)]) + graph


def test_float_tensors_are_read() -> None:
    other = tensor("whole", [1.0], data_type=7)
    without_data = tensor("outside", [], size=3)
    found = read_weights(model_of(tensor("a", [1.5, -2.0]), other, tensor("b", []), without_data))
    assert {name: values.tolist() for name, values in found.items()} == {"a": [1.5, -2.0], "b": []}


def test_a_field_of_another_wire_type_is_an_error() -> None:
    with pytest.raises(ValueError, match="wire type 5"):
        read_weights(b"\x0d\0\0\0\0")
