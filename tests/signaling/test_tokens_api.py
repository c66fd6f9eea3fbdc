import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from openai.types.realtime import ClientSecretCreateResponse
from pydantic_core import to_json

from services.contracts.connect import WebRtcAnswer
from services.contracts.messages import OfferAnswered, OfferRefused
from services.contracts.session.sizes import MAX_SESSION_BYTES
from services.runtime.bus.client import Bus
from services.signaling.core.tenants import key_hash
from tests.signaling.fixture_types import AddMedia, MintToken, OpenSignaling

SECRETS = "/v1/realtime/client_secrets"
CALLS = "/v1/realtime/calls"
ANSWER = OfferAnswered(connect=WebRtcAnswer(sdp="v=0\r\n"))


def bearer(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}


async def post_offer(client: httpx.AsyncClient, token: str, offer: str) -> httpx.Response:
    return await client.post(CALLS, content=offer, headers={**bearer(token), "Content-Type": "application/sdp"})


async def test_a_secret_has_the_form_of_the_provider(client: httpx.AsyncClient, key: str) -> None:
    body = {
        "expires_after": {"anchor": "created_at", "seconds": 600},
        "session": {"type": "realtime", "model": "gpt-realtime-2.1-mini", "audio": {"output": {"speed": 1.2}}},
        "hushgate": {"max_seconds": 60, "locked": ["instructions"], "events": ["gate"]},
    }
    reply = await client.post(SECRETS, json=body, headers=bearer(key))
    assert reply.status_code == 200
    assert reply.headers["cache-control"] == "no-store"
    secret = ClientSecretCreateResponse.model_validate(reply.json(), strict=True)
    assert len(secret.value) == 46
    assert secret.value.startswith("ek_")
    assert secret.session.model_dump(exclude_none=True) == {
        "id": secret.session.id,
        "object": "realtime.session",
        "type": "realtime",
        "model": "gpt-realtime-2.1-mini",
        "instructions": "Be brief.",
        "audio": {"output": {"voice": "marin", "speed": 1.2}},
        "expires_at": secret.expires_at + 60,
    }


async def test_a_secret_needs_no_body(client: httpx.AsyncClient, key: str) -> None:
    reply = await client.post(SECRETS, headers=bearer(key))
    assert reply.status_code == 200
    assert reply.json()["session"]["model"] == "gpt-realtime-2.1"


async def test_what_is_stored_is_the_hash_of_the_token_only(mint: MintToken, bus: Bus) -> None:
    token = await mint()
    bucket = await bus.jetstream.key_value("grants")
    assert await bucket.keys() == [key_hash(token)]
    assert token.encode() not in ((await bucket.get(key_hash(token))).value or b"")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"expires_after": {"anchor": "created_at", "seconds": 9}}, "expires_after.seconds"),
        ({"expires_after": {"anchor": "created_at", "seconds": 7201}}, "expires_after.seconds"),
        ({"session": {"audio": {"output": {"speed": 9}}}}, "session.audio.output.speed"),
        ({"session": {"instructions": "x" * 100_000}}, "session"),
        ({"session": {"temperature": 0.8}}, "session.temperature"),
        (
            {"session": {"audio": {"input": {"turn_detection": {"type": "server_vad", "silence": 1}}}}},
            "session.audio.input.turn_detection.silence",
        ),
        ({"hushgate": {"max_seconds": 601}}, "hushgate.max_seconds"),
        ({"hushgate": {"max_second": 60}}, "hushgate.max_second"),
        ({"hushgate": {"responses_per_min": 10_001}}, "hushgate.responses_per_min"),  # the tenant's calls have 10,000
    ],
)
async def test_a_wrong_field_is_named(client: httpx.AsyncClient, key: str, body: object, param: str) -> None:
    reply = await client.post(SECRETS, json=body, headers=bearer(key))
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == param
    assert reply.json()["error"]["type"] == "invalid_request_error"


async def test_an_unknown_field_is_refused_in_the_providers_words(client: httpx.AsyncClient, key: str) -> None:
    reply = await client.post(SECRETS, json={"session": {"temperature": 0.8}}, headers=bearer(key))
    assert reply.json()["error"] == {
        "message": "Unknown parameter: 'session.temperature'. The beta API had it; the present one has no such field.",
        "type": "invalid_request_error",
        "code": "unknown_parameter",
        "param": "session.temperature",
    }


@pytest.mark.parametrize("letter", ["a", "\u00e9", "\u0436", "\u6f22", "\U0001f600", "\x01", "\\"])
@pytest.mark.parametrize("form", ["utf-8", "escapes"])
async def test_a_session_is_bounded_by_its_bytes_in_utf8_however_it_is_escaped(
    client: httpx.AsyncClient, key: str, letter: str, form: str
) -> None:
    room = MAX_SESSION_BYTES - len(to_json({"type": "realtime", "model": "m", "instructions": ""})) - 100
    most = room // (len(to_json(letter)) - 2)
    for letters, status in ((most, 200), (most + 200, 400)):
        session = {"model": "m", "instructions": letter * letters}
        body = json.dumps({"session": session}, ensure_ascii=form == "escapes")
        body = body.replace("a", "\\u0061") if form == "escapes" else body
        reply = await client.post(SECRETS, content=body.encode(), headers=bearer(key))
        assert reply.status_code == status
        if status == 400:
            assert reply.json()["error"]["param"] == "session"


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"a":1e999}', '{"a":"\\ud800"}', '{"a":NaN}', "[" * 100_000, "\x00", '{"a":' * 5000]
)
async def test_a_body_that_is_no_json_object_is_refused(client: httpx.AsyncClient, key: str, text: str) -> None:
    reply = await client.post(SECRETS, content=text, headers=bearer(key))
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "invalid_json"


