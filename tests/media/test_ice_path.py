from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.media.core.network.ice_path import (
    CONSENT_LASTS_S,
    CONSENT_S,
    MAX_CANDIDATES,
    MAX_REQUESTS,
    MAX_UNANSWERED,
    SILENT_S,
    Credentials,
    Path,
    PathResult,
    PathStep,
    Request,
)
from services.media.core.network.routes import Pair

FIRST, SECOND, THIRD = (Credentials(name, "secret", "theirs", "their secret") for name in ("one", "two", "three"))
HOME, AWAY, FAR = (Pair("192.0.2.9", ("192.0.2.1", port)) for port in (1000, 2000, 3000))


def ids() -> Callable[[], bytes]:
    numbers = count()
    return lambda: (128 << 88 | next(numbers)).to_bytes(12)  # the first byte is the middle of its range


def a_path(*, selected: Pair | None = None) -> Path:
    path = Path(ids())
    path.restart(FIRST)
    if selected is not None:
        check(path, selected)
        assert path.answered(selected, now=0) == PathStep("first", results=("verified",))
    return path


def check(
    path: Path, pair: Pair, used: Credentials = FIRST, *, nominates: bool = False, silent_s: float = 0, now: float = 0
) -> PathStep:
    return path.checked(used, pair, nominates=nominates, silent_s=silent_s, now=now)


def asked(step: PathStep) -> list[tuple[Pair, Credentials]]:
    return [(request.pair, request.credentials) for request in step.requests]


def test_a_check_names_both_ufrags() -> None:
    assert (FIRST.username, FIRST.remote_username) == ("one:theirs", "theirs:one")


def test_the_first_check_is_asked_back_and_the_answer_opens_the_path() -> None:
    path = a_path()
    step = check(path, HOME)
    assert (step.news, asked(step), path.selected) == (None, [(HOME, FIRST)], None)
    assert path.request_credentials(HOME, step.requests[0].transaction_id) is FIRST
    assert path.answered(HOME, now=0.1) == PathStep("first", results=("verified",))
    assert path.selected == HOME


def test_a_response_counts_only_from_where_it_was_asked_and_for_what_was_asked() -> None:
    path = a_path()
    (request,) = check(path, HOME).requests
    (other,) = check(path, AWAY).requests
    assert path.request_credentials(AWAY, request.transaction_id) is None
    assert path.request_credentials(FAR, request.transaction_id) is None
    assert path.request_credentials(HOME, b"never asked.") is None
    assert path.request_credentials(AWAY, other.transaction_id) is FIRST


def test_a_check_on_the_path_changes_nothing() -> None:
    assert check(a_path(selected=HOME), HOME, nominates=True) == PathStep()


@pytest.mark.parametrize(
    ("nominates", "silent_s", "follows"),
    [(True, 0.0, True), (False, SILENT_S, True), (False, SILENT_S - 0.1, False)],
    ids=["nominated", "the old path is silent", "the old path is alive"],
)
def test_the_client_is_followed_once_the_new_address_has_answered(
    nominates: bool,  # noqa: FBT001 - a table's column
    silent_s: float,
    follows: bool,  # noqa: FBT001
) -> None:
    path = a_path(selected=HOME)
    step = check(path, AWAY, nominates=nominates, silent_s=silent_s)
    assert asked(step) == ([(AWAY, FIRST)] if follows else [])
    assert (step.news, path.selected) == (None, HOME)
    if follows:
        assert path.answered(AWAY, now=1) == PathStep("address", results=("verified",))
        assert path.selected == AWAY


def test_further_checks_of_a_pair_that_is_being_asked_send_nothing() -> None:
    path = a_path()
    assert len(check(path, HOME).requests) == 1
    assert check(path, HOME, nominates=True).requests == ()


def test_what_is_nominated_last_wins_in_whatever_order_the_answers_come() -> None:
    path = a_path(selected=HOME)
    check(path, AWAY, nominates=True)
    check(path, FAR, nominates=True)
    path.answered(FAR, now=1)
    assert path.request_credentials(AWAY, b"") is None
    assert path.due == pytest.approx(1 + CONSENT_S)
    path = a_path(selected=HOME)
    check(path, AWAY, nominates=True)
    check(path, FAR, nominates=True)
    path.answered(AWAY, now=1)
    assert path.answered(FAR, now=2).news == "address"
    assert path.selected == FAR


