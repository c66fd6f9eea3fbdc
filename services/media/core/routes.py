"""Which call a datagram belongs to: by the ufrag or the request of ours that it names, or by a learned address.

An address is learned only from a check whose integrity was verified, so a stranger cannot enter the tables; and one
that another call uses only when it has answered a check of ours, so a caller cannot take it away by forging it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Address = tuple[str, int] | tuple[str, int, int, int]
"""As the socket gives it: IPv4 or IPv6."""
MAX_ADDRESSES = 8
"""Per call. A browser checks from each of its interfaces; more come only from somebody who plays with the tables."""

MAX_ASKED = 64
"""Requests of a call whose responses are still known to be its own."""

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Pair:
    """An address of ours and one of a client's: whoever asked ``local`` gets its answers from there."""

    local: str
    remote: Address


class Routes(Generic[P]):
    """The tables of one process. ``P`` is whatever stands for a call's transport."""

    def __init__(self) -> None:
        self.by_address: dict[Address, P] = {}
        self._by_ufrag: dict[str, P] = {}
        self._addresses: dict[P, list[Address]] = {}
        self._by_transaction: dict[bytes, P] = {}
        self._asked: dict[P, list[bytes]] = {}

    def __len__(self) -> int:
        """Entries in all tables: 0 when no call is left."""
        tables = (self.by_address, self._by_ufrag, self._addresses, self._by_transaction, self._asked)
        return sum(len(table) for table in tables)

    def add(self, peer: P, make_ufrag: Callable[[], str]) -> str:
        """Give ``peer`` a ufrag that no other has; a peer may have several."""
        ufrag = make_ufrag()
        while ufrag in self._by_ufrag:
            ufrag = make_ufrag()
        self._by_ufrag[ufrag] = peer
        self._addresses.setdefault(peer, [])
        return ufrag

    def named(self, ufrag: str) -> P | None:
        """Whose ufrag it is."""
        return self._by_ufrag.get(ufrag)

    def retire(self, ufrag: str) -> None:
        """Nobody can come by ``ufrag`` any more; addresses that were learned by it stay."""
        self._by_ufrag.pop(ufrag, None)

    def ask(self, transaction_id: bytes, peer: P) -> None:
        """``peer`` sends a request; the oldest of very many is forgotten."""
        if peer not in self._addresses or transaction_id in self._by_transaction:
            return
        asked = self._asked.setdefault(peer, [])
        asked.append(transaction_id)
        self._by_transaction[transaction_id] = peer
        if len(asked) > MAX_ASKED:
            del self._by_transaction[asked.pop(0)]

    def asker(self, transaction_id: bytes) -> P | None:
        """Whose request it is."""
        return self._by_transaction.get(transaction_id)

    def learn(self, address: Address, peer: P, *, proven: bool) -> None:
        """A verified check of ``peer`` came from ``address``. ``proven``: what was sent there has arrived."""
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

    def keep(self, address: Address, peer: P) -> None:
        """``peer`` uses ``address``: let it be the last that is forgotten."""
        mine = self._addresses.get(peer, [])
        if address in mine:
            mine.remove(address)
            mine.append(address)

    def forget(self, peer: P) -> None:
        """The call of ``peer`` is over."""
        for address in self._addresses.pop(peer, ()):
            del self.by_address[address]
        for transaction_id in self._asked.pop(peer, ()):
            del self._by_transaction[transaction_id]
        for ufrag in [ufrag for ufrag, other in self._by_ufrag.items() if other is peer]:
            del self._by_ufrag[ufrag]
