"""One watched load for all tests of expressions."""

from collections.abc import Iterator

import pytest

from tests.dashboards.watched import Watched, watched

RATE_S = 15


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A load is over; gateway and Prometheus still run."""
    with watched(tmp_path_factory.mktemp("watched"), rate_s=RATE_S) as running:
        running.load(calls=(3, 2), minutes=0.25)
        running.settle()
        yield running
