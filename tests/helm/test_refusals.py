"""Wrong values are refused before anything is installed, with a message that says what to write."""

from typing import Any

import helm_python
import pytest

from tests.helm.chart import loaded, render


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises((helm_python.HelmValuesError, helm_python.HelmRenderError)) as caught:
        render(values)
    return str(caught.value)


NODE_PORT = {"exposure": "nodePort", "advertisedAddress": "192.0.2.1", "settings": {"MEDIA_UDP_PORT": 31000}}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"media": {"exposure": "host"}}, "'/media/exposure': value must be one of 'hostPort', 'nodePort', 'turn'"),
        ({"media": {"exposur": "turn"}}, "'/media': additional properties 'exposur' not allowed"),
        ({"media": {"settings": {"MEDIA_VAD_HANGOVER": 500}}}, "'MEDIA_VAD_HANGOVER' not allowed"),
        ({"media": {"settings": {"MEDIA_VAD_HANGOVER_MS": 510}}}, "multipleOf: got 510, want 20"),
        ({"media": {"exposure": None}}, "'/media': missing property 'exposure'"),
        ({"media": {"resources": {"limits": {"cpu": None}}}}, "missing property 'cpu'"),
        ({"signaling": {"replicas": "two"}}, "got string, want integer"),
        ({"rehearsal": {"enabled": "yes"}}, "value must be one of 'auto'"),
        ({"metering": {"persistence": {"size": "2 GB"}}}, "'/metering/persistence/size'"),
        ({"hushgate": {}}, "additional properties 'hushgate' not allowed"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named_with_what_is_right(values: dict[str, Any], message: str) -> None:
    assert message in refusal(values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rehearsal": {"enabled": False}}, "set upstream.existingSecret: provider"),
        ({"upstream": {"settings": {"UPSTREAM_URL": "wss://host/v1"}}}, "Set upstream.existingSecret, or rehearsal.en"),
        ({"upstream": {"settings": {"UPSTREAM_URL": "https://host"}}}, "Write the WebSocket URL of a Realtime API"),
        ({"media": {"exposure": "nodePort"}}, "set it to the IP address by which clients reach the node"),
        ({"media": NODE_PORT | {"settings": {}}}, "NodePorts are 30000 to 32767: set media.settings.MEDIA_UDP_PORT"),
        ({"media": NODE_PORT | {"settings": {"MEDIA_UDP_PORT": 32766}}}, "takes the UDP ports 32766 to 32768"),
        ({"media": NODE_PORT | {"replicas": 4}}, "Set media.nodePort.slots: 4"),
        ({"media": NODE_PORT | {"autoscaling": {"enabled": True, "maxReplicas": 9}}}, "Set media.nodePort.slots: 9"),
        ({"media": NODE_PORT | {"keda": {"enabled": True, "maxReplicas": 5}}}, "Set media.nodePort.slots: 5"),
        ({"media": {"processes": 2, "settings": {"MEDIA_UDP_PORT": 65535}}}, "no room below 65535 for 2 processes"),
        ({"media": {"advertisedAddress": "gateway.example.com"}}, "Write IP addresses with commas"),
        ({"media": {"advertisedAddress": "192.0.2.1,"}}, "Write IP addresses with commas"),
        ({"media": {"extraAddresses": ["vpn.example.com"]}}, "Write IP addresses"),
        ({"media": {"externalAddresses": {"node-1": "192.0.2.1"}}}, "Write IP addresses"),
        ({"media": {"externalAddresses": {"10.0.0.5": "node-1"}}}, "Write IP addresses"),
        ({"media": {"exposure": "turn"}}, "set the URLs of the TURN server as clients reach it"),
        ({"media": {"autoscaling": {"enabled": True}, "keda": {"enabled": True}}}, "enable one of them"),
        ({"media": {"keda": {"enabled": True}}}, "media.keda.prometheusUrl: set it to where Prometheus answers"),
        ({"media": {"terminationGracePeriodSeconds": 60}}, "calls are cut off: set at least 3660"),
        ({"upstream": {"terminationGracePeriodSeconds": 3600}}, "upstream.terminationGracePeriodSeconds must exceed"),
        ({"upstream": {"autoscaling": {"minReplicas": 9}}}, "upstream: minReplicas 9 is more than maxReplicas 5"),
        (
            {"media": {"settings": {"MEDIA_LOST_AFTER_S": 30}}},
            "MEDIA_LOST_AFTER_S must be less than MEDIA_GONE_AFTER_S",
        ),
        ({"media": {"settings": {"MEDIA_VAD_MODE": 2}}}, "MEDIA_VAD_MODE and MEDIA_VAD_GAIN_DB are webrtcvad's"),
        ({"media": {"settings": {"MEDIA_VAD": "webrtcvad", "MEDIA_VAD_MODEL": "a"}}}, "MEDIA_VAD_MODEL is silero's"),
        ({"media": {"settings": {"MEDIA_VAD_TAIL_MS": 600}}}, "MEDIA_VAD_TAIL_MS is part of MEDIA_VAD_HANGOVER_MS"),
        ({"media": {"settings": {"MEDIA_VAD_ONSET_SCORE": 0.7}}}, "MEDIA_VAD_ONSET_SCORE must be less than"),
        ({"media": {"settings": {"MEDIA_VAD_DOUBT_SCORE": 0.6}}}, "MEDIA_VAD_DOUBT_SCORE must not exceed"),
        ({"media": {"settings": {"MEDIA_VAD_MIN_SILENCE_MS": 600}}}, "must be from MEDIA_VAD_MIN_SILENCE_MS"),
        ({"media": {"settings": {"MEDIA_VAD_MAX_PREFIX_PADDING_MS": 100}}}, "MEDIA_VAD_PRE_ROLL_MS must not exceed"),
        ({"turn": {"urls": ["turn:a"]}}, "name a Secret with static-auth-secret in turn.existingSecret"),
        ({"turn": {"urls": ["https://a"], "existingSecret": "s"}}, "Write URLs of TURN servers"),
        ({"turn": {"coturn": {"enabled": True}}}, "turn.coturn.enabled needs turn.urls"),
        ({"turn": {"urls": ["turn:a"], "coturn": {"enabled": True}}}, "set the range of the cluster's pod addresses"),
        ({"turn": {"coturn": {"podRange": "10.244.0.0/16"}}}, "Write the first and the last address"),
        ({"turn": {"coturn": {"image": "coturn/coturn"}}}, "Write an image with its exact tag or digest"),
        ({"signaling": {"ingress": {"enabled": True}}}, "set the public name, as voice.example.com"),
        ({"signaling": {"gateway": {"enabled": True}}}, "set the name of the Gateway"),
        (
            {"upstream": {"existingSecret": "provider"}, "signaling": {"page": True}},
            "The page would be shown while a provider with a key answers",
        ),
        (
            {
                "upstream": {"existingSecret": "provider"},
                "signaling": {"settings": {"SIGNALING_DEMO_TENANT": "acme"}},
            },
            "The page would be shown while a provider with a key answers",
        ),
        ({"signaling": {"pageSpendsMoney": True}}, "signaling.pageSpendsMoney would have no effect"),
        ({"signaling": {"page": False, "pageExistingSecret": "s"}}, "signaling.pageExistingSecret would not be used"),
        ({"signaling": {"page": True}, "tenants": {"existingSecret": "t"}}, "set signaling.settings.SIGNALING_DEMO_T"),
        ({"signaling": {"settings": {"SIGNALING_ALLOWED_ORIGINS": ["app.example.com"]}}}, "as https://app.example.com"),
        ({"nats": {"enabled": False}}, "set nats.external.url to a NATS server with JetStream"),
        ({"nats": {"external": {"url": "nats://host:4222"}}}, "set nats.enabled: false, too"),
        ({"nats": {"persistence": {"size": "1.5Gi"}}}, "Write whole Mi, Gi or Ti, as 4Gi"),
        ({"nats": {"persistence": {"size": "40Mi"}}}, "set at least 64Mi"),
        (
            {"nats": {"enabled": False, "external": {"url": "nats://u:p@host"}}},
            "those go into nats.auth.existingSecret",
        ),
        ({"tracing": {"endpoint": "collector:4318"}}, "Write the base URL of an OTLP collector"),
        ({"test": {"url": "voice.example.com"}}, "Write the root of this release's public URL"),
        ({"image": {"tag": "latest"}}, "latest names no version"),
    ],
)
def test_values_that_do_not_go_together_are_refused_with_what_to_write(values: dict[str, Any], message: str) -> None:
    assert message in refusal(values)


def test_every_value_is_in_the_schema_and_no_other() -> None:
    schema = loaded().schema
    assert schema is not None
    assert set(paths(schema, schema["$defs"])) >= set(leaves(loaded().values))
    for each in objects(schema):
        assert each.get("additionalProperties") is False or "properties" not in each


def objects(schema: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - JSON
    if isinstance(schema, list):
        return [found for each in schema for found in objects(each)]
    if not isinstance(schema, dict):
        return []
    here = [schema] if schema.get("type") == "object" else []
    return here + [found for each in schema.values() for found in objects(each)]


def paths(schema: dict[str, Any], shared: dict[str, Any], path: str = "") -> list[str]:
    schema = shared[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    below = [
        found for name, each in schema.get("properties", {}).items() for found in paths(each, shared, f"{path}.{name}")
    ]
    return below or [path]


def leaves(values: Any, path: str = "") -> list[str]:  # noqa: ANN401 - YAML
    if not isinstance(values, dict) or not values:
        return [path]
    return [found for name, each in values.items() for found in leaves(each, f"{path}.{name}")]
