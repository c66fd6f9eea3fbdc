"""What a check found: one line that says what was tried, what came of it, and the mend."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["ok", "warn", "fail"]
"""`warn`: something works less well, or for fewer clients, or could not be tried; `fail`: calls will not work."""
_NAME_WIDTH = 11


@dataclass(frozen=True, slots=True)
class Finding:
    """``mend``: what to do; empty when there is nothing to do."""

    check: str
    state: State
    found: str
    mend: str = ""

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)

    def line(self) -> str:
        """For people. What came from elsewhere cannot break out of its line."""
        text = f"{self.state:<4} {self.check:<{_NAME_WIDTH}} {self.found}"
        text += f". Mend: {self.mend}" if self.mend else ""
        return "".join(character if character.isprintable() else "?" for character in text)


def ok(check: str, found: str) -> Finding:
    """Works."""
    return Finding(check, "ok", found)


def warn(check: str, found: str, mend: str) -> Finding:
    """Works less well."""
    return Finding(check, "warn", found, mend)


def fail(check: str, found: str, mend: str) -> Finding:
    """Does not work."""
    return Finding(check, "fail", found, mend)
