"""Findings of doctor for endpoints with one fault each, served by stand-ins for the gateway."""

import socket
from contextlib import AsyncExitStack
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from fastapi import FastAPI, Response

from services.doctor import __main__ as doctor
from services.doctor.endpoint import check_endpoint, skew
from services.doctor.finding import Finding, fail
from services.doctor.stun import StunTarget, answer_targets, check_target
from services.runtime import clock
from services.runtime.http.server import Tls, serve_http
from tests.doctor.test_access import certificate

KEY = "hg_example"


def broken(*, ready: int = 200, mint: int = 200, offer: str = "") -> FastAPI:
    app = FastAPI()

    app.get("/healthz")(lambda: Response("ok"))
    app.get("/readyz")(lambda: Response("not ready: bus\n", status_code=ready))
    token, refusal = '{"value": "ek_x"}', '{"error": {"code": "invalid_api_key", "message": "no"}}'
    app.post("/v1/realtime/client_secrets")(lambda: Response(token if mint == 200 else refusal, status_code=mint))
    app.post("/v1/realtime/calls")(lambda: Response(offer, status_code=201 if offer else 503))
    return app


async def examined(app: FastAPI, key: str | None = KEY) -> dict[str, Finding]:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serve_http(app, host="127.0.0.1", port=0))
        return {finding.check: finding for finding in await check_endpoint(url, key)}


def answer(port: int) -> str:
    return f"a=ice-ufrag:abcd\r\na=ice-pwd:secret\r\na=candidate:1 1 udp 1 127.0.0.1 {port} typ host\r\n"


@pytest.mark.parametrize(
    ("app", "check", "state"),
    [
        (broken(ready=503), "readyz", "fail"),
        (broken(ready=404), "readyz", "warn"),
        (broken(mint=401), "token", "fail"),
        (broken(), "offer", "fail"),
        (broken(offer=answer(9)), "media-udp", "fail"),
        (broken(offer="v=0\r\n"), "media-udp", "fail"),
    ],
)
async def test_what_is_broken_is_named_with_a_mend(app: FastAPI, check: str, state: str) -> None:
    findings = await examined(app)
    assert findings[check].state == state
    assert findings[check].mend
    not_tried = {"offer"} if check == "readyz" else set()  # this endpoint answers no offer
    others = {finding.state for name, finding in findings.items() if name not in {check, *not_tried}}
    assert others == {"ok"}
    assert KEY not in "".join(finding.line() for finding in findings.values())


@pytest.mark.parametrize(("ahead_s", "state"), [(0, "ok"), (20, "warn"), (-20, "warn"), (600, "fail"), (-600, "fail")])
def test_clocks_that_differ_are_told(ahead_s: float, state: str) -> None:
    date = format_datetime(clock.utc_now() + timedelta(seconds=ahead_s), usegmt=True)
    assert skew(date).state == state
    assert ("behind" in skew(date).found) is (ahead_s > 0)


def test_an_endpoint_that_tells_no_time_is_not_judged() -> None:
    assert skew("").state == skew("yesterday").state == "warn"


async def test_without_a_key_no_call_is_tried() -> None:
    findings = await examined(broken(), None)
    assert findings["token"].state == "warn"
    assert "--key-file" in findings["token"].mend


@pytest.mark.parametrize(
    ("url", "check"),
    [
        ("ftp://host", "url"),
        ("host:8080", "url"),
        ("http://no-such-host.invalid", "dns"),
        ("http://127.0.0.1:9", "tcp"),
    ],
)
async def test_an_endpoint_that_is_not_there_is_told_where_it_ends(url: str, check: str) -> None:
    findings = await check_endpoint(url, None)
    assert (findings[-1].check, findings[-1].state) == (check, "fail")


async def test_a_certificate_that_browsers_refuse_is_told(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "127.0.0.1")
    async with serve_http(broken(), host="127.0.0.1", port=0, tls=Tls(cert, key)) as url:
        findings = await check_endpoint(url, None)
        plain = await check_endpoint(url.replace("https", "http"), None)
    assert (findings[-1].check, findings[-1].state) == ("tls", "fail")
    assert "self" in findings[-1].found
    assert next(finding.state for finding in plain if finding.check == "healthz") == "fail"


async def test_a_port_that_speaks_no_tls_is_told() -> None:
    async with serve_http(broken(), host="127.0.0.1", port=0) as url:
        findings = await check_endpoint(url.replace("http", "https"), None)
    assert (findings[-1].check, findings[-1].state) == ("tls", "fail")


async def test_a_silent_address_is_told_apart_from_one_where_nothing_listens() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        assert "no response" in str(await check_target(StunTarget("127.0.0.1", silent.getsockname()[1], "a:b", "x")))
    assert await check_target(StunTarget("127.0.0.1", 9, "a:b", "x")) == "nothing listens there"


def test_candidates_are_read_from_the_answer() -> None:
    (target,) = answer_targets("a=ice-ufrag:theirs\r\n", answer(7) * 2)
    assert (target.host, target.port, target.username, target.password) == ("127.0.0.1", 7, "abcd:theirs", "secret")
    assert "secret" not in repr(target)


def test_a_finding_stays_on_one_line() -> None:
    assert fail("x", "a\nb\x1b[31m", "c").line() == "fail x           a?b?[31m. Mend: c"


def test_the_exit_code_says_whether_something_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(["--url", "http://127.0.0.1:9", "--data", str(tmp_path)]) == 1
    assert "fail tcp" in capsys.readouterr().out
    assert doctor.main(["--key-file", str(tmp_path / "none")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert doctor.main(["--advertise", "nowhere", "--data", str(tmp_path)]) == 2
    assert "no IP address" in capsys.readouterr().err
