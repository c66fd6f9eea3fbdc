"""Recorded answers: which sessions get them, and that only the recogniser is missing."""

import asyncio
import base64
from contextlib import AsyncExitStack

import httpx
import psutil
import pytest
import websockets
from hypothesis import given
from hypothesis import strategies as st

from services.rehearsal.core.answers import ECHO, FULL, LIGHT, LIGHT_WHILE_BUSY, Answers, AnswersName, SessionLimit
from services.rehearsal.core.commands import RecordedAnswer, SynthesiseSpeech
from services.rehearsal.core.recordings import RECORDED_TEXTS, Recording
from services.rehearsal.voice.pool import LocalVoice
from services.rehearsal.voice.provided import VoiceMissingError, open_voice
from tests.rehearsal.conftest import Serving
from tests.rehearsal.driver import RehearsalEvent, SessionDriver, done_of, only, sound_of, spoken_in, tone, words_in
from tests.rehearsal.test_service import endpoint, send, until

RECORDINGS = [Recording(text, sound_of(text)) for text in ("One answer.", "Another answer, recorded.", "A third.")]
TOOL = {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}}


def light(voice: Answers = LIGHT) -> SessionDriver:
    return SessionDriver(voice=voice, recordings=RECORDINGS)


def spoken_turn(client: SessionDriver, **response: object) -> list[RehearsalEvent]:
    client.append(tone(800))
    committed = client.send("input_audio_buffer.commit")
    return committed + client.respond(**response)


def test_speech_is_answered_with_recordings_in_rotation() -> None:
    client = light()
    client.manual()
    heard = []
    for _ in range(2 * len(RECORDINGS)):
        events = spoken_turn(client)
        text = only(events, "response.output_audio_transcript.done")["transcript"]
        assert words_in(events) == text
        assert spoken_in(events) == sound_of(text)
        heard.append(text)
    assert set(heard) == {recording.text for recording in RECORDINGS}
    assert heard[: len(RECORDINGS)] == heard[len(RECORDINGS) :]
    assert not any(isinstance(command, SynthesiseSpeech) for command in client.commands)


def test_a_recorded_answer_has_the_events_the_pace_and_the_usage_of_a_spoken_one() -> None:
    recorded, spoken = light(), SessionDriver()
    text = RECORDINGS[0].text
    spoken.configure(instructions=f'Say "{text}"')
    spoken.text("hello")
    wanted = spoken.respond()
    recorded = SessionDriver(voice=LIGHT, recordings=RECORDINGS[:1])
    recorded.manual()
    got = spoken_turn(recorded)
    kinds = [event["type"] for event in got]
    created = kinds.index("response.created")
    assert kinds[created:] == [event["type"] for event in wanted]
    assert done_of(got)["usage"]["output_tokens"] == done_of(wanted)["usage"]["output_tokens"]
    assert recorded.now == pytest.approx(spoken.now)


def test_the_recogniser_of_a_light_session_is_never_fed() -> None:
    client = light()
    client.manual()
    spoken_turn(client)
    assert client.recognised_audio == b""
    assert sum(isinstance(command, RecordedAnswer) for command in client.commands) == 1


@pytest.mark.parametrize(
    ("voice", "code", "words"),
    [
        (LIGHT, "transcription_failed", "REHEARSAL_VOICE=light"),
        (LIGHT_WHILE_BUSY, "rehearsal_busy", "busy"),
        (ECHO, "transcription_failed", "REHEARSAL_VOICE=echo"),
    ],
)
def test_a_client_that_requests_a_transcript_gets_the_reason_for_none(voice: Answers, code: str, words: str) -> None:
    client = light(voice)
    client.manual(transcription={})
    error = only(spoken_turn(client), "conversation.item.input_audio_transcription.failed")["error"]
    assert error["code"] == code
    assert words in error["message"]


def test_a_full_session_whose_recogniser_is_late_gets_a_recording_for_that_turn_alone() -> None:
    client = SessionDriver(recordings=RECORDINGS, transcripts=[None, "what is your name"])
    client.manual(transcription={})
    late = spoken_turn(client)
    assert only(late, "conversation.item.input_audio_transcription.failed")["error"]["code"] == "rehearsal_busy"
    assert spoken_in(late) in {recording.pcm for recording in RECORDINGS}
    understood = spoken_turn(client)
    assert "rehearsal" in only(understood, "response.output_audio_transcript.done")["transcript"]


