import json

import httpx
import pytest

from services.contracts import subjects
from services.contracts.connect import WebRtcAnswer
from services.contracts.ids import CallId, ProcessId
from services.contracts.message import Message
from services.contracts.messages import AnyMessage, Done, Hangup, OfferAnswered, OfferRefused
from services.runtime.bus.client import Bus
from services.signaling.core.sdp import AUDIO_PROFILES
from tests.signaling.fixture_types import AddMedia, MintToken, OpenSignaling

CALLS = "/v1/realtime/calls"
ANSWER = OfferAnswered(connect=WebRtcAnswer(sdp="v=0\r\n"))


def bearer(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}


async def post_offer(client: httpx.AsyncClient, value: str, offer: str | bytes) -> httpx.Response:
    return await client.post(CALLS, content=offer, headers={**bearer(value), "Content-Type": "application/sdp"})


async def post_parts(client: httpx.AsyncClient, value: str, offer: str, session: str | None) -> httpx.Response:
    parts = {"sdp": (None, offer)} | ({"session": (None, session)} if session is not None else {})
    return await client.post(CALLS, files=parts, headers=bearer(value))


async def test_an_offer_is_answered_and_the_call_named(
    client: httpx.AsyncClient, add_media: AddMedia, mint: MintToken, offer: str
) -> None:
    offers = await add_media("media-0", ANSWER)
    reply = await post_offer(client, await mint(hushgate={"max_seconds": 30, "events": ["gate"]}), offer)
    assert (reply.status_code, reply.text) == (201, "v=0\r\n")
    assert reply.headers["content-type"] == "application/sdp"
    assert reply.headers["location"] == f"{CALLS}/{offers[0].call}"
    granted = offers[0].grant
    assert (granted.tenant, granted.limits.max_seconds, granted.events) == ("acme", 30, ("gate",))
    assert granted.session["instructions"] == "Be brief."
    assert "candidate" in offer
    assert "candidate" not in offers[0].sdp


@pytest.mark.parametrize("profile", AUDIO_PROFILES)
async def test_an_offer_of_audio_alone_is_answered_here_as_by_whip(
    client: httpx.AsyncClient, add_media: AddMedia, mint: MintToken, offer: str, profile: str
) -> None:
    offers = await add_media("media-0", ANSWER)
    alone = offer.partition("m=application")[0].replace("BUNDLE 0 1", "BUNDLE 0").replace(AUDIO_PROFILES[0], profile)
    assert (await post_offer(client, await mint(), alone)).status_code == 201
    assert [line for line in offers[0].sdp.split("\r\n") if line.startswith("m=")] == [f"m=audio 9 {profile} 111"]


async def test_a_token_holder_sets_what_is_not_locked(
    client: httpx.AsyncClient, add_media: AddMedia, mint: MintToken, offer: str
) -> None:
    offers = await add_media("media-0", ANSWER)
    session = '{"type":"realtime","model":"gpt-realtime-2.1","instructions":"Sing.","audio":{"output":{"speed":1.5}}}'
    assert (await post_parts(client, await mint(), offer, session)).status_code == 201
    assert offers[0].grant.session == {
        "type": "realtime",
        "model": "gpt-realtime-2.1",
        "instructions": "Sing.",
        "audio": {"output": {"voice": "marin", "speed": 1.5}},
    }


@pytest.mark.parametrize(
    ("session", "param"),
    [
        ('{"model":"another"}', "session.model"),
        ('{"instructions":"Sing."}', "session.instructions"),
        ('{"hushgate":{"max_seconds":9999}}', "session.hushgate"),
    ],
)
async def test_a_token_holder_cannot_change_what_is_locked(
    client: httpx.AsyncClient, add_media: AddMedia, mint: MintToken, offer: str, session: str, param: str
) -> None:
    offers = await add_media("media-0", ANSWER)
    token = await mint(session={"model": "gpt-realtime-2.1"}, hushgate={"locked": ["instructions"]})
    reply = await post_parts(client, token, offer, session)
    assert reply.status_code == 403
    assert reply.json()["error"]["param"] == param
    assert not offers
    assert (await post_parts(client, token, offer, None)).status_code == 201


async def test_a_token_that_names_its_model_says_so_when_the_query_names_another(
    client: httpx.AsyncClient, add_media: AddMedia, mint: MintToken, offer: str
) -> None:
    offers = await add_media("media-0", ANSWER)
    headers = {**bearer(await mint(session={"model": "mine"})), "Content-Type": "application/sdp"}
    reply = await client.post(CALLS, params={"model": "another"}, content=offer, headers=headers)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (403, "locked_field", "session.model")
    assert "'mine'" in error["message"]
    reply = await client.post(CALLS, params={"model": "mine"}, content=offer, headers=headers)
    assert (reply.status_code, offers[0].grant.session["model"]) == (201, "mine")


