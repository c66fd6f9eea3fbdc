import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contracts.grant import Grant
from services.contracts.ids import CallId, KeyId, TenantId
from services.signaling.core.token import (
    REDEEMED_TTL_MS,
    Issued,
    MalformedRecordError,
    Redeemed,
    Rejection,
    decode,
    redeem,
    redeemable_ttl_s,
    redeemed_call,
    well_formed,
)

CALL = CallId("rtc_" + "a" * 26)
ISSUED = Issued(grant=Grant(tenant=TenantId("acme"), session={"model": "m"}), expires_unix_ms=1000)


def redeemed(at: int = 999) -> Redeemed:
    decided = redeem(ISSUED, CALL, now_unix_ms=at)
    assert isinstance(decided, Redeemed)
    return decided


def test_a_token_becomes_one_call_before_it_expires() -> None:
    assert redeemed() == Redeemed(call=CALL, tenant=TenantId("acme"), redeemed_unix_ms=999)
    assert redeem(ISSUED, CALL, now_unix_ms=1000) is Rejection.EXPIRED


def test_a_used_token_stays_used() -> None:
    assert redeem(redeemed(), CALL, now_unix_ms=999) is Rejection.USED


@given(st.text(max_size=100_000))
def test_what_is_stored_of_a_used_token_does_not_grow_with_its_session(instructions: str) -> None:
    session = {"model": "m", "instructions": instructions}
    grant = Grant(tenant=TenantId("a" * 48), session=session, key=KeyId("f" * 16))
    decided = redeem(Issued(grant=grant, expires_unix_ms=2**42), CALL, now_unix_ms=2**41)
    assert isinstance(decided, Redeemed)
    assert len(decided.encode()) < 200


def test_a_record_is_stored_as_long_as_its_token_can_be_redeemed_and_a_little_longer() -> None:
    issued = Issued(grant=ISSUED.grant, issued_unix_ms=0, expires_unix_ms=60_000)
    assert redeemable_ttl_s(issued, now_unix_ms=0) == 90
    assert redeemable_ttl_s(issued, now_unix_ms=30_000) == 60
    assert redeemable_ttl_s(issued, now_unix_ms=10**9) == 1  # the store has no shorter one, and 0 means for ever


@pytest.mark.parametrize(
    ("value", "well"),
    [
        ("ek_" + "z" * 43, True),
        ("ek_" + "-_A0" * 10 + "abc", True),
        ("ek_" + "z" * 42, False),
        ("ek_" + "z" * 44, False),
        ("hg_" + "z" * 43, False),
        ("ek_" + "z" * 42 + "\n", False),
        ("ek_" + "z" * 43 + "\n", False),
        ("ek_" + "é" * 43, False),
        ("", False),
    ],
)
def test_what_cannot_be_a_token_is_told_by_its_form(value: str, well: bool) -> None:  # noqa: FBT001 - a case
    assert well_formed(value) is well


def test_a_used_token_is_a_key_to_its_own_call_for_a_day() -> None:
    assert redeemed_call(redeemed(), now_unix_ms=999 + REDEEMED_TTL_MS - 1) == CALL
    assert redeemed_call(redeemed(), now_unix_ms=999 + REDEEMED_TTL_MS) is Rejection.EXPIRED
    assert redeemed_call(ISSUED, now_unix_ms=0) is Rejection.NOT_REDEEMED


@pytest.mark.parametrize("record", [ISSUED, redeemed()])
def test_a_record_survives_its_store(record: Issued | Redeemed) -> None:
    assert decode(record.encode()) == record


def test_what_is_no_record_is_told_without_quoting_it() -> None:
    with pytest.raises(MalformedRecordError) as malformed:
        decode(b'{"state": "secret"}')
    assert "secret" not in str(malformed.value)
