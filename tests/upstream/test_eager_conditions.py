"""When no answer is requested before a turn's end, and what waits while one is."""

from dataclasses import replace

import pytest
from pydantic import JsonValue

from services.contracts.grant import Limits, MinuteLimits
from services.contracts.messages import CloseReason
from services.contracts.turn_detection import DetectsTurns
from services.upstream.connectors.openai import CAPABILITIES
from services.upstream.core import eager_turns
from services.upstream.core.capabilities import Capabilities
from services.upstream.core.commands import (
    ApplyTurnDetection,
    CountEagerLimit,
    TakeRates,
)
from services.upstream.core.minute_use import RateExceeded
from tests.upstream.drive import EAGER, Drive, Json, core_of
from tests.upstream.eager_calls import AHEAD, USAGE, committed, eager, outcomes, paused


@pytest.mark.parametrize(
    "capabilities",
    [
        replace(CAPABILITIES, manual_turns=False),
        replace(CAPABILITIES, cancel=False),
        replace(CAPABILITIES, delete=False),
    ],
)
def test_a_provider_that_cannot_undo_gets_nothing_ahead(capabilities: Capabilities) -> None:
    drive = Drive(core_of(turn_terms=EAGER, capabilities=capabilities))
    drive.record(drive.core.started(now=drive.now))
    drive.open()
    applied = [c.detection.eager_ms for c in drive.commands if isinstance(c, ApplyTurnDetection)]
    assert applied == [0]
    assert outcomes(paused(drive)) == ["refused"]