def test_before_the_first_answer_every_pair_is_asked_and_the_first_to_answer_is_used() -> None:
    path = a_path()
    assert [len(check(path, pair).requests) for pair in (HOME, AWAY)] == [1, 1]
    assert path.answered(AWAY, now=1).news == "first"
    assert path.due == pytest.approx(1 + CONSENT_S), "the other is asked no more"


def test_only_so_many_pairs_are_asked_at_a_time() -> None:
    path = a_path()
    pairs = [Pair("192.0.2.9", ("192.0.2.1", port)) for port in range(MAX_CANDIDATES + 5)]
    assert sum(len(check(path, pair).requests) for pair in pairs) == MAX_CANDIDATES


def test_a_request_without_an_answer_is_repeated_ever_more_slowly_and_then_given_up() -> None:
    path = a_path()
    sent = list(check(path, HOME).requests)
    times = [0.0]
    results: list[PathResult] = []
    while (due := path.due) is not None:
        assert path.on_timer(now=due - 0.01) == PathStep()
        step = path.on_timer(now=due)
        times += [due] * len(step.requests)
        sent += step.requests
        results += step.results
    assert times == pytest.approx([0, 0.1, 0.3, 0.7, 1.5, 3.1, 6.3])
    assert len({request.transaction_id for request in sent}) == MAX_REQUESTS
    assert results == ["unanswered"]
    assert len(check(path, HOME, now=20).requests) == 1, "the next check begins anew"


def test_a_late_answer_to_an_early_request_counts() -> None:
    path = a_path()
    (request,) = check(path, HOME).requests
    path.on_timer(now=0.1)
    assert path.request_credentials(HOME, request.transaction_id) is FIRST


def test_consent_is_asked_for_again_and_again_and_kept_by_answers() -> None:
    path = a_path(selected=HOME)
    at = 0.0
    for _ in range(20):
        at = path.due or 0.0
        (request,) = path.on_timer(now=at).requests
        assert request == Request(HOME, request.transaction_id, FIRST, consent=True)
        assert path.request_credentials(HOME, request.transaction_id) is FIRST
        assert path.answered(HOME, now=at) == PathStep()
        assert path.request_credentials(HOME, request.transaction_id) is None, "an answer counts once"
    assert at == pytest.approx(20 * CONSENT_S, rel=0.01)
    assert path.selected == HOME


def test_without_consent_for_30_seconds_nothing_is_sent_any_more() -> None:
    path = a_path(selected=HOME)
    sent, at = 0, 0.0
    results: list[PathResult] = []
    while (due := path.due) is not None:
        at, step = due, path.on_timer(now=due)
        sent += len(step.requests)
        results += step.results
    assert (at, sent, results) == (CONSENT_LASTS_S, 5, ["expired"])
    assert path.selected is None
    check(path, HOME, now=40)
    assert path.answered(HOME, now=40.1).news == "address"


def test_very_old_consent_requests_are_forgotten() -> None:
    path = a_path(selected=HOME)
    sent: list[Request] = []
    for number in range(MAX_UNANSWERED + 1):
        at = number * 3.0
        path._consent_at = at  # noqa: SLF001 - sooner than it is due, to have more than fit
        sent += path.on_timer(now=at).requests
    assert path.request_credentials(HOME, sent[0].transaction_id) is None
    assert path.request_credentials(HOME, sent[1].transaction_id) is FIRST


def test_after_a_restart_the_first_new_check_ends_the_old_credentials() -> None:
    path = a_path(selected=HOME)
    assert path.restart(SECOND) == ()
    assert path.credentials("one") is FIRST
    assert check(path, HOME, FIRST) == PathStep()
    step = check(path, AWAY, SECOND)
    assert (step.dead, asked(step), path.selected) == ((FIRST,), [(AWAY, SECOND)], HOME)
    assert path.answered(AWAY, now=1) == PathStep("restart", results=("verified",))
    assert path.credentials("one") is None
    assert path.credentials("two") is SECOND


