from services.media.core.sources import MAX_SOURCES, Sources


def heard(sources: Sources, *ssrcs: int) -> list[int]:
    """Those that are to be forgotten."""
    forgotten = [sources.heard(ssrc.to_bytes(4)) for ssrc in ssrcs]
    return [int.from_bytes(old) for old in forgotten if old is not None]


def test_a_few_sources_are_kept() -> None:
    sources = Sources()
    assert heard(sources, 1, 1, *range(1, 1 + MAX_SOURCES), *range(1, 1 + MAX_SOURCES)) == []


def test_for_one_more_the_one_heard_least_lately_is_forgotten() -> None:
    sources = Sources()
    assert heard(sources, *range(MAX_SOURCES), 0) == []
    assert heard(sources, 100, 101, 0) == [1, 2]
