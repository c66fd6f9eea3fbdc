import asyncio
from collections.abc import Callable

import pytest

from services.media.legs.webrtc.wheel import StageFunction, Wheel

WAIT_S = 10


class NoDatagrams:
    """A port that receives nothing."""

    def __init__(self) -> None:
        self.wakes = asyncio.Event()
        self.wakes.set()
        self.reads = 0
        self.on_read: Callable[[], None] = lambda: None

    def wake_by_datagrams(self, *, on: bool) -> None:
        (self.wakes.set if on else self.wakes.clear)()

    def read_all(self) -> None:
        self.reads += 1
        self.on_read()


class RecordingPlayer:
    """Records its steps; raises in the step `fails`."""

    def __init__(self, *, fails: str = "", ends_with: str = "transmit") -> None:
        self.stages: tuple[StageFunction, ...] = (self.fetch, self.encode, self.transmit)
        self.ends_with = ends_with
        self.steps: list[str] = []
        self.fails = fails
        self.news = asyncio.Event()

    def _step(self, name: str) -> bool:
        self.steps.append(name)
        self.news.set()
        if name == self.fails:
            raise ZeroDivisionError(name)
        return name != self.ends_with

    def fetch(self, due: float) -> bool:
        assert due > 0
        return self._step("fetch")

    def encode(self, _: float) -> bool:
        return self._step("encode")

    def transmit(self, _: float) -> bool:
        return self._step("transmit")

    def on_timer(self, *, now: float) -> None:
        assert now > 0
        self._step("timer")

    def failed(self) -> None:
        self._step("failed")

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not true():
                self.news.clear()
                await self.news.wait()


async def test_a_frame_is_fetched_encoded_and_sent_turn_after_turn() -> None:
    wheel, player = Wheel(NoDatagrams()), RecordingPlayer()
    wheel.add_player(player)
    await player.until(lambda: len(player.steps) >= 6)
    wheel.stop()
    assert player.steps[:6] == ["fetch", "encode", "transmit"] * 2


async def test_each_stage_is_taken_by_all_before_the_next() -> None:
    wheel, taken = Wheel(NoDatagrams()), list[tuple[str, str]]()
    players = {name: RecordingPlayer() for name in "ab"}
    for name, player in players.items():
        player.stages = tuple(_noted(taken, name, stage) for stage in player.stages)
        wheel.add_player(player)
    await players["b"].until(lambda: "transmit" in players["b"].steps)
    wheel.stop()
    assert taken[:6] == [(stage, name) for stage in ("fetch", "encode", "transmit") for name in "ab"]


def _noted(taken: list[tuple[str, str]], name: str, stage: StageFunction) -> StageFunction:
    def noted(at: float) -> bool:
        taken.append((stage.__name__, name))
        return stage(at)

    return noted


async def test_who_has_nothing_to_do_in_a_stage_skips_those_behind_it() -> None:
    wheel, idle, busy = Wheel(NoDatagrams()), RecordingPlayer(ends_with="fetch"), RecordingPlayer()
    for player in (idle, busy):
        wheel.add_player(player)
    await busy.until(lambda: busy.steps.count("transmit") >= 2)
    wheel.stop()
    assert set(idle.steps) == {"fetch"}


async def test_a_receiver_takes_its_stages_once_for_each_time_that_it_has_something_to_hear() -> None:
    datagrams, member, receiver = NoDatagrams(), RecordingPlayer(), RecordingPlayer()
    wheel = Wheel(datagrams)
    datagrams.on_read = lambda: wheel.add_receiver(receiver) if datagrams.reads == 2 else None
    wheel.add_member(member)
    await member.until(lambda: datagrams.reads >= 4)
    wheel.stop()
    assert receiver.steps == ["fetch", "encode", "transmit"]


@pytest.mark.parametrize("step", ["fetch", "encode", "transmit"])
async def test_a_call_that_fails_in_a_step_does_not_stop_the_others(step: str) -> None:
    wheel, broken, sound = Wheel(NoDatagrams()), RecordingPlayer(fails=step), RecordingPlayer()
    for player in (broken, sound):
        wheel.add_player(player)
    await sound.until(lambda: sound.steps.count("transmit") >= 3)
    wheel.stop()
    assert "failed" in broken.steps
    assert "failed" not in sound.steps


async def test_a_leg_that_fails_in_its_duties_does_not_stop_the_others() -> None:
    wheel, broken, sound = Wheel(NoDatagrams()), RecordingPlayer(fails="timer"), RecordingPlayer()
    for member in (broken, sound):
        wheel.add_member(member)
    await sound.until(lambda: sound.steps.count("timer") >= 3)
    wheel.stop()
    assert "failed" in broken.steps


async def test_datagrams_are_read_by_the_wheel_while_it_turns_and_wake_the_loop_while_it_stands() -> None:
    datagrams = NoDatagrams()
    wheel, member = Wheel(datagrams), RecordingPlayer()
    wheel.add_member(member)
    assert not datagrams.wakes.is_set()
    await member.until(lambda: bool(member.steps))
    assert datagrams.reads > 0
    wheel.remove(member, member)
    async with asyncio.timeout(WAIT_S):
        await datagrams.wakes.wait()
