"""The seconds of audio in a minute, of token and tenant, on the session core."""

import base64

from services.contracts.grant import Limits, MinuteLimits
from services.upstream.core.commands import AppendAudio
from services.upstream.core.minute_use import RateExceeded
from services.upstream.core.session_updates import MAX_PENDING_UPDATES
from tests.upstream.drive import Drive, core_of
from tests.upstream.rated import answer, questions, refusals, requested, tenant, token


def sent_ms(d: Drive) -> int:
    return sum(len(c.pcm) for c in d.commands if isinstance(c, AppendAudio)) // 32


def test_an_utterance_above_the_tokens_seconds_is_cut_and_not_answered() -> None:
    d = token(audio_seconds_per_min=2)
    d.start()
    d.speak(150)
    d.stop()
    assert (sent_ms(d), d.sent_types.count("input_audio_buffer.clear")) == (2000, 1)
    assert (requested(d), refusals(d)) == (0, [("token", "audio_seconds")])
    assert d.error["code"] == "rate_limit_exceeded"
    assert d.one("input_audio_buffer.speech_stopped")
    assert not d.named("input_audio_buffer.committed")
    d.advance(65)
    d.forget().utter()
    assert d.named("input_audio_buffer.committed")


def test_seconds_that_were_taken_and_not_used_are_given_back() -> None:
    d = token(audio_seconds_per_min=2)
    for _ in range(5):
        d.utter(10)
    assert (len(d.named("input_audio_buffer.committed")), refusals(d)) == (5, [])


def test_a_tenants_seconds_are_taken_ahead_and_speech_does_not_wait() -> None:
    d = tenant(audio_seconds_per_min=9)
    d.start()
    d.speak(10)
    assert (sent_ms(d), len(questions(d))) == (200, 1)
    answer(d)
    d.speak(20)
    assert (sent_ms(d), len(questions(d))) == (600, 2)
    d.record(d.core.rates_answered(2, RateExceeded("audio_seconds", 9000, 3), now=d.now))
    d.speak(30)
    assert (sent_ms(d), refusals(d)) == (1000, [("tenant", "audio_seconds")])
    d.stop()
    assert not d.named("input_audio_buffer.committed")


def test_speech_that_ends_before_the_answer_is_counted_as_it_was() -> None:
    d = tenant(audio_seconds_per_min=9)
    d.utter(10)
    answer(d)
    assert [q.charges[0].amount for q in questions(d)] == [1000, -800]
    d.forget().utter(10)
    d.record(d.core.rates_answered(2, RateExceeded("audio_seconds", 9000, 3), now=d.now))
    assert [q.charges[0].amount for q in questions(d)] == [1000, 200]
    assert not refusals(d)


def test_a_cut_before_anything_was_sent_clears_nothing() -> None:
    d = token(audio_seconds_per_min=1)
    d.utter(50)
    d.forget().utter(10)
    assert (d.sent_types, refusals(d)) == ([], [("token", "audio_seconds")])


def pcm(ms: int) -> str:
    return base64.b64encode(bytes(48 * ms)).decode()


def test_each_append_above_the_tokens_seconds_is_refused_with_its_id() -> None:
    d = Drive(core_of({"audio": {"input": {"turn_detection": None}}}, limits=Limits(audio_seconds_per_min=2))).ready()
    for number in range(5):
        d.client("input_audio_buffer.append", audio=pcm(500), event_id=f"e{number}")
    d.client("input_audio_buffer.append", audio=pcm(2500))
    assert d.sent_types.count("input_audio_buffer.append") == 4
    errors = [e.event["error"] for e in d.named("error")]
    assert [isinstance(error, dict) and error["event_id"] for error in errors] == ["e4", None]
    d.client("input_audio_buffer.commit")
    assert d.named("input_audio_buffer.committed")


