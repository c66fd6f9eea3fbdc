"""Puts the session and its updates in force: each when the provider has confirmed it, none before.

The provider answers a `session.update` by a `session.updated` or an `error`, in the order of the updates. Its
`session.updated` does not say which update it answers, and it may send one that answers none: so one that reports
something else than what was sent is not taken for the answer.
"""

from collections import deque
from dataclasses import dataclass

from services.contracts.endings import EndReason
from services.contracts.session.merge import merge_sessions
from services.upstream.core.caller_turns import CallerTurns
from services.upstream.core.capabilities import Capabilities, provider_session, unsupported
from services.upstream.core.command_buffer import CommandBuffer, Origin
from services.upstream.core.commands import CountError, EndSession, SessionInForce
from services.upstream.core.ids import IdMap
from services.upstream.core.json_paths import has_value
from services.upstream.core.json_shape import Json, text
from services.upstream.core.session_config_state import TURN_DETECTION, SessionConfigState, part_for_provider
from services.upstream.core.session_report import OPTIONAL_FIELDS, contradicted_field

CONFIRM_TIMEOUT_S = 10.0
"""Longest that a new connection's session may be unconfirmed, with all that is sent again."""
UPDATE_TIMEOUT_S = 5.0
MAX_PENDING_UPDATES = 16
"""The client's updates that are sent and not answered; further ones wait."""
UPDATE = "session.update"
SESSION_REFUSED = "session_refused"
UNSUPPORTED = "unsupported_by_provider"


@dataclass(frozen=True, slots=True)
class _FieldRefused:
    """The error about an optional field that the provider refused; published with the session without it."""

    message: str
    param: str
    code: str | None


@dataclass(slots=True, eq=False)
class _Setup:
    """The first `session.update` of a connection, not yet confirmed."""

    sent: Json
    origin: Origin
    began_at: float
    contradicted: str = ""


@dataclass(slots=True, eq=False)
class _PendingUpdate:
    """An update of the client that is not in force. ``sent`` is empty if the provider has no part in it."""

    changed: Json
    sent: Json
    origin: Origin
    sent_at: float
    is_late: bool = False  # the client was told that it is unconfirmed


