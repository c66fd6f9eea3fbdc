"""The weights in an ONNX file: as much of the format (protocol buffers) as that takes."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_GRAPH, _INITIALIZER = 7, 5  # fields of ModelProto and GraphProto
_DIMS, _DATA_TYPE, _NAME, _RAW_DATA = 1, 2, 8, 9  # fields of TensorProto
_FLOAT = 1
_VARINT, _LENGTH = 0, 2  # wire types
_MORE = 0x80


def read_weights(model: bytes) -> dict[str, NDArray[np.float32]]:
    """Return the float tensors of a model by name. ``model`` is trusted: its checksum has been compared."""
    weights: dict[str, NDArray[np.float32]] = {}
    for number, graph in _fields(model):
        if number == _GRAPH and isinstance(graph, bytes):
            for part, tensor in _fields(graph):
                if part == _INITIALIZER and isinstance(tensor, bytes):
                    _add_tensor(tensor, weights)
    return weights


def _add_tensor(tensor: bytes, weights: dict[str, NDArray[np.float32]]) -> None:
    shape: list[int] = []
    name, raw, data_type = "", b"", 0
    for number, value in _fields(tensor):
        if isinstance(value, int):
            if number == _DIMS:
                shape.append(value)
            elif number == _DATA_TYPE:
                data_type = value
        elif number == _NAME:
            name = value.decode()
        elif number == _RAW_DATA:
            raw = value
    if data_type == _FLOAT and len(raw) == 4 * math.prod(shape):
        weights[name] = np.frombuffer(raw, "<f4").reshape(shape)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of the fields that are integers or have a length."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire_type = key >> 3, key & 7
        if wire_type not in {_VARINT, _LENGTH}:
            raise ValueError(f"wire type {wire_type}")
        value, at = _varint(message, at)
        if wire_type == _VARINT:
            yield number, value
        else:
            yield number, message[at : at + value]
            at += value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & ~_MORE) << shift
        shift += 7
        if not byte & _MORE:
            return value, at
