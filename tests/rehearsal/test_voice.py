import asyncio
import os
import signal

import pytest

from services.rehearsal.core.dialogue import RECORDED_PROMPT
from services.rehearsal.voice.pool import LocalVoice
from services.rehearsal.voice.provided import RECORDED_FILE, EchoVoice, VoiceMissingError
from services.rehearsal.voice.recogniser import Recogniser
from services.runtime.errors import HushgateError
from tests.rehearsal.conftest import Speech
from tests.rehearsal.driver import tone

pytest.importorskip("pocketsphinx", reason="needs the extra `voice`")


@pytest.mark.parametrize("speaker", ["slt", "rms"])
async def test_spoken_questions_are_recognised(speaker: str, flite: Speech) -> None:
    questions = {
        "what time is it": "what time is it",
        "tell me a long story": "tell me a long story",
        "count to five": "count to five",
        "my name is robert": "my name is robert",
    }
    async with LocalVoice.open(recognisers=1) as voice:
        for question, heard in questions.items():
            utterance = voice.begin_utterance()
            pcm = await flite(question, speaker)
            for start in range(0, len(pcm), 960):
                utterance.feed(pcm[start : start + 960])
            found = await utterance.finish()
            assert found
            assert found.text == heard
            assert -1 < found.logprob < 0


async def test_the_transcript_does_not_depend_on_the_chunk_sizes(flite: Speech) -> None:
    recogniser, pcm = Recogniser(), await flite("count to five", "rms")
    recogniser.warm_up()
    scores = set()
    for step in (960, 960, 4800, 9600):  # 20 to 200 ms, as pipes join them
        for start in range(0, len(pcm), step):
            recogniser.feed(pcm[start : start + step])
        assert recogniser.finish().text == "count to five"
        scores.add(recogniser._commands.hyp().score)  # noqa: SLF001 - words change only now and then, this with any difference
        recogniser.discard()
    assert max(scores) - min(scores) < 0.02  # what is left is the noise that the decoder remembers from before


async def test_the_synthesiser_speaks_at_24_khz_and_the_requested_speed() -> None:
    async with LocalVoice.open(recognisers=1) as voice:
        normal = await voice.synthesise("Good morning, and welcome.", speed=1.0, voice="marin")
        fast = await voice.synthesise("Good morning, and welcome.", speed=1.5, voice="marin")
        assert normal
        assert fast
        assert 1000 < len(normal) // 48 < 3000
        assert len(fast) < len(normal)


@pytest.mark.parametrize("half", ["AM", "PM"])
async def test_the_synthesiser_spells_am_and_pm_only_in_times(half: str) -> None:
    async with LocalVoice.open(recognisers=1) as voice:

        async def length(text: str) -> int:
            return len(await voice.synthesise(text, speed=1.0, voice="marin") or b"")

        assert await length(f"It is nine oh five {half}.") == await length(f"It is nine oh five {half[0]} M.")
        assert await length("You said: I AM HERE.") != await length("You said: I A M HERE.")


async def test_an_utterance_waits_for_a_free_recogniser() -> None:
    async with LocalVoice.open(recognisers=1) as voice:
        first, second, third = voice.begin_utterance(), voice.begin_utterance(), voice.begin_utterance()
        second.feed(tone(200))
        first.feed(tone(200))
        third.discard()
        answers = asyncio.gather(first.finish(), second.finish())
        assert await answers is not None
        assert None not in answers.result()


async def test_a_crashed_recogniser_is_reported_and_restarted() -> None:
    async with LocalVoice.open(recognisers=1) as voice:
        recogniser, synthesiser = voice.processes
        utterance = voice.begin_utterance()
        utterance.feed(tone(200))
        assert recogniser.pid
        os.kill(recogniser.pid, signal.SIGKILL)
        assert await utterance.finish() is None
        async with asyncio.timeout(60):
            await recogniser.ready.wait()
        again = voice.begin_utterance()
        again.feed(tone(200))
        assert await again.finish() is not None
        assert synthesiser.ready.is_set()


async def test_a_crashed_synthesiser_is_restarted() -> None:
    async with LocalVoice.open(recognisers=1) as voice:
        _, synthesiser = voice.processes
        assert synthesiser.pid
        os.kill(synthesiser.pid, signal.SIGSTOP)
        sentence = asyncio.create_task(voice.synthesise("One moment.", speed=1.0, voice="marin"))
        await asyncio.sleep(0)
        os.kill(synthesiser.pid, signal.SIGKILL)
        assert await sentence is None
        assert await voice.synthesise("Here I am.", speed=1.0, voice="marin")


async def test_the_voice_ends_with_its_service() -> None:
    async with LocalVoice.open(recognisers=1) as voice:
        pids = [child.pid for child in voice.processes]
    for pid in pids:
        assert pid
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_the_recording_is_small_and_has_one_sentence() -> None:
    voice = EchoVoice()
    assert await voice.synthesise(RECORDED_PROMPT, speed=1.0, voice="marin") == RECORDED_FILE.read_bytes()
    assert RECORDED_FILE.stat().st_size <= 200_000
    with pytest.raises(VoiceMissingError):
        voice.begin_utterance()
    assert issubclass(VoiceMissingError, HushgateError)
