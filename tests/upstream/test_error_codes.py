"""The codes of `error` events that a metric counts by are those that the code can send."""

import re
from pathlib import Path

from services.contracts import client_event
from services.upstream import metrics
from services.upstream.core.client_requests import LOCKED
from services.upstream.core.session_updates import UNSUPPORTED

SOURCES = (*(Path(metrics.__file__).parent / "core").glob("*.py"), Path(client_event.__file__))
WRITTEN = re.compile(r'(?:ClientEventError\(\s*|code=|code: str = )"([a-z_]+)"')


def test_every_code_that_the_core_writes_is_counted_by_its_name() -> None:
    written = {code for source in SOURCES for code in WRITTEN.findall(source.read_text())}
    assert written, "the pattern finds no code"
    assert written | {LOCKED, UNSUPPORTED} <= metrics.ERROR_CODES
