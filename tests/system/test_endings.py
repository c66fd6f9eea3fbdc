"""Ends of calls: client and ledger get the same reason, and the billed sum is right."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.callers.caller import Caller
from services.callers.speech import synthesise
from tests.system.gateway import ECHO_VOICE, STOP_TIMEOUT_S, Up, running_up, wait_until

EVENTS = ("gate", "usage")
TIMEOUT_S = 20.0
BILL_TIMEOUT_S = 20.0
EVERYBODY = {"signaling", "media-0", "upstream", "metering"}


async def ended(caller: Caller) -> tuple[str, dict[str, Any]]:
    """Return the reason that the client received, and the call's bill."""
    ended_event = await caller.next_event("hushgate.ended", timeout_s=TIMEOUT_S)
    bill = await caller.bill(timeout_s=BILL_TIMEOUT_S)
    assert bill is not None
    return str(ended_event.event["reason"]), bill


async def answered(caller: Caller, text: str) -> None:
    await caller.speak(await synthesise(text))
    await caller.next_event("output_audio_buffer.stopped", timeout_s=TIMEOUT_S)


async def rehearsed_cost(up: Up) -> int:
    async with httpx.AsyncClient() as http:
        cost: int = (await http.get(f"{up.service('rehearsal')}/billing")).json()["cost_nano_usd"]
    return cost


async def test_a_call_ends_at_its_max_seconds(up: Up) -> None:
    async with Caller.call(up.url, up.tenant_key, events=EVENTS, max_seconds=3) as caller:
        reason, bill = await ended(caller)
    assert (reason, bill["ended_reason"]) == ("max_seconds", "max_seconds")
    assert 3000 <= bill["meters"]["call_ms"] < 4000


async def test_a_client_that_goes_away_ends_its_call(up: Up) -> None:
    async with Caller.call(up.url, up.tenant_key, events=EVENTS) as caller:
        await caller.next_event("session.created", timeout_s=TIMEOUT_S)
    url, headers = f"{up.url}/v1/calls/{caller.call_id}/usage", {"Authorization": f"Bearer {up.tenant_key}"}

    def reason() -> object:
        return httpx.get(url, headers=headers).json().get("ended_reason")

    await asyncio.to_thread(wait_until, lambda: reason() is not None, "the call is over")
    assert await asyncio.to_thread(reason) == "client_gone"


async def test_a_killed_worker_ends_its_calls_with_a_reason_and_the_next_call_works(own_up: Up) -> None:
    before = await rehearsed_cost(own_up)
    async with Caller.call(own_up.url, own_up.tenant_key, events=EVENTS) as caller:
        await answered(caller, "hello")
        os.kill(own_up.pid("upstream"), signal.SIGKILL)
        reason, bill = await ended(caller)
    assert (reason, bill["ended_reason"]) == ("provider_error", "provider_error")
    assert bill["cost_nano_usd"] == await rehearsed_cost(own_up) - before > 0
    async with Caller.call(own_up.url, own_up.tenant_key, events=EVENTS) as caller:
        await answered(caller, "hello")


async def test_a_killed_provider_ends_its_calls_with_a_reason(own_up: Up) -> None:
    async with Caller.call(own_up.url, own_up.tenant_key, events=EVENTS) as caller:
        await answered(caller, "hello")
        os.kill(own_up.pid("rehearsal"), signal.SIGKILL)
        reason, bill = await ended(caller)
    assert (reason, bill["ended_reason"]) == ("provider_error", "provider_error")


async def test_a_metering_that_is_killed_in_a_call_loses_nothing(own_up: Up) -> None:
    before = await rehearsed_cost(own_up)
    async with Caller.call(own_up.url, own_up.tenant_key, events=EVENTS) as caller:
        await answered(caller, "what time is it")
        os.kill(own_up.pid("metering"), signal.SIGKILL)
        await answered(caller, "hello")
        await caller.hang_up()
        bill = await caller.bill(timeout_s=BILL_TIMEOUT_S)
    assert bill is not None
    assert bill["status"] == "ended"
    assert bill["cost_nano_usd"] == await rehearsed_cost(own_up) - before > 0


