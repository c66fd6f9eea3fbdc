import pytest

from services.media.core.network.addresses import MAX_ADVERTISED, Present, advertised, every, parse

LAPTOP = (
    Present("lo", "127.0.0.1"),
    Present("lo", "::1"),
    Present("eth0", "192.0.2.9"),
    Present("wlan0", "10.1.2.3", default=True),
    Present("wlan0", "2001:db8::3", default=True),
    Present("wlan0", "fd00::3"),
    Present("wlan0", "fe80::3"),
    Present("docker0", "172.17.0.1"),
)


@pytest.mark.parametrize(
    ("setting", "hosts"),
    [
        ("loopback", ("127.0.0.1", "::1")),
        ("interfaces", ("10.1.2.3", "2001:db8::3", "192.0.2.9", "fd00::3")),
        ("loopback,interfaces", ("127.0.0.1", "::1", "10.1.2.3", "2001:db8::3", "192.0.2.9", "fd00::3")),
        ("203.0.113.5,interfaces", ("203.0.113.5", "10.1.2.3", "2001:db8::3", "192.0.2.9", "fd00::3")),
        ("192.0.2.9,interfaces", ("192.0.2.9", "10.1.2.3", "2001:db8::3", "fd00::3")),
        ("172.17.0.1", ("172.17.0.1",)),
    ],
)
def test_names_become_the_addresses_of_this_machine_the_best_first(setting: str, hosts: tuple[str, ...]) -> None:
    assert advertised(parse(setting), LAPTOP) == hosts


def test_without_a_network_only_loopback_is_left() -> None:
    assert advertised(("loopback", "interfaces"), LAPTOP[:1]) == ("127.0.0.1",)


def test_of_very_many_addresses_the_first_are_told() -> None:
    many = tuple(Present("eth0", f"192.0.2.{n}") for n in range(1, 40))
    assert advertised(("loopback", "interfaces"), many) == tuple(f"192.0.2.{n}" for n in range(1, MAX_ADVERTISED + 1))


def test_a_forwarder_may_send_to_any_address_but_a_link_local_one() -> None:
    assert every(LAPTOP, versions=[6]) == ("::1", "2001:db8::3", "fd00::3")
    assert every(LAPTOP, versions=[4, 4]) == ("127.0.0.1", "192.0.2.9", "10.1.2.3", "172.17.0.1")


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("", "no IP address"),
        ("gateway.example", "no IP address"),
        ("0.0.0.0", "unspecified"),  # noqa: S104 - what is refused
        ("ff02::1", "multicast"),
        ("fe80::1", "other machines"),
        ("::ffff:192.0.2.1", "other machines"),
        (",".join(f"192.0.2.{n}" for n in range(MAX_ADVERTISED + 1)), "at most 8"),
    ],
)
def test_what_clients_cannot_reach_is_refused(setting: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse(setting)
