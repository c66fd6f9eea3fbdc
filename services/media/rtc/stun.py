"""STUN between a call's client and us: its binding requests are verified and answered, and ours are made."""

import secrets
from dataclasses import dataclass

from aioice import stun

from services.media.core.path import Credentials, Request
from services.media.core.routes import Address

_PRIORITY = (110 << 24) | (65_535 << 8) | 255  # RFC 8445 §7.1.1: as of a peer-reflexive candidate
_TIE_BREAKER = secrets.randbits(64)


@dataclass(frozen=True, slots=True)
class Check:
    """A request whose integrity was verified. ``nominates``: the client has chosen this path."""

    transaction_id: bytes
    nominates: bool


def verify(data: bytes, credentials: Credentials) -> Check | None:
    """Read a request that must be signed with ``credentials``; None for anything else."""
    try:
        message = stun.parse_message(data)
        signed = message.check_message_integrity(credentials.password.encode())
    except Exception:  # noqa: BLE001 - unpacking foreign bytes: struct.error, ValueError, UnicodeDecodeError and more
        return None
    if not signed or message.attributes.get("USERNAME") != credentials.username:
        return None
    return Check(message.transaction_id, "USE-CANDIDATE" in message.attributes)


def response(check: Check, source: Address, credentials: Credentials) -> bytes:
    """The answer to a verified request: where it was seen to come from."""
    message = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, transaction_id=check.transaction_id)
    host = source[0].partition("%")[0].removeprefix("::ffff:")
    message.attributes["XOR-MAPPED-ADDRESS"] = (host, source[1])
    message.add_message_integrity(credentials.password.encode())
    return bytes(message)


def request(asked: Request) -> bytes:
    """A binding request of ours. We are the controlled agent always (RFC 8445 §6.1.1), so it never nominates."""
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, transaction_id=asked.transaction_id)
    message.attributes["USERNAME"] = asked.credentials.remote_username
    message.attributes["PRIORITY"] = _PRIORITY
    message.attributes["ICE-CONTROLLED"] = _TIE_BREAKER
    message.add_message_integrity(asked.credentials.remote_password.encode())
    return bytes(message)


def is_signed(data: bytes, credentials: Credentials) -> bool:
    """Whether a response is signed by the client, with whose password our request was."""
    try:
        message = stun.parse_message(data)
        return message.check_message_integrity(credentials.remote_password.encode())
    except Exception:  # noqa: BLE001 - as in `verify`
        return False
