"""DTLS with peers of all kinds, in both roles, over real datagrams."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal

import pytest
from aiortc.rtcdtlstransport import SRTP_PROFILES
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from prometheus_client import REGISTRY

from services.contracts.audio import PcmFrame
from services.contracts.connect import WebRtcOffer
from services.contracts.endings import EndReason
from services.contracts.ids import new_leg_id
from services.media.core.network.handshake import DtlsFailure, Handshake
from services.media.leg import LegClosed, LegConnected, LegInput, LegOpened
from services.media.legs.webrtc import tls
from services.media.legs.webrtc.answerer import WebRtcAnswerer
from services.media.legs.webrtc.leg import WebRtcLeg
from services.media.legs.webrtc.private import Certificate
from tests.media.clients import WAIT_S, AiortcClient, Owner, a_stack
from tests.media.peer_certificates import Key, Ways, client_with, rsa_key

OfferedSetup = Literal["active", "passive", "actpass"]
BOTH_ROLES = pytest.mark.parametrize("setup", ["active", "passive"])
"""The client's: `active` opens DTLS, and we are the server."""
DTLS_1_0 = 0xFEFF
CLOSE_NOTIFY = bytes.fromhex("15 fefd 0000 000000000000 0002 01 00")


def failures(cause: DtlsFailure) -> float:
    return REGISTRY.get_sample_value("hushgate_dtls_failures_total", {"cause": cause}) or 0


@asynccontextmanager
async def meeting(
    client: AiortcClient, setup: OfferedSetup, change: Callable[[str], str] = lambda offer: offer
) -> AsyncIterator[tuple[WebRtcLeg, Owner]]:
    """A leg and a client in its role, connecting."""
    with a_stack() as stack:
        offer = change((await client.offer()).replace("a=setup:actpass", f"a=setup:{setup}"))
        leg, connect = await WebRtcAnswerer(stack)(new_leg_id(), WebRtcOffer(sdp=offer))
        owner = Owner()
        leg.attach(owner)
        try:
            await client.accept(connect.sdp)
            yield leg, owner
        finally:
            await leg.close()
            await client.close()


async def outcome(owner: Owner) -> LegInput:
    """Whether the connection was established."""
    return await owner.first(lambda item: isinstance(item, LegConnected | LegClosed))


@BOTH_ROLES
@pytest.mark.parametrize(
    "key",
    [
        pytest.param(lambda: rsa_key(2048), id="rsa-2048"),
        pytest.param(lambda: rsa_key(4096), id="rsa-4096"),
        pytest.param(lambda: ec.generate_private_key(ec.SECP256R1()), id="p-256"),
        pytest.param(lambda: ec.generate_private_key(ec.SECP384R1()), id="p-384"),
        pytest.param(lambda: ec.generate_private_key(ec.SECP521R1()), id="p-521"),
    ],
)
async def test_media_and_events_flow_whatever_key_the_peer_has(setup: OfferedSetup, key: Callable[[], Key]) -> None:
    client = client_with(Ways(key=key()))
    async with meeting(client, setup) as (leg, owner):
        await owner.first(LegOpened)
        await owner.first(PcmFrame)
        owner.playing = True
        leg.play()
        async with asyncio.timeout(WAIT_S):
            await client.heard.get()


async def test_a_client_that_opens_dtls_may_have_an_ed25519_key() -> None:
    async with meeting(client_with(Ways(key=ed25519.Ed25519PrivateKey.generate())), "active") as (_, owner):
        assert await outcome(owner) == LegConnected()


@BOTH_ROLES
async def test_dates_of_a_certificate_say_nothing(setup: OfferedSetup) -> None:
    async with meeting(client_with(Ways(days=-1)), setup) as (_, owner):
        assert await outcome(owner) == LegConnected()


@BOTH_ROLES
@pytest.mark.parametrize(
    "suites",
    ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305", "AES128-SHA", "AES256-SHA"],
)
async def test_a_peer_that_has_one_suite_only_is_met_by_it(setup: OfferedSetup, suites: str) -> None:
    auth = "ECDSA" if setup == "active" else "RSA"  # the server's key: ours, or the client's
    async with meeting(client_with(Ways(suites=f"ECDHE-{auth}-{suites}".encode())), setup) as (_, owner):
        assert await outcome(owner) == LegConnected()


