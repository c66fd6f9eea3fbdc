"""The chart's environment and the services' Settings have the same names."""

from typing import Any

import helm_python
import pytest

from services.media.settings import MediaSettings
from services.metering.settings import MeteringSettings
from services.rehearsal.settings import RehearsalSettings
from services.runtime.process.settings import ServiceSettings, load
from services.signaling.settings import SignalingSettings
from services.upstream.settings import UpstreamSettings
from tests.helm import matrix
from tests.helm.chart import loaded, render

SETTINGS: dict[str, type[ServiceSettings]] = {
    "signaling": SignalingSettings,
    "media": MediaSettings,
    "upstream": UpstreamSettings,
    "metering": MeteringSettings,
    "rehearsal": RehearsalSettings,
}
FROM_THE_CLUSTER = {
    "metadata.name": "hushgate-media-0",
    "status.hostIP": "192.0.2.1",
    "status.podIP": "10.244.0.7",
    "metadata.labels['apps.kubernetes.io/pod-index']": "2",
    "metadata.labels['topology.kubernetes.io/zone']": "a",
}


def names(component: str) -> set[str]:
    return {SETTINGS[component].env_name(field) for field in SETTINGS[component].model_fields}


def unused(component: str) -> set[str]:
    """What the chart leaves out on purpose: secrets that have a file, and the bus where a service is not on it."""
    by_file = {name for name in names(component) if f"{name}_FILE" in names(component)}
    bus = ("REHEARSAL_NATS_", "REHEARSAL_OTLP_", "REHEARSAL_API_KEY")
    return by_file | {name for name in names(component) if name.startswith(bus)}


def environment_of(name: str, component: str) -> dict[str, str]:
    environment = matrix.rendered(name).environment(component)
    return {key: FROM_THE_CLUSTER.get(text, text) for key, text in environment.items()}


def components(name: str) -> list[str]:
    here = {owner["metadata"]["labels"]["app.kubernetes.io/component"] for owner, _ in matrix.rendered(name).pods()}
    return sorted(here & set(SETTINGS))


@pytest.mark.parametrize(
    ("name", "component"), [(name, component) for name in matrix.NAMES for component in components(name)]
)
def test_a_service_takes_the_environment_that_its_pod_has(
    name: str, component: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = environment_of(name, component)
    assert set(environment) <= names(component)
    for key, text in environment.items():
        monkeypatch.setenv(key, text)
    load(SETTINGS[component])


@pytest.mark.parametrize("component", sorted(SETTINGS))
def test_every_setting_can_be_set_by_values_or_is_by_the_chart(component: str) -> None:
    by_values = set(loaded().values[component]["settings"])
    by_chart = {
        key for name in matrix.NAMES if component in components(name) for key in environment_of(name, component)
    }
    assert names(component) - by_values - by_chart - unused(component) == set()
    assert by_values <= names(component)


@pytest.mark.parametrize("component", sorted(SETTINGS))
def test_an_example_of_every_setting_reaches_its_pod(component: str) -> None:
    examples: dict[str, Any] = {
        "SIGNALING_DEMO_TENANT": "acme",
        "SIGNALING_PROVIDER": "example",
        "SIGNALING_TRUSTED_PROXIES": ["10.0.0.0/8"],
        "SIGNALING_ZONE": "a",
        "MEDIA_ZONE": "a",
        "MEDIA_VAD_MODEL": "/models/silero_vad_16k_op15.onnx",
        "METERING_METRIC_TENANTS": ["acme"],
        "REHEARSAL_FAULTS": "stalling",
    }
    settings = loaded().values[component]["settings"]
    given = {key: examples.get(key, value) for key, value in settings.items()}
    environment = render({component: {"settings": given}}).environment(component)
    assert set(given) - set(environment) == set()


@pytest.mark.parametrize(("component", "setting"), [("signaling", "SIGNALING_ZONE"), ("media", "MEDIA_ZONE")])
def test_the_zone_is_the_nodes_unless_the_values_name_one(component: str, setting: str) -> None:
    label = "metadata.labels['topology.kubernetes.io/zone']"
    assert render({}).environment(component)[setting] == label
    assert render({component: {"settings": {setting: "a"}}}).environment(component)[setting] == "a"


def test_a_test_cluster_answers_with_recorded_answers_so_that_its_load_is_the_gateways() -> None:
    assert matrix.rendered("values-kind").environment("rehearsal")["REHEARSAL_VOICE"] == "light"


@pytest.mark.parametrize("unknown", ["auto", "local", "recorded", "LIGHT", ""])
def test_a_voice_that_does_not_exist_is_refused_by_the_schema(unknown: str) -> None:
    with pytest.raises(helm_python.HelmValuesError, match="REHEARSAL_VOICE"):
        render({"rehearsal": {"settings": {"REHEARSAL_VOICE": unknown}}})
