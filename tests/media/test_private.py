import asyncio
import os

import pytest
from aiortc.rtcdtlstransport import SRTP_PROFILES
from pylibsrtp import Error, Policy, Session

from services.media.core import rtp
from services.media.rtc import private
from services.media.rtc.private import TESTED, Certificate, UnsupportedVersionError


class Changed:
    """A class of a later aiortc."""


def test_the_installed_stack_is_the_one_that_was_checked() -> None:
    private.check(dict(TESTED))


@pytest.mark.parametrize("package", sorted(TESTED))
def test_another_version_stops_the_process_with_a_word_of_which(package: str) -> None:
    with pytest.raises(UnsupportedVersionError, match=rf"{package} 9\.9\.9.*built for {TESTED[package]}"):
        private.check({**TESTED, package: "9.9.9"})


def test_a_name_that_is_gone_is_named() -> None:
    with pytest.raises(UnsupportedVersionError, match=r"Changed\._recv_next is gone"):
        private.check(dict(TESTED), (("aiortc", Changed, ("_recv_next",)),))


async def test_a_step_that_waits_after_all_is_an_error_and_not_half_done_in_silence() -> None:
    done: list[str] = []

    async def step(waiting: float | None) -> None:
        done.append("begun")
        if waiting is not None:
            await asyncio.sleep(waiting)
        done.append("done")

    private.at_once(step(None))
    with pytest.raises(RuntimeError, match=r"step.* waits"):
        private.at_once(step(1))
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
PACKET = rtp.header(111, 1, 960, 7) + b"what is said"


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
