from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import pytest

from services.contracts import subjects
from services.contracts.connect import WebRtcAnswer
from services.contracts.ids import CallId, ProcessId
from services.contracts.message import Message
from services.contracts.messages import AnyMessage, Done, Hangup, Offer, OfferAnswered, OfferRefused, Restart
from services.runtime.bus.client import Bus
from tests.signaling.fixture_types import AddMedia, MintToken

WHIP = "/v1/whip"
FRAGMENT = "application/trickle-ice-sdpfrag"
NEW_ICE = f"a=ice-ufrag:ysXw\r\na=ice-pwd:{'q' * 24}\r\n"
CANDIDATE = "m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 1 169.254.169.254 80 typ host\r\n"
ANSWER = (
    "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"
    f"a=candidate:1 1 udp 1 192.0.2.1 4000 typ host\r\na=ice-ufrag:srv0\r\na=ice-pwd:{'s' * 22}\r\n"
)


@dataclass
class Gateway:
    """Signaling with one media process, and the requests that it received."""

    client: httpx.AsyncClient
    token: str
    offers: list[Offer]
    asked: list[AnyMessage] = field(default_factory=list)
    reply: Message = field(default_factory=lambda: OfferAnswered(connect=WebRtcAnswer(sdp=ANSWER)))

    async def post(self, offer: str, **headers: str) -> httpx.Response:
        sent = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/sdp", **headers}
        return await self.client.post(WHIP, content=offer, headers=sent)

    async def patch(self, url: str, content: str | bytes, **headers: str) -> httpx.Response:
        sent = {"Authorization": f"Bearer {self.token}", "Content-Type": FRAGMENT, **headers}
        return await self.client.patch(url, content=content, headers=sent)

    async def delete(self, url: str, token: str = "") -> httpx.Response:
        return await self.client.delete(url, headers={"Authorization": f"Bearer {token or self.token}"})

    async def listen(self, bus: Bus, call: CallId) -> None:
        async def take(message: AnyMessage) -> Message:
            self.asked.append(message)
            return Done() if isinstance(message, Hangup) else self.reply

        await bus.serve(subjects.control(ProcessId("media-0"), call), take)
        await bus.flush()


@pytest.fixture
async def gateway(client: httpx.AsyncClient, add_media: AddMedia, mint: MintToken) -> Gateway:
    offers = await add_media("media-0", OfferAnswered(connect=WebRtcAnswer(sdp=ANSWER)))
    return Gateway(client, await mint(), offers)


@pytest.fixture
def alone(offer: str) -> str:
    """Return the offer with only its audio section."""
    audio = offer.partition("m=application")[0]
    return audio.replace("BUNDLE 0 1", "BUNDLE 0").replace("a=sendrecv", "a=sendonly")


async def test_an_offer_of_audio_alone_begins_a_session(gateway: Gateway, alone: str) -> None:
    reply = await gateway.post(alone)
    assert (reply.status_code, reply.text) == (201, ANSWER)
    assert reply.headers["content-type"] == "application/sdp"
    assert reply.headers["location"] == f"{WHIP}/{gateway.offers[0].call}"
    assert reply.headers["accept-patch"] == FRAGMENT
    assert reply.headers["etag"].startswith('"')
    assert gateway.offers[0].sdp.count("m=") == 1
    assert "a=sendonly" in gateway.offers[0].sdp


async def test_an_offer_with_a_data_channel_is_taken_too(gateway: Gateway, offer: str) -> None:
    assert (await gateway.post(offer)).status_code == 201
    assert gateway.offers[0].sdp.count("m=") == 2


async def test_a_token_without_a_model_takes_that_of_the_query(gateway: Gateway, alone: str) -> None:
    headers = {"Authorization": f"Bearer {gateway.token}", "Content-Type": "application/sdp"}
    reply = await gateway.client.post(f"{WHIP}?model=gpt-realtime-mini", content=alone, headers=headers)
    assert reply.status_code == 201
    assert gateway.offers[0].grant.session["model"] == "gpt-realtime-mini"


