"""The chart rendered by Helm's own library: no helm binary is needed, and no cluster."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import helm_python
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm"
NAMESPACE = "voice"

Object = dict[str, Any]


@cache
def loaded() -> helm_python.Chart:
    return helm_python.Chart.load(CHART)


def render(values: dict[str, Any] | None = None, *, name: str = "hushgate") -> "RenderedChart":
    texts = loaded().render(values or {}, name=name, namespace=NAMESPACE)
    return RenderedChart({template: text for template, text in texts.items() if text.strip()})


@dataclass(frozen=True)
class RenderedChart:
    """The chart rendered with one set of values."""

    texts: dict[str, str]

    @property
    def notes(self) -> str:
        return next(text for name, text in self.texts.items() if name.endswith("NOTES.txt"))

    @cached_property
    def objects(self) -> list[Object]:
        manifests = [text for name, text in self.texts.items() if not name.endswith("NOTES.txt")]
        return [each for text in manifests for each in yaml.load_all(text, yaml.CSafeLoader) if each]

    def of(self, kind: str, component: str = "") -> list[Object]:
        """Return the objects of a kind, and of a component if one is named."""
        return [
            each
            for each in self.objects
            if each["kind"] == kind and component in ("", each["metadata"]["labels"]["app.kubernetes.io/component"])
        ]

    def one(self, kind: str, name: str) -> Object:
        """Return the object with a name, given without `hushgate-`."""
        (found,) = [each for each in self.of(kind) if each["metadata"]["name"] == f"hushgate-{name}"]
        return found

    def secret(self, name: str) -> dict[str, str]:
        return {key: base64.b64decode(text).decode() for key, text in self.one("Secret", name)["data"].items()}

    def pods(self) -> Iterator[tuple[Object, Object]]:
        """Return each object that creates pods, and the spec of its pods."""
        for each in self.objects:
            if each["kind"] in ("Deployment", "StatefulSet"):
                yield each, each["spec"]["template"]["spec"]
            elif each["kind"] == "Pod":
                yield each, each["spec"]

    def pod(self, component: str) -> Object:
        """Return the spec of a component's pods."""
        (found,) = [
            spec
            for owner, spec in self.pods()
            if owner["metadata"]["labels"]["app.kubernetes.io/component"] == component
        ]
        return found

    def environment(self, component: str) -> dict[str, str]:
        """Return a component's environment; values from the cluster as the path of their field."""
        (container,) = self.pod(component)["containers"]
        return {
            each["name"]: each["value"] if "value" in each else each["valueFrom"]["fieldRef"]["fieldPath"]
            for each in container["env"]
        }
