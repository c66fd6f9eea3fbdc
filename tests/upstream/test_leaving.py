"""The end of a call waits for usage that the provider has not reported, and for nothing else."""

from services.contracts.usage import Meter
from services.upstream.core.session import TRANSCRIPTION_S
from tests.upstream.drive import Drive, Json, core_of

USAGE: Json = {"input_tokens": 7, "output_tokens": 0, "input_token_details": {"audio_tokens": 7}}
TRANSCRIPTION = "conversation.item.input_audio_transcription."


def leave(drive: Drive) -> Drive:
    drive.forget().record(drive.core.ending(now=drive.now))
    return drive


def is_settled(drive: Drive) -> bool:
    return drive.core.is_settled(now=drive.now)


def transcribing() -> Drive:
    return Drive(core_of({"audio": {"input": {"transcription": {"model": "whisper-1"}}}})).ready()


def answered(drive: Drive) -> None:
    """Answer the utterance, so that only its transcription is outstanding."""
    drive.utter()
    drive.provider("input_audio_buffer.committed", item_id="item_PU")
    drive.answer()


def test_nothing_under_way_is_not_waited_for() -> None:
    drive = Drive().ready()
    drive.utter()
    drive.answer()
    assert is_settled(leave(drive))
    assert drive.sent_types == []


def test_a_provider_that_was_never_there_owes_nothing() -> None:
    drive = Drive()
    drive.utter()
    assert is_settled(leave(drive))


def test_a_lost_provider_owes_nothing_more() -> None:
    drive = Drive().ready()
    drive.utter()
    leave(drive)
    drive.record(drive.core.ended(now=drive.now))
    assert is_settled(drive)


def test_a_response_under_way_is_cancelled_and_booked() -> None:
    drive = Drive().ready()
    drive.utter()
    drive.created()
    drive.message()
    drive.sound(100)
    leave(drive)
    assert drive.sent_types == ["response.cancel"]
    assert not is_settled(drive)
    drive.sound(100)
    drive.done(status="cancelled", usage=USAGE)
    assert is_settled(drive)
    assert (drive.booked[0].provider_ref, drive.booked[0].meters) == ("resp_P1", {Meter.TOKENS_AUDIO_IN: 7})
    assert drive.booked[-1].meters[Meter.AUDIO_GENERATED_MS] == 200


def test_a_response_that_is_being_stopped_is_not_cancelled_twice() -> None:
    drive = Drive().ready()
    drive.created()
    drive.client("response.cancel")
    assert not is_settled(leave(drive))
    assert drive.sent_types == []


def test_a_response_that_only_sounds_is_left_alone() -> None:
    drive = Drive().ready()
    drive.answer("One", rid="resp_P1", iid="item_P1")
    drive.created("resp_P2")
    leave(drive)
    assert (drive.sent_types, drive.cleared) == (["response.cancel"], [])


def test_a_response_that_was_asked_for_is_cancelled_when_it_begins() -> None:
    drive = Drive().ready()
    drive.utter()
    assert not is_settled(leave(drive))
    drive.created()
    assert drive.sent_types == ["response.cancel"]
    drive.done(status="cancelled", usage=USAGE)
    assert is_settled(drive)


def test_what_waits_its_turn_is_never_asked_for() -> None:
    drive = Drive().ready()
    drive.created()
    drive.client("response.create", response={"conversation": "none"})
    leave(drive)
    drive.done(status="cancelled")
    assert drive.sent_types == ["response.cancel"]
    assert is_settled(drive)


def test_a_transcription_is_waited_for() -> None:
    drive = transcribing()
    answered(drive)
    assert not is_settled(leave(drive))
    drive.provider(f"{TRANSCRIPTION}delta", item_id="item_PU", delta="he")
    assert not is_settled(drive)
    usage: Json = {"type": "duration", "seconds": 1}
    drive.provider(f"{TRANSCRIPTION}completed", item_id="item_PU", transcript="hello", usage=usage)
    assert is_settled(drive)
    assert drive.booked[-1].meters == {Meter.TRANSCRIBE_MS: 1000}


def test_a_transcription_that_does_not_come_is_not_waited_for_as_long_as_an_answer() -> None:
    drive = transcribing()
    answered(drive)
    drive.created("resp_P2")
    leave(drive)
    drive.now += TRANSCRIPTION_S
    assert not is_settled(drive)
    drive.done("resp_P2", status="cancelled")
    assert is_settled(drive)


def test_a_transcription_that_failed_is_not_waited_for() -> None:
    drive = transcribing()
    answered(drive)
    drive.provider(f"{TRANSCRIPTION}failed", item_id="item_PU", error={"message": "no"})
    assert is_settled(leave(drive))


def test_an_utterance_that_was_refused_is_not_transcribed() -> None:
    drive = transcribing()
    drive.utter()
    event_id = drive.sent("input_audio_buffer.commit")["event_id"]
    drive.provider("error", error={"code": "input_audio_buffer_commit_empty", "message": "no", "event_id": event_id})
    drive.answer()
    assert is_settled(leave(drive))


def test_an_utterance_that_ends_with_the_call_asks_for_no_answer() -> None:
    drive = Drive().ready()
    drive.start()
    drive.speak(20)
    drive.forget().record(drive.core.utterance_abandoned(now=drive.now))
    assert drive.sent_types == ["input_audio_buffer.clear"]
    assert is_settled(leave(drive))


def test_an_utterance_without_sound_that_ends_with_the_call_says_nothing() -> None:
    drive = Drive().ready()
    drive.start()
    drive.record(drive.core.utterance_abandoned(now=drive.now))
    assert drive.sent_types == []
