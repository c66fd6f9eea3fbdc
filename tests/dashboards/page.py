"""A page with the panels of a dashboard, laid out and coloured as Grafana's dark theme does."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

CELL_PX, GAP_PX, WIDTH_PX, DPI = 34, 8, 1680, 100
HEADER_PX = 84
PAGE, PANEL, EDGE, INK, FAINT, GRID = "#111217", "#181b1f", "#2b2e34", "#d5d6de", "#8e8f9b", "#2c2f36"
COLOURS = {"green": "#299c46", "#EAB839": "#c49b24", "red": "#d44a3a", "blue": "#5794f2"}
_STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Inter", "DejaVu Sans"],
    "font.size": 9,
    "text.color": INK,
    "axes.facecolor": PANEL,
    "axes.edgecolor": EDGE,
    "axes.labelcolor": FAINT,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
}
BoundingBox = tuple[float, float, float, float]
"""Left, top, width and height, in pixels from the upper left corner."""


class Page:
    """One figure. Places are Grafana's: 24 columns, rows of a cell's height. ``span``: the time shown, in unix s."""

    def __init__(self, title: str, text: str, rows: int, *, span: tuple[float, float]) -> None:
        self.span = span
        self._height = HEADER_PX + rows * (CELL_PX + GAP_PX) + GAP_PX
        self._figure = Figure(figsize=(WIDTH_PX / DPI, self._height / DPI), dpi=DPI, facecolor=PAGE)
        self._say(GAP_PX * 2, 34, title, size=16, weight="bold")
        self._say(GAP_PX * 2, 62, text, size=10, colour=FAINT)

    def heading(self, grid: Mapping[str, int], title: str) -> None:
        """The title of a row."""
        left, top, _, height = self._box(grid)
        self._say(left + 4, top + height / 2 + 5, f"▾  {title}", size=12, weight="bold")

    def panel(self, grid: Mapping[str, int], title: str, colour: str = PANEL) -> BoundingBox:
        """Draw the card of a panel; gives what is left for its content."""
        left, top, width, height = self._box(grid)
        card = FancyBboxPatch(
            (left / WIDTH_PX, 1 - (top + height) / self._height),
            width / WIDTH_PX,
            height / self._height,
            boxstyle="round,pad=0,rounding_size=0.0015",
            facecolor=colour,
            edgecolor=EDGE,
            linewidth=0.8,
            mutation_aspect=WIDTH_PX / self._height,
            transform=self._figure.transFigure,
            zorder=-1,
        )
        self._figure.add_artist(card)
        self._say(left + 10, top + 19, title, size=9.5, weight="bold")
        return left + 10, top + 30, width - 20, height - 38

    def axes(self, box: BoundingBox, *, left: float = 60, right: float = 6, top: float = 4, bottom: float = 42) -> Axes:
        """Axes within ``box``, with margins for labels and legend, in pixels."""
        x, y, width, height = box
        inner = (x + left, y + top, width - left - right, height - top - bottom)
        return self._figure.add_axes(
            (
                inner[0] / WIDTH_PX,
                1 - (inner[1] + inner[3]) / self._height,
                inner[2] / WIDTH_PX,
                inner[3] / self._height,
            )
        )

    def number(self, box: BoundingBox, text: str, colour: str) -> None:
        """A large number in the middle of ``box``."""
        x, y, width, height = box
        size = min(30.0, 1.25 * width / max(4, len(text)))
        self._say(
            x + width / 2, y + height / 2 + size * 0.45, text, size=size, weight="bold", colour=colour, at="center"
        )

    def legend(self, box: BoundingBox, entries: Sequence[tuple[str, str]]) -> None:
        """Names with their colours along the lower edge of ``box``; what has no room is left out, with dots."""
        x, y, width, height = box
        left, baseline = x, y + height - 2
        for name, colour in entries:
            room = 30 + 6.6 * len(name)
            if left + room > x + width:
                self._say(left, baseline, "…", size=8.5, colour=FAINT)
                return
            self._say(left, baseline, "━", size=9, weight="bold", colour=colour)
            self._say(left + 15, baseline, name, size=8.5)
            left += room

    def save(self, path: str) -> None:
        """Write the page as PNG."""
        FigureCanvasAgg(self._figure)
        self._figure.savefig(path, facecolor=PAGE, metadata={"Software": ""}, pil_kwargs={"optimize": True})

    @staticmethod
    def _box(grid: Mapping[str, int]) -> BoundingBox:
        column = (WIDTH_PX - GAP_PX) / 24
        left, top = GAP_PX + grid["x"] * column, HEADER_PX + grid["y"] * (CELL_PX + GAP_PX)
        return left, top, grid["w"] * column - GAP_PX, grid["h"] * (CELL_PX + GAP_PX) - GAP_PX

    def _say(  # noqa: PLR0913 - how a text looks
        self, x: float, y: float, text: str, *, size: float, weight: str = "normal", colour: str = INK, at: str = "left"
    ) -> None:
        self._figure.text(
            x / WIDTH_PX,
            1 - y / self._height,
            text,
            fontsize=size,
            fontweight=weight,
            color=colour,
            ha=at,
            va="baseline",
        )


@contextmanager
def dark() -> Iterator[None]:
    """Matplotlib in Grafana's colours while the block lasts."""
    with mpl.rc_context(_STYLE):
        yield