REFUSED: list[tuple[str, OfferedSetup, Callable[[], Ways], DtlsFailure]] = [
    ("rsa-1024 server", "passive", lambda: Ways(rsa_key(1024)), DtlsFailure.KEY_NOT_ACCEPTED),
    ("rsa-1024 client", "active", lambda: Ways(rsa_key(1024)), DtlsFailure.KEY_NOT_ACCEPTED),
    ("no suite, server", "passive", lambda: Ways(suites=b"AES128-SHA256"), DtlsFailure.PEER_ALERT),
    ("no suite, client", "active", lambda: Ways(suites=b"AES128-SHA256"), DtlsFailure.NO_COMMON_ALGORITHM),
    ("only suites for an RSA key of ours", "active", lambda: Ways(suites=b"aRSA"), DtlsFailure.NO_COMMON_ALGORITHM),
    ("dtls 1.0 client", "active", lambda: Ways(newest=DTLS_1_0), DtlsFailure.PROTOCOL_VERSION),
    ("dtls 1.0 server", "passive", lambda: Ways(newest=DTLS_1_0), DtlsFailure.PROTOCOL_VERSION),
    ("no certificate", "active", lambda: Ways(shows_certificate=False), DtlsFailure.NO_CERTIFICATE),
    ("no srtp, client", "active", lambda: Ways(srtp=b""), DtlsFailure.NO_SRTP_PROFILE),
    ("no srtp, server", "passive", lambda: Ways(srtp=b""), DtlsFailure.NO_SRTP_PROFILE),
    ("weak srtp", "active", lambda: Ways(srtp=b"SRTP_AES128_CM_SHA1_32"), DtlsFailure.NO_SRTP_PROFILE),
]


@pytest.mark.parametrize(("setup", "ways", "cause"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
async def test_a_handshake_that_fails_ends_the_call_as_that(
    setup: OfferedSetup, ways: Callable[[], Ways], cause: DtlsFailure
) -> None:
    before = failures(cause)
    async with meeting(client_with(ways()), setup) as (_, owner):
        assert await outcome(owner) == LegClosed(EndReason.DTLS_FAILED)
    assert failures(cause) == before + 1


@BOTH_ROLES
async def test_a_certificate_that_the_offer_does_not_name_is_refused(setup: OfferedSetup) -> None:
    def forge(offer: str) -> str:
        return re.sub("a=fingerprint:sha-256 [0-9A-F:]+", f"a=fingerprint:sha-256 {':'.join(['5A'] * 32)}", offer)

    before = failures(DtlsFailure.FINGERPRINT_MISMATCH)
    client = AiortcClient()
    async with meeting(client, setup, forge) as (_, owner):
        assert await outcome(owner) == LegClosed(EndReason.DTLS_FAILED)
        async with asyncio.timeout(WAIT_S):
            while client.peer.connectionState not in {"failed", "closed"}:  # it has been told by an alert
                changed = asyncio.Event()
                client.peer.once("connectionstatechange", changed.set)
                await changed.wait()
    assert failures(DtlsFailure.FINGERPRINT_MISMATCH) == before + 1


async def test_a_handshake_that_is_under_way_when_the_leg_closes_is_counted_as_unfinished() -> None:
    before = failures(DtlsFailure.UNFINISHED)
    client = client_with(Ways())
    answers = asyncio.Event()

    async def keep_silent() -> None:
        answers.set()

    client.peer.getSenders()[0].transport._write_ssl = keep_silent  # type: ignore[method-assign]  # noqa: SLF001
    async with meeting(client, "passive"):
        async with asyncio.timeout(WAIT_S):
            await answers.wait()
    assert failures(DtlsFailure.UNFINISHED) == before + 1


async def test_a_client_that_leaves_during_the_handshake_is_gone() -> None:
    client = client_with(Ways())
    transport = client.peer.getSenders()[0].transport

    async def leave() -> None:
        await transport.transport._send(CLOSE_NOTIFY)  # noqa: SLF001

    transport._write_ssl = leave  # type: ignore[method-assign]  # noqa: SLF001
    async with meeting(client, "passive") as (_, owner):
        assert await outcome(owner) == LegClosed(EndReason.CLIENT_GONE)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=300), max_size=5), st.booleans())
def test_no_datagrams_make_a_handshake_raise(datagrams: list[bytes], as_server: bool) -> None:  # noqa: FBT001
    """They are dropped, or end it with a cause."""
    certificate = Certificate.generateCertificate()
    arriving = iter([*datagrams])

    async def receive() -> bytes:
        for datagram in arriving:
            return datagram
        raise ConnectionError

    async def flush() -> None:
        with contextlib.suppress(SSL.Error):
            connection.bio_read(65_536)

    connection = SSL.Connection(certificate._create_ssl_context(SRTP_PROFILES))  # noqa: SLF001
    connection.set_accept_state() if as_server else connection.set_connect_state()
    made = asyncio.run(tls.run_handshake(connection, Handshake("none"), receive=receive, flush=flush))
    assert isinstance(made, DtlsFailure)
