"""Speech recognition for tests: pocketsphinx with a small grammar. Needs the extra `voice`."""

import numpy as np
import pocketsphinx

from services.callers.speech import SPEECH_HZ, Samples, resample

_PADDING_S = 0.3
"""pocketsphinx drops the first word if no silence precedes it."""


def grammar(*phrases: str) -> str:
    """A JSGF grammar that accepts exactly these phrases. Words must be in pocketsphinx's dictionary: digits are not."""
    choices = " | ".join(phrase.lower() for phrase in phrases)
    return f"#JSGF V1.0;\ngrammar heard;\npublic <heard> = {choices};\n"


def recognise(samples: Samples, *, hz: int, jsgf: str) -> str:
    """Return the phrase of the grammar in ``samples``; empty if none. Takes about a tenth of the sound's time."""
    padding = np.zeros(round(_PADDING_S * SPEECH_HZ), dtype=np.int16)
    sound = np.concatenate((padding, resample(samples, from_hz=hz, to_hz=SPEECH_HZ), padding))
    decoder = pocketsphinx.Decoder(samprate=SPEECH_HZ, lm=None, loglevel="FATAL")
    decoder.add_jsgf_string("heard", jsgf)
    decoder.activate_search("heard")
    decoder.start_utt()
    decoder.process_raw(sound.astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()
    found = decoder.hyp()
    return str(found.hypstr) if found else ""
