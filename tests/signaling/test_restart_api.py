import httpx
import pytest

from services.contracts import subjects
from services.contracts.connect import WebRtcAnswer
from services.contracts.ids import CallId, ProcessId
from services.contracts.message import Message
from services.contracts.messages import AnyMessage, Done, OfferAnswered, OfferRefused, Restart
from services.runtime.bus.client import Bus
from tests.signaling.fixture_types import AddMedia, MintToken

CALLS = "/v1/realtime/calls"
ANSWER = OfferAnswered(connect=WebRtcAnswer(sdp="v=0\r\n"))


def headers(value: str, kind: str = "application/sdp") -> dict[str, str]:
    return {"Authorization": f"Bearer {value}", "Content-Type": kind}


async def answer_control(bus: Bus, call: CallId, reply: Message) -> list[Restart]:
    got: list[Restart] = []

    async def take(message: AnyMessage) -> Message:
        assert isinstance(message, Restart)
        got.append(message)
        return reply

    await bus.serve(subjects.control(ProcessId("media-0"), call), take)
    await bus.flush()
    return got


async def test_a_new_offer_on_the_same_call_is_answered(
    client: httpx.AsyncClient, add_media: AddMedia, mint: MintToken, bus: Bus, key: str, offer: str
) -> None:
    offers = await add_media("media-0", ANSWER)
    token = await mint()
    path = (await client.post(CALLS, content=offer, headers=headers(token))).headers["location"] + "/restart"
    restarts = await answer_control(bus, offers[0].call, OfferAnswered(connect=WebRtcAnswer(sdp="v=0\r\ns=2\r\n")))
    again = offer.replace("a=ice-ufrag:KeX3", "a=ice-ufrag:NeW4")
    for value in (token, key):
        reply = await client.post(path, content=again, headers=headers(value))
        assert (reply.status_code, reply.text) == (200, "v=0\r\ns=2\r\n")
        assert reply.headers["content-type"] == "application/sdp"
    assert [restart.call for restart in restarts] == [offers[0].call] * 2
    assert restarts[0].sdp == offers[0].sdp.replace("KeX3", "NeW4")  # as sanitised as the first


@pytest.mark.parametrize(
    ("reply", "status", "expected"),
    [
        (OfferRefused(reason="bad_offer"), 422, "keeps the DTLS fingerprint"),
        (OfferRefused(reason="too_many"), 429, "too often"),
        (OfferRefused(reason="internal"), 503, "try again"),
        (Done(), 503, "try again"),
    ],
)
async def test_a_restart_that_media_refuses_is_explained(  # noqa: PLR0913, PLR0917 - fixtures and cases
    client: httpx.AsyncClient,
    add_media: AddMedia,
    bus: Bus,
    key: str,
    offer: str,
    reply: Message,
    status: int,
    expected: str,
) -> None:
    offers = await add_media("media-0", ANSWER)
    path = (await client.post(CALLS, content=offer, headers=headers(key))).headers["location"] + "/restart"
    await answer_control(bus, offers[0].call, reply)
    got = await client.post(path, content=offer, headers=headers(key))
    assert got.status_code == status
    assert expected in got.json()["error"]["message"]


async def test_a_media_process_that_does_not_answer_is_said_so(
    client: httpx.AsyncClient, add_media: AddMedia, bus: Bus, key: str, offer: str
) -> None:
    offers = await add_media("media-0", ANSWER)
    path = (await client.post(CALLS, content=offer, headers=headers(key))).headers["location"] + "/restart"
    await bus.subscribe(subjects.control(ProcessId("media-0"), offers[0].call), lambda _, __: None)
    await bus.flush()
    got = await client.post(path, content=offer, headers=headers(key))
    assert (got.status_code, got.json()["error"]["code"]) == (503, "restart_unconfirmed")


async def test_only_those_of_the_call_may_restart_it(
    client: httpx.AsyncClient, add_media: AddMedia, mint: MintToken, bus: Bus, other_key: str, offer: str
) -> None:
    offers = await add_media("media-0", ANSWER)
    fresh, mine = await mint(), await mint()
    path = (await client.post(CALLS, content=offer, headers=headers(mine))).headers["location"] + "/restart"
    restarts = await answer_control(bus, offers[0].call, ANSWER)
    for value, status in ((other_key, 404), (fresh, 401), ("ek_nothing", 401)):
        assert (await client.post(path, content=offer, headers=headers(value))).status_code == status
    assert not restarts


async def test_a_call_that_is_over_is_not_restarted(
    client: httpx.AsyncClient, add_media: AddMedia, key: str, offer: str
) -> None:
    await add_media("media-0", ANSWER)
    path = (await client.post(CALLS, content=offer, headers=headers(key))).headers["location"] + "/restart"
    assert (await client.post(path, content=offer, headers=headers(key))).status_code == 404


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [("v=0", "application/sdp", 422), ("v" * 16_385, "application/sdp", 413), ("v=0", "text/plain", 415)],
)
async def test_what_is_no_offer_restarts_nothing(  # noqa: PLR0913, PLR0917 - fixtures and cases
    client: httpx.AsyncClient, add_media: AddMedia, bus: Bus, key: str, offer: str, content: str, kind: str, status: int
) -> None:
    offers = await add_media("media-0", ANSWER)
    path = (await client.post(CALLS, content=offer, headers=headers(key))).headers["location"] + "/restart"
    restarts = await answer_control(bus, offers[0].call, ANSWER)
    assert (await client.post(path, content=content, headers=headers(key, kind))).status_code == status
    assert not restarts
