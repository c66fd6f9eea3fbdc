"""The chart's manifests are valid for Kubernetes."""

import json
from functools import cache
from typing import Any

import helm_python
import jsonschema
import pytest

from tests.helm import matrix
from tests.helm.chart import CHART, NAMESPACE, Object
from tests.helm.schemas import vendor


@cache
def validator(kind: str) -> jsonschema.Draft202012Validator:
    if kind in vendor.KINDS:
        schema: dict[str, Any] = json.loads((vendor.HERE / "kubernetes.json").read_text())
        schema |= {"$ref": f"#/$defs/{vendor.KINDS[kind]}"}
    else:
        schema = json.loads((vendor.HERE / f"{kind}.json").read_text())
    return jsonschema.Draft202012Validator(schema)


def problems(manifest: Object) -> list[str]:
    found = validator(manifest["kind"]).iter_errors(manifest)
    return [f"{manifest['kind']} {manifest['metadata']['name']}: {each.json_path}: {each.message}" for each in found]


@pytest.mark.parametrize("name", matrix.NAMES)
def test_every_manifest_is_what_its_kind_allows(name: str) -> None:
    assert [problem for each in matrix.rendered(name).objects for problem in problems(each)] == []


@pytest.mark.parametrize(
    ("kind", "path", "problem"),
    [
        ("Deployment", ("spec", "template", "spec", "enableServiceLink"), "enableServiceLink"),
        ("Service", ("spec", "typ"), "typ"),
        ("ServiceMonitor", ("spec", "endpoint"), "endpoint"),
        ("ScaledObject", ("spec", "minReplicas"), "minReplicas"),
        ("HTTPRoute", ("spec", "hostname"), "hostname"),
    ],
)
def test_a_misspelt_key_is_found(kind: str, path: tuple[str, ...], problem: str) -> None:
    manifest = json.loads(json.dumps(matrix.rendered("production").of(kind)[0]))
    *folders, last = path
    place = manifest
    for folder in folders:
        place = place[folder]
    place[last] = "x"
    assert any(problem in each for each in problems(manifest))


@pytest.mark.parametrize("name", matrix.NAMES)
def test_helm_finds_nothing_to_complain_about(name: str) -> None:
    report = helm_python.lint(CHART, matrix.values(name), strict=True)
    found = [each["error"] for each in report["messages"] if each["severity"] > 1]
    assert (found, report["errors"]) == ([], [])


@pytest.mark.parametrize("name", matrix.NAMES)
def test_names_are_unique_within_the_release_and_its_namespace(name: str) -> None:
    objects = matrix.rendered(name).objects
    names = [(each["kind"], each["metadata"]["name"]) for each in objects]
    assert len(names) == len(set(names))
    assert {each["metadata"]["namespace"] for each in objects} == {NAMESPACE}


@pytest.mark.parametrize("name", matrix.NAMES)
def test_each_selector_finds_the_pods_it_is_for(name: str) -> None:
    rendered = matrix.rendered(name)
    pods = [owner["spec"]["template"]["metadata"]["labels"] for owner, _ in rendered.pods() if owner["kind"] != "Pod"]
    for each in rendered.of("Service") + rendered.of("PodDisruptionBudget"):
        selected = each["spec"]["selector"].get("matchLabels", each["spec"]["selector"])
        if "statefulset.kubernetes.io/pod-name" not in selected:
            assert len([labels for labels in pods if selected.items() <= labels.items()]) == 1, each["metadata"]["name"]