async def test_a_body_that_says_it_is_too_large_is_not_read(client: httpx.AsyncClient, key: str) -> None:
    reply = await client.post(SECRETS, content=b" " * 700_000, headers=bearer(key))
    assert reply.status_code == 413


async def test_a_body_that_turns_out_too_large_is_not_read_on(client: httpx.AsyncClient, key: str) -> None:
    read = 0

    async def endless() -> object:
        nonlocal read
        while True:
            read += 1
            yield b" " * 10_000

    reply = await client.post(SECRETS, content=endless(), headers=bearer(key))  # type: ignore[arg-type]
    assert reply.status_code == 413
    assert read < 70


async def test_all_bad_credentials_get_the_same_answer(
    client: httpx.AsyncClient, add_media: AddMedia, mint: MintToken, offer: str, other_key: str
) -> None:
    await add_media("media-0", ANSWER)
    used = await mint()
    assert (await post_offer(client, used, offer)).status_code == 201
    answers = [
        await client.post(SECRETS),
        await client.post(SECRETS, headers={"Authorization": "Basic abc"}),
        await client.post(SECRETS, headers=bearer("hg_" + "z" * 43)),
        await client.post(SECRETS, headers=bearer(await mint())),
        await post_offer(client, used, offer),
        await post_offer(client, "ek_" + "z" * 43, offer),
        await post_offer(client, "x" * 65_536, offer),
        await post_offer(client, other_key + "a", offer),
        await client.get("/v1/usage", headers=bearer(used)),
        await client.get(f"/v1/calls/rtc_{'a' * 26}/usage", headers=bearer(await mint())),
    ]
    assert {reply.status_code for reply in answers} == {401}
    assert len({reply.text for reply in answers}) == 1
    assert all(reply.headers["www-authenticate"].startswith("Bearer") for reply in answers)


@pytest.mark.parametrize("kind", ["application/sdp", "multipart/form-data; boundary=x"])
async def test_the_body_of_a_bad_credential_is_not_read(
    client: httpx.AsyncClient, add_media: AddMedia, mint: MintToken, offer: str, kind: str
) -> None:
    await add_media("media-0", ANSWER)
    used = await mint()
    assert (await post_offer(client, used, offer)).status_code == 201
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        read += 1
        yield b"v=0"

    for value in (used, "ek_" + "z" * 43, "hg_" + "z" * 43):
        reply = await client.post(CALLS, content=body(), headers={**bearer(value), "Content-Type": kind})
        assert reply.status_code == 401
    assert read == 0


async def test_of_fifty_parallel_redemptions_on_two_processes_one_succeeds(
    client: httpx.AsyncClient, open_signaling: OpenSignaling, add_media: AddMedia, mint: MintToken, offer: str
) -> None:
    second = await open_signaling()
    offers = await add_media("media-0", ANSWER)
    token = await mint()
    endpoints = (client, second)
    replies = await asyncio.gather(*(post_offer(endpoints[n % 2], token, offer) for n in range(50)))
    assert sorted(reply.status_code for reply in replies) == [201] + [401] * 49
    assert len(offers) == 1


async def test_a_token_whose_offer_got_no_answer_can_be_used_again(
    client: httpx.AsyncClient, add_media: AddMedia, mint: MintToken, offer: str
) -> None:
    token = await mint()
    assert (await post_offer(client, token, offer)).status_code == 503
    await add_media("media-0", ANSWER)
    assert (await post_offer(client, token, "v=0")).status_code == 422
    assert (await post_offer(client, token, offer)).status_code == 201
    assert (await post_offer(client, token, offer)).status_code == 401


async def test_a_token_of_a_tenant_who_is_gone_is_worth_nothing(
    client: httpx.AsyncClient, add_media: AddMedia, mint: MintToken, offer: str, settings: object
) -> None:
    await add_media("media-0", ANSWER)
    token = await mint()
    settings.tenants_file.write_text('{"tenants": []}')  # type: ignore[attr-defined]
    assert (await post_offer(client, token, offer)).status_code == 401


async def test_an_offer_that_no_media_process_can_answer_is_the_callers_fault(
    client: httpx.AsyncClient, add_media: AddMedia, mint: MintToken, offer: str
) -> None:
    await add_media("media-0", OfferRefused(reason="bad_offer"))
    others = await add_media("media-1", OfferRefused(reason="bad_offer"))
    others += await add_media("media-2", OfferRefused(reason="bad_offer"))
    reply = await post_offer(client, await mint(), offer)
    assert reply.status_code == 422
    assert len(others) <= 1  # it was not tried elsewhere
