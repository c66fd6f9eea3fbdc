import pytest
from aioice import stun
from hypothesis import given
from hypothesis import strategies as st

from services.media.core.network.datagrams import Protocol, answered_transaction, asked_ufrag, protocol


def request(username: str = "ours:theirs", *, kind: stun.Class = stun.Class.REQUEST) -> bytes:
    message = stun.Message(stun.Method.BINDING, kind, attributes={"PRIORITY": 1, "USERNAME": username})
    message.add_message_integrity(b"secret")
    return bytes(message)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "empty"),
        (b"\x80" * 1473, "too_long"),
        (b"\x80" * 1472, Protocol.RTP),
        (b"\x80", Protocol.RTP),
        (b"\xbf", Protocol.RTP),
        (b"\x14", Protocol.DTLS),
        (b"\x3f", Protocol.DTLS),
        (b"\x00", Protocol.STUN),
        (b"\x03", Protocol.STUN),
        (b"\x04", "unknown_protocol"),
        (b"\x40", "unknown_protocol"),  # TURN channels are nothing of ours
        (b"\xff", "unknown_protocol"),
    ],
)
def test_the_first_byte_tells_whom_a_datagram_is_for(data: bytes, what: object) -> None:
    assert protocol(data) == what


def test_a_request_names_a_ufrag_of_ours() -> None:
    assert asked_ufrag(request()) == "ours"


def test_a_response_was_never_asked_for() -> None:
    assert asked_ufrag(request(kind=stun.Class.RESPONSE)) == "stun_unexpected"


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01",
        b"\x00\x01\x00\x00" + bytes(16),  # no cookie
        request("nobody"),  # no colon
        request("öurs:theirs"),
        bytes(stun.Message(stun.Method.BINDING, stun.Class.REQUEST)),  # no username
    ],
    ids=["short", "no cookie", "no colon", "not ASCII", "no username"],
)
def test_a_request_without_a_ufrag_is_malformed(data: bytes) -> None:
    assert asked_ufrag(data) == "stun_malformed"


@given(st.binary(max_size=200))
def test_no_bytes_break_it(data: bytes) -> None:
    protocol(data)
    assert isinstance(asked_ufrag(b"\x00\x01\x00\x00\x21\x12\xa4\x42" + data), str)


@pytest.mark.parametrize(
    ("data", "transaction"),
    [
        (b"\x01\x01\x00\x00\x21\x12\xa4\x42" + b"t" * 12, b"t" * 12),
        (b"\x01\x01\x00\x00\x21\x12\xa4\x42" + b"t" * 11, None),
        (b"\x01\x01\x00\x00\x21\x12\xa4\x43" + b"t" * 12, None),
        (b"\x01\x11\x00\x00\x21\x12\xa4\x42" + b"t" * 12, None),
        (b"\x00\x01\x00\x00\x21\x12\xa4\x42" + b"t" * 12, None),
    ],
    ids=["response", "too short", "no cookie", "error", "request"],
)
def test_only_a_binding_response_answers_a_request(data: bytes, transaction: bytes | None) -> None:
    assert answered_transaction(data) == transaction
