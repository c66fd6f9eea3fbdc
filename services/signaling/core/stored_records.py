"""The access records that this process has stored for each tenant: which go first when the tenant has too many.

A tenant may hold half of what is free in the bucket, as for tokens (`token_quota`), and a hundredth of the bucket in
any case. So its calls never make the bucket delete the records of others, which it does when it is full.
"""

from collections import deque
from dataclasses import dataclass, field

from services.contracts.ids import TenantId
from services.signaling.core import token_quota

_ALWAYS = 100


@dataclass(frozen=True, slots=True)
class AccessRecord:
    """A record of a call. ``ttl_s``: seconds until the bucket deletes it by itself."""

    key: str
    value: bytes
    ttl_s: int


@dataclass(frozen=True, slots=True)
class _Call:
    keys: tuple[str, ...]
    size: int
    end: float


@dataclass(slots=True)
class _Calls:
    calls: deque[_Call] = field(default_factory=deque)
    total: int = 0

    def pop(self) -> _Call:
        oldest = self.calls.popleft()
        self.total -= oldest.size
        return oldest


def access_room(*, bound: int, used: int) -> int:
    """Return the bytes of records that a tenant may hold in a bucket of ``bound`` bytes, ``used`` of them by all."""
    return max(token_quota.share(bound=bound, used=used), bound // _ALWAYS)


@dataclass(slots=True)
class StoredRecords:
    """The records of the calls of each tenant, the oldest call first."""

    _held: dict[TenantId, _Calls] = field(default_factory=dict)

    def add(self, tenant: TenantId, keys: tuple[str, ...], size: int, *, now: float, end: float) -> None:
        """Count the records of a call, ``size`` bytes together, the last of which expires at ``end``."""
        held = self._held.setdefault(tenant, _Calls())
        while held.calls and held.calls[0].end <= now:
            held.pop()
        held.calls.append(_Call(keys, size, end))
        held.total += size

    def pop_surplus(self, tenant: TenantId, *, room: int) -> list[str]:
        """Return the keys of the oldest calls beyond ``room`` bytes, which are to be deleted; never of the newest."""
        held = self._held.get(tenant) or _Calls()
        surplus: list[str] = []
        while held.total > room and len(held.calls) > 1:
            surplus += held.pop().keys
        return surplus
