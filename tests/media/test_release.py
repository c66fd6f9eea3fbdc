import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.contracts.frame import NO_FLAGS, Flag
from services.contracts.ids import ItemId
from services.media.core.conversation import release as module
from services.media.core.conversation.release import HeldEvent, ReleaseQueue

A, B, C = ItemId("item_a"), ItemId("item_b"), ItemId("item_c")


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
    assert queue.release(A) == []
    playing.samples[A] = 100
    assert queue.release(A) == ["word"]


def test_what_stands_behind_a_waiting_event_of_its_response_waits_too() -> None:
    queue, playing = opened()
    queue.set_response(A, "resp_1")
    queue.set_response(B, "resp_1")
    queue.enqueue(event("word", A, 100))
    assert queue.enqueue(event("same item", A, 50)) == []
    assert queue.enqueue(event("next item", B, 0)) == []
    playing.samples = {A: 100, B: 1}
    assert queue.release(A) == ["word", "same item", "next item"]


def test_nothing_waits_for_the_sound_of_another_response() -> None:
    queue, playing = opened()
    queue.enqueue(event("word", A, 100))
    assert queue.enqueue(event("speech_stopped")) == ["speech_stopped"]
    assert queue.enqueue(event("other word", B, 100)) == []
    playing.samples[B] = 100
    assert queue.release(B) == ["other word"]


def test_an_event_at_the_beginning_of_an_item_waits_until_the_item_sounds() -> None:
    queue, playing = opened()
    assert queue.enqueue(event("word", A, 0)) == []
    assert queue.release(A) == []
    playing.samples[A] = 1
    assert queue.release(A) == ["word"]


def test_only_progress_of_the_item_whose_event_is_next_may_release() -> None:
    queue, _ = opened()
    assert not queue.may_release(A, 1000)
    queue.enqueue(event("word", A, 100))
    assert not queue.may_release(A, 99)
    assert queue.may_release(A, 100)
    assert not queue.may_release(B, 1000)


def test_an_item_whose_events_wait_keeps_its_queue() -> None:
    queue, playing = opened()
    queue.enqueue(event("word", A, 100))
    queue.set_response(A, "resp_late")
    playing.over.add(A)
    assert (queue.response_of(A), queue.release(A)) == (None, ["word"])


def test_an_item_that_is_over_releases_all_its_events() -> None:
    queue, playing = opened()
    queue.enqueue(event("done", A, 10_000))
    playing.over.add(A)
    assert queue.release(A) == ["done"]


def test_a_cut_hides_cuttable_events_beyond_it_and_releases_the_rest() -> None:
    queue, playing = opened()
    playing.samples[A] = 100
    queue.enqueue(event("unheard", A, 101, Flag.CUTTABLE))
    queue.enqueue(event("kept", A, 500))
    playing.over.add(A)
    assert queue.cut({A: 100}) == ["kept"]


def test_a_cuttable_event_that_comes_after_the_cut_is_hidden_too() -> None:
    queue, playing = opened()
    playing.over |= {A, B}
    queue.cut({A: 100})
    assert queue.enqueue(event("late", A, 101, Flag.CUTTABLE)) == []
    assert queue.enqueue(event("heard", A, 100, Flag.CUTTABLE)) == ["heard"]
    assert queue.enqueue(event("other", B, 0, Flag.CUTTABLE)) == ["other"]


def test_items_that_are_cut_together_hide_what_was_not_played_of_each() -> None:
    queue, playing = opened()
    queue.set_response(A, "resp_1")
    queue.set_response(B, "resp_1")
    for item in (A, B):
        queue.enqueue(event("unheard", item, 101, Flag.CUTTABLE))
    playing.over |= {A, B}
    assert queue.cut({A: 100, B: 0}) == []


def test_an_event_of_a_function_call_releases_what_is_held_of_its_response_and_nothing_else() -> None:
    queue, playing = opened()
    for item in (A, B):
        queue.set_response(item, "resp_1")
    queue.enqueue(event("word", A, 100))
    queue.enqueue(event("other response", C, 100))
    assert queue.enqueue(event("call", B, 0, Flag.RELEASE_ALL)) == ["word", "call"]
    queue.enqueue(event("more", A, 200))
    assert queue.release(A) == []
    playing.samples[A] = 200
    assert queue.release(A) == ["more"]
    playing.over.add(C)
    assert queue.release(C) == ["other response"]


def test_release_all_before_the_channel_opens_is_remembered() -> None:
    queue = ReleaseQueue(Playing())
    queue.enqueue(event("word", A, 100))
    queue.enqueue(event("call", A, 0, Flag.RELEASE_ALL))
    queue.enqueue(event("later", A, 200))
    assert queue.channel_opened() == ["word", "call"]


def test_what_came_before_the_channel_was_open_comes_in_the_order_of_the_worker_and_ours_behind() -> None:
    queue = ReleaseQueue(Playing())
    assert queue.send_now("gate") == []
    for text in ("session.created", "limits"):
        assert queue.enqueue(event(text)) == []
    queue.enqueue(event("word", A, 100))
    assert queue.enqueue(event("error")) == []
    assert queue.channel_opened() == ["session.created", "limits", "error", "gate"]
    assert queue.send_now("gate") == ["gate"]


def test_a_repeated_sequence_number_is_thrown_away() -> None:
    queue, _ = opened()
    assert queue.enqueue_server_event(event("a"), sequence=1) == ["a"]
    assert queue.enqueue_server_event(event("a"), sequence=1) == []
    assert queue.enqueue_server_event(event("b"), sequence=2) == ["b"]
    assert queue.out_of_sequence == 1


