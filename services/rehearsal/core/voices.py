"""The provider's voices, and how each sounds here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

VoiceName = Literal["alloy", "ash", "ballad", "cedar", "coral", "echo", "marin", "sage", "shimmer", "verse"]

DEFAULT_VOICE: VoiceName = "marin"


@dataclass(frozen=True, slots=True)
class VoiceSound:
    """``variant`` of espeak-ng's voice, and its ``pitch`` from 0 to 99; the pitch of each voice is its own."""

    variant: str
    pitch: int


VOICE_SOUNDS: dict[str, VoiceSound] = {
    "alloy": VoiceSound("en-us+f1", 42),
    "ash": VoiceSound("en-us+m1", 40),
    "ballad": VoiceSound("en-us+m2", 52),
    "cedar": VoiceSound("en-us+m3", 34),
    "coral": VoiceSound("en-us+f2", 56),
    "echo": VoiceSound("en-us+m4", 46),
    "marin": VoiceSound("en-us+f3", 48),
    "sage": VoiceSound("en-us+f5", 44),
    "shimmer": VoiceSound("en-us+f4", 60),
    "verse": VoiceSound("en-us+m7", 38),
}


def voice_name(value: object) -> object:
    """Return ``value`` unless it is a voice that does not exist here.

    Raises:
        ValueError: with the sentence for the client.
    """
    match value:
        case Mapping():
            raise ValueError("custom voices are not available in the rehearsal; name one of the API's voices")
        case str() if value not in VOICE_SOUNDS:
            raise ValueError(f"supported voices are: {', '.join(get_args(VoiceName))}")
        case _:
            return value
