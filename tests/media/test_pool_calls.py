import asyncio

import pytest

from services.contracts import frame as frames
from services.contracts import subjects
from services.contracts.audio import DOWN_FRAME_BYTES, UP_FRAME_BYTES
from services.contracts.endings import EndReason
from services.contracts.frame import Frame, Kind
from services.contracts.ids import Epoch, WorkerId, new_call_id
from services.contracts.messages import Ended, PlayoutReport, expect
from services.media.call import Call
from services.media.leg import LegMeasured, LegMessage, LegOwner
from tests.media.harness import HarnessOpener, count
from tests.media.worker import EPOCH, ITEM, PROCESS, WORKER


async def test_speech_goes_up_and_silence_does_not(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        _, leg = await harness.call()
        leg.speak("....ssss" + "." * 20)
        wanted = (Kind.UTTERANCE_START, Kind.AUDIO_UP, Kind.UTTERANCE_END)
        got = [await harness.worker.next(*wanted)]
        while got[-1].kind is not Kind.UTTERANCE_END:
            got.append(await harness.worker.next(*wanted))
        assert got[0].kind is Kind.UTTERANCE_START
        assert sum(len(frame.payload) for frame in got[1:-1]) == 7 * UP_FRAME_BYTES
        assert max(len(frame.payload) for frame in got[1:-1]) == 2 * UP_FRAME_BYTES


async def test_an_answer_is_played_with_its_events_in_step(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        call, leg = await harness.call()
        await harness.worker.event(call, {"type": "session.created"})
        await harness.worker.answer(call, 2)
        await harness.worker.event(call, {"type": "response.done"}, item_id=ITEM, position=960)
        await harness.worker.event(call, {"type": "rate_limits.updated"})  # once it is here, so is what was sent before
        for kind in ("session.created", "response.output_item.added", "rate_limits.updated"):
            assert (await leg.event())["type"] == kind
        first = await leg.pull()
        assert first is not None
        assert len(first) == DOWN_FRAME_BYTES
        assert (await leg.event())["type"] == "output_audio_buffer.started"
        await leg.pull()
        assert [(await leg.event())["type"] for _ in range(2)] == ["response.done", "output_audio_buffer.stopped"]
        report = await harness.worker.next(Kind.PLAYOUT_REPORT)
        assert (report.position, report.item_id) == (960, ITEM)


async def test_nothing_more_to_play_makes_the_leg_wait(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        call, leg = await harness.call()
        await harness.worker.answer(call, 1)
        assert await leg.pull() is not None
        assert await leg.pull() is not None  # the fade
        assert await leg.pull() is None
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(leg.pull(), 0)


async def test_a_barge_in_reports_what_was_heard_before_the_new_utterance(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        before = count("barge_in_total")
        call, leg = await harness.call()
        await harness.worker.answer(call, 8, end=False)
        for _ in range(5):
            await leg.pull()
        leg.speak("sss")
        wanted = (Kind.PLAYOUT_REPORT, Kind.UTTERANCE_START, Kind.AUDIO_UP)
        got = [await harness.worker.next(*wanted) for _ in range(3)]
        assert [frame.kind for frame in got] == list(wanted)
        report = expect(PlayoutReport, got[0].payload)
        assert (report.cut, report.cause, got[0].position) == (True, "barge_in", 2400)
        assert await leg.pull() is not None  # the fade
        assert await leg.pull() is None
        assert count("barge_in_total") == before + 1


async def test_client_events_go_up(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        _, leg = await harness.call()
        leg.deliver(LegMessage('{"type":"session.update"}'))
        assert (await harness.worker.next(Kind.CLIENT_EVENT)).payload == b'{"type":"session.update"}'


async def test_frames_of_another_owner_are_counted_and_dropped(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        before = count("bus_frames_dropped_total", reason="stale_epoch")
        call, leg = await harness.call()
        await harness.worker.event(call, {"type": "old"}, epoch=Epoch(41))
        harness.worker.sequence = 0
        await harness.worker.event(call, {"type": "new"})
        assert (await leg.event())["type"] == "new"
        assert count("bus_frames_dropped_total", reason="stale_epoch") == before + 1


async def test_rubbish_on_the_bus_harms_nobody(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        call, leg = await harness.call()
        for rubbish in (b"", b"\0" * 40, b"x" * 300):
            await harness.bus.publish_bytes(subjects.down(PROCESS, WORKER, call), rubbish)
            await harness.bus.publish_bytes(subjects.down(PROCESS, WORKER, new_call_id()), rubbish)
        await harness.worker.event(call, {"type": "still here"})
        assert (await leg.event())["type"] == "still here"


async def test_the_measured_round_trip_moves_what_was_heard(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        call, leg = await harness.call()
        leg.deliver(LegMeasured(1000))
        await harness.worker.answer(call, 8, end=False)
        await leg.pull()
        leg.speak("ss")
        assert expect(PlayoutReport, (await harness.worker.next(Kind.PLAYOUT_REPORT)).payload).heard_ms == 0


def test_a_call_is_the_owner_of_its_leg() -> None:
    owner: type[LegOwner] = Call
    assert owner is Call


async def test_a_frame_that_another_worker_sent_is_dropped_and_counted(open_harness: HarnessOpener) -> None:
    async with open_harness() as harness:
        call, leg = await harness.call()
        dropped = count("bus_frames_dropped_total", reason="wrong_sender")
        ended = frames.encode(Frame(Kind.ENDED, EPOCH, 0, 0, payload=Ended(reason=EndReason.INTERNAL).encode()))
        await harness.bus.publish_bytes(subjects.down(PROCESS, WorkerId("up-1"), call), ended)
        await harness.worker.answer(call, 3)  # comes after it
        await leg.pull()
        assert count("bus_frames_dropped_total", reason="wrong_sender") == dropped + 1
        assert harness.pool.admission.active == 1
