import asyncio
from collections.abc import Callable

import pytest

from services.media.rtc.wheel import Stage, Wheel

WAIT_S = 10


class NoDatagrams:
    """A port to which nothing comes."""

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


class Player:
    """Notes its steps; fails where it is told to."""

    def __init__(self, *, fails: str = "", ends_with: str = "transmit") -> None:
        self.stages: tuple[Stage, ...] = (self.fetch, self.encode, self.transmit)
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

    def tick(self, *, now: float) -> None:
        assert now > 0
        self._step("tick")

    def broke(self) -> None:
        self._step("broke")

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not true():
                self.news.clear()
                await self.news.wait()


async def test_a_frame_is_fetched_encoded_and_sent_turn_after_turn() -> None:
    wheel, player = Wheel(NoDatagrams()), Player()
    wheel.play(player)
    await player.until(lambda: len(player.steps) >= 6)
    wheel.stop()
    assert player.steps[:6] == ["fetch", "encode", "transmit"] * 2


async def test_each_stage_is_taken_by_all_before_the_next() -> None:
    wheel, taken = Wheel(NoDatagrams()), list[tuple[str, str]]()
    players = {name: Player() for name in "ab"}
    for name, player in players.items():
        player.stages = tuple(_noted(taken, name, stage) for stage in player.stages)
        wheel.play(player)
    await players["b"].until(lambda: "transmit" in players["b"].steps)
    wheel.stop()
    assert taken[:6] == [(stage, name) for stage in ("fetch", "encode", "transmit") for name in "ab"]


def _noted(taken: list[tuple[str, str]], name: str, stage: Stage) -> Stage:
    def noted(at: float) -> bool:
        taken.append((stage.__name__, name))
        return stage(at)

    return noted


async def test_who_has_nothing_to_do_in_a_stage_skips_those_behind_it() -> None:
    wheel, idle, busy = Wheel(NoDatagrams()), Player(ends_with="fetch"), Player()
    for player in (idle, busy):
        wheel.play(player)
    await busy.until(lambda: busy.steps.count("transmit") >= 2)
    wheel.stop()
    assert set(idle.steps) == {"fetch"}


async def test_an_ear_takes_its_stages_once_for_each_time_that_it_has_something_to_hear() -> None:
    datagrams, member, ear = NoDatagrams(), Player(), Player()
    wheel = Wheel(datagrams)
    datagrams.on_read = lambda: wheel.hear(ear) if datagrams.reads == 2 else None
    wheel.enter(member)
    await member.until(lambda: datagrams.reads >= 4)
    wheel.stop()
    assert ear.steps == ["fetch", "encode", "transmit"]


@pytest.mark.parametrize("step", ["fetch", "encode", "transmit"])
async def test_a_call_that_fails_in_a_step_does_not_stop_the_others(step: str) -> None:
    wheel, broken, sound = Wheel(NoDatagrams()), Player(fails=step), Player()
    for player in (broken, sound):
        wheel.play(player)
    await sound.until(lambda: sound.steps.count("transmit") >= 3)
    wheel.stop()
    assert "broke" in broken.steps
    assert "broke" not in sound.steps


async def test_a_leg_that_fails_in_its_duties_does_not_stop_the_others() -> None:
    wheel, broken, sound = Wheel(NoDatagrams()), Player(fails="tick"), Player()
    for member in (broken, sound):
        wheel.enter(member)
    await sound.until(lambda: sound.steps.count("tick") >= 3)
    wheel.stop()
    assert "broke" in broken.steps


async def test_datagrams_are_read_by_the_wheel_while_it_turns_and_wake_the_loop_while_it_stands() -> None:
    datagrams = NoDatagrams()
    wheel, member = Wheel(datagrams), Player()
    wheel.enter(member)
    assert not datagrams.wakes.is_set()
    await member.until(lambda: bool(member.steps))
    assert datagrams.reads > 0
    wheel.leave(member, member)
    async with asyncio.timeout(WAIT_S):
        await datagrams.wakes.wait()
