import pytest

from services.media.core.network import dtls


def record(kind: int, body: bytes = b"x", *, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return bytes([kind]) + b"\xfe\xfd" + bytes(8) + size.to_bytes(2) + body


def test_a_datagram_tells_what_its_records_are() -> None:
    assert dtls.content_types(record(23)) == [23]
    assert dtls.content_types(record(22, bytes(90)) + record(20) + record(22) + record(23, b"")) == [22, 20, 22, 23]


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\x17",
        record(23)[:-1],
        record(23) + b"\x17",
        record(23, length=9),
        record(19),
        record(24),  # heartbeats went out of use with Heartbleed
        record(32) + bytes(40),  # DTLS 1.3, which nobody negotiated
        record(23) * (dtls.MAX_RECORDS + 1),
    ],
)
def test_what_is_not_whole_or_too_much_is_nothing(datagram: bytes) -> None:
    assert dtls.content_types(datagram) is None