def test_where_nothing_is_recorded_the_caller_is_asked_again() -> None:
    client = SessionDriver(transcripts=[None])
    client.manual()
    assert "did not catch" in only(spoken_turn(client), "response.output_audio_transcript.done")["transcript"]


def test_written_messages_are_answered_as_in_a_full_session() -> None:
    client = light()
    client.text("hello")
    assert "hear you" in only(client.respond(), "response.output_audio_transcript.done")["transcript"]


def test_a_written_answer_to_speech_is_the_text_of_a_recording() -> None:
    client = light()
    client.manual()
    said = only(spoken_turn(client, output_modalities=["text"]), "response.output_text.done")["text"]
    assert said in {recording.text for recording in RECORDINGS}


def test_the_quoted_instructions_answer_speech_as_well() -> None:
    client = light()
    client.manual()
    client.configure(instructions='Say "Good day."')
    assert only(spoken_turn(client), "response.output_audio_transcript.done")["transcript"] == "Good day."


def test_a_required_function_is_called_and_its_result_is_said() -> None:
    client = light()
    client.manual()
    client.configure(tools=[TOOL], tool_choice="required")
    call = done_of(spoken_turn(client))["output"][0]
    assert call["name"] == "get_weather"
    client.configure(tool_choice="auto")
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": '"sunny"'}
    client.send("conversation.item.create", item=output)
    assert "sunny" in only(client.respond(), "response.output_audio_transcript.done")["transcript"]


def test_another_speed_is_spoken_anew() -> None:
    client = light()
    client.manual()
    client.configure(audio={"output": {"speed": 1.5}})
    spoken_turn(client)
    spoken = [command for command in client.commands if isinstance(command, SynthesiseSpeech)]
    assert spoken
    assert all(command.speed == 1.5 for command in spoken)


def test_a_recorded_answer_has_the_sessions_faults() -> None:
    client = light()
    client.manual()
    client.configure(instructions="rehearsal faults: slow")
    client.append(tone(800))
    client.send("input_audio_buffer.commit")
    asked = client.now
    client.send("response.create")
    client.wait(seconds=1.4)
    assert not any(event["type"] == "response.output_audio.delta" for event in client.events)
    client.wait()
    assert client.now - asked > 1.5


# --- who gets which ----------------------------------------------------------------------------------------------


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 5))
def test_no_more_sessions_are_recognised_than_the_recogniser_serves(steps: list[bool], capacity: int) -> None:
    limit, opened = SessionLimit("full", capacity=capacity), list[Answers]()
    for opens in steps:
        if opens:
            recognised = sum(answers is FULL for answers in opened)
            opened.append(limit.opened())
            assert (opened[-1] is FULL) is (recognised < capacity)
        elif opened:
            limit.closed(opened.pop(0))
        exceeded = any(answers is LIGHT_WHILE_BUSY for answers in opened)
        assert limit.is_exceeded is exceeded
        assert limit.is_paused is (exceeded and len(opened) > 2 * capacity)


@pytest.mark.parametrize(("chosen", "answers"), [("light", LIGHT), ("echo", ECHO)])
def test_what_was_chosen_has_no_limit(chosen: AnswersName, answers: Answers) -> None:
    limit = SessionLimit(chosen, capacity=1)
    assert {limit.opened() for _ in range(9)} == {answers}
    assert not limit.is_exceeded


# --- the service -------------------------------------------------------------------------------------------------

MANUAL = {"type": "realtime", "audio": {"input": {"turn_detection": None, "transcription": {"model": "whisper-1"}}}}


async def ask(socket: websockets.ClientConnection) -> list[RehearsalEvent]:
    await send(socket, "session.update", session=MANUAL)
    await send(socket, "input_audio_buffer.append", audio=base64.b64encode(tone(800)).decode())
    await send(socket, "input_audio_buffer.commit")
    await send(socket, "response.create")
    return await until(socket, "response.done")


async def test_light_answers_speech_without_a_recogniser(rehearsal: Serving) -> None:
    pytest.importorskip("espeakng_loader", reason="needs the extra `voice`")
    async with rehearsal(voice="light") as url, websockets.connect(endpoint(url)) as socket:
        events = await ask(socket)
        assert only(events, "response.output_audio_transcript.done")["transcript"] in RECORDED_TEXTS
        async with httpx.AsyncClient() as http:
            metrics = (await http.get(f"{url}/metrics")).text
        assert 'hushgate_rehearsal_sessions_active{answers="light"} 1.0' in metrics


