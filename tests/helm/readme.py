"""The table of values in the chart's README, from the comments of values.yaml: `make chart-docs` writes it anew."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from tests.helm.chart import CHART

README = CHART / "README.md"
BEGIN, END = "<!-- values -->", "<!-- end of values -->"
_KEY = re.compile(r"(?P<indent> *)(?P<name>[A-Za-z_]\w*):(?P<value> .*)?$")


@dataclass(frozen=True)
class ValueRow:
    """A key with its place, what is written behind it, and the comment above it."""

    path: tuple[str, ...]
    value: str
    comment: str


def rows(text: str) -> Iterator[ValueRow]:
    """The keys of a YAML file in its order; only maps are nested, as in ours."""
    path: list[str] = []
    comment: list[str] = []
    for line in text.splitlines():
        if line.strip().startswith("#"):
            comment.append(line.strip()[1:].strip())
        elif found := _KEY.match(line):
            path[len(found["indent"]) // 2 :] = [found["name"]]
            yield ValueRow(tuple(path), (found["value"] or "").strip(), " ".join(comment))
            comment = []
        else:
            comment = []


def table(text: str) -> str:
    """A section for each top-level key."""
    lines: list[str] = []
    for row in rows(text):
        name = ".".join(row.path)
        if len(row.path) == 1 and not row.value:
            lines += ["", f"### {name}", *([row.comment] if row.comment else [])]
            lines += ["", "| key | default | meaning |", "|---|---|---|"]
        elif row.value or row.comment:
            if not lines:
                lines += ["", "### general", "", "| key | default | meaning |", "|---|---|---|"]
            lines.append(f"| `{name}` | {_shown(row.value)} | {row.comment.replace('|', '/')} |")
    return "\n".join(lines).strip()


def _shown(value: str) -> str:
    return f"`{json.dumps(yaml.safe_load(value), ensure_ascii=False)}`" if value else ""


def fresh() -> str:
    """The README with the table as it should be."""
    before, _, rest = README.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table((CHART / 'values.yaml').read_text())}\n{END}{after}"


if __name__ == "__main__":
    README.write_text(fresh())
