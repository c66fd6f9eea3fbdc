"""The responses and tokens in a minute, of token and tenant, on the session core."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from services.contracts.grant import Limits, MinuteLimits
from services.upstream.connectors.openai import CAPABILITIES
from services.upstream.core.minute_use import RateExceeded
from tests.upstream.drive import Drive, Json, core_of
from tests.upstream.rated import answer, questions, refusals, requested, tenant, token

FULL = RateExceeded("responses", 2, 12.3)


def full_response(d: Drive, number: int, tokens: int = 1) -> None:
    d.created(f"resp_{number}")
    d.done(f"resp_{number}", usage={"input_tokens": tokens})


def test_a_tokens_third_response_in_a_minute_is_refused_with_the_events_id_and_goes_later() -> None:
    d = token(responses_per_min=2)
    for number in (1, 2):
        d.client("response.create")
        full_response(d, number)
    d.forget().client("response.create", event_id="mine")
    assert (d.error["code"], d.error["event_id"], requested(d)) == ("rate_limit_exceeded", "mine", 0)
    assert d.error["message"] == "Rate limit reached: 2 responses a minute for this token. Try again in 65 s."
    assert refusals(d) == [("token", "responses")]
    d.advance(65)
    d.forget().client("response.create")
    assert requested(d) == 1


def test_a_turn_above_the_rate_stays_in_the_conversation_and_gets_no_response() -> None:
    d = token(responses_per_min=1)
    d.utter()
    full_response(d, 1)
    d.forget().utter()
    assert d.named("input_audio_buffer.committed")
    assert (d.error["code"], d.error["event_id"], requested(d)) == ("rate_limit_exceeded", None, 0)


def test_a_response_waits_for_the_tenants_rate_and_what_comes_behind_it_too() -> None:
    d = tenant(responses_per_min=2)
    d.client("response.create")
    d.client("response.create", response={"conversation": "none"})
    d.advance(0.1)
    assert (requested(d), len(questions(d))) == (0, 1)
    answer(d)
    assert requested(d) == 1
    d.created()
    d.done()
    answer(d, FULL)
    assert (requested(d), refusals(d)) == (1, [("tenant", "responses")])
    assert d.error["message"] == "Rate limit reached: 2 responses a minute for this tenant. Try again in 13 s."


def test_a_response_that_was_cancelled_before_the_answer_is_given_back() -> None:
    d = tenant(responses_per_min=2)
    d.client("response.create")
    d.client("response.cancel")
    answer(d)
    assert requested(d) == 0
    assert [(q.ticket, q.charges[0].amount) for q in questions(d)] == [(1, 1), (0, -1)]
    d.client("response.create")
    d.client("response.cancel")
    d.record(d.core.rates_answered(2, FULL, now=d.now))
    assert not refusals(d)


def test_the_refusal_of_a_turn_whose_place_the_next_one_took_is_not_told() -> None:
    detection: Json = {"type": "server_vad", "interrupt_response": False}
    session: Json = {"audio": {"input": {"turn_detection": detection}}}
    d = Drive(core_of(session, tenant_limits=MinuteLimits(responses_per_min=2))).ready()
    for _ in range(2):
        d.utter()
    first, second = questions(d)
    d.record(d.core.rates_answered(first.ticket, FULL, now=d.now))
    assert not refusals(d)
    d.record(d.core.rates_answered(second.ticket, None, now=d.now))
    assert requested(d) == 1


def test_the_refusal_of_a_cancelled_response_that_keeps_its_place_is_not_told() -> None:
    d = tenant(responses_per_min=9)
    d.client("response.create")
    answer(d)
    d.client("response.cancel")
    d.client("response.create")
    d.client("response.cancel")
    assert len(questions(d)) == 1
    d.created()
    d.done(status="cancelled")
    assert (len(d.named("response.created")), len(d.named("response.done")), refusals(d)) == (2, 2, [])


def test_what_the_tenant_refuses_does_not_count_for_the_token() -> None:
    core = core_of(limits=Limits(responses_per_min=1), tenant_limits=MinuteLimits(responses_per_min=9))
    d = Drive(core).ready()
    for exceeded in (FULL, None):
        d.client("response.create")
        answer(d, exceeded)
    assert (requested(d), refusals(d)) == (1, [("tenant", "responses")])


def test_a_response_that_the_provider_refuses_for_now_is_counted_once() -> None:
    d = token(responses_per_min=1)
    d.client("response.create")
    event_id = d.sent("response.create")["event_id"]
    error: Json = {"type": "invalid_request_error", "code": "conversation_already_has_active_response"}
    d.provider("error", error={**error, "message": "", "event_id": event_id})
    d.advance(1)
    assert (requested(d), refusals(d)) == (2, [])


@pytest.mark.parametrize("make", [token, tenant])
def test_no_response_is_requested_once_a_minutes_tokens_are_used(make: Callable[..., Drive]) -> None:
    d = make(input_tokens_per_min=100)
    d.client("response.create")
    if make is tenant:
        answer(d)
    full_response(d, 1, tokens=100)
    d.client("response.create")
    if make is tenant:
        assert [q.charges[0].amount for q in questions(d)] == [0, 100, 0]
        answer(d, RateExceeded("input_tokens", 100, 5))
    assert (requested(d), refusals(d)) == (1, [("tenant" if make is tenant else "token", "input_tokens")])


def test_tokens_that_a_provider_by_duration_reports_count_too() -> None:
    by_duration = Drive(
        core_of(
            capabilities=replace(CAPABILITIES, meter="duration"),
            limits=Limits(input_tokens_per_min=5),
        )
    ).ready()
    by_duration.client("response.create")
    full_response(by_duration, 1, tokens=5)
    by_duration.client("response.create")
    assert refusals(by_duration) == [("token", "input_tokens")]
