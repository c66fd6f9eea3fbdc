from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.media.core.network.routes import MAX_ADDRESSES, MAX_ASKED, Address, Routes


def fixed(*ufrags: str) -> Callable[[], str]:
    left = iter(ufrags)
    return lambda: next(left)


def at(port: int) -> Address:
    return ("192.0.2.1", port)


def test_a_ufrag_that_is_taken_is_made_again() -> None:
    routes: Routes[str] = Routes()
    assert routes.add("a", fixed("x")) == "x"
    assert routes.add("b", fixed("x", "x", "y")) == "y"
    assert (routes.peer_of("x"), routes.peer_of("y"), routes.peer_of("z")) == ("a", "b", None)


def test_an_address_of_another_call_is_not_taken_away_by_a_check_alone() -> None:
    routes: Routes[str] = Routes()
    routes.add("a", fixed("x"))
    routes.add("b", fixed("y"))
    routes.learn(at(1), "a", proven=False)
    routes.learn(at(1), "b", proven=False)
    assert routes.by_address == {at(1): "a"}


def test_a_request_is_known_until_its_call_is_over_or_has_sent_very_many() -> None:
    routes: Routes[str] = Routes()
    routes.add("a", fixed("x"))
    for number in range(MAX_ASKED + 1):
        routes.add_request(bytes([number]), "a")
    assert (routes.requester(bytes([0])), routes.requester(bytes([1])), routes.requester(b"never")) == (None, "a", None)
    routes.remove("a")
    assert len(routes) == 0
    routes.add_request(b"late", "a")
    assert len(routes) == 0


def test_an_address_belongs_to_the_call_for_which_it_answered_last() -> None:
    routes: Routes[str] = Routes()
    routes.add("a", fixed("x"))
    routes.add("b", fixed("y"))
    routes.learn(at(1), "a", proven=False)
    routes.learn(at(1), "a", proven=False)
    routes.learn(at(1), "b", proven=True)
    assert routes.by_address == {at(1): "b"}
    routes.remove("a")
    assert routes.by_address == {at(1): "b"}


def test_nothing_is_learned_for_a_call_that_is_over() -> None:
    routes: Routes[str] = Routes()
    routes.learn(at(1), "a", proven=True)
    assert len(routes) == 0


def test_a_retired_ufrag_is_unknown_and_its_addresses_stay() -> None:
    routes: Routes[str] = Routes()
    routes.add("a", fixed("x"))
    routes.learn(at(1), "a", proven=True)
    routes.retire("x")
    routes.retire("x")
    assert routes.peer_of("x") is None
    assert routes.by_address == {at(1): "a"}


def test_of_too_many_addresses_the_one_in_use_stays() -> None:
    routes: Routes[str] = Routes()
    routes.add("a", fixed("x"))
    routes.learn(at(0), "a", proven=False)
    for port in range(1, MAX_ADDRESSES + 5):
        routes.refresh(at(0), "a")
        routes.learn(at(port), "a", proven=False)
    assert len(routes.by_address) == MAX_ADDRESSES
    assert at(0) in routes.by_address
    assert at(1) not in routes.by_address


def test_keeping_what_is_not_there_changes_nothing() -> None:
    routes: Routes[str] = Routes()
    routes.refresh(at(0), "a")
    assert len(routes) == 0


class Tables(RuleBasedStateMachine):
    """For any sequence of operations the tables are consistent, and empty after the last call."""

    def __init__(self) -> None:
        super().__init__()
        self.routes: Routes[int] = Routes()
        self.live: set[int] = set()

    @rule(peer=st.integers(0, 4), ufrag=st.uuids())
    def add(self, peer: int, ufrag: object) -> None:
        self.routes.add(peer, lambda: str(ufrag) + str(peer))
        self.live.add(peer)

    @rule(peer=st.integers(0, 4), port=st.integers(0, 20), proven=st.booleans())
    def learn(self, peer: int, port: int, *, proven: bool) -> None:
        self.routes.learn(at(port), peer, proven=proven)

    @rule(peer=st.integers(0, 4), transaction_id=st.binary(min_size=12, max_size=12))
    def ask(self, peer: int, transaction_id: bytes) -> None:
        before = self.routes.requester(transaction_id)
        self.routes.add_request(transaction_id, peer)
        expected = before if before is not None else peer if peer in self.live else None
        assert self.routes.requester(transaction_id) == expected

    @rule(peer=st.integers(0, 4), port=st.integers(0, 20))
    def keep(self, peer: int, port: int) -> None:
        self.routes.refresh(at(port), peer)

    @rule(peer=st.integers(0, 4))
    def forget(self, peer: int) -> None:
        self.routes.remove(peer)
        self.live.discard(peer)

    @invariant()
    def only_live_calls_have_addresses(self) -> None:
        assert set(self.routes.by_address.values()) <= self.live
        assert len(self.routes.by_address) <= MAX_ADDRESSES * len(self.live)
        assert self.live or len(self.routes) == 0


TestTables = Tables.TestCase
