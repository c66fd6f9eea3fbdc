"""Audio beyond the credit waits for the playout."""

from services.contracts.ids import ItemId
from services.upstream.core.commands import PublishAudio
from services.upstream.core.credit import CREDIT_SAMPLES, Credit

A, B = ItemId("item_a"), ItemId("item_b")
SECOND = bytes(48_000)


def seconds(released: list[PublishAudio]) -> float:
    return sum(len(audio.pcm) for audio in released) / 48_000


def push(credit: Credit, item: ItemId, start_s: int, count: int) -> float:
    sent = [credit.queue_audio(PublishAudio(item, (start_s + n) * 24_000, SECOND)) for n in range(count)]
    return seconds([audio for released in sent for audio in released])


def test_ten_seconds_go_ahead_and_the_rest_waits() -> None:
    credit = Credit()
    assert 10 <= push(credit, A, 0, 15) <= 10.35
    assert credit.ahead >= CREDIT_SAMPLES
    assert 1.6 <= seconds(credit.on_played(A, 2 * 24_000)) <= 2.4


def test_pieces_fit_a_frame_and_keep_their_places() -> None:
    pieces = Credit().queue_audio(PublishAudio(A, 100, SECOND, end=True))
    assert [(p.position, len(p.pcm), p.end) for p in pieces] == [
        (100, 16_384, False),
        (100 + 8_192, 16_384, False),
        (100 + 16_384, 15_232, True),
    ]


def test_the_end_of_an_item_needs_no_credit_but_keeps_its_place() -> None:
    credit = Credit()
    push(credit, A, 0, 12)
    end = PublishAudio(A, 12 * 24_000, b"", end=True)
    assert credit.queue_audio(end) == []
    released = credit.on_played(A, 10 * 24_000)
    assert released[-1] == end


def test_what_waits_of_a_cut_item_is_thrown_away() -> None:
    credit = Credit()
    push(credit, A, 0, 15)
    assert credit.queue_audio(PublishAudio(B, 0, SECOND)) == []
    released = credit.drop_item(A)
    assert {audio.item_id for audio in released} == {B}
    assert credit.ahead == 24_000


def test_a_report_of_an_unknown_item_changes_nothing() -> None:
    credit = Credit()
    assert credit.on_played(B, 5) == []
    assert credit.ahead == 0
