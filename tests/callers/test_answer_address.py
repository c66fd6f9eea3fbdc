from services.callers.core.answer import at_address


def test_every_candidate_moves_to_the_address_and_keeps_its_port() -> None:
    sdp = "\r\n".join(
        (
            "v=0",
            "c=IN IP4 192.0.2.1",
            "a=candidate:1 1 udp 2130706431 192.0.2.1 31000 typ host",
            "a=candidate:2 1 udp 2130706430 2001:db8::1 31000 typ host generation 0",
            "",
        )
    )
    assert at_address(sdp, "10.0.0.7").split("\r\n") == [
        "v=0",
        "c=IN IP4 192.0.2.1",
        "a=candidate:1 1 udp 2130706431 10.0.0.7 31000 typ host",
        "a=candidate:2 1 udp 2130706430 10.0.0.7 31000 typ host generation 0",
        "",
    ]
