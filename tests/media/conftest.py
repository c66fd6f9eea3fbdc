from functools import partial

import pytest

from services.runtime.bus.client import Bus
from tests.media.harness import HarnessOpener, pool_harness


@pytest.fixture
def open_harness(bus: Bus) -> HarnessOpener:
    return partial(pool_harness, bus)
