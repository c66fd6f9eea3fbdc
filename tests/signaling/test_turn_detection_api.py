"""Tokens and offers whose turn detection media does not allow are refused before there is a call."""

import json
from collections.abc import Awaitable, Callable

import httpx
import pytest

from services.contracts.connect import WebRtcAnswer
from services.contracts.messages import OfferAnswered
from services.contracts.turn_detection import TurnTerms
from tests.signaling.fixture_types import AddMedia, MintToken

SECRETS = "/v1/realtime/client_secrets"
CALLS = "/v1/realtime/calls"
ANSWER = OfferAnswered(connect=WebRtcAnswer(sdp="v=0\r\n"))
PARAM = "session.audio.input.turn_detection.silence_duration_ms"
TERMS = TurnTerms(min_silence_duration_ms=300)

Post = Callable[..., Awaitable[httpx.Response]]


def with_silence(ms: int) -> dict[str, object]:
    return {"audio": {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": ms}}}}


@pytest.fixture
def post(client: httpx.AsyncClient, offer: str) -> Post:
    """Return a function that posts the offer with a token or key, and with a session if one is given."""

    async def posted(value: str, session: dict[str, object] | None = None) -> httpx.Response:
        parts = {"sdp": (None, offer)} | ({} if session is None else {"session": (None, json.dumps(session))})
        return await client.post(CALLS, files=parts, headers={"Authorization": f"Bearer {value}"})

    return posted


def assert_refused(reply: httpx.Response) -> None:
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (400, "invalid_value", PARAM)
    assert "300 to 10000 ms, not 299" in error["message"]


async def test_a_token_is_refused_when_it_is_minted(client: httpx.AsyncClient, add_media: AddMedia, key: str) -> None:
    await add_media("media-0", turns=TERMS)
    headers = {"Authorization": f"Bearer {key}"}
    assert_refused(await client.post(SECRETS, json={"session": with_silence(299)}, headers=headers))
    assert (await client.post(SECRETS, json={"session": with_silence(300)}, headers=headers)).status_code == 200


async def test_an_offer_is_refused_with_a_token_or_a_key_and_the_token_stays_valid(
    add_media: AddMedia, mint: MintToken, key: str, post: Post
) -> None:
    offers = await add_media("media-0", ANSWER, turns=TERMS)
    token = await mint()
    for value in (token, key):
        assert_refused(await post(value, with_silence(299)))
    assert not offers
    for value in (token, key):
        assert (await post(value, with_silence(300))).status_code == 201


async def test_a_token_from_before_the_bounds_were_known_is_refused_at_the_offer(
    add_media: AddMedia, mint: MintToken, post: Post
) -> None:
    token = await mint(session=with_silence(299))
    unheard = await post(token)  # nobody could judge it, and nobody can take the call
    assert (unheard.status_code, unheard.json()["error"]["code"]) == (503, "no_media_process")
    offers = await add_media("media-0", ANSWER, turns=TERMS)
    for _ in range(2):  # the token stays valid, and so does the refusal
        assert_refused(await post(token))
    assert not offers
