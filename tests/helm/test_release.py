"""What an operator gets: exposures, secrets, the page, monitors, the test, the notes."""

import hashlib
import json
from decimal import Decimal
from typing import Any

import pytest

from services.signaling.core.tenants import Tenants
from tests.helm import matrix
from tests.helm.chart import CHART, Object, render

MEDIA_PORT = {"settings": {"MEDIA_UDP_PORT": 31000}}
NODE_PORT = {"exposure": "nodePort", "advertisedAddress": "127.0.0.1", "processes": 2} | MEDIA_PORT


def udp_ports(pod: Object) -> list[dict[str, Any]]:
    return [each for each in pod["containers"][0]["ports"] if each["protocol"] == "UDP"]


def cpu(amount: str | float) -> Decimal:
    text = str(amount)
    return Decimal(text.removesuffix("m")) / (1000 if text.endswith("m") else 1)


def test_a_node_of_two_cores_has_room_for_all_of_it() -> None:
    requests = [spec["containers"][0]["resources"]["requests"]["cpu"] for _, spec in matrix.rendered("default").pods()]
    assert sum(map(cpu, requests)) < Decimal("1.2")


def test_with_host_ports_each_process_has_one_and_the_node_gives_the_address() -> None:
    rendered = render({"media": {"processes": 2}})
    assert [(each["containerPort"], each["hostPort"]) for each in udp_ports(rendered.pod("media"))] == [
        (20000, 20000),
        (20001, 20001),
    ]
    assert rendered.environment("media")["MEDIA_ADVERTISED_ADDRESS"] == "status.hostIP"
    assert "MEDIA_EXTRA_ADDRESSES" not in rendered.environment("media")


def test_nodes_are_told_by_several_addresses() -> None:
    values = {"extraAddresses": ["10.8.0.1", "fd00::1"], "externalAddresses": {"10.0.0.5": "192.0.2.10"}}
    environment = render({"media": values}).environment("media")
    assert environment["MEDIA_ADVERTISED_ADDRESS"] == "status.hostIP"
    assert environment["MEDIA_EXTRA_ADDRESSES"] == "10.8.0.1,fd00::1"
    assert json.loads(environment["MEDIA_EXTERNAL_ADDRESSES"]) == {"10.0.0.5": "192.0.2.10"}
    several = render({"media": {"advertisedAddress": "192.0.2.1, 192.0.2.2,2001:db8::1"}}).environment("media")
    assert several["MEDIA_ADVERTISED_ADDRESS"] == "192.0.2.1, 192.0.2.2,2001:db8::1"


def test_with_node_ports_each_slot_has_a_service_on_the_ports_that_its_pod_takes() -> None:
    rendered = render({"media": NODE_PORT | {"nodePort": {"slots": 2}}})
    for slot, first in ((0, 31000), (1, 31002)):
        service = rendered.one("Service", f"media-{slot}")["spec"]
        assert service["selector"] == {"statefulset.kubernetes.io/pod-name": f"hushgate-media-{slot}"}
        assert service["externalTrafficPolicy"] == "Local"
        for port, number in zip(service["ports"], (first, first + 1), strict=True):
            assert {port["port"], port["targetPort"], port["nodePort"]} == {number}
    environment = rendered.environment("media")
    assert environment["MEDIA_SLOT"] == "metadata.labels['apps.kubernetes.io/pod-index']"
    assert environment["MEDIA_ADVERTISED_ADDRESS"] == "127.0.0.1"
    assert environment["MEDIA_UDP_EVERYWHERE"] == "true"  # a pod has a loopback of its own
    assert not udp_ports(rendered.pod("media"))


def test_behind_turn_pods_stay_on_their_own_addresses() -> None:
    rendered = matrix.rendered("turn")
    assert rendered.environment("media")["MEDIA_ADVERTISED_ADDRESS"] == "status.podIP"
    assert not any("hostPort" in each for each in udp_ports(rendered.pod("media")))
    environment = rendered.environment("signaling")
    assert json.loads(environment["SIGNALING_TURN_URLS"])[0] == "turn:turn.example.com:3478?transport=udp"
    assert environment["SIGNALING_TURN_ONLY"] == "true"


