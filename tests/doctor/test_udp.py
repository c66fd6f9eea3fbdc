"""UDP through real firewall rules, in network namespaces."""

from pathlib import Path

import pytest

from services.doctor.udp import check_udp, round_trip
from tests.doctor.netns import LAN, NEEDS_ROOT, namespace

DROP_LOOPBACK = ("-d", "127.0.0.0/8", "-p", "udp", "-j", "DROP")
DROP_ALL = ("-p", "udp", "-j", "DROP")


async def test_datagrams_go_both_ways_on_loopback() -> None:
    assert await round_trip("127.0.0.1") == ""
    (finding, _) = await check_udp(("loopback",))
    assert (finding.check, finding.state) == ("udp", "ok")


async def test_an_address_of_another_machine_cannot_be_tried() -> None:
    assert "assign" in await round_trip("198.51.100.99")
    (finding,) = await check_udp(("198.51.100.99",))
    assert finding.state == "fail"


@NEEDS_ROOT
@pytest.mark.parametrize(
    ("chain", "rule", "states", "code"),
    [
        ("INPUT", DROP_LOOPBACK, ("warn", "ok"), 0),
        ("OUTPUT", DROP_LOOPBACK, ("warn", "ok"), 0),
        ("INPUT", ("-d", LAN, "-p", "udp", "-j", "DROP"), ("ok", "warn"), 0),
        ("INPUT", ("-i", "lo", *DROP_ALL), ("fail", "fail"), 1),
        ("OUTPUT", DROP_ALL, ("fail", "fail"), 1),
    ],
)
def test_a_firewall_that_drops_udp_is_named(
    chain: str, rule: tuple[str, ...], states: tuple[str, str], code: int, tmp_path: Path
) -> None:
    with namespace() as network:
        network.run("iptables", "-A", chain, *rule)
        exit_code, findings = network.doctor("--data", str(tmp_path), "--advertise", "127.0.0.1,interfaces")
    assert (findings["udp"]["state"], findings["udp-lan"]["state"]) == states
    assert exit_code == code
    for check, state in zip(("udp", "udp-lan"), states, strict=True):
        assert ("firewall" in findings[check]["mend"]) is (state != "ok")


@NEEDS_ROOT
def test_a_machine_without_a_network_is_told_that_firefox_needs_one(tmp_path: Path) -> None:
    with namespace(lan=False) as network:
        exit_code, findings = network.doctor("--data", str(tmp_path))
    assert findings["udp"]["state"] == "ok"
    assert findings["udp-lan"]["state"] == "warn"
    assert "Firefox" in findings["udp-lan"]["mend"]
    assert exit_code == 0
