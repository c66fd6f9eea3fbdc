"""`--require 'setup_ms.p95 <500'`: a condition on one of the figures."""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_FORM = re.compile(r"\s*([\w.-]+)\s*(<=|>=|==|<|>)\s*(-?\d+(?:\.\d+)?)\s*")
ANY = "*"
"""Matches any name in a path of `known`."""


class RequirementSyntaxError(ValueError):
    """The requirement cannot be parsed, or names no figure."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """The ``path`` of a figure, e.g. `setup_ms.p95`, and the condition on it."""

    path: str
    sign: str
    limit: float

    def __str__(self) -> str:
        return f"{self.path} {self.sign} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class UnmetRequirement:
    """A requirement that the figures do not meet. ``found`` is None when nothing was measured."""

    requirement: Requirement
    found: float | None

    def __str__(self) -> str:
        if self.found is None:
            return f"{self.requirement} is required, but nothing was measured"
        off = abs(self.found - self.requirement.limit)
        return f"{self.requirement} is required, but it is {self.found:g} ({off:g} off)"


def parse(text: str, *, known: Mapping[str, Any]) -> Requirement:
    """Parse one requirement. ``known`` has the shape of the figures: only its numbers can be named.

    Raises:
        RequirementSyntaxError: what is wrong, and which figures exist.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise RequirementSyntaxError(f"{text!r} is not FIGURE SIGN NUMBER, as in 'setup_ms.p95 < 500'")
    path, sign, limit = match.groups()
    names = sorted(_leaves(known))
    if not any(_fits(path, name) for name in names):
        raise RequirementSyntaxError(f"there is no figure {path!r}: there are {', '.join(names)}")
    return Requirement(path, sign, float(limit))


def unmet(requirement: Requirement, figures: Mapping[str, Any]) -> UnmetRequirement | None:
    """Check ``requirement`` against ``figures``; None when it is met. A figure without a measurement meets nothing."""
    found: Any = figures
    for name in requirement.path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    if found is None:
        return UnmetRequirement(requirement, None)
    met = _COMPARE[requirement.sign](found, requirement.limit)
    return None if met else UnmetRequirement(requirement, float(found))


def _fits(path: str, name: str) -> bool:
    given, wanted = path.split("."), name.split(".")
    return len(given) == len(wanted) and all(want in (ANY, got) for got, want in zip(given, wanted, strict=True))


def _leaves(known: Mapping[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for name, value in known.items():
        found += _leaves(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [f"{prefix}{name}"]
    return found
