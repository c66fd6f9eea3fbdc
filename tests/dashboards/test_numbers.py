import math

import pytest

from tests.dashboards.numbers import written


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "text"),
    [
        (0.1234, "percentunit", 1, "12.3 %"),
        (1, "percentunit", None, "100 %"),
        (12.3456, "currencyUSD", None, "$12.35"),
        (21_333.84, "currencyUSD", None, "$21.3 K"),
        (0.012345, "currencyUSD", None, "$0.0123"),
        (0.012345, "currencyUSD", 4, "$0.0123"),
        (1.236, "s", 2, "1.24 s"),
        (0, "s", None, "0 s"),
        (0.0123, "s", 1, "12.3 ms"),
        (0.0000123, "s", None, "12.3 µs"),
        (1e-9, "s", None, "0 s"),
        (123_456_789, "bytes", None, "118 MiB"),
        (12, "bytes", None, "12"),
        (45_600, "short", None, "45.6 K"),
        (7, "short", None, "7"),
        (2.5, "ops", None, "2.5 ops/s"),
        (1200, "none", None, "1200"),
        (math.nan, "s", None, "-"),
    ],
)
def test_a_number_is_written_with_its_unit(value: float, unit: str, decimals: int | None, text: str) -> None:
    assert written(value, unit, decimals) == text
