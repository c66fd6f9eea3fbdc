"""The NetworkPolicies: which pods may connect to which."""

from typing import Any

import pytest

from tests.helm import matrix
from tests.helm.chart import RenderedChart, render

NAMES = [name for name in matrix.NAMES if matrix.rendered(name).of("NetworkPolicy")]
_COMPONENT = "app.kubernetes.io/component"


def policy(rendered: RenderedChart, component: str) -> dict[str, Any]:
    (found,) = rendered.of("NetworkPolicy", component)
    return dict(found["spec"])


def peers(rules: list[dict[str, Any]], side: str) -> set[tuple[str, str]]:
    """Return each peer and port of rules, as (component, namespace or block, `any`; protocol/port)."""
    found = set()
    for rule in rules:
        for port in rule["ports"]:
            ports = f"{port['protocol']}/{port['port']}" + (f"-{port['endPort']}" if "endPort" in port else "")
            found |= {(_who(peer), ports) for peer in rule.get(side, [{}])}
    return found


def _who(peer: dict[str, Any]) -> str:
    if "podSelector" in peer:
        return str(peer["podSelector"]["matchLabels"][_COMPONENT])
    if "namespaceSelector" in peer:
        return f"namespace {peer['namespaceSelector']['matchLabels']['kubernetes.io/metadata.name']}"
    return str(peer["ipBlock"]["cidr"]) if "ipBlock" in peer else "any"


DNS = {(who, f"{protocol}/53") for who in ("namespace kube-system", "169.254.20.10/32") for protocol in ("UDP", "TCP")}
SCRAPED = ("namespace monitoring", "TCP/http")
NATS = ("nats", "TCP/nats")


@pytest.mark.parametrize("name", NAMES)
def test_every_pod_is_closed_by_default(name: str) -> None:
    rendered = matrix.rendered(name)
    closed = rendered.one("NetworkPolicy", "deny")["spec"]
    assert closed["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & set(closed)
    for owner, _ in rendered.pods():
        assert closed["podSelector"]["matchLabels"].items() <= owner["metadata"]["labels"].items()


@pytest.mark.parametrize(
    ("component", "senders", "asked"),
    [
        ("signaling", {("any", "TCP/http")}, DNS | {NATS, ("metering", "TCP/http")}),
        ("media", {("any", "UDP/20000-20000"), SCRAPED}, DNS | {NATS}),
        ("upstream", {SCRAPED}, DNS | {NATS, ("rehearsal", "TCP/http")}),
        ("metering", {("signaling", "TCP/http"), SCRAPED}, DNS | {NATS}),
        ("rehearsal", {("upstream", "TCP/http"), SCRAPED}, set()),
        ("nats", {(role, "TCP/nats") for role in ("signaling", "media", "upstream", "metering")}, set()),
        ("test", set(), DNS | {("signaling", "TCP/http"), ("any", "UDP/20000-20000")}),
    ],
)
def test_a_role_reaches_what_it_needs_and_no_more(component: str, senders: set[Any], asked: set[Any]) -> None:
    spec = policy(matrix.rendered("default"), component)
    assert peers(spec.get("ingress", []), "from") == senders
    assert peers(spec.get("egress", []), "to") == asked


def test_only_upstream_leaves_the_cluster_and_never_to_the_clouds_metadata() -> None:
    rendered = render({"upstream": {"existingSecret": "provider", "egressPorts": [443, 8443]}})
    blocks = [
        (each["metadata"]["name"], peer["ipBlock"])
        for each in rendered.of("NetworkPolicy")
        for rule in each["spec"].get("egress", [])
        for peer in rule.get("to", [])
        if "ipBlock" in peer and peer["ipBlock"]["cidr"] != "169.254.20.10/32"
    ]
    assert {name for name, _ in blocks} == {"hushgate-upstream"}
    assert {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]} in [block for _, block in blocks]
    egress = peers(policy(rendered, "upstream")["egress"], "to")
    assert {("0.0.0.0/0", "TCP/443"), ("::/0", "TCP/8443")} <= egress
    assert not rendered.of("NetworkPolicy", "rehearsal")


def test_media_is_reached_on_the_ports_of_all_slots_and_processes() -> None:
    values = {"exposure": "nodePort", "advertisedAddress": "192.0.2.1", "processes": 2, "nodePort": {"slots": 3}}
    rendered = render({"media": values | {"settings": {"MEDIA_UDP_PORT": 31000}}})
    assert ("any", "UDP/31000-31005") in peers(policy(rendered, "media")["ingress"], "from")


def test_coturn_relays_to_media_and_nowhere_else() -> None:
    rendered = matrix.rendered("turn")
    assert peers(policy(rendered, "coturn")["egress"], "to") == {("media", "UDP/20000-20000")}
    config = rendered.one("ConfigMap", "coturn")["data"]["turnserver.conf"]
    assert "allowed-peer-ip=10.244.0.0-10.244.255.255" in config
    for everybody in ("0.0.0.0-255.255.255.255", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"):
        assert f"denied-peer-ip={everybody}\n" in config
    assert {"user-quota=12", "total-quota=1200", "no-multicast-peers", "no-cli"} <= set(config.splitlines())


@pytest.mark.parametrize(
    ("values", "asked"),
    [
        ({"nats": {"enabled": False, "external": {"url": "nats://bus.example.com"}}}, "TCP/4222"),
        ({"nats": {"enabled": False, "external": {"url": "tls://bus.example.com:5222"}}}, "TCP/5222"),
        ({"tracing": {"endpoint": "http://collector:4318"}}, "TCP/4318"),
        ({"tracing": {"endpoint": "https://otel.example.com"}}, "TCP/443"),
    ],
)
def test_what_lies_outside_the_release_is_reached_on_its_port(values: dict[str, Any], asked: str) -> None:
    rendered = render(values)
    for component in ("signaling", "media", "upstream", "metering"):
        assert ("any", asked) in peers(policy(rendered, component)["egress"], "to")
