import asyncio
import io
import json
import sys
import wave
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from services.callers.__main__ import main
from services.callers.load.__main__ import main as load
from tests.callers.tune_endpoint import TuneEndpoint


async def run(*arguments: str) -> int:
    """The command has an event loop of its own; the endpoint runs in the test's."""
    return await asyncio.to_thread(main, arguments)


@pytest.fixture
def question(tmp_path: Path) -> str:
    wave_of_300_hz = np.sin(np.arange(8000) / 16_000 * 2 * np.pi * 300) * 9000
    with wave.open(str(tmp_path / "question.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(wave_of_300_hz.astype("<i2").tobytes())
    return str(tmp_path / "question.wav")


async def test_every_line_is_answered_and_accounted_for(
    endpoint: TuneEndpoint, question: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = await run(
        "--url", endpoint.url, "--key-file", endpoint.key_file, "--wav", question, "--wav", question, "--json"
    )
    account = json.loads(capsys.readouterr().out)
    assert code == 0
    assert endpoint.hung_up == ["rtc_one"]
    assert account["usage"] == {"call_id": "rtc_one", "status": "ended"}
    assert [(turn["heard"], turn["answer"]) for turn in account["turns"]] == [("what was said", "a tune")] * 2
    assert all(turn["latency_ms"] > 0 and turn["answer_s"] > 0.5 for turn in account["turns"])


async def test_the_account_is_readable(
    endpoint: TuneEndpoint, question: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert await run("--url", endpoint.url, "--key-file", endpoint.key_file, "--wav", question) == 0
    shown = capsys.readouterr().out
    assert "what was said" in shown
    assert "a tune" in shown
    assert "connected after" in shown
    assert endpoint.key not in shown


async def test_the_running_up_is_called_by_default(endpoint: TuneEndpoint, tmp_path: Path) -> None:
    (tmp_path / "up.json").write_text(json.dumps({"url": endpoint.url, "tenant_key": endpoint.key}))
    assert await run("--data", str(tmp_path), "--json") == 0


async def test_the_key_of_the_running_up_goes_to_no_other_endpoint(
    endpoint: TuneEndpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "up.json").write_text(json.dumps({"url": "http://127.0.0.1:1", "tenant_key": endpoint.key}))
    assert await run("--data", str(tmp_path), "--url", endpoint.url) == 1
    assert "needs --key-file" in capsys.readouterr().err


async def test_a_failed_answer_is_one_line_and_an_exit_code(
    endpoint: TuneEndpoint, question: str, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint.response_status = "failed"
    assert await run("--url", endpoint.url, "--key-file", endpoint.key_file, "--wav", question) == 1
    assert capsys.readouterr().err == "hushgate call: the answer failed: no reason was given\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "start `hushgate up`"), ("{}", "is not what `hushgate up` writes"), ("[", "restart it")],
    ids=["missing", "empty", "broken"],
)
async def test_without_an_endpoint_the_error_says_what_to_do(
    content: str | None, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "up.json").write_text(content)
    assert await run("--data", str(tmp_path)) == 1
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("key", "says"),
    [("hg_wrong", "check the key"), ("hg_wröng", "copied whole"), ("hg_wr\nong", "copied whole")],
    ids=["wrong", "not ascii", "line end"],
)
async def test_a_wrong_key_is_one_line_that_does_not_repeat_it(
    endpoint: TuneEndpoint, key: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint.write_key(key)
    assert await run("--url", endpoint.url, "--key-file", endpoint.key_file) == 1
    error = capsys.readouterr().err
    assert says in error
    assert key.strip() not in error
    assert error.count("\n") == 1


async def test_the_key_may_come_by_standard_input(endpoint: TuneEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{endpoint.key}\n"))
    assert await run("--url", endpoint.url, "--key-file", "-", "--json") == 0


@pytest.mark.parametrize("command", [main, load])
def test_a_key_is_not_taken_from_the_command_line(
    command: Callable[[Sequence[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command(["--url", "http://127.0.0.1:1", "--key", "hg_any"])
    assert "--key" in capsys.readouterr().err


async def test_a_key_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run("--url", "http://127.0.0.1:1", "--key-file", str(tmp_path / "key")) == 1
    assert "--key-file" in capsys.readouterr().err


async def test_without_flite_a_recorded_question_is_asked(
    endpoint: TuneEndpoint, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    assert await run("--url", endpoint.url, "--key-file", endpoint.key_file, "--recorded", "--json") == 0
    (turn,) = json.loads(capsys.readouterr().out)["turns"]
    assert turn["speech_s"] > 1.5


async def test_media_goes_to_the_address_that_is_given(endpoint: TuneEndpoint, question: str) -> None:
    given = ("--media-address", "127.0.0.1")
    assert await run("--url", endpoint.url, "--key-file", endpoint.key_file, "--wav", question, "--json", *given) == 0


async def test_a_call_without_usage_in_the_ledger_fails_where_that_is_required(
    endpoint: TuneEndpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint.usage = {"status": "ended", "lines": []}
    assert await run("--url", endpoint.url, "--key-file", endpoint.key_file, "--require-booked") == 1
    assert "the ledger has no usage of it (ended)" in capsys.readouterr().err
    endpoint.usage = {"status": "ended", "lines": [{"meter": "audio_in_seconds"}]}
    assert await run("--url", endpoint.url, "--key-file", endpoint.key_file, "--require-booked", "--json") == 0
