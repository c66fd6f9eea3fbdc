"""Merges the metrics of several processes into those of one pod: each sample gets a label with its process.

Works on Prometheus' text format line by line, as its Python client writes it: a family's HELP and TYPE precede its
samples, and a family's lines must stay together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

LABEL = "process"


@dataclass(slots=True)
class _Family:
    head: dict[str, None] = field(default_factory=dict)  # HELP and TYPE, once, in their order
    samples: list[str] = field(default_factory=list)


def merge(texts: Mapping[str, str]) -> str:
    """Merge ``texts``, keyed by the label's value, into one exposition."""
    families: dict[str, _Family] = {}
    for process, text in texts.items():
        family = families.setdefault("", _Family())
        for line in text.splitlines():
            if line.startswith("# "):
                family = families.setdefault(line.split(" ", 3)[2], _Family())
                family.head[line] = None
            elif line:
                family.samples.append(_labelled(line, process))
    return "".join(f"{line}\n" for family in families.values() for line in (*family.head, *family.samples))


def _labelled(sample: str, process: str) -> str:
    name, brace, rest = sample.partition("{")
    if brace:
        return f'{name}{{{LABEL}="{process}",{rest}'
    name, _, value = sample.partition(" ")
    return f'{name}{{{LABEL}="{process}"}} {value}'