async def test_a_token_that_names_no_model_takes_that_of_the_query_or_of_the_session(
    client: httpx.AsyncClient, add_media: AddMedia, mint: MintToken, offer: str
) -> None:
    offers = await add_media("media-0", ANSWER)
    headers = {**bearer(await mint(hushgate={"locked": ["tools"]})), "Content-Type": "application/sdp"}
    reply = await client.post(CALLS, params={"model": "another"}, content=offer, headers=headers)
    assert (reply.status_code, offers[0].grant.session["model"]) == (201, "another")
    assert offers[0].grant.session["instructions"] == "Be brief."
    assert (await post_parts(client, await mint(), offer, '{"model":"third"}')).status_code == 201
    assert offers[1].grant.session["model"] == "third"


@pytest.mark.parametrize(
    ("query", "session", "param"),
    [
        ("?model=a&model=b", None, "model"),
        ("?model=a", '{"model":"b"}', "model"),
        ("?model=a%20b", None, "session.model"),
        ("?model=", None, "session.model"),
        ("", '{"temperature":1}', "session.temperature"),
    ],
)
async def test_an_offer_that_contradicts_itself_or_asks_for_what_is_not_there_is_refused(
    client: httpx.AsyncClient, mint: MintToken, offer: str, query: str, session: str | None, param: str
) -> None:
    parts = {"sdp": (None, offer)} | ({"session": (None, session)} if session else {})
    token = await mint()
    reply = await client.post(f"{CALLS}{query}", files=parts, headers=bearer(token))
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


async def test_a_server_side_app_sets_the_session_with_its_own_key(
    client: httpx.AsyncClient, add_media: AddMedia, key: str, offer: str
) -> None:
    offers = await add_media("media-0", ANSWER)
    reply = await post_parts(client, key, offer, '{"type":"realtime","model":"gpt-realtime-2.1-mini"}')
    assert reply.status_code == 201
    assert offers[0].grant.session["model"] == "gpt-realtime-2.1-mini"
    assert offers[0].grant.limits.max_seconds == 600


async def test_the_next_process_is_asked_when_one_refuses_is_silent_or_gone(
    client: httpx.AsyncClient, add_media: AddMedia, mint: MintToken, offer: str
) -> None:
    refusing = await add_media("media-0", OfferRefused(reason="full"))
    hanging = await add_media("media-1")
    await add_media("media-2", ANSWER, active=5)  # fuller than the others, so it comes last
    reply = await post_offer(client, await mint(), offer)
    assert reply.status_code == 201
    assert {asked.attempt for asked in refusing + hanging} <= {1, 2}


async def test_at_most_three_processes_are_asked(
    client: httpx.AsyncClient, add_media: AddMedia, mint: MintToken, offer: str
) -> None:
    asked = [await add_media(f"media-{n}", OfferRefused(reason="no_worker")) for n in range(5)]
    reply = await post_offer(client, await mint(), offer)
    assert reply.status_code == 503
    assert reply.json()["error"]["code"] == "no_worker"
    assert "hushgate upstream" in reply.json()["error"]["message"]
    assert reply.headers["retry-after"] == "1"
    assert sorted(offer.attempt for offers in asked for offer in offers) == [1, 2, 3]


@pytest.mark.parametrize(
    ("process", "code"),
    [
        ({"silent": True}, "no_responders"),
        ({"answer": None}, "timeout"),
        ({"answer": Done()}, "malformed"),
        ({"answer": ANSWER, "draining": True}, "media_draining"),
        ({"answer": ANSWER, "active": 8}, "media_full"),
    ],
)
async def test_why_no_process_took_the_call_is_said(
    client: httpx.AsyncClient, add_media: AddMedia, mint: MintToken, offer: str, process: dict[str, object], code: str
) -> None:
    await add_media("media-0", **process)
    reply = await post_offer(client, await mint(), offer)
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, code)
    assert reply.json()["error"]["type"] == "server_error"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", 422),
        (b"v=0", 422),
        ("v=0\r\no=-".encode("utf-16"), 422),
        (b"v=0\r\n\x00", 422),
        (b"\xff", 422),
        (b"v=0\r\n" + b"a" * 16_384, 413),
    ],
)
async def test_what_is_no_offer_is_refused(client: httpx.AsyncClient, key: str, sent: bytes, status: int) -> None:
    reply = await post_offer(client, key, sent)
    assert reply.status_code == status
    assert reply.json()["error"]["message"]


async def test_a_large_offer_in_a_part_is_refused(client: httpx.AsyncClient, key: str) -> None:
    assert (await post_parts(client, key, "v" * 16_385, None)).status_code == 413


@pytest.mark.parametrize(
    ("kind", "content", "status"),
    [
        ("text/plain", b"v=0", 415),
        ("multipart/form-data", b"--x", 400),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nv=0", 400),
        ("multipart/form-data; boundary=x", b"garbage", 400),
        ('multipart/form-data; boundary=x; charset="punycode"', b"garbage", 415),
        ("multipart/form-data; boundary=x; Charset=utf-16", b"garbage", 415),
        ("multipart/form-data; charset=zip; charset=utf-8; boundary=x; charset=idna", b"garbage", 415),
    ],
)
async def test_a_body_of_another_kind_is_refused(
    client: httpx.AsyncClient, key: str, kind: str, content: bytes, status: int
) -> None:
    reply = await client.post(CALLS, content=content, headers={**bearer(key), "Content-Type": kind})
    assert reply.status_code == status
    assert "error" in reply.json()


