from services.media.core.sources import MAX_SOURCES, Sources


def test_a_few_sources_are_kept() -> None:
    sources = Sources()
    assert [sources.heard(ssrc) for ssrc in (*range(MAX_SOURCES), *range(MAX_SOURCES))] == [None] * 2 * MAX_SOURCES


def test_for_one_more_the_one_heard_least_lately_is_forgotten() -> None:
    sources = Sources()
    for ssrc in (*range(MAX_SOURCES), 0):
        sources.heard(ssrc)
    assert [sources.heard(ssrc) for ssrc in (100, 101, 0)] == [1, 2, None]