async def test_a_session_too_many_gets_recorded_answers_and_the_next_one_after_its_end_does_not(
    rehearsal: Serving, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pocketsphinx", reason="needs the extra `voice`")
    async with rehearsal(voice="full", recognisers=1, sessions_per_recogniser=1) as url:
        async with websockets.connect(endpoint(url)) as first, websockets.connect(endpoint(url)) as second:
            full, busy = await ask(first), await ask(second)
        assert only(full, "conversation.item.input_audio_transcription.completed")
        error = only(busy, "conversation.item.input_audio_transcription.failed")["error"]
        assert error["code"] == "rehearsal_busy"
        assert only(busy, "response.output_audio_transcript.done")["transcript"] in RECORDED_TEXTS
        async with httpx.AsyncClient(base_url=url) as http, asyncio.timeout(10):
            while 'sessions_active{answers="full"} 0.0' not in (await http.get("/metrics")).text:
                pass
        async with websockets.connect(endpoint(url)) as third:
            assert only(await ask(third), "conversation.item.input_audio_transcription.completed")
    logged = capsys.readouterr()
    logs = logged.out + logged.err
    assert logs.count("recorded_answers_began") == logs.count("recorded_answers_ended") == 1


async def test_at_twice_the_limit_no_session_is_recognised_until_there_are_fewer(
    rehearsal: Serving, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pocketsphinx", reason="needs the extra `voice`")
    async with rehearsal(voice="full", recognisers=1, sessions_per_recogniser=1) as url, AsyncExitStack() as sockets:
        full, *busy = [await sockets.enter_async_context(websockets.connect(endpoint(url))) for _ in range(3)]
        error = only(await ask(full), "conversation.item.input_audio_transcription.failed")["error"]
        assert error["code"] == "rehearsal_busy"
        for socket in busy:
            await socket.close()
        async with httpx.AsyncClient(base_url=url) as http, asyncio.timeout(10):
            while 'sessions_active{answers="light"} 0.0' not in (await http.get("/metrics")).text:
                pass
        assert only(await ask(full), "conversation.item.input_audio_transcription.completed")
    logged = capsys.readouterr()
    logs = logged.out + logged.err
    assert logs.count("recogniser_paused") == logs.count("recogniser_resumed") == 1


async def test_an_utterance_without_a_free_recogniser_times_out_before_its_caller() -> None:
    pytest.importorskip("pocketsphinx", reason="needs the extra `voice`")
    async with LocalVoice.open(recognisers=1) as voice:
        talking, waiting = voice.begin_utterance(), voice.begin_utterance()
        talking.feed(tone(200))
        waiting.feed(tone(200))
        assert await waiting.finish() is None
        assert await talking.finish() is not None


async def test_a_slow_recogniser_times_out_and_runs_below_the_gateways_priority(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("pocketsphinx", reason="needs the extra `voice`")
    monkeypatch.setattr("services.rehearsal.voice.pool._RECOGNITION_TIMEOUT_S", 0.0)
    async with LocalVoice.open(recognisers=1) as voice:
        utterance = voice.begin_utterance()
        utterance.feed(tone(200))
        assert await utterance.finish() is None
        niceness = {process.role: psutil.Process(process.pid).nice() for process in voice.processes}
    assert niceness["recogniser"] == niceness["synthesiser"] + 5


async def test_recorded_answers_are_of_natural_length() -> None:
    pytest.importorskip("espeakng_loader", reason="needs the extra `voice`")
    async with open_voice("light", recognisers=2) as voice:
        seconds = [len(recording.pcm) / 48_000 for recording in voice.recordings]
        assert [recording.text for recording in voice.recordings] == list(RECORDED_TEXTS)
    assert min(seconds) >= 2
    assert max(seconds) <= 8.5
    assert 4 <= sum(seconds) / len(seconds) <= 6


@pytest.mark.parametrize("choice", ["full", "light"])
async def test_a_voice_that_is_not_installed_is_an_error_with_instructions(
    choice: AnswersName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.rehearsal.voice.provided.find_spec", lambda _: None)
    with pytest.raises(VoiceMissingError, match=f"REHEARSAL_VOICE={choice} needs"):
        async with open_voice(choice, recognisers=1):
            pass