class SessionUpdates:
    """The updates that the provider has not confirmed. Call `on_timer` several times a second."""

    def __init__(
        self,
        commands: CommandBuffer,
        ids: IdMap,
        config: SessionConfigState,
        capabilities: Capabilities,
        *,
        turns: CallerTurns,
    ) -> None:
        self.in_force = False
        """Whether the session has been in force, so that the client has got `session.created`."""
        self._commands = commands
        self._ids = ids
        self._config = config
        self._capabilities = capabilities
        self._turns = turns
        self._refused: list[_FieldRefused] = []
        self._setup: _Setup | None = None
        self._pending: deque[_PendingUpdate] = deque()

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits for the provider's confirmation."""
        return self._setup is None and all(update.is_late for update in self._pending)

    # --- a connection's session ---------------------------------------------------------------------------------

    def granted(self) -> None:
        """Leave out what the granted session asks for in vain here; end the call if its token locks that."""
        for parameter in unsupported(self._config.effective, self._capabilities):
            self._commands.count_missing(parameter.capability)
            if self._config.is_locked(parameter.param):
                self._end(EndReason.PROVIDER_REFUSED, parameter.message, parameter.param, UNSUPPORTED)
                return
            self._config.remove(parameter.param)
            self._refused.append(_FieldRefused(parameter.message, f"session.{parameter.param}", UNSUPPORTED))
        for field in self._config.refused_turn_detection():
            message = f"{field.param}: {field.problem}"
            if self._config.is_locked(TURN_DETECTION):
                self._end(EndReason.PROVIDER_REFUSED, message, field.param.removeprefix("session."), "invalid_value")
                return
            self._refused.append(_FieldRefused(message, field.param, "invalid_value"))

    def connected(self, *, now: float) -> None:
        """Send the session to a new connection; `on_updated` says when it is in force."""
        self._pending = deque(update for update in self._pending if not update.is_late)
        self._send_setup(began_at=now)

    def on_updated(self, report: Json, *, now: float) -> bool:
        """Handle the provider's `session.updated`; return whether it puts a new connection's session in force."""
        if self._setup is None:
            self._confirm_updates(report)
            return False
        field = contradicted_field(self._setup.sent, report, locked_paths=self._config.locked_paths)
        if field:
            self._setup.contradicted = field
            return False
        self._commands.add(SessionInForce(now - self._setup.began_at))
        self._setup = None
        is_changed = self._config.apply({}, report=report)
        if not self.in_force:
            self.in_force = True
            self._session_in_force_changed("session.created")
        elif is_changed or self._refused:
            self._session_in_force_changed("session.updated")
        for refused in self._refused:
            self._commands.publish_error(code=refused.code, message=refused.message, param=refused.param)
        self._refused = []
        for update in self._pending:  # they were held, and are sent now
            update.sent_at = now
        return True

    def blamed(self, origin: Origin | None, error: Json) -> Origin | None:
        """Return which event an `error` of the provider is about: one that names none may be about an update."""
        if origin is not None or error.get("event_id") is not None:
            return origin
        if self._setup is not None:  # nothing else was sent
            return self._setup.origin
        is_about_session = text(error, "param").startswith("session")
        return next((u.origin for u in self._pending if u.sent), None) if is_about_session else None

    def on_refused(self, origin: Origin, error: Json) -> bool:
        """Handle an `error` about the update of ``origin``; return whether the client need not get that error.

        If it gets it, call `apply_own` behind that.
        """
        if self._setup is not None and origin is self._setup.origin:
            self._setup_refused(self._setup, error)
            return True
        if origin.kind == UPDATE and not origin.by_client:  # refused after a report that seemed to confirm it
            self._end_refused(error)
            return True
        for update in list(self._pending):
            if update.origin is origin:
                self._commands.count_error(CountError("update_refused", text(error, "param")))
                self._pending.remove(update)
        return False

    def on_timer(self, *, now: float) -> None:
        """Give up what the provider has not confirmed in time."""
        setup = self._setup
        if setup is not None:
            if now - setup.began_at >= CONFIRM_TIMEOUT_S:
                self._setup = None
                self._setup_unconfirmed(setup)
            return
        for update in self._pending:
            if update.sent and not update.is_late and now - update.sent_at >= UPDATE_TIMEOUT_S:
                update.is_late = True
                self._commands.count_error(CountError("unconfirmed", "update"))
                self._commands.publish_error(
                    kind="server_error",
                    code="update_unconfirmed",
                    message="The provider has not confirmed this session.update in time; the session is as before.",
                    client_event_id=update.origin.client_event_id,
                )
        while sum(update.is_late for update in self._pending) > MAX_PENDING_UPDATES:
            self._pending.remove(next(update for update in self._pending if update.is_late))
        self.apply_own()

    # --- the client's updates -----------------------------------------------------------------------------------

    @property
    def pending_changes(self) -> list[Json]:
        """The changes of the client's updates that are not yet in force, in order."""
        return [update.changed for update in self._pending]

    @property
    def is_full(self) -> bool:
        """Whether a further update must wait: until one is confirmed or refused, or `UPDATE_TIMEOUT_S` are over."""
        return sum(not update.is_late for update in self._pending) >= MAX_PENDING_UPDATES

    def request(self, changed: Json, origin: Origin, *, now: float) -> bool:
        """Send the client's update, valid and not of an `is_full` core; False if too much is held already.

        Its effect and its `session.updated` come when the provider confirms it, behind the updates before it.
        """
        sent = part_for_provider(changed)
        if sent:
            wire: Json = {"session": {"type": "realtime", **sent}}
            if not self._commands.send_to_provider(UPDATE, wire, origin=origin):
                return False
        self._pending.append(_PendingUpdate(changed, sent, origin, now))
        self.apply_own()
        return True

    def apply_own(self) -> None:
        """Put updates in force in which the provider has no part, unless it has still to confirm an earlier one."""
        for update in list(self._pending):
            if not update.sent:
                self._pending.remove(update)
                self._apply(update)
            elif not update.is_late:
                return

    # --- both ---------------------------------------------------------------------------------------------------

    def _session_in_force_changed(self, kind: str) -> None:
        """Apply the session in force and show it: the only place where a client is told of a session or an update."""
        self._turns.apply()
        self._commands.publish_event(kind, {"session": self._config.effective})

    def _confirm_updates(self, report: Json) -> None:
        """Put the oldest update in force that ``report`` may confirm, with those before it that it includes.

        Late ones that it contradicts are given up: the provider has gone on to later ones.
        """
        updates = list(self._pending)
        for first, oldest in enumerate(updates):
            expected: Json = {}
            for last, update in enumerate(updates[first:], start=first):
                expected = merge_sessions(expected, update.sent)
                if update.sent and not contradicted_field(expected, report, locked_paths=self._config.locked_paths):
                    self._pending = deque(updates[last + 1 :])
                    for confirmed in updates[first : last + 1]:
                        self._apply(confirmed, report)
                    self.apply_own()
                    return
            if not oldest.is_late:
                return

    def _apply(self, update: _PendingUpdate, report: Json | None = None) -> None:
        self._config.apply(update.changed, report=report)
        self._session_in_force_changed("session.updated")

    def _send_setup(self, *, began_at: float) -> None:
        session = provider_session(self._config.for_provider(), self._capabilities)
        origin = Origin(UPDATE)
        self._setup = _Setup(session, origin, began_at)
        self._commands.send_ahead(UPDATE, {"session": session}, origin=origin)

    def _setup_refused(self, setup: _Setup, error: Json) -> None:
        message = self._message_of(error)
        field = _optional_field(text(error, "param") or _quoted_path(message), setup.sent)
        if field and not self._config.is_locked(field):
            self._commands.count_error(CountError("field_refused", field))
            self._refused.append(_FieldRefused(message, f"session.{field}", text(error, "code") or None))
            self._config.remove(field)
            self._send_setup(began_at=setup.began_at)
            return
        self._setup = None
        self._end_refused(error)

    def _end_refused(self, error: Json) -> None:
        param = text(error, "param").removeprefix("session.")
        self._end(EndReason.PROVIDER_REFUSED, self._message_of(error), param, SESSION_REFUSED)

    def _message_of(self, error: Json) -> str:
        return self._ids.scrub(text(error, "message", "The provider refuses the session."))

    def _setup_unconfirmed(self, setup: _Setup) -> None:
        self._commands.count_error(CountError("unconfirmed", setup.contradicted or "session"))
        if setup.contradicted:
            message = f"The provider has not taken over 'session.{setup.contradicted}'."
            self._end(EndReason.PROVIDER_REFUSED, message, setup.contradicted, SESSION_REFUSED)
        else:
            self._end(EndReason.PROVIDER_ERROR, "The provider has not confirmed the session.", "", SESSION_REFUSED)

    def _end(self, reason: EndReason, message: str, param: str, code: str) -> None:
        """End the call, whose session cannot be in force; the client reads why."""
        self._commands.count_error(CountError("session_refused", param))
        full = f"session.{param}" if param else None
        self._commands.publish_error(kind="server_error", code=code, message=message, param=full)
        self._commands.add(EndSession(reason, f"no session: {full or code}"))


def _optional_field(param: str, sent: Json) -> str:
    """Return the optional field in ``sent`` that an error's ``param`` names; empty if it names none."""
    path = param.removeprefix("session.")
    return next((f for f in OPTIONAL_FIELDS if f"{path}.".startswith(f"{f}.") and has_value(sent, f)), "")


def _quoted_path(message: str) -> str:
    """Return the path that an error without a param quotes, as in "Unknown parameter: 'session.tracing'."."""
    _, _, rest = message.partition("'session.")
    return rest.partition("'")[0]