@pytest.mark.parametrize(
    "session",
    [
        {"audio": {"input": {"turn_detection": {"type": "server_vad", "create_response": False}}}},
        {"audio": {"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "low"}}}},
        {"tools": [{"type": "mcp", "server_label": "s", "server_url": "https://x.example"}]},
        {"prompt": {"id": "pmpt_1"}},
    ],
)
def test_sessions_whose_answers_cannot_be_undone_or_are_not_wanted_get_none_ahead(session: Json) -> None:
    assert outcomes(paused(eager(session))) == ["refused"]


def test_an_utterance_too_short_to_be_committed_is_not() -> None:
    drive = eager()
    drive.start()
    drive.speak(4)
    drive.pause()
    assert outcomes(drive) == ["refused"]


def test_an_utterance_too_long_to_be_kept_is_not() -> None:
    drive = eager()
    drive.start()
    drive.speak(1501)
    drive.forget().pause()
    assert outcomes(drive) == ["refused"]


def test_no_utterance_is_not() -> None:
    drive = eager()
    drive.pause()
    assert outcomes(drive) == ["refused"]


def test_where_something_of_the_client_waits_nothing_is_requested_ahead() -> None:
    drive = eager()
    drive.start()
    drive.speak()
    drive.pause(is_quiet=False)
    assert outcomes(drive) == ["refused"]


def test_where_an_answer_is_being_generated_none_is_requested_ahead() -> None:
    session: Json = {"audio": {"input": {"turn_detection": {"type": "server_vad", "interrupt_response": False}}}}
    drive = eager(session)
    drive.utter()
    drive.created()
    assert outcomes(paused(drive)) == ["refused"]


def test_a_second_eager_end_of_one_pause_does_nothing() -> None:
    drive = paused()
    drive.pause()
    assert drive.sent_types == AHEAD
    assert not outcomes(drive)


def test_the_clients_events_wait_until_it_is_certain() -> None:
    drive = paused()
    assert not drive.core.takes_client_events
    drive.stop()
    assert drive.core.takes_client_events


@pytest.mark.parametrize("reason", ["client_commit", "client_clear", "turn_detection"])
def test_an_end_that_is_left_to_the_client_takes_the_turn_back(reason: CloseReason) -> None:
    drive = paused()
    drive.record(drive.core.utterance_ended(drive.index, reason=reason, now=drive.now))
    assert outcomes(drive) == ["taken_back"]
    assert drive.core.takes_client_events


def test_the_providers_events_about_earlier_turns_are_shown_meanwhile() -> None:
    drive = eager({"audio": {"input": {"transcription": {"model": "whisper-1"}}}})
    drive.utter()
    committed(drive, "item_U0")
    drive.answer()
    paused(drive.forget())
    kind = "conversation.item.input_audio_transcription.completed"
    usage: JsonValue = {"type": "duration", "seconds": 1}
    drive.provider(kind, item_id="item_U0", content_index=0, transcript="hello", usage=usage)
    assert drive.shown[-1] == kind


def test_a_taken_back_answer_does_not_count_for_the_rate() -> None:
    drive = eager(limits=Limits(responses_per_min=1))
    paused(drive)
    committed(drive)
    drive.created()
    drive.resume()
    drive.done(status="cancelled")
    drive.forget().stop()
    assert "response.create" in drive.sent_types
    assert "error" not in drive.shown


def test_an_answer_above_a_rate_is_not_requested_ahead_and_refused_at_the_end() -> None:
    drive = eager(limits=Limits(responses_per_min=1))
    drive.utter()
    committed(drive, "item_U0")
    drive.answer()
    paused(drive.forget())
    assert outcomes(drive) == ["refused"]
    assert "error" not in drive.shown
    drive.stop()
    assert drive.error["code"] == "rate_limit_exceeded"


def test_a_turn_waits_for_the_tenants_rates() -> None:
    drive = paused(eager(tenant_limits=MinuteLimits(responses_per_min=10)))
    assert drive.sent_types == AHEAD[:10]
    drive.provider("rate_limits.updated", rate_limits=[])
    assert drive.shown[-1] == "rate_limits.updated"  # nothing is held yet
    drive.record(drive.core.rates_answered(1, None, now=drive.now))
    assert drive.sent_types == AHEAD


@pytest.mark.parametrize("ends", ["resume", "stop"])
def test_rates_that_answer_too_late_are_given_back(ends: str) -> None:
    drive = paused(eager(tenant_limits=MinuteLimits(responses_per_min=10)))
    drive.resume() if ends == "resume" else drive.stop()
    drive.forget()
    drive.record(drive.core.rates_answered(1, None, now=drive.now))
    given = [charge.amount for c in drive.commands if isinstance(c, TakeRates) and not c.ticket for charge in c.charges]
    assert given == [-1]


def test_rates_that_refuse_too_late_change_nothing() -> None:
    drive = paused(eager(tenant_limits=MinuteLimits(responses_per_min=10)))
    drive.forget().resume()
    drive.record(drive.core.rates_answered(1, RateExceeded("responses", 10, 5.0), now=drive.now))
    assert not drive.commands


@pytest.mark.parametrize("limit", ["MAX_HELD", "MAX_HELD_CHARS"])
def test_too_long_an_answer_takes_the_turn_back(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eager_turns, limit, 3)
    drive = paused()
    committed(drive)
    drive.respond()
    assert outcomes(drive) == ["taken_back"]
    drive.stop()
    assert drive.sent_types[-1] == "response.create"


def test_waste_makes_media_wait_longer_and_then_ends_it() -> None:
    drive = eager()
    for number in range(6):
        paused(drive)
        committed(drive, f"item_U{number}")
        drive.created(f"resp_{number}")
        drive.resume()
        drive.done(f"resp_{number}", usage=USAGE)
        drive.record(drive.core.utterance_abandoned(now=drive.now))
        drive.advance(0.1)
    applied = [c.detection for c in drive.commands if isinstance(c, ApplyTurnDetection)]
    assert applied == [DetectsTurns(eager_ms=460), DetectsTurns()]
    assert [c.limit for c in drive.commands if isinstance(c, CountEagerLimit)] == ["later", "off"]


def test_ids_of_many_taken_back_turns_are_forgotten_in_the_end() -> None:
    drive = eager(eager_waste_percent=100)
    for number in range(300):
        paused(drive)
        committed(drive, f"item_U{number}")
        drive.created(f"resp_{number}")
        drive.resume()
        drive.done(f"resp_{number}")
        drive.record(drive.core.utterance_abandoned(now=drive.now))
    drive.forget().provider("conversation.item.deleted", item_id="item_U299")
    drive.done("resp_0")
    assert drive.faults == ["unexpected"]
