import pytest

from services.media.settings import MediaSettings
from services.runtime.errors import SettingsError
from services.runtime.process.settings import load

UNREACHABLE = ("", "gateway.example", "0.0.0.0", "::", "224.0.0.1", "fe80::1", "::ffff:192.0.2.1")  # noqa: S104
NINE = ",".join(f"192.0.2.{n}" for n in range(1, 10))


def settings(**values: str) -> MediaSettings:
    return load(MediaSettings, {"MEDIA_ADVERTISED_ADDRESS": "192.0.2.1"} | values)


def test_the_address_has_no_default() -> None:
    with pytest.raises(SettingsError, match="ADVERTISED_ADDRESS"):
        load(MediaSettings, {})


@pytest.mark.parametrize(
    ("value", "addresses"),
    [
        ("192.0.2.1", ("192.0.2.1",)),
        ("2001:DB8::1", ("2001:db8::1",)),
        ("192.0.2.1, 2001:db8::1", ("192.0.2.1", "2001:db8::1")),
        ("192.0.2.2,192.0.2.1,192.0.2.2", ("192.0.2.2", "192.0.2.1")),
        ("loopback,interfaces", ("loopback", "interfaces")),
    ],
)
def test_a_process_is_reached_by_addresses_in_order_of_preference(value: str, addresses: tuple[str, ...]) -> None:
    assert settings(MEDIA_ADVERTISED_ADDRESS=value).addresses == addresses


def test_the_outer_address_comes_before_the_inner_one_and_extra_ones_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIA_ADVERTISED_ADDRESS", "10.0.0.5")
    monkeypatch.setenv("MEDIA_EXTERNAL_ADDRESSES", '{"10.0.0.5": "192.0.2.10", "10.0.0.6": "192.0.2.11"}')
    monkeypatch.setenv("MEDIA_EXTRA_ADDRESSES", "10.8.0.1, 192.0.2.10")
    assert load(MediaSettings).addresses == ("192.0.2.10", "10.0.0.5", "10.8.0.1")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MEDIA_EXTRA_ADDRESSES", "vpn.example.com"),
        ("MEDIA_EXTERNAL_ADDRESSES", '{"node": "192.0.2.1"}'),
        ("MEDIA_EXTERNAL_ADDRESSES", '{"10.0.0.5": "loopback"}'),
        ("MEDIA_EXTERNAL_ADDRESSES", "192.0.2.1"),
        ("MEDIA_EXTRA_ADDRESSES", ",".join(f"192.0.2.{n}" for n in range(11, 19))),
    ],
)
def test_extra_and_external_addresses_are_addresses_and_few(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIA_ADVERTISED_ADDRESS", "192.0.2.1")
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError):
        load(MediaSettings)


@pytest.mark.parametrize("value", [*UNREACHABLE, NINE])
def test_an_address_that_nobody_reaches_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="ADVERTISED_ADDRESS"):
        settings(MEDIA_ADVERTISED_ADDRESS=value)


def test_a_client_is_lost_before_it_is_gone() -> None:
    with pytest.raises(SettingsError, match="MEDIA_LOST_AFTER_S must be less than MEDIA_GONE_AFTER_S"):
        settings(MEDIA_LOST_AFTER_S="10", MEDIA_GONE_AFTER_S="10")


def test_an_unknown_encoder_is_refused() -> None:
    with pytest.raises(SettingsError, match="ENCODER"):
        settings(MEDIA_ENCODER="mp3")


def test_pods_at_one_address_take_the_ports_of_their_slots() -> None:
    pod = settings(MEDIA_UDP_PORT="31000", MEDIA_PROCESSES="2", MEDIA_SLOT="3")
    assert pod.first_udp_port == 31006
    assert settings(MEDIA_UDP_PORT="31000").first_udp_port == 31000
    assert settings().first_udp_port == 0


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"MEDIA_SLOT": "1"}, "MEDIA_SLOT needs a MEDIA_UDP_PORT"),
        ({"MEDIA_SLOT": "1", "MEDIA_UDP_PORT": "65535"}, "no room below 65535 for those of 1 PROCESSES in SLOT 1"),
        ({"MEDIA_SLOT": "-1", "MEDIA_UDP_PORT": "31000"}, "MEDIA_SLOT"),
    ],
)
def test_a_slot_without_ports_is_refused(given: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        settings(**given)
