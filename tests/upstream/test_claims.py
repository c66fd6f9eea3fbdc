"""Claims of calls that were claimed before."""

import asyncio

from services.contracts.endings import EndReason
from services.contracts.frame import Kind
from services.contracts.messages import ClaimGranted, ClaimRefused, Ended, expect
from services.runtime.bus.client import Bus
from tests.upstream.provider import ScriptedProvider
from tests.upstream.running_worker import CALL, OTHER, MediaSide, configured_session, eventually, running_worker


async def test_a_call_has_one_owner(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider()) as h:
        media = await h.call()
        await media.event("session.created")
        again = await h.claim()
        assert isinstance(again, ClaimRefused)
        assert again.reason == "lease_taken"
        await h.leases.create(OTHER, b"somebody")
        other = await h.claim(OTHER)
        assert isinstance(other, ClaimRefused)
        assert other.reason == "lease_taken"


async def test_a_call_whose_media_was_never_heard_can_be_claimed_again(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider()) as h:
        hung = await h.call_without_frames()
        provider_session = await configured_session(h.provider)
        granted = await h.claim()
        assert isinstance(granted, ClaimGranted)
        assert granted.epoch != hung.granted.epoch
        frame = await hung.kind(Kind.ENDED)
        assert frame.epoch == hung.granted.epoch
        assert expect(Ended, frame.payload).detail == "claimed again"
        async with asyncio.timeout(5):
            await provider_session.closed.wait()

        media = MediaSide(bus, granted, CALL, hung.got, hung.all, hung.changed)
        await media.send(Kind.ALIVE)
        _, created = await media.event("session.created")
        assert isinstance(created["session"], dict)
        assert created["session"]["id"] == granted.session
        assert (await h.leases.get(CALL)).revision == granted.epoch


async def test_a_call_that_is_being_given_back_is_waited_for(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider()) as h:
        media = await h.call_without_frames()
        await media.send(Kind.ENDED, Ended(reason=EndReason.INTERNAL).encode())
        assert isinstance(await h.claim(), ClaimGranted)


async def test_another_worker_has_time_to_give_a_call_back(bus: Bus) -> None:
    async with running_worker(bus, ScriptedProvider()) as h:
        await h.leases.create(CALL, b"somebody")
        asked = asyncio.create_task(h.claim())

        async def is_claiming() -> bool:
            return h.worker.active == 1

        await eventually(is_claiming)
        await h.leases.delete(CALL)
        assert isinstance(await asked, ClaimGranted)
