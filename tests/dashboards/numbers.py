"""Numbers as Grafana writes them, by the unit of a panel."""

import math
from collections.abc import Callable, Mapping

_BELOW_A_SECOND = ((1e-3, 1e3, "ms"), (1e-6, 1e6, "µs"))
_LARGE = ((1e9, "Bil"), (1e6, "Mil"), (1e3, "K"))
_BYTES = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
_SUFFIX = {"ops": " ops/s", "reqps": " req/s", "pps": " p/s", "cpm": " /min"}


def written(value: float, unit: str, decimals: int | None = None) -> str:
    """``value`` with its unit; without ``decimals`` three digits that count."""
    if math.isnan(value):
        return "-"
    if unit in _WRITTEN:
        return _WRITTEN[unit](value, decimals)
    return f"{_digits(value, decimals)}{_SUFFIX.get(unit, '')}"


def _share(value: float, decimals: int | None) -> str:
    return f"{_digits(value * 100, decimals)} %"


def _dollars(value: float, decimals: int | None) -> str:
    if value >= _LARGE[-1][0]:
        return f"${_scaled(value, _LARGE)}"
    return f"${_digits(value, 2 if decimals is None and value >= 1 else decimals)}"


def _seconds(value: float, decimals: int | None) -> str:
    if value >= 1 or value == 0:
        return f"{_digits(value, decimals)} s"
    for least, factor, name in _BELOW_A_SECOND:
        if value >= least:
            return f"{_digits(value * factor, None)} {name}"
    return "0 s"


def _scaled(value: float, steps: tuple[tuple[float, str], ...]) -> str:
    for least, name in steps:
        if abs(value) >= least:
            return f"{_digits(value / least, None)} {name}"
    return _digits(value, None)


def _digits(value: float, decimals: int | None) -> str:
    if decimals is not None:
        return f"{value:.{decimals}f}"
    if value == 0:
        return "0"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{min(places, 6)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


_WRITTEN: Mapping[str, Callable[[float, int | None], str]] = {
    "percentunit": _share,
    "currencyUSD": _dollars,
    "s": _seconds,
    "bytes": lambda value, _: _scaled(value, _BYTES),
    "short": lambda value, _: _scaled(value, _LARGE),
}
