from hypothesis import given
from hypothesis import strategies as st

from services.contracts.ids import NO_KEY, KeyId, TenantId
from services.contracts.messages import KeysChecked, TenantKey
from services.media.core.revocation import Revocation

OLD = TenantKey(tenant=TenantId("acme"), key=KeyId("0" * 16))
NEW = TenantKey(tenant=TenantId("acme"), key=KeyId("1" * 16))
PAGE = TenantKey(tenant=TenantId("other"), key=NO_KEY)
LIVE = (OLD, NEW, PAGE)
GONE = KeysChecked(known=(NEW, PAGE), gone=(OLD,))
KNOWN = KeysChecked(known=LIVE)


def ended(revocation: Revocation, now: float) -> set[TenantKey]:
    return set(revocation.on_timer(LIVE, now=now).revoked)


def answered(revocation: Revocation, *answers: KeysChecked, since: int, until: int) -> set[TenantKey]:
    """Give ``answers`` every five seconds; return all that was revoked."""
    revoked: set[TenantKey] = set()
    for now in range(since, until + 1):
        if now % 5 == 0:
            for answer in answers:
                revocation.on_answer(answer, now=now)
        revoked |= ended(revocation, now)
    return revoked


def test_signaling_is_asked_three_times_within_the_patience() -> None:
    revocation = Revocation(15.0)
    asked = [now for now in range(16) if revocation.on_timer(LIVE, now=now).ask == LIVE]
    assert asked == [0, 5, 10, 15]
    assert revocation.on_timer((), now=20.0).ask == ()


def test_a_key_that_no_answer_knows_for_the_patience_is_revoked() -> None:
    revocation = Revocation(15.0)
    assert answered(revocation, KNOWN, since=0, until=9) == set()
    assert answered(revocation, GONE, since=10, until=24) == set()
    assert ended(revocation, 25.0) == {OLD}


def test_a_key_that_one_of_two_processes_still_knows_is_not_revoked() -> None:
    for answers in ((KNOWN, GONE), (GONE, KNOWN)):
        assert answered(Revocation(15.0), *answers, since=0, until=120) == set()


def test_without_answers_nothing_is_revoked_and_the_time_starts_again() -> None:
    revocation = Revocation(15.0)
    assert answered(revocation, GONE, since=0, until=9) == set()
    assert answered(revocation, since=10, until=100) == set()
    assert answered(revocation, GONE, since=101, until=119) == set()
    assert ended(revocation, 120.0) == {OLD}


def test_a_key_without_calls_is_forgotten() -> None:
    revocation = Revocation(15.0)
    revocation.on_answer(GONE, now=0.0)
    assert revocation.on_timer((NEW,), now=1.0).revoked == set()
    assert answered(revocation, GONE, since=5, until=19) == set()


@given(st.lists(st.tuples(st.sampled_from([GONE, KNOWN, None]), st.floats(0.1, 8.0)), max_size=60))
def test_a_key_is_revoked_only_after_the_patience_without_any_answer_that_knows_it(
    script: list[tuple[KeysChecked | None, float]],
) -> None:
    revocation, now, known_at, answered_at = Revocation(15.0), 0.0, 0.0, 0.0
    for answer, wait_s in script:
        now += wait_s
        if answer is not None:
            revocation.on_answer(answer, now=now)
            answered_at = now
        if answer is KNOWN:
            known_at = now
        if revoked := ended(revocation, now):
            assert revoked == {OLD}
            assert now - known_at >= 15.0
            assert now - answered_at < 10.0
