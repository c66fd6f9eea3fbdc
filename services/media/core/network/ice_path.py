"""Selects the path to a client: ICE lite (RFC 8445 §2.5), with checks of ours before anything is sent.

Only the client chooses a path, but a signed check proves no more than that its sender knows the call's password: the
source address of a datagram can be forged. So an address is sent media, DTLS and events only once it has answered a
binding request of ours (RFC 8445 §7.2.5.2), and only while its consent is fresh (RFC 7675 §5.1).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from services.media.core.network.routes import Pair

SILENT_S = 1.0
"""A path without a packet for so long may have failed: 50 packets of speech are missing. A check from elsewhere then
moves the call even if it does not nominate; a client behind a rebinding NAT does not notice that it moved."""
MAX_CANDIDATES = 8
"""Pairs of a call that are checked at a time; more at once come only from forged addresses."""
RETRY_S = 0.1
"""Until the second request to a new pair; doubled for each further one. RFC 8445 §14.3 has 500 ms, which would be
audible as silence when the first request of a call is lost."""
MAX_REQUESTS = 7
"""To a pair that does not answer, in 6.3 s. The client's next check starts over."""
CONSENT_S = 5.0
"""Between two consent checks, plus or minus a fifth at random (RFC 7675 §5.1)."""
CONSENT_LASTS_S = 30.0
MAX_UNANSWERED = 7
"""Consent checks whose answers still count: as many as fit into `CONSENT_LASTS_S`, the last ones."""

News = Literal["first", "address", "restart"]
"""Why a client's selected pair changed."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """One ICE generation: what checks must name and be signed with, the client's and ours."""

    ufrag: str
    password: str
    remote_ufrag: str
    remote_password: str

    @property
    def username(self) -> str:
        """USERNAME of the client's checks."""
        return f"{self.ufrag}:{self.remote_ufrag}"

    @property
    def remote_username(self) -> str:
        """USERNAME of our checks."""
        return f"{self.remote_ufrag}:{self.ufrag}"


@dataclass(frozen=True, slots=True)
class Request:
    """Send a binding request by ``pair``, signed with the client's password. ``consent``: it has answered before."""

    pair: Pair
    transaction_id: bytes
    credentials: Credentials
    consent: bool = False


PathResult = Literal["verified", "unanswered", "expired"]
"""A pair answered for the first time; it never did; it has not answered for 30 s and gets nothing more."""


@dataclass(frozen=True, slots=True)
class PathStep:
    """The effects of an event, for the shell to execute.

    ``news``: the selected pair has changed, and why; ``dead``: credentials that are no longer valid; ``requests``: what
    to send; ``results``: outcomes of checks.
    """

    news: News | None = None
    dead: tuple[Credentials, ...] = ()
    requests: tuple[Request, ...] = ()
    results: tuple[PathResult, ...] = ()


