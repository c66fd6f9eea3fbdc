from services.media.core.network.ssrcs import MAX_SOURCES, KnownSsrcs


def heard(sources: KnownSsrcs, *ssrcs: int) -> list[int]:
    """Return the SSRCs whose state must be freed."""
    forgotten = [sources.packet_verified(ssrc.to_bytes(4)) for ssrc in ssrcs]
    return [int.from_bytes(old) for old in forgotten if old is not None]


def test_a_few_sources_are_kept() -> None:
    sources = KnownSsrcs()
    assert heard(sources, 1, 1, *range(1, 1 + MAX_SOURCES), *range(1, 1 + MAX_SOURCES)) == []


def test_for_one_more_the_one_heard_least_lately_is_forgotten() -> None:
    sources = KnownSsrcs()
    assert heard(sources, *range(MAX_SOURCES), 0) == []
    assert heard(sources, 100, 101, 0) == [1, 2]
