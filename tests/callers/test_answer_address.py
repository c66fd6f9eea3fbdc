from services.callers.core.answer import at_address

ANSWER = (
    "v=0\r\n"
    "c=IN IP4 192.0.2.1\r\n"
    "a=candidate:1 1 udp 2130706431 192.0.2.1 31000 typ host\r\n"
    "a=candidate:2 1 udp 2130706430 2001:db8::1 31000 typ host generation 0\r\n"
)


def test_every_candidate_moves_to_the_address_and_keeps_its_port() -> None:
    assert at_address(ANSWER, "10.0.0.7") == (
        "v=0\r\n"
        "c=IN IP4 192.0.2.1\r\n"
        "a=candidate:1 1 udp 2130706431 10.0.0.7 31000 typ host\r\n"
        "a=candidate:2 1 udp 2130706430 10.0.0.7 31000 typ host generation 0\r\n"
    )
