"""A span exporter that keeps the spans of one process for a test."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from services.runtime.telemetry.tracing import Span


@dataclass
class RecordedSpans:
    """The exported spans, in the order in which they ended."""

    spans: list[Span] = field(default_factory=list)

    def export(self, span: Span) -> None:
        self.spans.append(span)

    def all(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> Span:
        (span,) = self.all(name)
        return span

    def attribute_values(self, name: str, attribute: str) -> Sequence[object]:
        """Return the values of ``attribute`` of the spans with this name."""
        return [span.attributes.get(f"hushgate.{attribute}") for span in self.all(name)]
