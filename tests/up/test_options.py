from pathlib import Path

import pytest

from services.up.datadir import DataDirectory
from services.up.nats_server import nats_server
from services.up.options import OptionError, is_loopback, parse, realtime_url
from services.up.plan import SharedSettings, rehearsal


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def test_without_a_key_the_rehearsal_answers() -> None:
    options = parse([])
    assert (options.upstream, options.provider, options.advertise) == (None, "rehearsal", "loopback,interfaces")


@pytest.mark.parametrize(("cores", "processes"), [(1, 1), (2, 2), (4, 4), (64, 4)])
def test_there_is_a_media_process_for_each_core_unless_a_number_is_given(
    monkeypatch: pytest.MonkeyPatch, cores: int, processes: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    assert parse([]).media_processes == processes
    assert parse(["--media-processes", "3"]).media_processes == 3


def test_traces_go_nowhere_unless_a_collector_is_named() -> None:
    assert parse([]).otlp_endpoint == ""
    assert parse(["--otlp-endpoint", "http://127.0.0.1:4318/"]).otlp_endpoint == "http://127.0.0.1:4318"


def test_with_a_key_the_real_provider_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    options = parse([])
    assert (options.upstream, options.provider) == ("wss://api.openai.com/v1/realtime", "openai")
    assert "sk-test" not in repr(options)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("http://127.0.0.1:9", "ws://127.0.0.1:9/v1/realtime"),
        ("wss://host/openai/v1/realtime", "wss://host/openai/v1/realtime"),
        ("https://host/", "wss://host/v1/realtime"),
    ],
)
def test_an_upstream_is_taken_as_it_is_known(given: str, used: str) -> None:
    assert realtime_url(given) == used


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--upstream", "host:80"], "no URL of a Realtime API"),
        (["--host", "0.0.0.0"], "needs --tls-cert and --tls-key"),  # noqa: S104 - what is refused here
        (["--tls-cert", "x"], "belong together"),
        (["--tls-cert", "/nowhere", "--tls-key", "/nowhere"], "is not a file"),
        (["--port", "70000"], "no port"),
        (["--otlp-endpoint", "collector:4318"], "base URL of a collector"),
        (["--media-processes", "0"], "1 to 64"),
        (["--store-mb", "31"], "give 32 to"),
    ],
)
def test_a_contradiction_is_told_before_anything_starts(arguments: list[str], expected: str) -> None:
    with pytest.raises(OptionError, match=expected):
        parse(arguments)


def test_with_tls_other_addresses_are_served_and_advertised(tmp_path: Path) -> None:
    pem = tmp_path / "x.pem"
    pem.touch()
    options = parse(["--host", "192.0.2.7", "--tls-cert", str(pem), "--tls-key", str(pem)])
    assert (options.advertise, options.public_host) == ("192.0.2.7", "192.0.2.7")


def test_the_page_is_named_by_an_address_though_media_has_several(tmp_path: Path) -> None:
    pem = tmp_path / "x.pem"
    pem.touch()
    everywhere = ["--host", "::", "--tls-cert", str(pem), "--tls-key", str(pem)]
    options = parse([*everywhere, "--advertise", "interfaces,192.0.2.7,192.0.2.8"])
    assert (options.advertise, options.public_host) == ("interfaces,192.0.2.7,192.0.2.8", "192.0.2.7")
    assert parse(everywhere).advertise == "interfaces"


@pytest.mark.parametrize(
    ("host", "loopback"), [("localhost", True), ("::1", True), ("10.0.0.1", False), ("host", False)]
)
def test_loopback_is_known(host: str, loopback: bool) -> None:  # noqa: FBT001 - a table's column
    assert is_loopback(host) is loopback


@pytest.mark.parametrize("voice", ["full", "light", "echo"])
async def test_the_voice_of_the_rehearsal_is_told_to_it(voice: str, tmp_path: Path) -> None:
    options = parse(["--rehearsal-voice", voice])
    async with nats_server(tmp_path) as nats:
        shared = SharedSettings(options, DataDirectory(tmp_path, "hg_key"), nats, "token", "page")
    assert rehearsal(shared).environment["REHEARSAL_VOICE"] == voice


async def test_without_the_option_the_voice_is_left_to_the_environment(tmp_path: Path) -> None:
    async with nats_server(tmp_path) as nats:
        shared = SharedSettings(parse([]), DataDirectory(tmp_path, "hg_key"), nats, "token", "page")
    assert "REHEARSAL_VOICE" not in rehearsal(shared).environment


@pytest.mark.parametrize("unknown", ["loud", "FULL", "", "local"])
def test_an_unknown_voice_is_refused_with_those_that_exist(unknown: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        parse(["--rehearsal-voice", unknown])
    assert refused.value.code == 2
    assert "full" in (output := capsys.readouterr().err)
    assert "echo" in output


def test_a_voice_for_a_rehearsal_that_does_not_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="--rehearsal-voice has no effect with --upstream"):
        parse(["--upstream", "wss://host/v1/realtime", "--rehearsal-voice", "light"])
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with pytest.raises(OptionError, match="has no effect with OPENAI_API_KEY"):
        parse(["--rehearsal-voice", "light"])
