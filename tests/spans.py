"""Spans of one process, kept where a test can read them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from services.runtime.tracing import Span


@dataclass
class Kept:
    """A sink."""

    spans: list[Span] = field(default_factory=list)

    def put(self, span: Span) -> None:
        self.spans.append(span)

    def all(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> Span:
        (span,) = self.all(name)
        return span

    def noted(self, name: str, attribute: str) -> Sequence[object]:
        """What the spans of that name say, in the order in which they ended."""
        return [span.attributes.get(f"hushgate.{attribute}") for span in self.all(name)]
