"""The result of a check: what was checked, what was found, and how to fix it."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["ok", "warn", "fail"]
"""`warn`: works with restrictions, for fewer clients, or could not be checked; `fail`: calls will not work."""
_NAME_WIDTH = 11


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check. ``mend``: how to fix it; empty if nothing needs fixing."""

    check: str
    state: State
    found: str
    mend: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)

    def line(self) -> str:
        """Return one printable line; control characters in it are replaced by `?`."""
        text = f"{self.state:<4} {self.check:<{_NAME_WIDTH}} {self.found}"
        text += f". Mend: {self.mend}" if self.mend else ""
        return "".join(character if character.isprintable() else "?" for character in text)


def ok(check: str, found: str) -> Finding:
    """Return a finding without a problem."""
    return Finding(check, "ok", found)


def warn(check: str, found: str, mend: str) -> Finding:
    """Return a finding of a restriction, with its fix."""
    return Finding(check, "warn", found, mend)


def fail(check: str, found: str, mend: str) -> Finding:
    """Return a finding of a failure, with its fix."""
    return Finding(check, "fail", found, mend)
