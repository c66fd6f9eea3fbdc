"""Which tenant keys have left the tenants file while calls made with them are live.

Media asks all signaling processes a few times within ``patience_s``, and each answers from its own copy of the file. A
key is revoked when no answer has known it for ``patience_s``, although answers came all that time: a signaling process
whose copy is older than another's ends no call of a new tenant, and without signaling nothing is revoked.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from services.contracts.messages import KeysChecked, TenantKey

ASKS = 3
"""Questions within the patience. Two without any answer, and the time starts again."""


@dataclass(frozen=True, slots=True)
class KeyActions:
    """The keys to ask signaling about, and those whose calls must end."""

    ask: tuple[TenantKey, ...] = ()
    revoked: frozenset[TenantKey] = frozenset()


@dataclass(slots=True)
class Revocation:
    """The keys of one process's live calls. ``now`` is monotonic seconds."""

    patience_s: float
    _asked_at: float = float("-inf")
    _answered_at: float = float("-inf")
    _unknown_since: dict[TenantKey, float] = field(default_factory=dict)

    @property
    def _period_s(self) -> float:
        return self.patience_s / ASKS

    def on_answer(self, answer: KeysChecked, *, now: float) -> None:
        """Record what one signaling process found in its copy of the tenants file."""
        self._answered_at = now
        for key in answer.known:
            self._unknown_since.pop(key, None)
        for key in answer.gone:
            self._unknown_since.setdefault(key, now)

    def on_timer(self, live: Collection[TenantKey], *, now: float) -> KeyActions:
        """Return what is due as of ``now``, given the keys of the ``live`` calls."""
        if now - self._answered_at >= 2 * self._period_s:
            self._unknown_since.clear()
        self._unknown_since = {key: since for key, since in self._unknown_since.items() if key in live}
        overdue = (key for key, since in self._unknown_since.items() if now - since >= self.patience_s)
        return KeyActions(self._due_questions(live, now), frozenset(overdue))

    def _due_questions(self, live: Collection[TenantKey], now: float) -> tuple[TenantKey, ...]:
        if now - self._asked_at < self._period_s:
            return ()
        self._asked_at = now
        return tuple(live)
