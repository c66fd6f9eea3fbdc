"""Sets of values under which the chart must hold."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.helm.chart import CHART, RenderedChart, render

FILES = {
    path.stem.removesuffix("-values"): path for path in (*CHART.glob("ci/*.yaml"), *sorted(CHART.glob("values-*.yaml")))
}
NAMES = sorted(FILES)


def values(name: str) -> dict[str, Any]:
    return _read(FILES[name])


def _read(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text()))


@cache
def rendered(name: str) -> RenderedChart:
    return render(values(name))
