"""The egress of `helm test` where media is reached through TURN only."""

from typing import Any

import pytest

from tests.helm.chart import Object, render


def egress(turn: dict[str, Any]) -> list[Object]:
    policies = render({"media": {"exposure": "turn"}, "turn": turn}).of("NetworkPolicy")
    (policy,) = [each for each in policies if each["metadata"]["name"].endswith("-test")]
    rules: list[Object] = policy["spec"]["egress"]
    return rules


@pytest.mark.parametrize(
    ("url", "protocol", "port"),
    [
        ("turn:turn.example.com:99?transport=udp", "UDP", 99),
        ("turn:turn.example.com", "UDP", 3478),
        ("turn:turn.example.com?transport=tcp", "TCP", 3478),
        ("turns:turn.example.com", "TCP", 5349),
        ("turns:[2001:db8::1]:443?transport=tcp", "TCP", 443),
        ("turn:[2001:db8::1]", "UDP", 3478),
    ],
)
def test_the_turn_servers_of_others(url: str, protocol: str, port: int) -> None:
    assert {"ports": [{"protocol": protocol, "port": port}]} in egress({"urls": [url], "existingSecret": "turn"})


def test_our_own_coturn() -> None:
    coturn = {"enabled": True, "podRange": "10.244.0.0-10.244.0.255"}
    rules = egress({"urls": ["turn:192.0.2.1:31478"], "coturn": coturn})
    (ports,) = [rule["ports"] for rule in rules if "coturn" in str(rule.get("to"))]
    assert ports == [{"protocol": "UDP", "port": "turn-udp"}, {"protocol": "TCP", "port": "turn-tcp"}]
