from functools import partial

import pytest

from services.runtime.bus import Bus
from tests.media.house import Opener, open_house


@pytest.fixture
def house(bus: Bus) -> Opener:
    return partial(open_house, bus)