async def test_a_tenant_key_and_a_model_in_the_query_work_as_for_calls(gateway: Gateway, key: str, alone: str) -> None:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/sdp"}
    path = f"{WHIP}?model=gpt-realtime-mini"
    assert (await gateway.client.post(path, content=alone, headers=headers)).status_code == 201
    assert gateway.offers[0].grant.session["model"] == "gpt-realtime-mini"
    assert (
        await gateway.client.post(path, content=alone, headers={**headers, "Authorization": "Bearer x"})
    ).status_code == 401


async def test_a_token_is_used_up_by_a_session(gateway: Gateway, alone: str) -> None:
    assert (await gateway.post(alone)).status_code == 201
    assert (await gateway.post(alone)).status_code == 401


@pytest.mark.parametrize(
    ("change", "kind", "status"),
    [
        (lambda _: "", "application/sdp", 400),
        (lambda _: "v=0", "application/sdp", 400),
        (lambda offer: offer.replace("m=audio 3", "m=audio 99"), "application/sdp", 400),
        (lambda offer: offer.replace("a=sendonly", "a=recvonly"), "application/sdp", 422),
        (lambda offer: offer.replace("m=audio", "m=video"), "application/sdp", 422),
        (lambda offer: offer + "a=x\r\n" * 4000, "application/sdp", 413),
        (lambda offer: offer, "text/plain", 415),
        (lambda offer: offer, "", 415),
    ],
)
async def test_a_body_that_is_no_offer_is_refused(
    gateway: Gateway, alone: str, change: Callable[[str], str], kind: str, status: int
) -> None:
    reply = await gateway.post(change(alone), **{"Content-Type": kind})
    assert (reply.status_code, bool(reply.json()["error"]["message"])) == (status, True)
    assert not gateway.offers
    assert (await gateway.post(alone)).status_code == 201  # the token is still good


async def test_a_session_is_deleted_once(gateway: Gateway, bus: Bus, alone: str) -> None:
    url = (await gateway.post(alone)).headers["location"]
    await gateway.listen(bus, gateway.offers[0].call)
    assert (await gateway.delete(url)).status_code == 204
    assert [type(message) for message in gateway.asked] == [Hangup]
    assert (await gateway.delete(url)).status_code == 404
    assert (await gateway.patch(url, NEW_ICE, **{"If-Match": "*"})).status_code == 404


async def test_a_session_that_ended_by_itself_is_not_found(gateway: Gateway, alone: str) -> None:
    url = (await gateway.post(alone)).headers["location"]
    assert (await gateway.delete(url)).status_code == 404


async def test_another_tenants_session_and_a_call_of_the_other_endpoint_look_like_none(
    gateway: Gateway, bus: Bus, key: str, other_key: str, alone: str, offer: str
) -> None:
    url = (await gateway.post(alone)).headers["location"]
    await gateway.listen(bus, gateway.offers[0].call)
    assert (await gateway.delete(url, other_key)).status_code == 404
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/sdp"}
    made = await gateway.client.post("/v1/realtime/calls", content=offer, headers=headers)
    assert (await gateway.delete(f"{WHIP}/{made.headers['location'].rpartition('/')[2]}", key)).status_code == 404
    assert not gateway.asked


@pytest.mark.parametrize("path", [WHIP, f"{WHIP}/rtc_{'a' * 26}"])
async def test_other_methods_are_not_allowed_and_the_answer_names_those_that_are(
    client: httpx.AsyncClient, path: str
) -> None:
    others = {"GET", "HEAD", "PUT", "PROPFIND"} | ({"PATCH", "DELETE"} if path == WHIP else {"POST"})
    allowed = {"POST", "OPTIONS"} if path == WHIP else {"PATCH", "DELETE", "OPTIONS"}
    for method in others:
        reply = await client.request(method, path)
        assert (reply.status_code, set(reply.headers["allow"].split(", "))) == (405, allowed)
    options = await client.options(path)
    assert (options.status_code, set(options.headers["allow"].split(", "))) == (200, allowed)


async def test_options_tell_what_may_be_posted(client: httpx.AsyncClient) -> None:
    assert (await client.options(WHIP)).headers["accept-post"] == "application/sdp"