@pytest.mark.parametrize("name", matrix.NAMES)
def test_media_is_a_stateful_set_whose_pods_come_and_go_on_their_own(name: str) -> None:
    spec = matrix.rendered(name).one("StatefulSet", "media")["spec"]
    assert spec["podManagementPolicy"] == "Parallel"


def test_the_tenants_file_is_what_signaling_reads_and_knows_the_generated_key() -> None:
    rendered = matrix.rendered("default")
    tenants = Tenants.parse(rendered.secret("tenants")["tenants.json"].encode())
    tenant = tenants.by_key(rendered.secret("demo-tenant")["tenant-key"])
    assert tenant is not None
    assert tenant.id == "demo"
    assert tenant.limits.max_seconds == 3600


def test_signaling_sees_hashes_and_the_provider_key_is_upstreams_alone() -> None:
    rendered = render({"upstream": {"existingSecret": "provider"}})
    for owner, spec in rendered.pods():
        component = owner["metadata"]["labels"]["app.kubernetes.io/component"]
        named = json.dumps(spec["volumes"])
        assert ('"provider"' in named) == (component == "upstream")
        assert ("demo-tenant" in named) == (component == "test")


def test_a_service_gets_its_own_password_for_the_bus_only() -> None:
    rendered = matrix.rendered("default")
    for component in ("signaling", "metering"):
        volumes = {each["name"]: each for each in rendered.pod(component)["volumes"]}
        (items,) = [
            source["secret"]["items"]
            for source in volumes["secrets"]["projected"]["sources"]
            if source["secret"]["name"] == "hushgate-nats"
        ]
        assert items == [{"key": component, "path": "nats-password"}]
    for component in ("media", "upstream"):  # of whose volume a container sees the folder of its pod
        volumes = {each["name"]: each for each in rendered.pod(component)["volumes"]}
        assert all(each["key"].startswith(f"{component}-") for each in volumes["bus"]["secret"]["items"])


def test_passwords_are_words_to_the_configuration_of_nats() -> None:
    assert all(text.isalnum() and text[0].isalpha() for text in render().secret("nats").values())


def test_nothing_that_is_generated_changes_a_pod() -> None:
    one, other = render(), render()
    assert one.secret("nats") != other.secret("nats")
    assert [spec for _, spec in one.pods()] == [spec for _, spec in other.pods()]
    assert [owner["spec"].get("template") for owner, _ in one.pods()] == [
        owner["spec"].get("template") for owner, _ in other.pods()
    ]


def test_a_new_version_of_the_chart_alone_changes_no_pod() -> None:
    for owner, _ in matrix.rendered("default").pods():
        template = owner["spec"].get("template", {"metadata": {"labels": {}}})
        assert not {"helm.sh/chart", "app.kubernetes.io/version"} & set(template["metadata"]["labels"])


def test_nats_restarts_for_a_new_configuration() -> None:
    rendered = matrix.rendered("default")
    config = rendered.one("ConfigMap", "nats")["data"]["nats.conf"]
    annotations = rendered.one("StatefulSet", "nats")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["checksum/config"] == hashlib.sha256(config.rstrip().encode()).hexdigest()
    assert "sync_interval: always" in config


