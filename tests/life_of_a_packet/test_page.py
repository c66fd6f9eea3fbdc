import pytest

from tests.life_of_a_packet.page import PAGE, page, trace


@pytest.mark.interpreted
async def test_the_page_names_what_a_packet_passes(nats_url: str) -> None:
    assert page(await trace(nats_url)) == PAGE.read_text(), "write it anew: python -m tests.life_of_a_packet.page"
