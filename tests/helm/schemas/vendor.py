"""Makes the schemas anew: `python -m tests.helm.schemas.vendor WHEEL CRD…` (README.md says where both come from).

Of Kubernetes' schemas only the kinds that the chart makes and what they refer to; of all, no descriptions.
"""

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
FOLDER = "kubernetes_validate/kubernetes-json-schema/v1.34.0-local-strict/"
KINDS = {
    "ConfigMap": "io.k8s.api.core.v1.ConfigMap",
    "Pod": "io.k8s.api.core.v1.Pod",
    "Secret": "io.k8s.api.core.v1.Secret",
    "Service": "io.k8s.api.core.v1.Service",
    "Deployment": "io.k8s.api.apps.v1.Deployment",
    "StatefulSet": "io.k8s.api.apps.v1.StatefulSet",
    "HorizontalPodAutoscaler": "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
    "Ingress": "io.k8s.api.networking.v1.Ingress",
    "NetworkPolicy": "io.k8s.api.networking.v1.NetworkPolicy",
    "PodDisruptionBudget": "io.k8s.api.policy.v1.PodDisruptionBudget",
}
_KEPT = {"$ref", "additionalProperties", "allOf", "anyOf", "enum", "format", "items", "maximum", "maxLength", "minimum"}
_KEPT |= {"maxItems", "minItems", "minLength", "not", "oneOf", "pattern", "properties", "required", "type"}
_KEPT |= {"maxProperties", "minProperties", "exclusiveMinimum", "exclusiveMaximum"}

Schema = dict[str, Any]


def bare(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """``schema`` with nothing but what is checked."""
    if isinstance(schema, list):
        return [bare(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: bare(value) for key, value in schema.items() if key in _KEPT and key != "properties"}
    if "properties" in schema:
        kept["properties"] = {name: bare(value) for name, value in schema["properties"].items()}
    if isinstance(kept.get("$ref"), str):
        kept["$ref"] = "#/$defs/" + kept["$ref"].rpartition("/")[2]
    return kept


def strict(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """A CRD's schema where an unknown key is an error, as the API server warns of it."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items() if key != "properties"}
    if schema.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
        made["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if isinstance(schema.get("properties"), dict):
        made["properties"] = {name: strict(value) for name, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            made["additionalProperties"] = False
    return made


def kubernetes(wheel: Path) -> Schema:
    with zipfile.ZipFile(wheel) as archive:
        definitions: Schema = json.loads(archive.read(FOLDER + "_definitions.json"))["$defs"]
    wanted, found = list(KINDS.values()), {}
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = bare(definitions[name])
            wanted += references(found[name])
    return {"$defs": dict(sorted(found.items()))}


def references(schema: Any) -> list[str]:  # noqa: ANN401 - JSON
    if isinstance(schema, list):
        return [name for each in schema for name in references(each)]
    if not isinstance(schema, dict):
        return []
    here = [schema["$ref"].rpartition("/")[2]] if isinstance(schema.get("$ref"), str) else []
    return here + [name for each in schema.values() for name in references(each)]


def of_crd(path: Path) -> tuple[str, Schema]:
    crd = yaml.safe_load(path.read_text())
    (version,) = [each for each in crd["spec"]["versions"] if each["storage"]]
    schema = strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    schema["properties"]["apiVersion"] = {"enum": [f"{crd['spec']['group']}/{version['name']}"]}
    return crd["spec"]["names"]["kind"], bare(schema)


def write(name: str, schema: Schema) -> None:
    (HERE / f"{name}.json").write_text(json.dumps(schema, separators=(",", ":"), sort_keys=True) + "\n")


def main(arguments: list[str]) -> None:
    wheel, *crds = map(Path, arguments)
    write("kubernetes", kubernetes(wheel))
    for path in crds:
        write(*of_crd(path))


if __name__ == "__main__":
    main(sys.argv[1:])
