import asyncio
import os

import pytest
from aiortc.rtcdtlstransport import SRTP_PROFILES
from pylibsrtp import Error, Policy, Session

from services.media.core.rtp import rtp_packet
from services.media.legs.webrtc import private
from services.media.legs.webrtc.private import Certificate


async def test_a_step_that_waits_after_all_is_an_error_and_not_half_done_in_silence() -> None:
    done: list[str] = []

    async def step(waiting: float | None) -> None:
        done.append("begun")
        if waiting is not None:
            await asyncio.sleep(waiting)
        done.append("done")

    private.run_synchronously(step(None))
    with pytest.raises(RuntimeError, match=r"step.* waits"):
        private.run_synchronously(step(1))
    assert done == ["begun", "done", "begun"]


def test_all_calls_share_a_certificate_and_its_openssl_context() -> None:
    certificate = Certificate.generateCertificate()
    assert certificate._create_ssl_context(SRTP_PROFILES) is certificate._create_ssl_context(SRTP_PROFILES)  # noqa: SLF001
    assert len(certificate.sha256) == 95


class Keyed(private.Dtls):
    """DTLS that has agreed on ``keys``, ours and the peer's."""

    def __init__(self, ours: bytes, peers: bytes) -> None:
        self._tx_srtp = Session(Policy(key=ours, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
        self._rx_srtp = Session(Policy(key=peers, ssrc_type=Policy.SSRC_ANY_INBOUND))


KEYS = (os.urandom(30), os.urandom(30))
PACKET = rtp_packet.header(111, 1, 960, 7) + b"what is said"


def test_what_one_protects_the_other_can_read_and_nobody_else() -> None:
    here, there, stranger = Keyed(*KEYS), Keyed(*reversed(KEYS)), Keyed(os.urandom(30), os.urandom(30))
    sent = here.protect(PACKET)
    assert there.unprotect(sent) == PACKET
    for data in (sent, sent[:-1], PACKET, b""):
        with pytest.raises(Error):
            (there if data is sent else stranger).unprotect(data)  # to its own peer it is a replay


def test_a_packet_for_which_there_is_no_room_is_refused() -> None:
    here, there = Keyed(*KEYS), Keyed(*reversed(KEYS))
    longest = PACKET + bytes(1500 - 144 - len(PACKET))
    assert there.unprotect(here.protect(longest)) == longest
    with pytest.raises(Error, match="too long"):
        here.protect(longest + b"!")
    with pytest.raises(Error, match="too long"):
        there.unprotect(bytes(1501))


def test_a_session_outlives_its_owner_for_as_long_as_packets_are_protected() -> None:
    protect = Keyed(*KEYS).protect
    assert Keyed(*reversed(KEYS)).unprotect(protect(PACKET)) == PACKET
