import pytest
from aiortc.rtcdtlstransport import SRTP_PROFILES

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
        private.check(dict(TESTED), ((Changed, ("_recv_next",)),))


def test_all_calls_share_a_certificate_and_its_openssl_context() -> None:
    certificate = Certificate.generateCertificate()
    assert certificate._create_ssl_context(SRTP_PROFILES) is certificate._create_ssl_context(SRTP_PROFILES)  # noqa: SLF001
    assert len(certificate.sha256) == 95
