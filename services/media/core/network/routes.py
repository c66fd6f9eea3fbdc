"""Finds the call of a datagram: by its ufrag, by the transaction id of a request of ours, or by a learned address.

An address is learned only from a verified check, so a stranger cannot fill the tables; one that another call uses only
after it has answered a check of ours, so a caller cannot hijack it by forging its source address.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Address = tuple[str, int] | tuple[str, int, int, int]
"""As the socket module has it: IPv4 or IPv6."""
MAX_ADDRESSES = 8
"""Per call. A browser checks from each of its interfaces; more come only from an attack on the tables."""

MAX_ASKED = 64
"""Requests of a call whose responses can still be routed to it."""

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Pair:
    """A local and a remote address: replies to requests at ``local`` are sent from there."""

    local: str
    remote: Address


class Routes(Generic[P]):
    """The routing tables of one process. ``P``: the type of a call's transport."""

    def __init__(self) -> None:
        self.by_address: dict[Address, P] = {}
        self._by_ufrag: dict[str, P] = {}
        self._addresses: dict[P, list[Address]] = {}
        self._by_transaction: dict[bytes, P] = {}
        self._asked: dict[P, list[bytes]] = {}

    def __len__(self) -> int:
        """Entries in all tables: 0 without calls."""
        tables = (self.by_address, self._by_ufrag, self._addresses, self._by_transaction, self._asked)
        return sum(len(table) for table in tables)

    def add(self, peer: P, make_ufrag: Callable[[], str]) -> str:
        """Return a new unique ufrag for ``peer``; a peer may have several."""
        ufrag = make_ufrag()
        while ufrag in self._by_ufrag:
            ufrag = make_ufrag()
        self._by_ufrag[ufrag] = peer
        self._addresses.setdefault(peer, [])
        return ufrag

    def peer_of(self, ufrag: str) -> P | None:
        """Return the peer of ``ufrag``; None: unknown."""
        return self._by_ufrag.get(ufrag)

    def retire(self, ufrag: str) -> None:
        """Remove ``ufrag``; addresses that were learned by it stay."""
        self._by_ufrag.pop(ufrag, None)

    def add_request(self, transaction_id: bytes, peer: P) -> None:
        """Register a request of ``peer`` by its transaction id; the oldest of too many is removed."""
        if peer not in self._addresses or transaction_id in self._by_transaction:
            return
        asked = self._asked.setdefault(peer, [])
        asked.append(transaction_id)
        self._by_transaction[transaction_id] = peer
        if len(asked) > MAX_ASKED:
            del self._by_transaction[asked.pop(0)]

    def requester(self, transaction_id: bytes) -> P | None:
        """Return the peer that sent the request; None: unknown."""
        return self._by_transaction.get(transaction_id)

    def learn(self, address: Address, peer: P, *, proven: bool) -> None:
        """Learn the source ``address`` of a verified check. ``proven``: it has answered a check of ours."""
        known = self.by_address.get(address)
        if known is peer or peer not in self._addresses or (known is not None and not proven):
            return
        if known is not None:
            self._addresses[known].remove(address)
        self.by_address[address] = peer
        mine = self._addresses[peer]
        mine.append(address)
        if len(mine) > MAX_ADDRESSES:
            del self.by_address[mine.pop(0)]

    def refresh(self, address: Address, peer: P) -> None:
        """Mark ``address`` as in use by ``peer``, so that it is the last to be forgotten."""
        mine = self._addresses.get(peer, [])
        if address in mine:
            mine.remove(address)
            mine.append(address)

    def remove(self, peer: P) -> None:
        """Remove all entries of ``peer``; call it when its call ends."""
        for address in self._addresses.pop(peer, ()):
            del self.by_address[address]
        for transaction_id in self._asked.pop(peer, ()):
            del self._by_transaction[transaction_id]
        for ufrag in [ufrag for ufrag, other in self._by_ufrag.items() if other is peer]:
            del self._by_ufrag[ufrag]