def test_what_was_received_before_the_channel_opened_counts_from_then_on() -> None:
    queue = ReleaseQueue(Playing())
    assert queue.received == 0
    queue.enqueue_server_event(event("a"), sequence=7)
    assert queue.received == 0
    queue.channel_opened()
    assert queue.received == 7


def test_what_is_kept_for_a_channel_that_never_opens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HELD_EVENTS", 2)
    queue = ReleaseQueue(Playing())
    for text in "abc":
        queue.enqueue(event(text))
    queue.send_now("own")
    assert queue.overflowed == 2
    assert queue.channel_opened() == ["c", "own"]
    only_own = ReleaseQueue(Playing())
    for text in "abc":
        only_own.send_now(text)
    assert only_own.channel_opened() == ["b", "c"]


@pytest.mark.parametrize(("limit", "value"), [("MAX_HELD_EVENTS", 2), ("MAX_HELD_BYTES", 8)])
def test_what_is_held_beyond_the_limits_comes_early_and_is_not_lost(
    limit: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, limit, value)
    queue, _ = opened()
    assert queue.enqueue(event("one", A, 1)) == []
    assert queue.enqueue(event("two", A, 1)) == []
    assert queue.enqueue(event("six", B, 1)) == ["one"]
    assert (queue.early, queue.overflowed) == (1, 0)


def test_old_cuts_and_responses_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED_ITEMS", 1)
    queue, playing = opened()
    playing.over |= {A, B}
    for item in (A, B):
        queue.set_response(item, "resp_1")
        queue.cut({item: 0})
    assert (queue.response_of(A), queue.response_of(B)) == (None, "resp_1")
    assert queue.enqueue(event("forgotten", A, 1, Flag.CUTTABLE)) == ["forgotten"]
    assert queue.enqueue(event("hidden", B, 1, Flag.CUTTABLE)) == []


ITEMS = {ItemId(f"item_{r}{n}"): f"resp_{r}" for r in "abc" for n in "12"}


class Releases(RuleBasedStateMachine):
    """Events of three responses of two items each, playout and cuts in any order, against what the frame promises."""

    def __init__(self) -> None:
        super().__init__()
        self.queue, self.playing = opened()
        for item, response in ITEMS.items():
            self.queue.set_response(item, response)
        self.sent: list[HeldEvent] = []
        self.shown: list[HeldEvent] = []
        self.cuts: dict[ItemId, int] = {}
        self.forced: set[str] = set()  # texts of events that a later one released

    def note(self, texts: list[str]) -> None:
        self.shown += [self.sent[int(text)] for text in texts]

    def due(self, sent: HeldEvent) -> bool:
        if sent.item_id is None or sent.text in self.forced or sent.item_id in self.playing.over:
            return True
        return self.playing.played(sent.item_id) >= max(1, sent.position)

    def hidden(self, sent: HeldEvent) -> bool:
        cut = sent.item_id is not None and sent.item_id in self.cuts
        return cut and Flag.CUTTABLE in sent.flags and sent.position > self.cuts[sent.item_id or A]

    def of(self, response: str, events: list[HeldEvent]) -> list[HeldEvent]:
        return [one for one in events if one.item_id is not None and ITEMS[one.item_id] == response]

    @rule(
        item=st.one_of(st.none(), st.sampled_from(sorted(ITEMS))),
        position=st.integers(0, 9),
        flags=st.sampled_from([NO_FLAGS, Flag.CUTTABLE, Flag.RELEASE_ALL]),
    )
    def sends(self, item: ItemId | None, position: int, flags: Flag) -> None:
        sent = event(str(len(self.sent)), item, position, flags if item else NO_FLAGS)
        self.sent.append(sent)
        if item and flags is Flag.RELEASE_ALL:
            self.forced |= {one.text for one in self.of(ITEMS[item], self.sent)}
        self.note(self.queue.enqueue_server_event(sent, sequence=len(self.sent)))

    @rule(item=st.sampled_from(sorted(ITEMS)), samples=st.integers(1, 5))
    def plays(self, item: ItemId, samples: int) -> None:
        if item not in self.playing.over:
            self.playing.samples[item] = self.playing.played(item) + samples
            may = self.queue.may_release(item, self.playing.played(item))
            released = self.queue.release(item)
            assert may or not released
            self.note(released)

    @rule(item=st.sampled_from(sorted(ITEMS)))
    def ends(self, item: ItemId) -> None:
        self.playing.over.add(item)
        self.note(self.queue.release(item))

    @rule(items=st.sets(st.sampled_from(sorted(ITEMS)), min_size=1))
    def cut(self, items: set[ItemId]) -> None:
        cuts = {item: self.playing.played(item) for item in sorted(items - self.playing.over)}
        self.cuts |= cuts
        self.playing.over |= set(cuts)
        self.note(self.queue.cut(cuts))

    @invariant()
    def nothing_comes_before_its_sound(self) -> None:
        assert all(self.due(one) for one in self.shown)

    @invariant()
    def nothing_waits_for_another_response(self) -> None:
        assert [one for one in self.sent if one.item_id is None] == [one for one in self.shown if one.item_id is None]
        for response in set(ITEMS.values()):
            waiting = [one for one in self.of(response, self.sent) if one not in self.shown and not self.hidden(one)]
            assert not waiting or not self.due(waiting[0])

    @invariant()
    def each_response_keeps_its_order_and_nothing_comes_twice(self) -> None:
        for response in set(ITEMS.values()):
            numbers = [int(one.text) for one in self.of(response, self.shown)]
            assert numbers == sorted(set(numbers))

    def teardown(self) -> None:
        """End all items; nothing is missing then but what was cut."""
        for item in ITEMS:
            self.ends(item)
        assert all(self.hidden(one) for one in self.sent if one not in self.shown)


Releases.TestCase.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
TestReleases = Releases.TestCase
