"""Identifiers; docs/architecture.md lists which service makes which. All are valid as one subject token."""

import re
import secrets
import string
from typing import NewType

CallId = NewType("CallId", str)
LegId = NewType("LegId", str)
SERVED = LegId("")
"""In a message: the leg that the call serves, while a call has only one."""
SessionId = NewType("SessionId", str)
ItemId = NewType("ItemId", str)
ResponseId = NewType("ResponseId", str)
EventId = NewType("EventId", str)
TenantId = NewType("TenantId", str)
KeyId = NewType("KeyId", str)
"""Which of its tenant's keys a token or call was made with: the first 16 hex digits of the key's SHA-256."""
NO_KEY = KeyId("")
"""The token was minted by the demo page, which has no tenant key."""
ProcessId = NewType("ProcessId", str)
"""A media process, `<pod>-<n>`."""
WorkerId = NewType("WorkerId", str)
"""An upstream process, `<pod>-<n>`."""
Epoch = NewType("Epoch", int)
"""One worker's ownership of a call: the KV revision of the `create` of its lease."""

_ALPHABET = string.ascii_lowercase + string.digits
_CALL = re.compile(r"rtc_[a-z0-9]{26}\Z")
_PROCESS = re.compile(r"[A-Za-z0-9_-]{1,63}\Z")
_TENANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}\Z")


class InvalidIdError(ValueError):
    """Text that does not have the form of the identifier."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{text[:80]!r} is not a valid {kind}")
        self.kind = kind


def _random(length: int) -> str:
    """Return ``length`` uniformly random characters, by one system call: every event has an id."""
    number, characters = secrets.randbelow(len(_ALPHABET) ** length), []
    for _ in range(length):
        number, digit = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[digit])
    return "".join(characters)


def new_call_id() -> CallId:
    """Return `rtc_` and 26 random characters: 134 bits, so it cannot be guessed."""
    return CallId(f"rtc_{_random(26)}")


def new_leg_id() -> LegId:
    """Return `leg_` and 20 random characters."""
    return LegId(f"leg_{_random(20)}")


def new_session_id() -> SessionId:
    """Return `sess_` and 20 random characters."""
    return SessionId(f"sess_{_random(20)}")


def new_item_id() -> ItemId:
    """Return `item_` and 20 random characters, the id for clients; the provider's own id stays in upstream."""
    return ItemId(f"item_{_random(20)}")


def new_response_id() -> ResponseId:
    """Return `resp_` and 20 random characters."""
    return ResponseId(f"resp_{_random(20)}")


def new_event_id() -> EventId:
    """Return `event_` and 20 random characters."""
    return EventId(f"event_{_random(20)}")


def call_id(text: str) -> CallId:
    """Validate ``text`` as a call id, before it becomes part of a subject.

    Raises:
        InvalidIdError: it is not `rtc_` and 26 of `[a-z0-9]`.
    """
    if not _CALL.match(text):
        raise InvalidIdError("call id", text)
    return CallId(text)


def process_id(text: str) -> ProcessId:
    """Validate the name of a process (media or upstream), before it becomes part of a subject.

    Raises:
        InvalidIdError: it is not 1 to 63 of `[A-Za-z0-9_-]`.
    """
    if not _PROCESS.match(text):
        raise InvalidIdError("process id", text)
    return ProcessId(text)


def tenant_id(text: str) -> TenantId:
    """Validate the name of a tenant, before it becomes part of a subject.

    Raises:
        InvalidIdError: it is not 1 to 48 of `[a-z0-9_-]`, beginning with a letter or digit.
    """
    if not _TENANT.match(text):
        raise InvalidIdError("tenant id", text)
    return TenantId(text)
