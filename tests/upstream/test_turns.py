"""Turns: committed, answered, measured and booked."""

from services.contracts.usage import Meter
from services.upstream.core.commands import ObserveStage
from tests.upstream.drive import Drive, Json, core_of


def test_stages_of_a_turn_are_measured() -> None:
    drive = Drive().ready()
    drive.utter()
    drive.now += 0.5
    drive.created()
    drive.message()
    drive.now += 0.25
    drive.sound(20)
    drive.sound(20)
    stages = [c for c in drive.commands if isinstance(c, ObserveStage)]
    assert stages == [ObserveStage("provider_created", 0.5), ObserveStage("provider_first_audio", 0.75)]


def test_a_client_that_wants_no_automatic_response_gets_only_the_commit() -> None:
    detection: Json = {"type": "server_vad", "create_response": False}
    drive = Drive(core_of({"audio": {"input": {"turn_detection": detection}}})).ready()
    drive.utter()
    assert drive.sent_types[-1] == "input_audio_buffer.commit"


def test_a_client_that_takes_its_turns_itself_commits_itself() -> None:
    drive = Drive(core_of({"audio": {"input": {"turn_detection": None}}})).ready()
    drive.utter(frames=10)
    assert drive.shown == []
    assert drive.sent_types == ["append"] * 10
    drive.client("input_audio_buffer.commit")
    assert drive.sent_types[-1] == "input_audio_buffer.commit"
    assert drive.named("input_audio_buffer.committed")[0].item_id is None


def test_usage_is_booked_every_five_seconds_and_shown_to_those_who_ask() -> None:
    drive = Drive(core_of(events=("usage",))).ready()
    drive.utter(frames=10)
    drive.forget().advance(4.9)
    assert drive.booked == []
    drive.advance(0.2)
    assert drive.booked[0].meters == {
        Meter.AUDIO_SENT_MS: 200,
        Meter.AUDIO_GENERATED_MS: 0,
        Meter.SESSION_MS: 5100,
        Meter.ITEMS_CREATED: 0,
        Meter.TOOL_CALLS: 0,
    }
    usage = drive.one("hushgate.usage")
    assert (usage["sent_ms"], usage["generated_ms"], usage["responses"]) == (200, 0, 0)


def test_the_last_reading_is_booked_once() -> None:
    drive = Drive().ready()
    assert len(drive.core.ended(now=drive.now + 7)) == 1
    assert drive.core.ended(now=drive.now + 8) == []


def answered_turn(drive: Drive, *, hangover_ms: int = 500, provider_s: float = 0.75) -> Drive:
    drive.utter(hangover_ms=hangover_ms)
    drive.created()
    drive.message()
    drive.now += provider_s
    drive.sound(20)
    return drive


def test_the_shares_of_a_turn_are_shown_once_to_those_who_ask() -> None:
    drive = answered_turn(Drive(core_of(events=("turn",))).ready())
    drive.sound(20)
    turn = drive.one("hushgate.turn")
    assert (turn["provider_ms"], turn["hangover_ms"]) == (750, 500)
    response = next(c.event["response"] for c in drive.named("response.created"))
    assert isinstance(response, dict)
    assert turn["response_id"] == response["id"]
    assert turn["item_id"] == drive.one("response.output_item.added")["item"]["id"]  # type: ignore[call-overload,index]
    assert drive.named("hushgate.turn")[0].item_id is None


def test_the_shares_of_a_turn_are_shown_to_nobody_else() -> None:
    for events in ((), ("usage",), ("gate",)):
        assert answered_turn(Drive(core_of(events=events)).ready()).named("hushgate.turn") == []


def test_an_answer_that_the_client_asked_for_is_no_turn() -> None:
    drive = Drive(core_of(events=("turn",))).ready()
    drive.client("response.create")
    drive.created()
    drive.message()
    drive.sound(20)
    assert drive.named("hushgate.turn") == []


def test_a_turn_that_was_interrupted_before_its_answer_has_no_shares() -> None:
    drive = Drive(core_of(events=("turn",))).ready()
    drive.utter()
    drive.created()
    drive.message()
    drive.start()
    drive.sound(20)
    assert drive.named("hushgate.turn") == []
