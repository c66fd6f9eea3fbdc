"""The internal HTTP API over a real socket."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from sqlalchemy import text

from services.metering.api import make_app
from services.metering.store import Ledger
from services.runtime.http.server import serve_http
from services.runtime.process.health import Health
from tests.metering.event_maker import EventMaker

TOKEN = "a-token"  # noqa: S105 - of the test


@asynccontextmanager
async def client(ledger: Ledger, *, token: str = TOKEN, shown: str = TOKEN) -> AsyncIterator[httpx.AsyncClient]:
    app = make_app(ledger, token=token, health=Health(set()))
    headers = {"Authorization": f"Bearer {shown}"} if shown else {}
    async with (
        serve_http(app, host="127.0.0.1", port=0) as url,
        httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as http,
    ):
        yield http


async def test_a_call_is_answered_from_the_ledger(ledger: Ledger, make: EventMaker) -> None:
    ledger.record([make.delivery(make.event({"tokens_audio_in": 100}, provider_ref="r"))], now=make.now)
    async with client(ledger) as http:
        reply = await http.get(f"/internal/v1/calls/{make.call}/usage", params={"tenant": "acme"})
    assert reply.status_code == 200
    assert reply.headers["cache-control"] == "no-store"
    assert reply.json()["cost_usd"] == "0.003200000"


@pytest.mark.parametrize(
    ("call", "tenant"), [("rtc_" + "a" * 26, "other"), ("rtc_" + "b" * 26, "acme"), ("nonsense", "acme")]
)
async def test_what_is_not_this_tenants_is_not_there(ledger: Ledger, make: EventMaker, call: str, tenant: str) -> None:
    ledger.record([make.delivery(make.event({"call_ms": 1}))], now=make.now)
    async with client(ledger) as http:
        reply = await http.get(f"/internal/v1/calls/{call}/usage", params={"tenant": tenant})
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/internal/v1/calls/x/usage?tenant=acme", "/internal/v1/usage?tenant=acme"])
@pytest.mark.parametrize("shown", ["", "wrong", TOKEN + "x"])
async def test_without_the_token_nothing_is_said(ledger: Ledger, path: str, shown: str) -> None:
    async with client(ledger, shown=shown) as http:
        assert (await http.get(path)).status_code == 401
        assert (await http.get("/healthz")).status_code == 200


async def test_on_loopback_without_a_token_everybody_may_ask(open_ledger: Callable[[], Ledger]) -> None:
    async with client(open_ledger(), token="", shown="") as http:
        reply = await http.get("/internal/v1/usage", params={"tenant": "acme"})
    assert reply.json()["calls"] == 0


@pytest.mark.parametrize("period", [{}, {"from": "2026-11-20"}, {"from": "2026-11-20T00:00:00+01:00"}])
async def test_a_period_is_given_in_iso_8601(ledger: Ledger, make: EventMaker, period: dict[str, str]) -> None:
    ledger.record([make.delivery(make.event({"call_ms": 1}))], now=make.now)
    async with client(ledger) as http:
        query = {"tenant": "acme", "to": "2026-11-20T12:00:01Z", **period}
        assert (await http.get("/internal/v1/usage", params=query)).json()["calls"] == 1


@pytest.mark.parametrize(
    "query",
    [{"tenant": "acme", "from": "May"}, {"tenant": "acme", "from": "2026-02-01", "to": "2026-01-01"}, {"from": "x"}],
)
async def test_a_question_that_makes_no_sense_is_refused(ledger: Ledger, query: dict[str, str]) -> None:
    async with client(ledger) as http:
        assert (await http.get("/internal/v1/usage", params=query)).status_code == 400


@pytest.mark.parametrize(
    "time", ["0001-01-01", "0001-01-01T00:00:00+23:00", "1969-12-31", "9999-12-31T23:59:59-23:00", "10000-01-01"]
)
@pytest.mark.parametrize("end", ["from", "to"])
async def test_a_period_beyond_the_calendar_is_refused_with_what_to_write(ledger: Ledger, end: str, time: str) -> None:
    async with client(ledger) as http:
        reply = await http.get("/internal/v1/usage", params={"tenant": "acme", end: time})
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (400, "invalid_period")
    assert "from 1970 to 9999" in error["message"]


async def test_the_longest_period_is_answered_in_utc(ledger: Ledger, make: EventMaker) -> None:
    ledger.record([make.delivery(make.event({"call_ms": 1}))], now=make.now)
    query = {"tenant": "acme", "from": "1970-01-01T01:00:00+01:00", "to": "9999-12-31T23:59:59.999Z"}
    async with client(ledger) as http:
        usage = (await http.get("/internal/v1/usage", params=query)).json()
        earliest = await http.get("/internal/v1/usage", params={"tenant": "acme", "to": "1970-01-01"})
    assert (usage["calls"], usage["from"], usage["to"]) == (1, "1970-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z")
    assert earliest.json()["calls"] == 0


async def test_a_ledger_that_cannot_be_read_is_unavailable(ledger: Ledger) -> None:
    with ledger.engine.begin() as db:
        db.execute(text("ALTER TABLE call RENAME TO gone"))
    async with client(ledger) as http:
        reply = await http.get("/internal/v1/usage", params={"tenant": "acme"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "ledger_unavailable")
