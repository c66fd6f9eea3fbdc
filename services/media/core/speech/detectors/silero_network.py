"""The network of Silero VAD in NumPy, for many callers at a time.

One call of onnxruntime with 16 chunks takes 73 µs a chunk; this takes 18 on the same core, with the same results up to
rounding. All but the recurrent layer depends on a chunk alone, so chunks of all callers and of different times are
encoded together (`encode`), and only then passed through the recurrent layer in order (`step`).
"""

import hashlib
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from services.media.core.speech.detectors.onnx_weights import read_weights

MODEL_SHA256: Final = "7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49"
"""Of silero_vad_16k_op15.onnx in silero-vad 6.2.3."""
CHUNK_SAMPLES: Final = 512
"""New samples of a chunk, 32 ms at 16 kHz."""
CONTEXT_SAMPLES: Final = 64
"""Samples before these that a chunk repeats."""
STATE_SIZE: Final = 256
"""Numbers of a caller's recurrent state: 128 of output, 128 of memory."""
_UNITS = 128
_REFLECTED = 64  # samples at the end that are repeated backwards
_WINDOW, _HOP, _WINDOWS = 256, 128, 4
_BINS = _WINDOW // 2 + 1
_SAMPLES = CONTEXT_SAMPLES + CHUNK_SAMPLES
_PADDED = _SAMPLES + _REFLECTED
_FLOAT_BYTES = 4

Matrix = NDArray[np.float32]


class WrongModelError(ValueError):
    """The file is not the model that this network is written for."""


class SileroNetwork:
    """The weights, which all callers share."""

    def __init__(self, model: bytes) -> None:
        if (found := hashlib.sha256(model).hexdigest()) != MODEL_SHA256:
            raise WrongModelError(
                f"it is not silero_vad_16k_op15.onnx of silero-vad 6.2.3: its SHA-256 is {found}, not {MODEL_SHA256}"
            )
        weights = read_weights(model)
        convolutions = [weights[f"model.encoder.{n}.reparam_conv.weight"] for n in range(4)]
        self._biases: list[Any] = [weights[f"model.encoder.{n}.reparam_conv.bias"] for n in range(4)]
        self._biases[1] = np.tile(self._biases[1], 2)
        self._window: Any = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)).astype(np.float32)
        # Of each convolution (output, input, 3 taps), as matrices for all positions at once. Stride 1, then 2: four
        # positions, two, one; of the last only the middle tap meets a position.
        self._first: Any = np.ascontiguousarray(convolutions[0].transpose(2, 1, 0).reshape(3 * _BINS, _UNITS))
        self._second: Any = _two_positions(convolutions[1])
        self._third: Any = np.concatenate([convolutions[2][:, :, 1].T, convolutions[2][:, :, 2].T])
        self._fourth: Any = np.ascontiguousarray(convolutions[3][:, :, 1].T)
        # The sigmoid of x is half of 1 + tanh(x / 2): halved here, all gates take one tanh.
        halved = np.repeat(np.array([0.5, 0.5, 1, 0.5], np.float32), _UNITS)
        self._input_gates: Any = np.ascontiguousarray(weights["model.decoder.rnn.weight_ih"].T * halved)
        self._state_gates: Any = np.ascontiguousarray(weights["model.decoder.rnn.weight_hh"].T * halved)
        self._gate_bias: Any = (weights["model.decoder.rnn.bias_ih"] + weights["model.decoder.rnn.bias_hh"]) * halved
        self._output: Any = np.ascontiguousarray(weights["model.decoder.decoder.2.weight"].reshape(_UNITS))
        self._output_bias = float(weights["model.decoder.decoder.2.bias"][0])

    def encode(self, chunks: Matrix) -> Matrix:
        """Return the input of `step` for chunks, (n, 576), -1 to 1: 64 samples of context and 512 new ones."""
        count = len(chunks)
        padded: Any = np.empty((count, _PADDED), np.float32)
        padded[:, :_SAMPLES] = chunks
        padded[:, _SAMPLES:] = chunks[:, _SAMPLES - 2 : _SAMPLES - 2 - _REFLECTED : -1]
        spectrum: Any = np.fft.rfft(_windows(padded, (count, _WINDOWS, _WINDOW), _PADDED, _HOP) * self._window)
        parts = spectrum.view(np.float32)
        parts *= parts
        magnitudes: Any = np.zeros((count, _WINDOWS + 2, _BINS), np.float32)  # with an empty position at both ends
        inner = magnitudes[:, 1:-1]
        np.add(parts[..., 0::2], parts[..., 1::2], out=inner)
        np.sqrt(inner, out=inner)
        taps = _windows(magnitudes, (count, _WINDOWS, 3 * _BINS), (_WINDOWS + 2) * _BINS, _BINS)
        hidden: Any = _rectified(taps.reshape(count * _WINDOWS, 3 * _BINS), self._first, self._biases[0])
        hidden = _rectified(hidden.reshape(count, _WINDOWS * _UNITS), self._second, self._biases[1])
        hidden = _rectified(_rectified(hidden, self._third, self._biases[2]), self._fourth, self._biases[3])
        gates: Matrix = hidden @ self._input_gates + self._gate_bias
        return gates

    def step(self, inputs: Matrix, states: Matrix) -> tuple[list[float], Matrix]:
        """Return the logit of the speech probability of each caller's next chunk, and the callers' new states.

        ``inputs``: of `encode`, one for each caller; ``states``: (n, 256), zeros for a fresh one.
        """
        gates: Any = states[:, :_UNITS] @ self._state_gates
        gates += inputs
        np.tanh(gates, out=gates)
        candidates = gates[:, 2 * _UNITS : 3 * _UNITS].copy()
        opened = gates
        opened *= 0.5
        opened += 0.5
        after: Matrix = np.empty_like(states)
        output, memory = after[:, :_UNITS], after[:, _UNITS:]
        np.multiply(opened[:, _UNITS : 2 * _UNITS], states[:, _UNITS:], out=memory)
        memory += opened[:, :_UNITS] * candidates
        np.multiply(opened[:, 3 * _UNITS :], np.tanh(memory), out=output)
        logits: list[float] = (np.maximum(output, 0) @ self._output + self._output_bias).tolist()
        return logits, after


def _windows(values: Matrix, shape: tuple[int, int, int], row: int, hop: int) -> Any:  # noqa: ANN401 - a view
    """Return overlapping parts of each row: ``row`` and ``hop`` are the distances in numbers."""
    return as_strided(values, shape, (row * _FLOAT_BYTES, hop * _FLOAT_BYTES, _FLOAT_BYTES))


def _rectified(inputs: Any, weights: Any, bias: Any) -> Any:  # noqa: ANN401 - arrays, as mypyc takes them
    outputs = inputs @ weights
    outputs += bias
    return np.maximum(outputs, 0, out=outputs)


def _two_positions(convolution: Matrix) -> Matrix:
    """Return the matrix of a convolution of stride 2 from four positions to two."""
    outputs, inputs, _ = convolution.shape
    matrix = np.zeros((_WINDOWS, inputs, 2, outputs), np.float32)
    for position, tap in ((0, 1), (0, 2), (1, 0), (1, 1), (1, 2)):
        matrix[2 * position + tap - 1, :, position] = convolution[:, :, tap].T
    return matrix.reshape(_WINDOWS * inputs, 2 * outputs)