def test_what_a_client_appends_waits_for_the_tenants_seconds_and_its_events_wait_behind() -> None:
    core = core_of({"audio": {"input": {"turn_detection": None}}}, tenant_limits=MinuteLimits(audio_seconds_per_min=9))
    d = Drive(core).ready()
    d.client("input_audio_buffer.append", audio=pcm(400))
    assert (d.sent_types, d.core.takes_client_events) == ([], False)
    answer(d)
    assert (d.sent_types, d.core.takes_client_events) == (["input_audio_buffer.append"], True)
    d.client("input_audio_buffer.commit")
    assert [q.charges[0].amount for q in questions(d)] == [1000, -600]
    d.forget().client("input_audio_buffer.append", audio=pcm(400), event_id="mine")
    answer(d, RateExceeded("audio_seconds", 9000, 3))
    assert (d.error["event_id"], d.sent_types) == ("mine", [])


def test_push_to_talk_above_the_seconds_keeps_what_was_taken_and_a_new_try_begins_after_a_commit() -> None:
    d = Drive(core_of({"audio": {"input": {"turn_detection": None}}}, limits=Limits(audio_seconds_per_min=3))).ready()
    d.speak(250)
    assert (sent_ms(d), set(d.sent_types), refusals(d)) == (3000, {"append"}, [("token", "audio_seconds")])
    assert str(d.error["message"]).startswith("Rate limit reached: 3 seconds of input audio a minute for this token.")
    assert str(d.error["message"]).endswith(
        "What was taken stays in the buffer; nothing more is taken until it is committed or cleared."
    )
    d.forget().client("input_audio_buffer.commit")
    assert (d.sent_types, d.shown) == (["input_audio_buffer.commit"], ["input_audio_buffer.committed"])
    d.advance(65)
    d.forget().speak(20)
    d.client("input_audio_buffer.commit")
    assert (sent_ms(d), d.shown) == (400, ["input_audio_buffer.committed"])


def test_push_to_talk_has_no_gap_when_seconds_are_free_again_before_the_commit() -> None:
    d = Drive(core_of({"audio": {"input": {"turn_detection": None}}}, limits=Limits(audio_seconds_per_min=1))).ready()
    d.speak(100)
    d.advance(65)
    d.speak(100)
    assert (sent_ms(d), len(refusals(d))) == (1000, 1)
    d.client("input_audio_buffer.clear")
    d.forget().speak(20)
    assert sent_ms(d) == 400


def test_push_to_talk_above_the_tenants_seconds_keeps_what_was_taken() -> None:
    core = core_of({"audio": {"input": {"turn_detection": None}}}, tenant_limits=MinuteLimits(audio_seconds_per_min=1))
    d = Drive(core).ready()
    d.speak(10)
    answer(d)
    d.speak(20)
    answer(d, RateExceeded("audio_seconds", 1000, 3))
    d.speak(60)
    d.client("input_audio_buffer.commit")
    assert (sent_ms(d), refusals(d)) == (1000, [("tenant", "audio_seconds")])
    assert d.one("input_audio_buffer.committed")
    assert "input_audio_buffer.clear" not in d.sent_types


def test_what_waits_behind_an_append_that_itself_waited_keeps_its_place() -> None:
    core = core_of({"audio": {"input": {"turn_detection": None}}}, tenant_limits=MinuteLimits(audio_seconds_per_min=9))
    d = Drive(core).ready()
    for number in range(MAX_PENDING_UPDATES + 1):
        d.client("session.update", session={"instructions": str(number)})
    d.client("input_audio_buffer.append", audio=pcm(400))
    d.client("input_audio_buffer.commit")
    d.forget().provider("session.updated", session={"instructions": "0"})
    assert d.sent_types == ["session.update"]
    answer(d)
    assert d.sent_types == ["session.update", "input_audio_buffer.append", "input_audio_buffer.commit"]


def test_what_waited_for_the_session_waits_for_the_tenants_seconds_in_order() -> None:
    core = core_of({"audio": {"input": {"turn_detection": None}}}, tenant_limits=MinuteLimits(audio_seconds_per_min=9))
    d = Drive(core)
    d.record(core.started(now=d.now))
    for _ in range(2):
        d.client("input_audio_buffer.append", audio=pcm(900))
    d.client("input_audio_buffer.commit")
    d.open()
    assert d.core.takes_client_events
    d.client("response.create", response={"conversation": "none"})
    answer(d)
    answer(d)
    kinds = ["input_audio_buffer.append", "input_audio_buffer.append", "input_audio_buffer.commit", "response.create"]
    assert d.sent_types[-4:] == kinds
