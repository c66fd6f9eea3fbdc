"""What is held for the provider and remembered of it, and the bounds of that."""

from services.contracts.usage import Meter
from services.upstream.core import command_buffer
from services.upstream.core.commands import AppendAudio
from services.upstream.core.ids import MAX_IDS, IdMap
from services.upstream.core.item_registry import MAX_ITEMS, ItemRegistry
from tests.upstream.drive import Drive, Json, between_sessions, object_of

MESSAGE: Json = {"type": "message", "role": "user", "content": []}


def test_what_is_said_before_the_provider_is_there_follows_the_session() -> None:
    drive = Drive()
    drive.record(drive.core.started(now=drive.now))
    drive.utter(frames=6)
    drive.client("conversation.item.create", item=MESSAGE)
    assert drive.sent_types == []
    drive.open()
    assert drive.sent_types == [
        "session.update",
        *["append"] * 6,
        "input_audio_buffer.commit",
        "response.create",
        "conversation.item.create",
    ]


def test_a_provider_that_is_too_slow_loses_the_oldest_sound_and_is_counted() -> None:
    drive = Drive()
    drive.start()
    frames = [bytes([number]) * 640 for number in range(103)]
    for frame in frames:
        drive.record(drive.core.audio_up(frame, now=drive.now))
    drive.stop()
    assert drive.faults == ["backlog"] * 3
    drive.forget().open()
    assert [c.pcm for c in drive.commands if isinstance(c, AppendAudio)] == frames[3:]
    assert drive.sent_types[-2:] == ["input_audio_buffer.commit", "response.create"]
    drive.advance(60)
    drive.record(drive.core.ended(now=drive.now))
    assert drive.booked[-1].meters[Meter.AUDIO_SENT_MS] == 2000


def test_no_more_events_are_taken_before_the_session_than_are_held() -> None:
    drive = Drive()
    for _ in range(command_buffer.MAX_HELD_EVENTS):
        assert drive.core.takes_client_events
        drive.client("conversation.item.create", item=MESSAGE)
    assert not drive.core.takes_client_events
    drive.open()
    assert drive.sent_types.count("conversation.item.create") == command_buffer.MAX_HELD_EVENTS
    assert drive.core.takes_client_events
    drive = Drive()
    drive.client("conversation.item.create", item={**MESSAGE, "id": "x" * command_buffer.MAX_HELD_EVENT_BYTES})
    assert not drive.core.takes_client_events
    assert not between_sessions().core.takes_client_events


def test_no_more_events_are_taken_while_the_first_update_is_not_confirmed_than_are_held() -> None:
    drive = Drive()
    drive.record(drive.core.started(now=drive.now))
    drive.record(drive.core.provider_opened(now=drive.now))
    for _ in range(command_buffer.MAX_HELD_EVENTS):
        assert drive.core.takes_client_events
        drive.client("conversation.item.create", item=MESSAGE)
    assert not drive.core.takes_client_events


def test_between_two_sessions_the_newest_events_are_lost_and_counted() -> None:
    drive = between_sessions()
    for _ in range(command_buffer.MAX_HELD_EVENTS + 1):
        drive.client("conversation.item.create", item=MESSAGE)
    assert drive.faults == ["backlog"]
    events: dict[str, Json] = {
        "input_audio_buffer.clear": {},
        "response.create": {},
        "conversation.item.create": {"item": MESSAGE},
    }
    for kind, given in events.items():
        drive.forget().client(kind, **given)
        assert drive.faults == ["backlog"], kind
    drive.client("input_audio_buffer.append", audio="AAAAAA==")
    drive.utter()
    assert drive.faults == ["backlog"] * 3
    assert "input_audio_buffer.committed" not in drive.shown


def test_between_two_sessions_the_oldest_sound_is_lost_and_counted() -> None:
    drive = between_sessions()
    drive.start()
    drive.speak(103)
    assert drive.faults == ["backlog"] * 3


def test_a_truncation_that_cannot_be_sent_is_not_confirmed() -> None:
    drive = between_sessions()
    drive.created()
    drive.message()
    drive.sound(1000)
    item = drive.items[0]
    for _ in range(command_buffer.MAX_HELD_EVENTS):
        drive.client("conversation.item.create", item=MESSAGE)
    drive.client("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=1)
    drive.forget().provider("conversation.item.truncated", item_id="item_P1", content_index=0, audio_end_ms=1)
    assert drive.shown == []


def test_many_events_are_not_remembered_for_ever() -> None:
    drive = Drive().ready()
    first = None
    for _ in range(5000):
        drive.forget().client("conversation.item.create", item=MESSAGE, event_id="mine")
        first = first or drive.sent("conversation.item.create")["event_id"]
    drive.forget().provider("error", error={"message": "late", "event_id": first})
    assert drive.error["event_id"] is None


def test_ids_are_forgotten_oldest_first() -> None:
    ids = IdMap()
    first = ids.ours("item", "theirs0")
    for number in range(1, MAX_IDS + 1):
        ids.ours("item", f"theirs{number}")
    assert (ids.known("item", "theirs0"), ids.theirs("item", first)) == (None, None)
    assert ids.known("item", "theirs1") is not None


def test_an_id_that_has_another_counterpart_since_is_kept() -> None:
    ids = IdMap()
    ids.bind("item", ours="mine", theirs="theirs0")
    for number in range(MAX_IDS - 1):
        ids.ours("item", f"other{number}")
    ids.bind("item", ours="mine", theirs="theirs1")
    assert ids.known("item", "theirs0") is None
    assert ids.theirs("item", "mine") == "theirs1"
    ids.forget("item", "mine")
    ids.forget("item", "mine")
    assert (ids.known("item", "theirs1"), ids.theirs("item", "mine")) == (None, None)


def test_items_are_forgotten_oldest_first() -> None:
    conversation = ItemRegistry()
    for number in range(MAX_ITEMS + 1):
        conversation.append(f"item_{number}")
    assert "item_0" not in conversation
    conversation.set_samples("item_0", 5)
    assert conversation.samples("item_0") is None


def test_utterances_are_forgotten_oldest_first() -> None:
    drive = Drive().ready()
    for number in range(260):
        drive.utter(frames=5)
        drive.provider("input_audio_buffer.committed", item_id=f"item_PU{number}")
    drive.forget()
    kind = "conversation.item.input_audio_transcription.completed"
    for number in (0, 259):
        drive.provider(kind, item_id=f"item_PU{number}", transcript="x")
    seconds = [object_of(e.event, "usage")["seconds"] for e in drive.named(kind)]
    assert seconds == [0.0, 0.1]