async def test_a_bus_that_is_killed_in_a_call_ends_nothing_and_loses_nothing(own_up: Up) -> None:
    before = await rehearsed_cost(own_up)
    async with Caller.call(own_up.url, own_up.tenant_key, events=EVENTS) as caller:
        await answered(caller, "what time is it")
        events = len(own_up.events())
        os.kill(own_up.bus_pid(), signal.SIGKILL)
        await asyncio.to_thread(wait_until, lambda: returned(own_up, events) >= EVERYBODY, "all are back")
        await answered(caller, "hello")
        await caller.hang_up()
        bill = await caller.bill(timeout_s=BILL_TIMEOUT_S)
    assert bill is not None
    assert bill["ended_reason"] == "hangup"
    assert bill["cost_nano_usd"] == await rehearsed_cost(own_up) - before > 0


def returned(up: Up, since: int) -> set[str]:
    """Wait until call frames flow again after the bus was unreachable."""
    back = [event for event in up.events()[since:] if event["event"] == "bus_reconnected"]
    return {event["service"] for event in back if event["connection"].endswith("-calls")}


async def test_calls_that_are_live_when_the_gateway_stops_are_told_and_booked_at_the_next_start(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    with running_up(data, environment=ECHO_VOICE) as first:
        async with Caller.call(first.url, first.tenant_key, events=EVENTS) as caller:
            await answered(caller, "hello")
            cost = await rehearsed_cost(first)
            first.process.send_signal(signal.SIGTERM)
            ended_event = await caller.next_event("hushgate.ended", timeout_s=TIMEOUT_S)
        assert ended_event.event["reason"] == "drained"
        assert await asyncio.to_thread(first.process.wait, STOP_TIMEOUT_S) == 0
    with running_up(data, environment=ECHO_VOICE) as second:
        url = f"{second.url}/v1/calls/{caller.call_id}/usage"
        headers = {"Authorization": f"Bearer {second.tenant_key}"}

        def bill() -> dict[str, Any]:
            got: dict[str, Any] = httpx.get(url, headers=headers).json()
            return got

        await asyncio.to_thread(wait_until, lambda: bill().get("status") == "ended", "the call is booked")
        booked = await asyncio.to_thread(bill)
    assert booked["ended_reason"] == "drained"
    assert booked["cost_nano_usd"] == cost > 0


async def test_an_answer_that_is_under_way_at_the_end_is_paid_for(up: Up) -> None:
    before = await rehearsed_cost(up)
    async with Caller.call(up.url, up.tenant_key, events=EVENTS) as caller:
        asked = await caller.speak(await synthesise("tell me a long story"))
        await caller.audio_sink.first_sound(since_s=asked.ended_s, timeout_s=TIMEOUT_S)
        await caller.hang_up()
        bill = await caller.bill(timeout_s=BILL_TIMEOUT_S)
    assert bill is not None
    assert bill["cost_nano_usd"] == await rehearsed_cost(up) - before > 0


@pytest.mark.parametrize("reuse", ["token", "call"])
async def test_a_token_makes_one_call_and_reads_only_its_own(up: Up, reuse: str) -> None:
    headers = {"Authorization": f"Bearer {up.tenant_key}"}
    async with httpx.AsyncClient(base_url=up.url) as http:
        minted = await http.post("/v1/realtime/client_secrets", headers=headers, json={})
        token = minted.json()["value"]
        async with Caller.call(up.url, token) as caller:
            await caller.next_event("session.created", timeout_s=TIMEOUT_S)
            await caller.hang_up()
        mine = {"Authorization": f"Bearer {token}"}
        if reuse == "token":
            offer = {**mine, "Content-Type": "application/sdp"}
            assert (await http.post("/v1/realtime/calls", headers=offer, content="v=0")).status_code == 401
        else:
            other = caller.call_id[:-1] + ("a" if caller.call_id[-1] != "a" else "b")
            assert (await http.get(f"/v1/calls/{other}/usage", headers=mine)).status_code == 404
            assert (await http.get("/v1/usage", headers=mine)).status_code == 401
