"""Attacks 4, 5 and 6: oversized, malformed and address-injecting offers, at every endpoint that accepts offers."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from services.contracts import subjects
from services.contracts.connect import WebRtcAnswer
from services.contracts.ids import ProcessId
from services.contracts.message import Message
from services.contracts.messages import AnyMessage, Offer, OfferAnswered, Restart
from services.runtime.bus.client import Bus
from tests.signaling.attacks import BOMBS, GOOD, INTERNAL, NONSENSE, OfferAttack, pointing_inside
from tests.signaling.process import media_heartbeat_received, signaling

CALLS = "/v1/realtime/calls"
WHIP = "/v1/whip"
SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
ANSWER = f"v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:srv0\r\na=ice-pwd:{'s' * 22}\r\n"
NO_TEXT = {"empty", "NULs", "a NUL within", "UTF-16", "UTF-16 without a mark", "a lone CR", "lone CRs", "bytes", "JSON"}
"""Attacks without valid lines: of a fragment only the ICE lines are read."""


@dataclass
class Deployment:
    """A signaling process, and the offers that its media process received."""

    client: httpx.AsyncClient
    key: str
    read: list[str] = field(default_factory=list)
    log: list[bytes] = field(default_factory=list)

    async def send(self, path: str, body: bytes, *, method: str = "POST", kind: str = SDP) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": kind, "If-Match": "*"}
        return await self.client.request(method, path, content=body, headers=headers)

    def log_is_clean(self) -> None:
        """No stack trace, no error, nothing of what was sent."""
        text = b"\n".join(self.log).decode()
        assert all(json.loads(line)["level"] in {"info", "warning"} for line in self.log)
        for forbidden in ("Traceback", "exception", "ice-pwd", "pgzBB+i25LQE4xYFHk38l4g0", self.key, *INTERNAL[:5]):
            assert forbidden not in text


@asynccontextmanager
async def endpoints(bus: Bus, nats_url: str, tenants_path: Path, key: str) -> AsyncIterator[Deployment]:
    opened = Deployment(httpx.AsyncClient(), key)

    async def answer(message: AnyMessage) -> Message:
        assert isinstance(message, Offer | Restart)
        opened.read.append(message.sdp)
        if isinstance(message, Offer):
            await bus.serve(subjects.control(ProcessId("media-0"), message.call), answer)
            await bus.flush()
        return OfferAnswered(connect=WebRtcAnswer(sdp=ANSWER))

    await bus.serve(subjects.offer(ProcessId("media-0")), answer)
    async with signaling(nats_url=nats_url, tenants_file=tenants_path, log=opened.log) as (url, process):
        await media_heartbeat_received(bus, url)
        async with httpx.AsyncClient(base_url=url) as opened.client:
            yield opened
            assert (await opened.client.get("/healthz")).status_code == 200
        assert process.returncode is None


async def test_no_address_of_an_offer_gets_to_a_media_process(
    bus: Bus, nats_url: str, tenants_path: Path, key: str
) -> None:
    offer = pointing_inside().encode()
    candidates = b"\r\n".join(line for line in offer.split(b"\r\n") if line.startswith(b"a=candidate"))
    fragment = b"a=ice-ufrag:ysXw\r\na=ice-pwd:" + b"q" * 24 + b"\r\n" + candidates
    async with endpoints(bus, nats_url, tenants_path, key) as opened:
        call = await opened.send(CALLS, offer)
        session = await opened.send(WHIP, offer)
        assert (call.status_code, session.status_code) == (201, 201)
        assert (await opened.send(f"{call.headers['location']}/restart", offer)).status_code == 200
        patched = await opened.send(session.headers["location"], fragment, method="PATCH", kind=FRAGMENT)
        assert patched.status_code == 200
    assert len(opened.read) == 4
    for line in "".join(opened.read).split("\r\n"):
        assert "candidate" not in line
        assert not line.startswith(("o=", "c=")) or line.endswith(" 0.0.0.0")
        assert not any(address in line for address in INTERNAL if address != "::1")  # fingerprints have colons, too
    opened.log_is_clean()


@pytest.mark.parametrize("attacks", [BOMBS, NONSENSE], ids=["bombs", "nonsense"])
async def test_bad_offers_are_refused_at_every_endpoint_and_the_next_good_one_is_answered(
    bus: Bus, nats_url: str, tenants_path: Path, key: str, attacks: tuple[OfferAttack, ...]
) -> None:
    async with endpoints(bus, nats_url, tenants_path, key) as opened:
        call = (await opened.send(CALLS, GOOD.encode())).headers["location"]
        for attack in attacks:
            for path in (CALLS, f"{call}/restart"):
                reply = await opened.send(path, attack.offer)
                assert (attack.name, reply.status_code) == (attack.name, attack.status)
                assert set(reply.json()["error"]) == {"message", "type", "code", "param"}
            whip = await opened.send(WHIP, attack.offer)
            expected = {413} if attack.status == 413 else {400, 422}  # RFC 9725: what is no SDP is 400
            assert whip.status_code in expected, attack.name
        assert len(opened.read) == 1
        assert (await opened.send(CALLS, GOOD.encode())).status_code == 201
    opened.log_is_clean()


async def test_bad_fragments_are_refused_and_the_session_goes_on(
    bus: Bus, nats_url: str, tenants_path: Path, key: str
) -> None:
    async with endpoints(bus, nats_url, tenants_path, key) as opened:
        session = (await opened.send(WHIP, GOOD.encode())).headers["location"]
        for attack in (attack for attack in NONSENSE if attack.name in NO_TEXT):
            reply = await opened.send(session, attack.offer, method="PATCH", kind=FRAGMENT)
            assert (attack.name, reply.status_code) == (attack.name, 400)
        assert len(opened.read) == 1
        again = b"a=ice-ufrag:ysXw\r\na=ice-pwd:" + b"q" * 24
        assert (await opened.send(session, again, method="PATCH", kind=FRAGMENT)).status_code == 200
    opened.log_is_clean()
