import asyncio
import os
import signal

import pytest

from services.rehearsal.core.dialogue import RECORDED_PROMPT
from services.rehearsal.voice.ear import Ear
from services.rehearsal.voice.pool import LocalVoice
from services.rehearsal.voice.provided import RECORDED_FILE, EchoVoice, VoiceMissingError
from services.runtime.errors import HushgateError
from tests.rehearsal.conftest import Speech
from tests.rehearsal.driver import tone

pytest.importorskip("pocketsphinx", reason="needs the extra `voice`")


@pytest.mark.parametrize("speaker", ["slt", "rms"])
async def test_spoken_questions_are_understood(speaker: str, flite: Speech) -> None:
    questions = {
        "what time is it": "what time is it",
        "tell me a long story": "tell me a long story",
        "count to five": "count to five",
        "my name is robert": "my name is robert",
    }
    async with LocalVoice.open(ears=1) as voice:
        for question, heard in questions.items():
            utterance = voice.listen()
            pcm = await flite(question, speaker)
            for start in range(0, len(pcm), 960):
                utterance.feed(pcm[start : start + 960])
            assert await utterance.finish() == heard


async def test_the_same_speech_is_understood_alike_however_it_comes(flite: Speech) -> None:
    ear, pcm = Ear(), await flite("count to five", "rms")
    ear.warm_up()
    scores = set()
    for step in (960, 960, 4800, 9600):  # 20 to 200 ms, as pipes join them
        for start in range(0, len(pcm), step):
            ear.feed(pcm[start : start + step])
        assert ear.finish() == "count to five"
        scores.add(ear._commands.hyp().score)  # noqa: SLF001 - words change only now and then, this with any difference
        ear.forget()
    assert max(scores) - min(scores) < 0.02  # what is left is the noise that the decoder remembers from before


async def test_the_mouth_speaks_at_24_khz_and_the_speed_that_is_wanted() -> None:
    async with LocalVoice.open(ears=1) as voice:
        normal = await voice.say("Good morning, and welcome.", speed=1.0)
        fast = await voice.say("Good morning, and welcome.", speed=1.5)
        assert normal
        assert fast
        assert 1000 < len(normal) // 48 < 3000
        assert len(fast) < len(normal)


@pytest.mark.parametrize("half", ["AM", "PM"])
async def test_the_mouth_spells_the_halves_of_the_day_and_no_other_am(half: str) -> None:
    async with LocalVoice.open(ears=1) as voice:

        async def length(text: str) -> int:
            return len(await voice.say(text, speed=1.0) or b"")

        assert await length(f"It is nine oh five {half}.") == await length(f"It is nine oh five {half[0]} M.")
        assert await length("You said: I AM HERE.") != await length("You said: I A M HERE.")


async def test_who_comes_when_all_ears_are_taken_waits_and_is_heard() -> None:
    async with LocalVoice.open(ears=1) as voice:
        first, second, third = voice.listen(), voice.listen(), voice.listen()
        second.feed(tone(200))
        first.feed(tone(200))
        third.forget()
        answers = asyncio.gather(first.finish(), second.finish())
        assert await answers is not None
        assert None not in answers.result()


async def test_a_crashed_ear_says_so_and_is_replaced() -> None:
    async with LocalVoice.open(ears=1) as voice:
        ear, mouth = voice.processes
        utterance = voice.listen()
        utterance.feed(tone(200))
        assert ear.pid
        os.kill(ear.pid, signal.SIGKILL)
        assert await utterance.finish() is None
        async with asyncio.timeout(60):
            await ear.ready.wait()
        again = voice.listen()
        again.feed(tone(200))
        assert await again.finish() is not None
        assert mouth.ready.is_set()


async def test_a_crashed_mouth_is_replaced() -> None:
    async with LocalVoice.open(ears=1) as voice:
        _, mouth = voice.processes
        assert mouth.pid
        os.kill(mouth.pid, signal.SIGSTOP)
        sentence = asyncio.create_task(voice.say("One moment.", speed=1.0))
        await asyncio.sleep(0)
        os.kill(mouth.pid, signal.SIGKILL)
        assert await sentence is None
        assert await voice.say("Here I am.", speed=1.0)


async def test_the_voice_ends_with_its_service() -> None:
    async with LocalVoice.open(ears=1) as voice:
        pids = [child.pid for child in voice.processes]
    for pid in pids:
        assert pid
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_the_recording_is_small_and_says_one_thing() -> None:
    voice = EchoVoice()
    assert await voice.say(RECORDED_PROMPT, speed=1.0) == RECORDED_FILE.read_bytes()
    assert RECORDED_FILE.stat().st_size <= 200_000
    with pytest.raises(VoiceMissingError):
        voice.listen()
    assert issubclass(VoiceMissingError, HushgateError)