def test_until_the_client_uses_a_restart_its_consent_is_asked_for_with_the_old_credentials() -> None:
    path = a_path(selected=HOME)
    path.restart(SECOND)
    assert asked(path.on_timer(now=6)) == [(HOME, FIRST)]
    check(path, HOME, SECOND)
    assert asked(path.on_timer(now=12)) == [(HOME, SECOND)]


def test_a_restart_on_the_same_address_is_news_too() -> None:
    path = a_path(selected=HOME)
    path.restart(SECOND)
    assert check(path, HOME, SECOND) == PathStep("restart", (FIRST,))


def test_a_restart_is_news_by_whichever_pair_it_comes_into_use() -> None:
    path = a_path(selected=HOME)
    path.restart(SECOND)
    check(path, AWAY, SECOND)
    check(path, FAR, SECOND, nominates=True)
    assert path.answered(FAR, now=1).news == "restart"


def test_of_restarts_that_were_never_used_only_the_last_counts() -> None:
    path = a_path(selected=HOME)
    path.restart(SECOND)
    assert path.restart(THIRD) == (FIRST,)
    assert path.credentials("two") is SECOND
    assert check(path, AWAY, THIRD).dead == (SECOND,)


class AnyEvents(RuleBasedStateMachine):
    """For any sequence of events, only an address that has answered a check in the last 30 s is sent to."""

    def __init__(self) -> None:
        super().__init__()
        self.path = Path(ids())
        self.now = 100.0
        self.generation = 0
        self.answered: dict[Pair, float] = {}
        self.sent: dict[Pair, list[Request]] = {}
        self.restart()

    def carried_out(self, step: PathStep) -> None:
        for request in step.requests:
            self.sent.setdefault(request.pair, []).append(request)
        if step.news is not None:
            assert self.path.selected in self.answered

    @rule()
    def restart(self) -> None:
        self.generation += 1
        self.path.restart(Credentials(str(self.generation), "ours", f"their{self.generation}", "theirs"))

    @rule(port=st.integers(1, 12), nominates=st.booleans(), silent=st.booleans(), old=st.booleans())
    def check(self, port: int, *, nominates: bool, silent: bool, old: bool) -> None:
        used = self.path.generations[-1 if old else 0]
        pair = Pair("192.0.2.9", ("192.0.2.1", port))
        silent_s = SILENT_S if silent else 0.0
        self.carried_out(self.path.checked(used, pair, nominates=nominates, silent_s=silent_s, now=self.now))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from([one for sent in self.sent.values() for one in sent]))
        if self.path.request_credentials(request.pair, request.transaction_id) is not None:
            self.answered[request.pair] = self.now
            self.carried_out(self.path.answered(request.pair, now=self.now))

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), port=st.integers(1, 12))
    def answer_from_elsewhere(self, data: st.DataObject, port: int) -> None:
        request = data.draw(st.sampled_from([one for sent in self.sent.values() for one in sent]))
        pair = Pair("192.0.2.9", ("192.0.2.1", port))
        if pair != request.pair:
            assert self.path.request_credentials(pair, request.transaction_id) is None

    @rule(until_due=st.booleans(), passes=st.floats(0, 20))
    def tick(self, *, until_due: bool, passes: float) -> None:
        due = self.path.due
        self.now = due if until_due and due is not None else self.now + passes
        self.carried_out(self.path.on_timer(now=self.now))

    @invariant()
    def what_is_sent_to_has_answered(self) -> None:
        if (selected := self.path.selected) is not None:
            assert self.now - self.answered[selected] <= CONSENT_LASTS_S

    @invariant()
    def a_pair_without_an_answer_gets_few_requests(self) -> None:
        assert len(self.path._candidates) <= MAX_CANDIDATES  # noqa: SLF001 - the bound is the claim
        assert all(len(one.asked) <= MAX_REQUESTS for one in self.path._candidates.values())  # noqa: SLF001


TestAnyEvents = AnyEvents.TestCase
