"""Converts numbers up to ninety-nine to words and back."""

_ONES = (  # noqa: SIM905 - a list of quoted words is worse to read
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()  # noqa: SIM905 - as above
_VALUES = {word: value for value, word in enumerate(_ONES)} | {
    word: 10 * place for place, word in enumerate(_TENS, start=2)
}
_TWENTY = 20


def in_words(value: int) -> str:
    """Spell ``value`` from 0 to 99."""
    if value < _TWENTY:
        return _ONES[value]
    tens, ones = divmod(value, 10)
    return _TENS[tens - 2] + (f" {_ONES[ones]}" if ones else "")


def numbers_in(text: str) -> list[int]:
    """All numbers in ``text``, in digits or in words."""
    found: list[int] = []
    open_tens = False
    for word in text.lower().replace("-", " ").split():
        bare = word.strip(".,?!")
        value = int(bare) if bare.isascii() and bare.isdigit() else _VALUES.get(bare)
        if value is None:
            open_tens = False
        elif open_tens and 0 < value < 10:  # noqa: PLR2004 - twenty, then five
            found[-1] += value
            open_tens = False
        else:
            found.append(value)
            open_tens = bare in _TENS
    return found