async def test_a_part_that_would_have_no_effect_is_refused(client: httpx.AsyncClient, key: str, offer: str) -> None:
    reply = await client.post(CALLS, files={"sdp": (None, offer), "model": (None, "x")}, headers=bearer(key))
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (400, "unknown_parameter", "model")


@pytest.mark.parametrize("name", ["sdp", "session"])
async def test_a_part_is_there_once(client: httpx.AsyncClient, key: str, offer: str, name: str) -> None:
    parts = [("sdp", (None, offer)), ("session", (None, "{}")), (name, (None, "{}"))]
    error = (refused := await client.post(CALLS, files=parts, headers=bearer(key))).json()["error"]
    assert (refused.status_code, error["code"], error["param"]) == (400, "invalid_multipart", name)


async def test_the_charset_that_all_use_may_be_named(
    client: httpx.AsyncClient, add_media: AddMedia, key: str, offer: str
) -> None:
    await add_media("media-0", ANSWER)
    body = f'--x\r\nContent-Disposition: form-data; name="sdp"\r\n\r\n{offer}\r\n--x--\r\n'
    headers = {**bearer(key), "Content-Type": 'multipart/form-data; boundary=x; charset="UTF-8"'}
    assert (await client.post(CALLS, content=body, headers=headers)).status_code == 201


@pytest.mark.parametrize("text", ["café", "“quoted”"])
async def test_a_session_in_another_encoding_than_utf_8_is_refused(
    client: httpx.AsyncClient, add_media: AddMedia, key: str, offer: str, text: str
) -> None:
    await add_media("media-0", ANSWER)
    parts = {"sdp": offer, "session": json.dumps({"instructions": text}, ensure_ascii=False)}
    head = 'Content-Disposition: form-data; name="{}"\r\nContent-Type: application/json; charset=cp1252'
    body = "".join(f"--x\r\n{head.format(name)}\r\n\r\n{part}\r\n" for name, part in parts.items()) + "--x--\r\n"
    headers = {**bearer(key), "Content-Type": "multipart/form-data; boundary=x"}
    refused = await client.post(CALLS, content=body.encode("cp1252"), headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_multipart")
    assert (await client.post(CALLS, content=body.encode(), headers=headers)).status_code == 201


async def answer_control(bus: Bus, call: CallId) -> list[Hangup]:
    got: list[Hangup] = []

    async def take(message: AnyMessage) -> Message:
        assert isinstance(message, Hangup)
        got.append(message)
        return Done()

    await bus.serve(subjects.control(ProcessId("media-0"), call), take)
    await bus.flush()
    return got


async def test_a_call_is_hung_up_by_its_token_or_its_tenant_on_any_process(  # noqa: PLR0913, PLR0917 - fixtures
    client: httpx.AsyncClient,
    open_signaling: OpenSignaling,
    add_media: AddMedia,
    mint: MintToken,
    bus: Bus,
    key: str,
    offer: str,
) -> None:
    second = await open_signaling()
    offers = await add_media("media-0", ANSWER)
    token = await mint()
    path = (await post_offer(client, token, offer)).headers["location"] + "/hangup"
    hangups = await answer_control(bus, offers[0].call)
    assert (await second.post(path, headers=bearer(token))).status_code == 200
    assert (await second.post(path, headers=bearer(key))).status_code == 200
    assert [hangup.call for hangup in hangups] == [offers[0].call] * 2


async def test_another_tenants_call_looks_like_none(
    client: httpx.AsyncClient, add_media: AddMedia, mint: MintToken, bus: Bus, other_key: str, offer: str
) -> None:
    offers = await add_media("media-0", ANSWER)
    mine, yours = await mint(), await mint()
    path = (await post_offer(client, mine, offer)).headers["location"]
    await post_offer(client, yours, offer)
    hangups = await answer_control(bus, offers[0].call)
    unknown = f"{CALLS}/rtc_{'z' * 26}/hangup"
    replies = [
        await client.post(f"{path}/hangup", headers=bearer(other_key)),
        await client.post(f"{path}/hangup", headers=bearer(yours)),
        await client.post(unknown, headers=bearer(other_key)),
        await client.post(unknown, headers=bearer(mine)),
        await client.post(f"{CALLS}/rtc_*/hangup", headers=bearer(other_key)),
    ]
    assert [(reply.status_code, reply.json()) for reply in replies] == [(404, replies[0].json())] * 5
    assert not hangups


async def test_a_call_that_is_over_is_not_found(
    client: httpx.AsyncClient, add_media: AddMedia, key: str, offer: str
) -> None:
    await add_media("media-0", ANSWER)
    path = (await post_offer(client, key, offer)).headers["location"]
    assert (await client.post(f"{path}/hangup", headers=bearer(key))).status_code == 404
