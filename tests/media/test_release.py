import pytest

from services.contracts.frame import NO_FLAGS, Flag
from services.contracts.ids import ItemId
from services.media.core.conversation import release as module
from services.media.core.conversation.release import HeldEvent, ReleaseQueue

A, B = ItemId("item_a"), ItemId("item_b")


class Playing:
    """Playout progress set by the test."""

    def __init__(self) -> None:
        self.samples: dict[ItemId, int] = {}
        self.over: set[ItemId] = set()

    def played(self, item_id: ItemId) -> int:
        return self.samples.get(item_id, 0)

    def is_over(self, item_id: ItemId) -> bool:
        return item_id in self.over


def event(text: str, item: ItemId | None = None, position: int = 0, flags: Flag = NO_FLAGS) -> HeldEvent:
    return HeldEvent(text, item, position, flags)


def opened(progress: Playing | None = None) -> tuple[ReleaseQueue, Playing]:
    playing = progress or Playing()
    queue = ReleaseQueue(playing)
    queue.channel_opened()
    return queue, playing


def test_an_event_without_an_item_is_shown_at_once() -> None:
    queue, _ = opened()
    assert queue.enqueue(event("a")) == ["a"]


def test_an_event_waits_until_its_sound_has_been_played() -> None:
    queue, playing = opened()
    assert queue.enqueue(event("word", A, 100)) == []
    playing.samples[A] = 99
    assert queue.release() == []
    playing.samples[A] = 100
    assert queue.release() == ["word"]


def test_what_stands_behind_a_waiting_event_waits_too() -> None:
    queue, playing = opened()
    queue.enqueue(event("word", A, 100))
    assert queue.enqueue(event("other")) == []
    playing.samples[A] = 100
    assert queue.release() == ["word", "other"]


def test_an_item_that_is_over_releases_all_its_events() -> None:
    queue, playing = opened()
    queue.enqueue(event("done", A, 10_000))
    playing.over.add(A)
    assert queue.release() == ["done"]


def test_a_cut_hides_cuttable_events_beyond_it_and_releases_the_rest() -> None:
    queue, playing = opened()
    playing.samples[A] = 100
    queue.enqueue(event("unheard", A, 101, Flag.CUTTABLE))
    queue.enqueue(event("kept", A, 500))
    playing.over.add(A)
    assert queue.cut(A, played=100) == ["kept"]


def test_a_cuttable_event_that_comes_after_the_cut_is_hidden_too() -> None:
    queue, playing = opened()
    playing.over.add(A)
    queue.cut(A, played=100)
    assert queue.enqueue(event("late", A, 101, Flag.CUTTABLE)) == []
    assert queue.enqueue(event("heard", A, 100, Flag.CUTTABLE)) == ["heard"]
    assert queue.enqueue(event("other", B, 0, Flag.CUTTABLE)) == ["other"]


def test_an_event_of_a_function_call_releases_everything_in_front_of_it_and_nothing_behind() -> None:
    queue, playing = opened()
    queue.enqueue(event("word", A, 100))
    assert queue.enqueue(event("call", None, 0, Flag.RELEASE_ALL)) == ["word", "call"]
    queue.enqueue(event("more", A, 200))
    assert queue.release() == []
    playing.samples[A] = 200
    assert queue.release() == ["more"]


def test_release_all_before_the_channel_opens_is_remembered() -> None:
    queue = ReleaseQueue(Playing())
    queue.enqueue(event("word", A, 100))
    queue.enqueue(event("call", None, 0, Flag.RELEASE_ALL))
    queue.enqueue(event("later", A, 200))
    assert queue.channel_opened() == ["word", "call"]


def test_an_event_without_a_place_overtakes() -> None:
    queue, _ = opened()
    queue.enqueue(event("word", A, 100))
    assert queue.enqueue(event("error", None, 0, Flag.AT_ONCE)) == ["error"]


def test_nothing_is_shown_before_the_channel_is_open() -> None:
    queue = ReleaseQueue(Playing())
    assert queue.enqueue(event("limits", None, 0, Flag.AT_ONCE)) == []
    assert queue.enqueue(event("session.created")) == []
    assert queue.channel_opened() == ["session.created", "limits"]


def test_a_repeated_sequence_number_is_thrown_away() -> None:
    queue, _ = opened()
    assert queue.enqueue_server_event(event("a"), sequence=1) == ["a"]
    assert queue.enqueue_server_event(event("a"), sequence=1) == []
    assert queue.enqueue_server_event(event("b"), sequence=2) == ["b"]
    assert queue.out_of_sequence == 1


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HELD_EVENTS", 2)
    queue = ReleaseQueue(Playing())
    for text in "abc":
        queue.enqueue(event(text))
        queue.enqueue(event(text.upper(), None, 0, Flag.AT_ONCE))
    assert queue.overflowed == 2
    assert queue.channel_opened() == ["b", "c", "B", "C"]
    for item in "xyz":
        queue.cut(ItemId(item), played=0)
    monkeypatch.setattr(module, "MAX_HELD_BYTES", 3)
    queue.enqueue(event("long", A, 1))
    assert queue.overflowed == 3
