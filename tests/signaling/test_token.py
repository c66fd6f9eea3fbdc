import pytest

from services.contracts.grant import Grant
from services.contracts.ids import CallId, TenantId
from services.signaling.core.token import (
    AFTERLIFE_MS,
    Issued,
    MalformedRecordError,
    Redeemed,
    Rejection,
    afterlife,
    decode,
    redeem,
)

CALL = CallId("rtc_" + "a" * 26)
ISSUED = Issued(grant=Grant(tenant=TenantId("acme"), session={"model": "m"}), expires_unix_ms=1000)


def redeemed(at: int = 999) -> Redeemed:
    decided = redeem(ISSUED, CALL, now_unix_ms=at)
    assert isinstance(decided, Redeemed)
    return decided


def test_a_token_becomes_one_call_before_it_expires() -> None:
    assert redeemed() == Redeemed(grant=ISSUED.grant, expires_unix_ms=1000, call=CALL, redeemed_unix_ms=999)
    assert redeem(ISSUED, CALL, now_unix_ms=1000) is Rejection.EXPIRED


def test_a_used_token_stays_used() -> None:
    assert redeem(redeemed(), CALL, now_unix_ms=999) is Rejection.USED


def test_a_released_token_is_as_it_was() -> None:
    assert redeemed().released() == ISSUED


def test_a_used_token_is_a_key_to_its_own_call_for_a_day() -> None:
    assert afterlife(redeemed(), now_unix_ms=999 + AFTERLIFE_MS - 1) == CALL
    assert afterlife(redeemed(), now_unix_ms=999 + AFTERLIFE_MS) is Rejection.EXPIRED
    assert afterlife(ISSUED, now_unix_ms=0) is Rejection.NOT_REDEEMED


@pytest.mark.parametrize("record", [ISSUED, redeemed()])
def test_a_record_survives_its_store(record: Issued | Redeemed) -> None:
    assert decode(record.encode()) == record


def test_what_is_no_record_is_told_without_quoting_it() -> None:
    with pytest.raises(MalformedRecordError) as malformed:
        decode(b'{"state": "secret"}')
    assert "secret" not in str(malformed.value)
