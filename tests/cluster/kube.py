"""kubectl and helm from PATH, with one kubeconfig and one namespace."""

import base64
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from services.runtime import clock

CHART = Path("deploy/helm")
RELEASE = "hushgate"
TOOLS = ("helm", "kubectl")
_POLL_S = 0.5
_GET = """
import sys, urllib.request
print(urllib.request.urlopen("http://127.0.0.1:8080" + sys.argv[1], timeout=10).read().decode())
"""


class ClusterError(Exception):
    """A command failed, or a condition was not met in time."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """One namespace of one cluster. ``image`` is the repository and tag that its nodes have."""

    kubeconfig: Path
    namespace: str
    image: str
    values: Sequence[str]
    settings: Sequence[str]

    def run(self, *command: str, given: str = "", timeout_s: float = 300) -> str:
        """Run a command with ``given`` as its input; return its output.

        Raises:
            ClusterError: it failed.
        """
        done = subprocess.run(  # noqa: S603 - our own words
            command,
            env={**_environment(), "KUBECONFIG": str(self.kubeconfig)},
            input=given,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode:
            raise ClusterError(f"{' '.join(command[:6])} …: {(done.stderr or done.stdout).strip()[-600:]}")
        return done.stdout

    def kubectl(self, *arguments: str, timeout_s: float = 300) -> str:
        """`kubectl` in the namespace."""
        return self.run("kubectl", "--namespace", self.namespace, *arguments, timeout_s=timeout_s)

    def get(self, *arguments: str) -> Any:  # noqa: ANN401 - what Kubernetes answers
        """Return the JSON of `kubectl get`."""
        return json.loads(self.kubectl("get", *arguments, "--output", "json"))

    def helm(self, verb: str, *arguments: str, timeout_s: float = 600) -> str:
        """`helm VERB RELEASE …` in the namespace."""
        return self.run("helm", "--namespace", self.namespace, verb, RELEASE, *arguments, timeout_s=timeout_s)

    def deploy(self, verb: str, *settings: str) -> None:
        """`helm install` or `helm upgrade` with the cluster's values and ``settings``, until all is ready."""
        repository, _, tag = self.image.rpartition(":")
        chosen = (f"image.repository={repository}", f"image.tag={tag}", *self.settings, *settings)
        values = [argument for file in self.values for argument in ("--values", file)]
        sets = [argument for setting in chosen for argument in ("--set", setting)]
        more = ("--create-namespace",) if verb == "install" else ()
        self.helm(verb, str(CHART), *values, *sets, *more, "--wait", "--timeout", "5m")

    def pods(self, component: str) -> list[str]:
        """Return the names of a service's pods that are not being deleted."""
        found = self.get("pods", "--selector", f"app.kubernetes.io/component={component}")["items"]
        return sorted(pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"])

    def fetch(self, pod: str, path: str) -> str:
        """Return the response of the service in ``pod`` at its own port."""
        return self.kubectl("exec", pod, "--", "python3", "-c", _GET, path)

    def metric(self, pod: str, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples in one pod."""
        families = text_string_to_metric_families(self.fetch(pod, "/metrics"))
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and all(sample.labels.get(key) == value for key, value in labels.items())
        )

    def calls(self) -> dict[str, int]:
        """Return the number of active calls by media pod."""
        return {pod: int(self.metric(pod, "hushgate_media_calls_active")) for pod in self.pods("media")}

    def ready(self, kind: str, component: str) -> None:
        """Wait until all pods of a service are new and ready."""
        self.kubectl("rollout", "status", f"{kind}/{RELEASE}-{component}", "--timeout", "240s")

    def secret(self, name: str, key: str) -> str:
        """Return a value of a Secret."""
        return base64.b64decode(self.get("secret", name)["data"][key]).decode()


def _environment() -> dict[str, str]:
    """Return PATH and HOME, the only variables that commands inherit."""
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}  # noqa: TID251 - for children


def missing_tools() -> list[str]:
    """Return the required commands that are not on PATH."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def until(what: str, happened: Callable[[], bool], *, timeout_s: float = 120) -> float:
    """Poll until the condition is met; return the seconds that it took.

    Raises:
        ClusterError: it was not met in time.
    """
    began, pause = clock.monotonic(), threading.Event()
    while not happened():
        if clock.monotonic() - began > timeout_s:
            raise ClusterError(f"not within {timeout_s:.0f} s: {what}")
        pause.wait(_POLL_S)
    return clock.monotonic() - began
