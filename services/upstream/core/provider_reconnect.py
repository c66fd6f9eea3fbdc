"""Configures each connection with the provider, and replaces it before the provider closes it at its limit."""

from services.upstream.core.command_buffer import Origin
from services.upstream.core.commands import Reconnect
from services.upstream.core.json_shape import Json
from services.upstream.core.session_parts import Parts

RECONNECT_EARLY_S = 120.0
"""From so long before the limit on, the first idle moment is used; half the limit, where that is less."""


class ProviderSetup:
    """Reconnects without any event for the client: its session, its items and their ids remain."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._commands = parts.commands
        self._limit_s = parts.capabilities.session_limit_s
        self._reconnect_at: float | None = None
        self._repeated: list[tuple[Json, Origin]] = []

    def opened(self, *, now: float) -> None:
        """Send the session to the new connection; call `in_force` when the provider has confirmed it."""
        self._parts.updates.connected(now=now)
        if self._limit_s is not None:
            self._reconnect_at = now + self._limit_s - min(RECONNECT_EARLY_S, self._limit_s / 2)

    def in_force(self) -> None:
        """Create the conversation's items in the new session, then send what was held."""
        for item, origin in self._repeated:
            self._commands.send_ahead("conversation.item.create", {"item": item}, origin=origin)
        self._repeated = []
        self._parts.input_buffer.repeat()
        self._commands.open()

    def on_timer(self, *, now: float) -> None:
        """Add a `Reconnect` when it is time and no utterance, response or update is in progress."""
        if self._reconnect_at is None or now < self._reconnect_at:
            return
        is_quiet = self._parts.responses.is_idle and self._parts.input_buffer.can_be_repeated
        if is_quiet and self._parts.updates.is_idle:
            self._reconnect_at = None
            self._parts.input_buffer.forget_unconfirmed()
            self._repeated = self._parts.item_events.begin_new_session()  # before anything is held for that session
            self._commands.close()
            self._commands.add(Reconnect())
