"""What the recogniser returns, and what a session's transcription settings make of it."""

import difflib
from dataclasses import dataclass

from pydantic import JsonValue

from services.rehearsal.core.items import words_of

_ALIKE = 0.8
_SHORTEST_GUESS = 4


@dataclass(frozen=True, slots=True)
class Transcript:
    """Recognised words, empty if there are none. ``logprob``: the recogniser's score of all of them."""

    text: str
    logprob: float = 0.0


def spelled_like(text: str, prompt: str) -> str:
    """Return ``text`` with the spelling of ``prompt`` for each word that is in it, or that sounds much like one."""
    known = {_bare(word): word.strip(".,;:!?\"'()") for word in prompt.split()}
    known.pop("", None)
    return "".join(_respelled(word, known) for word in words_of(text))


def _bare(word: str) -> str:
    return "".join(letter for letter in word.lower() if letter.isalnum())


def _respelled(word: str, known: dict[str, str]) -> str:
    bare = _bare(word)
    if bare not in known and len(bare) >= _SHORTEST_GUESS:
        bare = next(iter(difflib.get_close_matches(bare, known, n=1, cutoff=_ALIKE)), bare)
    space = word[: len(word) - len(word.lstrip())]
    return space + known[bare] if bare in known else word


def logprobs_of(words: list[str], logprob: float) -> list[JsonValue]:
    """The `logprobs` of a transcription event: each word with the score of the whole utterance."""
    return [{"token": word, "bytes": list(word.encode()), "logprob": round(logprob, 4)} for word in words]
