"""Where a call's datagrams go: ICE in its light form (RFC 8445 §2.5), in which only the client checks and chooses.

A media process has one address that clients reach, or it does not start; so it asks nothing and sends to nobody who
has not proved to know the call's password. A client that moves is followed once a check of its has been verified.
"""

from dataclasses import dataclass, field
from typing import Literal

from services.media.core.routes import Pair

SILENT_S = 1.0
"""A path on which nothing came for so long may have gone: 50 packets of speech are missing. A check from elsewhere
then moves the call even if it does not nominate; a client behind a rebinding NAT does not know that it moved."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """One ICE generation: what a check must name and be signed with."""

    ufrag: str
    password: str
    remote_ufrag: str

    @property
    def username(self) -> str:
        """What a check of the client carries."""
        return f"{self.ufrag}:{self.remote_ufrag}"


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check changed: how the client is reached from now on, if that is news; ``dead`` credentials."""

    news: Literal["first", "address", "restart"] | None
    dead: tuple[Credentials, ...] = ()


@dataclass(slots=True)
class Path:
    """One call's way to its client. ``generations``: the newest credentials first, and those before a restart."""

    generations: list[Credentials] = field(default_factory=list)
    selected: Pair | None = None

    def restart(self, fresh: Credentials) -> tuple[Credentials, ...]:
        """A new offer: checks count with either credentials until one of the new has come; gives those now dead."""
        dead = tuple(self.generations[1:])
        self.generations = [fresh, *self.generations[:1]]
        return dead

    def credentials(self, ufrag: str) -> Credentials | None:
        """What a check for ``ufrag`` must be signed with."""
        return next((known for known in self.generations if known.ufrag == ufrag), None)

    def checked(self, used: Credentials, pair: Pair, *, nominates: bool, silent_s: float) -> Checked:
        """A verified check came by ``pair``; the path has been ``silent_s`` silent."""
        restarts = used is self.generations[0] and len(self.generations) > 1
        dead: tuple[Credentials, ...] = ()
        if restarts:
            dead = tuple(self.generations[1:])
            self.generations = self.generations[:1]
        first, same = self.selected is None, pair == self.selected
        if same or not (first or nominates or restarts or silent_s >= SILENT_S):
            return Checked("restart" if restarts else None, dead)
        self.selected = pair
        if first:
            return Checked("first", dead)
        return Checked("restart" if restarts else "address", dead)
