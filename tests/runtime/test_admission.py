"""A process takes calls up to its capacity, none while it drains, and waits for those that it has."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from services.contracts.ids import CallId
from services.runtime.process.admission import Admission

CALL = CallId("rtc_" + "a" * 26)


def test_an_empty_process_has_a_place() -> None:
    assert Admission(1).refusal() is None


def test_a_call_that_is_being_set_up_takes_a_place_and_gives_it_back() -> None:
    admission = Admission(1)
    with admission.reserve(CALL):
        assert (admission.refusal(), admission.reserved, admission.is_reserved(CALL)) == ("full", 1, True)
    assert (admission.refusal(), admission.reserved, admission.is_reserved(CALL)) == (None, 0, False)


def test_a_call_that_fails_to_be_set_up_gives_its_place_back() -> None:
    admission = Admission(1)
    with pytest.raises(RuntimeError), admission.reserve(CALL):
        raise RuntimeError
    assert admission.refusal() is None


def test_a_call_takes_a_place_until_it_ends_also_while_it_is_not_settled() -> None:
    admission = Admission(1)
    with admission.reserve(CALL):
        admission.begin()
    assert (admission.refusal(), admission.active) == ("full", 1)
    admission.end()
    assert (admission.refusal(), admission.active) == (None, 0)


def test_a_draining_process_reports_draining_even_when_full() -> None:
    admission = Admission(1)
    admission.begin()
    admission.draining = True
    assert admission.refusal() == "draining"


@given(st.integers(0, 5), st.lists(st.sampled_from(["call", "end"]), max_size=40))
def test_never_are_there_more_calls_than_the_capacity(capacity: int, steps: list[str]) -> None:
    admission = Admission(capacity)
    for step in steps:
        if step == "end" and admission.active:
            admission.end()
            admission.settle()
        elif step == "call" and admission.refusal() is None:
            admission.begin()
        assert 0 <= admission.active <= capacity
        assert (admission.refusal() is None) == (admission.active < capacity)


async def test_draining_an_empty_process_is_done_at_once() -> None:
    admission = Admission(1)
    await admission.drain(timeout_s=60, end_calls=pytest.fail)
    assert admission.refusal() == "draining"


async def test_draining_waits_until_the_last_call_is_settled() -> None:
    admission = Admission(1)
    admission.begin()
    drained = asyncio.create_task(admission.drain(timeout_s=60, end_calls=pytest.fail))
    await asyncio.sleep(0)
    admission.end()
    await asyncio.sleep(0)
    assert not drained.done()
    admission.settle()
    await drained


async def test_draining_waits_for_a_call_that_is_being_set_up() -> None:
    admission = Admission(1)
    with admission.reserve(CALL):
        drained = asyncio.create_task(admission.drain(timeout_s=60, end_calls=pytest.fail))
        await asyncio.sleep(0)
        assert not drained.done()
    await drained


async def test_calls_that_outlast_the_drain_are_ended_and_settled() -> None:
    admission = Admission(2)
    admission.begin()
    ended = asyncio.Event()
    with capture_logs() as logs:
        drained = asyncio.create_task(admission.drain(timeout_s=0, end_calls=ended.set))
        await ended.wait()
        assert not drained.done()
        admission.end()
        admission.settle()
        await drained
    assert [(line["event"], line["calls"]) for line in logs] == [("drain_timed_out", 1)]
