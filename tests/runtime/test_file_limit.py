import resource
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from services.runtime.http.server import serve_http
from services.runtime.process.runner import raise_file_limit
from tests.runtime.raw_http import Echo, get, raw

FEW = 600


@pytest.fixture
def few_files() -> Iterator[int]:
    """A soft limit as low as some systems have it; gives the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_file_limit_is_raised_to_the_hard_limit(few_files: int) -> None:
    raise_file_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (few_files, few_files)


async def test_a_low_file_limit_lowers_the_connection_limit(few_files: int) -> None:
    assert few_files > FEW
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serve_http(Echo().app(), host="127.0.0.1", port=0))
        idle = [await stack.enter_async_context(raw(url)) for _ in range(230)]  # two files each: both ends are here
        newcomer = await stack.enter_async_context(raw(url))
        assert (await newcomer.ask(get("/healthz")))[0] == 200
        assert await idle[0].rest() == b""