def test_the_ledger_outlives_the_release_unless_that_is_chosen() -> None:
    spec = matrix.rendered("default").one("StatefulSet", "metering")["spec"]
    assert spec["replicas"] == 1
    assert spec["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain"
    assert "volumeClaimTemplates" not in matrix.rendered("production").one("StatefulSet", "metering")["spec"]


@pytest.mark.parametrize(
    ("values", "tenant"),
    [
        ({}, "demo"),
        ({"signaling": {"page": False}}, None),
        ({"upstream": {"existingSecret": "provider"}}, None),
        ({"upstream": {"existingSecret": "provider"}, "signaling": {"page": True, "pageSpendsMoney": True}}, "demo"),
        ({"tenants": {"existingSecret": "mine"}}, None),
    ],
)
def test_the_page_is_there_while_the_rehearsal_answers_or_when_asked_for(
    values: dict[str, Any], tenant: str | None
) -> None:
    rendered = render(values)
    environment = rendered.environment("signaling")
    assert environment.get("SIGNALING_DEMO_TENANT") == tenant
    assert ("SIGNALING_PAGE_SECRET_FILE" in environment) is (tenant is not None)
    assert bool([each for each in rendered.of("Secret") if "page-secret" in each["data"]]) is (tenant is not None)


def test_what_the_page_says_of_the_provider_is_true() -> None:
    assert _shown({}) == ("rehearsal", "false")
    assert _shown({"upstream": {"existingSecret": "provider"}}) == ("openai", "true")


def _shown(values: dict[str, Any]) -> tuple[str, str]:
    environment = render(values).environment("signaling")
    return environment["SIGNALING_PROVIDER"], environment["SIGNALING_CHARGED"]


def test_the_world_does_not_see_metrics_through_the_ingress() -> None:
    (rule,) = matrix.rendered("turn").one("Ingress", "signaling")["spec"]["rules"]
    assert [each["path"] for each in rule["http"]["paths"]] == ["/v1", "/docs", "/openapi.json"]
    (route,) = matrix.rendered("production").one("HTTPRoute", "signaling")["spec"]["rules"]
    assert {each["path"]["value"] for each in route["matches"]} == {
        "/v1",
        "/docs",
        "/openapi.json",
        "/",
        "/assets",
        "/demo",
    }
    assert {each["path"]["type"] for each in route["matches"] if each["path"]["value"] == "/"} == {"Exact"}


def test_everything_with_metrics_is_scraped() -> None:
    rendered = render({"monitoring": {"enabled": True, "labels": {"release": "kps"}}})
    monitors = rendered.of("ServiceMonitor") + rendered.of("PodMonitor")
    assert {each["metadata"]["name"] for each in monitors} == {
        f"hushgate-{name}" for name in ("signaling", "metering", "rehearsal", "media", "upstream")
    }
    assert all(each["metadata"]["labels"]["release"] == "kps" for each in monitors)


def test_rules_and_dashboards_are_passed_on_as_they_lie_in_the_chart() -> None:
    rendered = render({"monitoring": {"enabled": True}})
    rules = {path.stem for path in CHART.glob("rules/*.yaml")}
    boards = {f"dashboard-{path.stem}" for path in CHART.glob("dashboards/*.json")}
    assert {each["metadata"]["name"] for each in rendered.of("PrometheusRule")} == {
        f"hushgate-{each}" for each in rules
    }
    shown = rendered.of("ConfigMap", "dashboards")
    assert {each["metadata"]["name"] for each in shown} == {f"hushgate-{each}" for each in boards}
    assert all(each["metadata"]["labels"]["grafana_dashboard"] == "1" for each in shown)


def test_without_monitoring_nothing_of_an_operator_is_asked_for() -> None:
    kinds = {each["apiVersion"] for each in matrix.rendered("default").objects}
    assert kinds == {"v1", "apps/v1", "policy/v1", "autoscaling/v2", "networking.k8s.io/v1"}


def test_the_test_calls_with_the_key_and_asks_for_the_ledger() -> None:
    (container,) = matrix.rendered("default").one("Pod", "test")["spec"]["containers"]
    assert container["args"] == [
        "call",
        "--url",
        "http://hushgate-signaling:8080",
        "--key-file",
        "/etc/hushgate/secrets/tenant-key",
        "--recorded",
        "--require-booked",
    ]
    kind = matrix.rendered("values-kind").one("Pod", "test")["spec"]["containers"][0]
    assert kind["args"][-2:] == ["--media-address", "$(NODE_ADDRESS)"]
    assert not render({"tenants": {"existingSecret": "mine"}}).of("Pod")


def test_the_notes_say_who_answers_and_what_to_do_next() -> None:
    notes = matrix.rendered("default").notes
    assert "NO PROVIDER KEY IS SET: the rehearsal" in notes
    for command in (
        "helm -n voice test hushgate",
        "kubectl -n voice port-forward svc/hushgate-signaling 8080:8080",
        "kubectl -n voice get secret hushgate-demo-tenant -o jsonpath='{.data.tenant-key}'",
        "hushgate call --url http://127.0.0.1:8080",
    ):
        assert command in notes
    assert "rehearsal" not in matrix.rendered("production").notes
    assert "THE LEDGER IS LOST WITH ITS POD" in matrix.rendered("turn").notes
