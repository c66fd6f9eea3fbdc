"""STUN with a call's client: verifies its binding requests, makes our responses and requests."""

import secrets
from dataclasses import dataclass

from aioice import stun

from services.media.core.network.ice_path import Credentials, Request
from services.media.core.network.routes import Address

_PRIORITY = (110 << 24) | (65_535 << 8) | 255  # RFC 8445 §7.1.1: as of a peer-reflexive candidate
_TIE_BREAKER = secrets.randbits(64)


@dataclass(frozen=True, slots=True)
class Check:
    """A binding request with verified integrity. ``nominates``: it has USE-CANDIDATE."""

    transaction_id: bytes
    nominates: bool


def verify(data: bytes, credentials: Credentials) -> Check | None:
    """Read a binding request that must be signed with ``credentials``; None for anything else."""
    try:
        message = stun.parse_message(data)
        signed = message.check_message_integrity(credentials.password.encode())
    except Exception:  # noqa: BLE001 - unpacking foreign bytes: struct.error, ValueError, UnicodeDecodeError and more
        return None
    if not signed or message.attributes.get("USERNAME") != credentials.username:
        return None
    return Check(message.transaction_id, "USE-CANDIDATE" in message.attributes)


def response(check: Check, source: Address, credentials: Credentials) -> bytes:
    """Return the response to a verified request, with ``source`` as its mapped address."""
    message = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, transaction_id=check.transaction_id)
    host = source[0].partition("%")[0].removeprefix("::ffff:")
    message.attributes["XOR-MAPPED-ADDRESS"] = (host, source[1])
    message.add_message_integrity(credentials.password.encode())
    return bytes(message)


def request(asked: Request) -> bytes:
    """Return a binding request of ours, without nomination: we are the controlled agent (RFC 8445 §6.1.1)."""
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, transaction_id=asked.transaction_id)
    message.attributes["USERNAME"] = asked.credentials.remote_username
    message.attributes["PRIORITY"] = _PRIORITY
    message.attributes["ICE-CONTROLLED"] = _TIE_BREAKER
    message.add_message_integrity(asked.credentials.remote_password.encode())
    return bytes(message)


def is_signed(data: bytes, credentials: Credentials) -> bool:
    """Whether a response is signed with the client's password, as our request was."""
    try:
        message = stun.parse_message(data)
        return message.check_message_integrity(credentials.remote_password.encode())
    except Exception:  # noqa: BLE001 - as in `verify`
        return False
