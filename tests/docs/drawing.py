"""Boxes, boundaries and arrows as SVG. The sheet is light in itself, so that it reads on a dark page too."""

from dataclasses import dataclass
from html import escape
from typing import Literal

_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.small { font-size: 11.5px; fill: #424a53; }
.name { font-weight: 600; }
.zone { fill: none; stroke: #8c959f; stroke-width: 1.5; stroke-dasharray: 6 5; }
.zone-name { font-size: 12px; font-weight: 600; fill: #57606a; }
.box { fill: #ffffff; stroke: #57606a; stroke-width: 1.5; }
.media { stroke: #0969da; stroke-width: 3; fill: none; }
.control { stroke: #57606a; stroke-width: 1.75; fill: none; }
.secret { stroke: #bc4c00; stroke-width: 1.75; fill: none; }
.label { font-size: 11.5px; paint-order: stroke; stroke: #f6f8fa; stroke-width: 5px; stroke-linejoin: round; }
"""
_LINE = 16
_HEADS = {"media": "#0969da", "control": "#57606a", "secret": "#bc4c00"}

LinkKind = Literal["media", "control", "secret"]


@dataclass(frozen=True, slots=True)
class Box:
    """Something that runs; ``lines`` say more about it."""

    at: tuple[int, int]
    size: tuple[int, int]
    name: str
    lines: tuple[str, ...] = ()

    def svg(self) -> str:
        (x, y), (width, height) = self.at, self.size
        middle = x + width // 2
        top = y + height // 2 - _LINE * len(self.lines) // 2 + 5
        texts = [f'<text class="name" x="{middle}" y="{top}" text-anchor="middle">{escape(self.name)}</text>']
        texts += [
            f'<text class="small" x="{middle}" y="{top + _LINE * row}" text-anchor="middle">{escape(line)}</text>'
            for row, line in enumerate(self.lines, start=1)
        ]
        return f'<rect class="box" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>' + "".join(texts)


@dataclass(frozen=True, slots=True)
class Zone:
    """A boundary around what is inside."""

    at: tuple[int, int]
    size: tuple[int, int]
    name: str

    def svg(self) -> str:
        (x, y), (width, height) = self.at, self.size
        frame = f'<rect class="zone" x="{x}" y="{y}" width="{width}" height="{height}" rx="10"/>'
        return f'{frame}<text class="zone-name" x="{x + 12}" y="{y + 19}">{escape(self.name)}</text>'


@dataclass(frozen=True, slots=True)
class Arrow:
    """What goes from one point to others, with its name near the first leg's middle; ``both``: and back."""

    points: tuple[tuple[int, int], ...]
    name: str
    kind: LinkKind = "control"
    both: bool = False
    lift: int = -7
    """How far the name is below the line's middle, in pixels."""

    def svg(self) -> str:
        path = " ".join(f"{'L' if number else 'M'}{x},{y}" for number, (x, y) in enumerate(self.points))
        heads = f' marker-end="url(#{self.kind})"' + (f' marker-start="url(#{self.kind})"' if self.both else "")
        (x1, y1), (x2, y2) = self.points[:2]
        where = f'x="{(x1 + x2) // 2}" y="{(y1 + y2) // 2 + self.lift}"'
        line = f'<path class="{self.kind}" d="{path}"{heads}/>'
        return f'{line}<text class="label" {where} text-anchor="middle">{escape(self.name)}</text>'


def sheet(size: tuple[int, int], title: str, *parts: Zone | Box | Arrow) -> str:
    """The whole picture. What comes later lies above what comes earlier."""
    width, height = size
    heads = "".join(
        f'<marker id="{kind}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        f'markerUnits="userSpaceOnUse" orient="auto-start-reverse">'
        f'<path d="M0,0 L8,4 L0,8 z" fill="{colour}"/></marker>'
        for kind, colour in _HEADS.items()
    )
    drawn = "\n".join(part.svg() for part in parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img">\n<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n<defs>{heads}</defs>\n'
        f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="12" fill="#f6f8fa" stroke="#d0d7de"/>\n'
        f"{drawn}\n</svg>\n"
    )
