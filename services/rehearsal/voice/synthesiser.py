"""Speech synthesis with espeak-ng from the wheel `espeakng-loader`, by ctypes, in this process."""

import ctypes
import re
from typing import Any

import espeakng_loader
import numpy as np
import soxr

from services.rehearsal.core.sound import HZ
from services.rehearsal.core.voices import DEFAULT_VOICE, VOICE_SOUNDS, VoiceSound

WORDS_PER_MINUTE = 158
_SLOWEST, _FASTEST = 80, 400

# From espeak-ng's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_RATE, _PITCH, _RANGE, _WORDGAP = 1, 3, 4, 7
_CHARS_UTF8 = 1
_POS_CHARACTER = 1
_OK = 0
_BUFFER_MS = 60
_DONT_EXIT = 0x8000
# espeak-ng says "nine AM" as in "I am"; letters that stand alone are spelled.
_HALF_OF_DAY = re.compile(r"(?<=[a-z0-9] )([AP])M\b")

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class EspeakError(RuntimeError):
    """espeak-ng failed to start or to synthesise."""


class Synthesiser:
    """Synthesises one sentence at a time. The library has one state per process, so create only one."""

    def __init__(self) -> None:
        self._library = _load()
        data = espeakng_loader.get_data_path().encode()
        self._hz = self._library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, _BUFFER_MS, data, _DONT_EXIT)
        if self._hz <= 0:
            raise EspeakError(f"espeak-ng finds no data in {data.decode()}")
        self._chunks: list[np.ndarray[Any, np.dtype[np.int16]]] = []
        self._callback = _Callback(self._on_audio)  # espeak-ng keeps the pointer, so it must live as long
        self._library.espeak_SetSynthCallback(self._callback)
        self._voice: VoiceSound | None = None
        self._set_voice(VOICE_SOUNDS[DEFAULT_VOICE])

    def _set_voice(self, voice: VoiceSound) -> None:
        if voice == self._voice:
            return
        if self._library.espeak_SetVoiceByName(voice.variant.encode()) != _OK:
            raise EspeakError(f"espeak-ng has no voice {voice.variant}")
        for parameter, value in ((_PITCH, voice.pitch), (_RANGE, 60), (_WORDGAP, 1)):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._voice = voice

    def _on_audio(self, samples: Any, count: int, _: object) -> int:  # noqa: ANN401 - a ctypes pointer
        if count > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())
        return 0

    def synthesise(
        self, text: str, *, voice: VoiceSound = VOICE_SOUNDS[DEFAULT_VOICE], speed_percent: int = 100
    ) -> bytes:
        """Return ``text`` as s16le mono 24 kHz.

        Raises:
            EspeakError: espeak-ng failed.
        """
        self._set_voice(voice)
        rate = min(max(WORDS_PER_MINUTE * speed_percent // 100, _SLOWEST), _FASTEST)
        self._library.espeak_SetParameter(_RATE, rate, 0)
        self._chunks.clear()
        encoded = _HALF_OF_DAY.sub(r"\1 M", text).encode() + b"\0"
        if self._library.espeak_Synth(encoded, len(encoded), 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None) != _OK:
            raise EspeakError("espeak-ng refused to speak")
        if not self._chunks:
            return b""
        return bytes(soxr.resample(np.concatenate(self._chunks), self._hz, HZ, quality="HQ").astype("<i2").tobytes())


def _load() -> ctypes.CDLL:
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    library.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
    library.espeak_SetSynthCallback.argtypes = [_Callback]
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_uint,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_uint,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    return library
