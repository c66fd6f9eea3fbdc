"""Security properties of every pod, whatever the values are."""

import re
from collections.abc import Iterator

import pytest

from tests.helm import matrix
from tests.helm.chart import Object

pytestmark = pytest.mark.parametrize("name", matrix.NAMES)
OURS = {"signaling", "media", "upstream", "metering", "rehearsal"}


def containers(name: str) -> Iterator[tuple[str, Object]]:
    for owner, spec in matrix.rendered(name).pods():
        for container in spec["containers"] + spec.get("initContainers", []):
            yield owner["metadata"]["labels"]["app.kubernetes.io/component"], container


def test_nothing_runs_as_root(name: str) -> None:
    for _, spec in matrix.rendered(name).pods():
        context = spec["securityContext"]
        assert context["runAsNonRoot"]
        assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (10001, 10001, 10001)
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)


def test_containers_can_gain_nothing_and_write_only_where_they_must(name: str) -> None:
    for component, container in containers(name):
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"]
        assert not context["allowPrivilegeEscalation"]
        assert not context.get("privileged", False)
        allowed = ["NET_BIND_SERVICE"] if component == "coturn" else None
        assert context["capabilities"]["drop"] == ["ALL"]
        assert context["capabilities"].get("add") == allowed


def test_pods_have_no_account_and_no_environment_of_other_services(name: str) -> None:
    for _, spec in matrix.rendered(name).pods():
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False


def test_requests_and_limits_are_set(name: str) -> None:
    for _, container in containers(name):
        for part in ("requests", "limits"):
            assert set(container["resources"][part]) == {"cpu", "memory"}


def test_pods_that_serve_are_probed(name: str) -> None:
    for component, container in containers(name):
        if component == "test":
            continue
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container), component
        if component in OURS:
            assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
            assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_images_name_their_version(name: str) -> None:
    for _, container in containers(name):
        tag = re.search(r"(?::(?P<tag>[^/]+)|@sha256:[0-9a-f]{64})$", container["image"])
        assert tag, container["image"]
        assert tag["tag"] != "latest"


def test_all_but_the_mounts_of_volumes_is_read_only(name: str) -> None:
    for _, spec in matrix.rendered(name).pods():
        writable = {each["name"] for each in spec["volumes"] if "emptyDir" in each}
        for container in spec["containers"]:
            for mount in container["volumeMounts"]:
                assert mount["name"] in writable | {"data"} or mount["readOnly"]


def test_what_carries_calls_may_finish_them(name: str) -> None:
    rendered = matrix.rendered(name)
    for component in ("media", "upstream"):
        drain = float(rendered.environment(component)[f"{component.upper()}_DRAIN_TIMEOUT_S"])
        assert rendered.pod(component)["terminationGracePeriodSeconds"] >= drain + 60


def test_a_voluntary_disruption_takes_one_pod_at_a_time(name: str) -> None:
    rendered = matrix.rendered(name)
    guarded = {each["metadata"]["name"].removeprefix("hushgate-") for each in rendered.of("PodDisruptionBudget")}
    scaled = rendered.of("HorizontalPodAutoscaler")
    least = {each["metadata"]["name"].removeprefix("hushgate-"): each["spec"]["minReplicas"] for each in scaled}
    for owner, _ in rendered.pods():
        component = owner["metadata"]["labels"]["app.kubernetes.io/component"]
        pods = owner["spec"].get("replicas") or least.get(component, 1)
        if component == "media" or pods > 1:
            assert component in guarded


def test_no_secret_is_in_the_environment_but_where_nothing_else_is_taken(name: str) -> None:
    for component, container in containers(name):
        by_environment = [each["name"] for each in container["env"] if "secretKeyRef" in each.get("valueFrom", {})]
        assert not by_environment or component == "nats"


def test_no_command_line_holds_a_secret(name: str) -> None:
    for _, container in containers(name):
        words = [*container.get("command", ()), *container.get("args", ())]
        by_secret = [each["name"] for each in container["env"] if "secretKeyRef" in each.get("valueFrom", {})]
        assert not [word for word in words for secret in by_secret if f"$({secret})" in word or f"${secret}" in word]