async def test_new_ice_restarts_it_and_changes_the_tag(gateway: Gateway, bus: Bus, alone: str) -> None:
    begun = await gateway.post(alone)
    url, etag = begun.headers["location"], begun.headers["etag"]
    await gateway.listen(bus, gateway.offers[0].call)
    reply = await gateway.patch(url, NEW_ICE, **{"If-Match": "*"})
    assert (reply.status_code, reply.headers["content-type"]) == (200, FRAGMENT)
    assert reply.text.startswith(f"a=ice-ufrag:srv0\r\na=ice-pwd:{'s' * 22}\r\n")
    assert reply.headers["etag"] not in {"", etag}
    restart = gateway.asked[0]
    assert isinstance(restart, Restart)
    before = gateway.offers[0].sdp
    after = [line for line in restart.sdp.split("\r\n") if not line.startswith("a=ice-")]
    assert after == [line for line in before.split("\r\n") if not line.startswith("a=ice-")]
    assert NEW_ICE in restart.sdp
    assert (await gateway.patch(url, CANDIDATE, **{"If-Match": etag})).status_code == 412
    assert (await gateway.patch(url, CANDIDATE, **{"If-Match": reply.headers["etag"]})).status_code == 204
    assert (await gateway.patch(url, NEW_ICE, **{"If-Match": "*"})).status_code == 204  # it is the call's own by now


async def test_candidates_are_taken_and_go_nowhere(gateway: Gateway, bus: Bus, alone: str) -> None:
    begun = await gateway.post(alone)
    await gateway.listen(bus, gateway.offers[0].call)
    reply = await gateway.patch(begun.headers["location"], CANDIDATE, **{"If-Match": begun.headers["etag"]})
    assert (reply.status_code, reply.text, "etag" in reply.headers) == (204, "", False)
    assert not gateway.asked


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({"If-Match": "*", "Content-Type": "application/sdp"}, NEW_ICE, 415),
        ({}, NEW_ICE, 428),
        ({"If-Match": '"stale"'}, NEW_ICE, 412),
        ({"If-Match": "*"}, "", 400),
        ({"If-Match": "*"}, "a=ice-ufrag:ysXw\r\n", 400),
        ({"If-Match": "*"}, b"\x00\xff", 400),
        ({"If-Match": "*"}, "a=x\r\n" * 4000, 413),
    ],
)
async def test_a_patch_that_cannot_be_carried_out_leaves_the_session_as_it_was(
    gateway: Gateway, bus: Bus, alone: str, headers: dict[str, str], content: str | bytes, status: int
) -> None:
    begun = await gateway.post(alone)
    await gateway.listen(bus, gateway.offers[0].call)
    reply = await gateway.patch(begun.headers["location"], content, **headers)
    assert (reply.status_code, bool(reply.json()["error"]["message"])) == (status, True)
    assert not gateway.asked
    again = await gateway.patch(begun.headers["location"], CANDIDATE, **{"If-Match": begun.headers["etag"]})
    assert again.status_code == 204


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (OfferRefused(reason="bad_offer"), 422),
        (OfferRefused(reason="internal"), 503),
        (Done(), 503),
        (OfferAnswered(connect=WebRtcAnswer(sdp="v=0\r\n")), 503),
    ],
)
async def test_a_restart_that_media_does_not_make_is_said_so(
    gateway: Gateway, bus: Bus, alone: str, reply: Message, status: int
) -> None:
    url = (await gateway.post(alone)).headers["location"]
    await gateway.listen(bus, gateway.offers[0].call)
    gateway.reply = reply
    assert (await gateway.patch(url, NEW_ICE, **{"If-Match": "*"})).status_code == status


async def test_a_record_that_cannot_be_read_is_no_session(gateway: Gateway, bus: Bus, alone: str) -> None:
    url = (await gateway.post(alone)).headers["location"]
    access = await bus.jetstream.key_value("access")
    await access.put(f"whip.{gateway.offers[0].call}", b"{}")
    assert (await gateway.delete(url)).status_code == 404
