"""STUN binding requests of a call's client: verified, and answered."""

from dataclasses import dataclass

from aioice import stun

from services.media.core.path import Credentials
from services.media.core.routes import Address


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
