"""Who gets a call that was claimed before."""

import asyncio

from services.contracts.endings import EndReason
from services.contracts.frame import Kind
from services.contracts.messages import ClaimGranted, ClaimRefused, Ended, expect
from services.runtime.bus import Bus
from tests.upstream.house import CALL, OTHER, Media, eventually, house, told
from tests.upstream.provider import Provider


async def test_a_call_has_one_owner(bus: Bus) -> None:
    async with house(bus, Provider()) as h:
        media = await h.call()
        await media.event("session.created")
        again = await h.ask()
        assert isinstance(again, ClaimRefused)
        assert again.reason == "lease_taken"
        await h.leases.create(OTHER, b"somebody")
        other = await h.ask(OTHER)
        assert isinstance(other, ClaimRefused)
        assert other.reason == "lease_taken"


async def test_a_call_whose_media_was_never_heard_can_be_claimed_again(bus: Bus) -> None:
    async with house(bus, Provider()) as h:
        hung = await h.silent()
        heard = await told(h.provider)
        granted = await h.ask()
        assert isinstance(granted, ClaimGranted)
        assert granted.epoch != hung.granted.epoch
        frame = await hung.kind(Kind.ENDED)
        assert frame.epoch == hung.granted.epoch
        assert expect(Ended, frame.payload).detail == "claimed again"
        async with asyncio.timeout(5):
            await heard.closed.wait()

        media = Media(bus, granted, CALL, hung.got, hung.all, hung.news)
        await media.send(Kind.ALIVE)
        _, created = await media.event("session.created")
        assert isinstance(created["session"], dict)
        assert created["session"]["id"] == granted.session
        assert (await h.leases.get(CALL)).revision == granted.epoch


async def test_a_call_that_is_being_given_back_is_waited_for(bus: Bus) -> None:
    async with house(bus, Provider()) as h:
        media = await h.silent()
        await media.send(Kind.ENDED, Ended(reason=EndReason.INTERNAL).encode())
        assert isinstance(await h.ask(), ClaimGranted)


async def test_another_worker_has_time_to_give_a_call_back(bus: Bus) -> None:
    async with house(bus, Provider()) as h:
        await h.leases.create(CALL, b"somebody")
        asked = asyncio.create_task(h.ask())

        async def is_claiming() -> bool:
            return h.worker.active == 1

        await eventually(is_claiming)
        await h.leases.delete(CALL)
        assert isinstance(await asked, ClaimGranted)
