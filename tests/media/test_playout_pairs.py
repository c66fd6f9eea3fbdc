"""On a very busy core two frames leave together: the sound must be the same, whatever the chunks it came in."""

from hypothesis import given
from hypothesis import strategies as st

from services.contracts.audio import DOWN_FRAME_BYTES, DOWN_FRAME_SAMPLES, SAMPLE_BYTES
from services.contracts.ids import ItemId
from services.media.core.conversation.playout import Playout, Pulled

ITEM = ItemId("item_a")
FRAME = DOWN_FRAME_SAMPLES
_chunks = st.lists(st.tuples(st.integers(1, 3000), st.sampled_from([0, 0, 0, 100])), min_size=1, max_size=8)


def filled(chunks: list[tuple[int, int]]) -> Playout:
    """Samples and the hole in front of them, for each chunk."""
    playout, position = Playout(), 0
    for number, (samples, hole) in enumerate(chunks):
        position += hole
        pcm = b"".join((1 + (position + n) % 9999).to_bytes(2, "little") for n in range(samples))
        playout.queue_audio(ITEM, position, pcm, end=number == len(chunks) - 1)
        position += samples
    return playout


def drain(playout: Playout, frames: int) -> list[Pulled]:
    out: list[Pulled] = []
    while (pulled := playout.pull(frames)) is not None:
        out.append(pulled)
    return out


@given(_chunks, st.integers(2, 3))
def test_in_pairs_the_sound_is_the_same(chunks: list[tuple[int, int]], frames: int) -> None:
    one, several = filled(chunks), filled(chunks)
    alone, together = drain(one, 1), drain(several, frames)
    assert b"".join(pulled.pcm for pulled in together) == b"".join(pulled.pcm for pulled in alone)
    assert (several.played_ms, several.underruns) == (one.played_ms, one.underruns)
    assert [pulled.first for pulled in together].count(True) == 1
    assert {len(pulled.pcm) // DOWN_FRAME_BYTES for pulled in together} <= set(range(1, frames + 1))


@given(_chunks)
def test_each_frame_says_where_it_lies(chunks: list[tuple[int, int]]) -> None:
    for pulled in drain(filled(chunks), 2):
        if len(pulled.pcm) > DOWN_FRAME_BYTES:
            assert (pulled.end - pulled.start) * SAMPLE_BYTES == len(pulled.pcm)


def test_a_long_chunk_leaves_in_pairs_from_its_first_frame_on() -> None:
    playout = filled([(7 * FRAME, 0)])
    lengths = [len(pulled.pcm) // DOWN_FRAME_BYTES for pulled in drain(playout, 2)]
    assert lengths == [2, 2, 2, 1, 1]  # the last is the fade that follows the end


def test_what_is_not_in_hand_is_not_waited_for() -> None:
    playout = Playout()
    playout.queue_audio(ITEM, 0, bytes(range(1, 241)) * 4, end=False)
    pulled = playout.pull(2)
    assert pulled is not None
    assert len(pulled.pcm) == DOWN_FRAME_BYTES
    assert playout.underruns == 0