@dataclass(slots=True)
class _Candidate:
    """A pair that has not answered yet. ``rank``: the later it was nominated, the higher; 0: it was not."""

    credentials: Credentials
    next_at: float
    rank: int = 0
    asked: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class Path:
    """One call's path to its client.

    ``generations``: the newest credentials first, then those before a restart. ``selected``: the only pair by which
    anything but checks and responses may be sent.
    """

    make_id: Callable[[], bytes]
    """Unpredictable transaction ids of 96 bits (RFC 8489 §5)."""
    generations: list[Credentials] = field(default_factory=list)
    selected: Pair | None = None
    _candidates: dict[Pair, _Candidate] = field(default_factory=dict)
    _answered_at: float = 0.0
    _consent_at: float = 0.0
    _consent_asked: list[bytes] = field(default_factory=list)
    _was_reached: bool = False
    _restarted: bool = False
    _nominations: int = 0

    def restart(self, fresh: Credentials) -> tuple[Credentials, ...]:
        """Add a generation of credentials; the older stay valid until a check of the new one. Return those now dead."""
        dead = tuple(self.generations[1:])
        self.generations = [fresh, *self.generations[:1]]
        return dead

    def credentials(self, ufrag: str) -> Credentials | None:
        """Return the credentials that a check for ``ufrag`` must be signed with; None: unknown."""
        return next((known for known in self.generations if known.ufrag == ufrag), None)

    def checked(self, used: Credentials, pair: Pair, *, nominates: bool, silent_s: float, now: float) -> PathStep:
        """Handle a verified check by ``pair``; ``silent_s``: seconds since the last packet on the selected pair."""
        dead: tuple[Credentials, ...] = ()
        if restarts := used is self.generations[0] and len(self.generations) > 1:
            dead = tuple(self.generations[1:])
            self.generations = self.generations[:1]
            self._restarted = True
        if pair == self.selected:
            return PathStep(self._news() if self._restarted else None, dead)
        if not (self.selected is None or nominates or restarts or silent_s >= SILENT_S):
            return PathStep(None, dead)
        known = self._candidates.get(pair)
        if known is None and len(self._candidates) >= MAX_CANDIDATES:
            return PathStep(None, dead)
        candidate = known or _Candidate(used, now)
        candidate.credentials = used
        if nominates:
            self._nominations += 1
            candidate.rank = self._nominations
        if known is not None:
            return PathStep(None, dead)  # it is being checked already
        self._candidates[pair] = candidate
        return PathStep(None, dead, (self._request(pair, candidate, now),))

    def request_credentials(self, pair: Pair, transaction_id: bytes) -> Credentials | None:
        """Return what a response by ``pair`` must be signed with; None: no such request was sent there."""
        if pair == self.selected and transaction_id in self._consent_asked:
            return self.generations[-1]
        candidate = self._candidates.get(pair)
        return candidate.credentials if candidate is not None and transaction_id in candidate.asked else None

    def answered(self, pair: Pair, *, now: float) -> PathStep:
        """Handle a verified response by ``pair``, signed with what `request_credentials` returned."""
        self._answered_at = now
        if pair == self.selected:
            self._consent_asked.clear()
            return PathStep()
        chosen = self._candidates.pop(pair)
        # Pairs nominated later than the selected one may still replace it; all others are dropped.
        self._candidates = {other: left for other, left in self._candidates.items() if left.rank > chosen.rank}
        self.selected = pair
        self._consent_asked.clear()
        self._consent_at = now + CONSENT_S
        return PathStep(self._news(), results=("verified",))

    def on_timer(self, *, now: float) -> PathStep:
        """Retransmit requests that are due as of ``now``, and give up pairs that have not answered."""
        requests: list[Request] = []
        results: list[PathResult] = []
        for pair, candidate in list(self._candidates.items()):
            if now < candidate.next_at:
                continue
            if len(candidate.asked) >= MAX_REQUESTS:
                del self._candidates[pair]
                results.append("unanswered")
            else:
                requests.append(self._request(pair, candidate, now))
        if self.selected is not None and now >= self._answered_at + CONSENT_LASTS_S:
            self.selected = None
            results.append("expired")
        if self.selected is not None and now >= self._consent_at:
            requests.append(self._ask_for_consent(self.selected, now))
        return PathStep(requests=tuple(requests), results=tuple(results))

    @property
    def due(self) -> float | None:
        """When `on_timer` must be called, in monotonic seconds; None: not before another event."""
        times = [candidate.next_at for candidate in self._candidates.values()]
        if self.selected is not None:
            times += [self._consent_at, self._answered_at + CONSENT_LASTS_S]
        return min(times, default=None)

    def _request(self, pair: Pair, candidate: _Candidate, now: float) -> Request:
        transaction_id = self.make_id()
        candidate.next_at = now + RETRY_S * 2 ** len(candidate.asked)
        candidate.asked.append(transaction_id)
        return Request(pair, transaction_id, candidate.credentials)

    def _ask_for_consent(self, pair: Pair, now: float) -> Request:
        transaction_id = self.make_id()
        self._consent_asked = [*self._consent_asked[1 - MAX_UNANSWERED :], transaction_id]
        self._consent_at = now + CONSENT_S * (0.8 + 0.4 * transaction_id[0] / 255)
        return Request(pair, transaction_id, self.generations[-1], consent=True)

    def _news(self) -> News:
        news: News = "restart" if self._restarted and self._was_reached else "address" if self._was_reached else "first"
        self._restarted, self._was_reached = False, True
        return news
