"""The steps of an operator: install, call, scale, upgrade, uninstall. Each returns a `StepResult`."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from services.runtime import clock
from tests.cluster.kube import RELEASE, Cluster, ClusterError, until
from tests.cluster.load import PublicEndpoint, RunningLoad, calling

CALLS = 20
_LEFT = (
    "all,configmaps,secrets,persistentvolumeclaims,serviceaccounts,"
    "horizontalpodautoscalers,poddisruptionbudgets,networkpolicies,ingresses"
)


@dataclass(frozen=True, slots=True)
class StepResult:
    """``figure``: the text for the table. ``as_promised``: whether the step succeeded."""

    figure: str
    as_promised: bool


ClusterStep = Callable[[Cluster, PublicEndpoint], StepResult]


def connected(cluster: Cluster, calls: RunningLoad) -> None:
    """Wait until all of ``calls`` are connected.

    Raises:
        ClusterError: they end before that, or take longer than a minute.
    """

    def up() -> bool:
        if calls.process.poll() is not None:
            raise ClusterError(f"the callers are gone: {calls.summary()}")
        return sum(cluster.calls().values()) >= calls.number

    until(f"{calls.number} calls are up", up, timeout_s=60)


def install(cluster: Cluster, _: PublicEndpoint) -> StepResult:
    """`helm install`, until all pods are ready."""
    began = clock.monotonic()
    cluster.deploy("install", *SMALL)
    pods = cluster.get("pods")["items"]
    return StepResult(f"{len(pods)} pods ready after {clock.monotonic() - began:.0f} s", as_promised=True)


SMALL = (
    "upstream.autoscaling.minReplicas=1",
    "upstream.autoscaling.maxReplicas=2",
    "rehearsal.settings.REHEARSAL_VOICE=light",
)
"""The rehearsal leaves the node to the gateway, and twenty calls scale no further than the node has room."""
LOW_TARGET = "120m"
"""CPU of a pod above which twenty calls are; not from the start, or the start of the first pod would be the load."""


def helm_test(cluster: Cluster, _: PublicEndpoint) -> StepResult:
    """`helm test`: a real call, through to a row of the ledger."""
    began = clock.monotonic()
    cluster.helm("test", "--timeout", "3m")
    return StepResult(f"a call through to the ledger in {clock.monotonic() - began:.0f} s", as_promised=True)


def calls_from_outside(_: Cluster, endpoint: PublicEndpoint) -> StepResult:
    """Twenty callers outside the cluster."""
    with calling(endpoint, CALLS, seconds=20) as calls:
        return StepResult(calls.summary(), as_promised=calls.failed == 0)


def autoscale(cluster: Cluster, endpoint: PublicEndpoint) -> StepResult:
    """The autoscaler of upstream sees the load."""

    def desired() -> int:
        return int(cluster.get("hpa", f"{RELEASE}-upstream")["status"].get("desiredReplicas", 0))

    target = [{"op": "replace", "path": "/spec/metrics/0/resource/target/averageValue", "value": LOW_TARGET}]
    cluster.kubectl("patch", "hpa", f"{RELEASE}-upstream", "--type", "json", "--patch", json.dumps(target))
    until("the autoscaler knows its pods", lambda: desired() > 0, timeout_s=90)
    before = desired()
    with calling(endpoint, CALLS, seconds=60) as calls:
        took = until("upstream is scaled up", lambda: desired() > before, timeout_s=120)
        scaled = desired()
        cluster.ready("statefulset", "upstream")
        summary, as_promised = calls.summary(), calls.failed == 0
    return StepResult(
        f"upstream {before} → {scaled} pods after {took:.0f} s of load; {summary}", as_promised=as_promised
    )


def scale_media(cluster: Cluster, endpoint: PublicEndpoint) -> StepResult:
    """Media 1 → 3 while calls go on; new calls are spread."""
    with calling(endpoint, CALLS, seconds=75) as old:
        connected(cluster, old)
        cluster.kubectl("scale", f"statefulset/{RELEASE}-media", "--replicas", "3")
        cluster.ready("statefulset", "media")
        before = cluster.calls()
        with calling(endpoint, CALLS, seconds=15) as new:
            connected(cluster, RunningLoad(2 * CALLS, new.process, new.report))
            spread = {pod: active - before.get(pod, 0) for pod, active in cluster.calls().items()}
            failed = new.failed
        failed_before = old.failed
    as_promised = not failed + failed_before and sum(share > 0 for share in spread.values()) > 1
    shares = ", ".join(f"{pod.removeprefix(RELEASE + '-')} +{share}" for pod, share in sorted(spread.items()))
    figure = f"new calls: {shares}; failed: {failed_before} of {CALLS} old calls, {failed} of {CALLS} new ones"
    return StepResult(figure, as_promised=as_promised)


def upgrade(cluster: Cluster, endpoint: PublicEndpoint) -> StepResult:
    """`helm upgrade` renews signaling; calls go on."""
    with calling(endpoint, CALLS, seconds=45) as calls:
        connected(cluster, calls)
        began = clock.monotonic()
        cluster.deploy("upgrade", *SMALL, "signaling.settings.SIGNALING_LOG_LEVEL=debug", "media.replicas=3")
        took = clock.monotonic() - began
        return StepResult(f"done in {took:.0f} s; {calls.summary()}", as_promised=calls.failed == 0)


def rollback(cluster: Cluster, endpoint: PublicEndpoint) -> StepResult:
    """`helm rollback`; calls go on."""
    with calling(endpoint, CALLS, seconds=45) as calls:
        connected(cluster, calls)
        began = clock.monotonic()
        cluster.helm("rollback", "1", "--wait", "--timeout", "5m")
        took = clock.monotonic() - began
        level = cluster.kubectl("get", f"deployment/{RELEASE}-signaling", "--output", "yaml")
        back = re.search(r"SIGNALING_LOG_LEVEL\s+value: .?info", level) is not None
        return StepResult(f"done in {took:.0f} s; {calls.summary()}", as_promised=back and calls.failed == 0)


def uninstall(cluster: Cluster, _: PublicEndpoint) -> StepResult:
    """`helm uninstall` leaves nothing."""
    cluster.helm("uninstall", "--wait", "--timeout", "5m")

    def left() -> list[str]:
        selector = f"app.kubernetes.io/instance={RELEASE}"
        return cluster.kubectl("get", _LEFT, "--selector", selector, "--output", "name").split()

    took = until("all objects are gone", lambda: not left(), timeout_s=180)
    return StepResult(f"no object left after {took:.0f} s", as_promised=True)


def plain(cluster: Cluster, _: PublicEndpoint) -> StepResult:
    """`helm install` with no values at all (media on its node's own ports), `helm test`, `helm uninstall`."""
    bare = replace(cluster, namespace=f"{cluster.namespace}-plain", values=(), settings=())
    began = clock.monotonic()
    try:
        bare.deploy("install")
        ready = clock.monotonic()
        bare.helm("test", "--timeout", "3m")
        called = clock.monotonic()
        bare.helm("uninstall", "--wait", "--timeout", "5m")
    finally:
        bare.run("kubectl", "delete", "namespace", bare.namespace, "--ignore-not-found")
    figure = f"ready after {ready - began:.0f} s, a call through to the ledger in {called - ready:.0f} s"
    return StepResult(figure, as_promised=True)
