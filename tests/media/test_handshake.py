import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contracts.endings import EndReason
from services.media.core.network.handshake import DtlsFailure, Handshake, KeyKind, end_reason, refusal

OURS = ":".join(["5A"] * 32)
OTHER = ":".join(["5B"] * 32)


@pytest.mark.parametrize(
    ("kind", "bits", "accepted"),
    [
        ("rsa", 1024, False),
        ("rsa", 2047, False),
        ("rsa", 2048, True),
        ("rsa", 4096, True),
        ("rsa", 8192, True),
        ("rsa", 16384, False),
        ("ec", 224, False),
        ("ec", 256, True),
        ("ec", 521, True),
        ("eddsa", 253, True),
        ("other", 4096, False),
    ],
)
def test_a_key_is_accepted_by_its_kind_and_length(kind: KeyKind, bits: int, *, accepted: bool) -> None:
    expected = None if accepted else DtlsFailure.KEY_NOT_ACCEPTED
    assert refusal(kind=kind, bits=bits, fingerprint=OURS, expected=OURS) is expected


@given(st.sampled_from(["rsa", "ec", "eddsa", "other"]), st.integers(0, 20_000))
def test_no_key_makes_up_for_another_fingerprint(kind: KeyKind, bits: int) -> None:
    handshake = Handshake(OURS)
    assert not handshake.certificate(kind=kind, bits=bits, fingerprint=OTHER)
    assert handshake.failure("certificate verify failed") is DtlsFailure.FINGERPRINT_MISMATCH


@pytest.mark.parametrize(
    ("sent", "received", "said", "failure"),
    [
        (None, 40, "tls alert handshake failure", DtlsFailure.PEER_ALERT),
        (None, 42, "", DtlsFailure.PEER_ALERT),
        (40, 0, "", DtlsFailure.PEER_CLOSED),
        (None, 90, "", DtlsFailure.PEER_CLOSED),
        (40, None, "no shared cipher", DtlsFailure.NO_COMMON_ALGORITHM),
        (71, None, "", DtlsFailure.NO_COMMON_ALGORITHM),
        (70, None, "unsupported protocol", DtlsFailure.PROTOCOL_VERSION),
        (40, None, "peer did not return a certificate", DtlsFailure.NO_CERTIFICATE),
        (50, None, "length mismatch", DtlsFailure.MALFORMED),
        (None, None, "", DtlsFailure.MALFORMED),
    ],
)
def test_a_failure_is_told_by_its_alerts(
    sent: int | None, received: int | None, said: str, failure: DtlsFailure
) -> None:
    assert Handshake(OURS, alert_sent=sent, alert_received=received).failure(said) is failure


def test_what_we_refused_counts_more_than_what_the_peer_says_then() -> None:
    handshake = Handshake(OURS)
    handshake.certificate(kind="rsa", bits=1024, fingerprint=OURS)
    handshake.alert_received = 0
    assert handshake.failure() is DtlsFailure.KEY_NOT_ACCEPTED


@pytest.mark.parametrize("failure", list(DtlsFailure))
def test_only_a_client_that_left_is_gone(failure: DtlsFailure) -> None:
    gone = failure is DtlsFailure.PEER_CLOSED
    assert end_reason(failure) is (EndReason.CLIENT_GONE if gone else EndReason.DTLS_FAILED)
