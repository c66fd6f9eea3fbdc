"""What a customer does with the chart: install, call, scale, upgrade, uninstall. Each step returns what it saw."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from services.runtime import clock
from tests.cluster.kube import RELEASE, Cluster, ClusterError, until
from tests.cluster.load import Calls, Door, calling

CALLS = 20
_LEFT = (
    "all,configmaps,secrets,persistentvolumeclaims,serviceaccounts,"
    "horizontalpodautoscalers,poddisruptionbudgets,networkpolicies,ingresses"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """``figure`` is what the table says; ``well``: it is what was promised."""

    figure: str
    well: bool


Step = Callable[[Cluster, Door], Seen]


def connected(cluster: Cluster, calls: Calls) -> None:
    """Wait until all of ``calls`` are up.

    Raises:
        ClusterError: they end before that, or take longer than a minute.
    """

    def up() -> bool:
        if calls.process.poll() is not None:
            raise ClusterError(f"the callers are gone: {calls.told()}")
        return sum(cluster.calls().values()) >= calls.number

    until(f"{calls.number} calls are up", up, timeout_s=60)


def install(cluster: Cluster, _: Door) -> Seen:
    """`helm install`, until all pods are ready."""
    began = clock.monotonic()
    cluster.deploy("install", *SMALL)
    pods = cluster.get("pods")["items"]
    return Seen(f"{len(pods)} pods ready after {clock.monotonic() - began:.0f} s", well=True)


SMALL = (
    "upstream.autoscaling.maxReplicas=2",
    "rehearsal.settings.REHEARSAL_VOICE=light",
)
"""The rehearsal leaves the node to the gateway, and twenty calls scale no further than the node has room."""
LOW_TARGET = "120m"
"""CPU of a pod above which twenty calls are; not from the start, or the start of the first pod would be the load."""


def helm_test(cluster: Cluster, _: Door) -> Seen:
    """`helm test`: a real call, through to a row of the ledger."""
    began = clock.monotonic()
    cluster.helm("test", "--timeout", "3m")
    return Seen(f"a call through to the ledger in {clock.monotonic() - began:.0f} s", well=True)


def calls_from_outside(_: Cluster, door: Door) -> Seen:
    """Twenty callers outside the cluster."""
    with calling(door, CALLS, seconds=20) as calls:
        return Seen(calls.told(), well=calls.failed == 0)


def autoscale(cluster: Cluster, door: Door) -> Seen:
    """The autoscaler of upstream sees the load."""

    def wanted() -> int:
        return int(cluster.get("hpa", f"{RELEASE}-upstream")["status"].get("desiredReplicas", 0))

    target = [{"op": "replace", "path": "/spec/metrics/0/resource/target/averageValue", "value": LOW_TARGET}]
    cluster.kubectl("patch", "hpa", f"{RELEASE}-upstream", "--type", "json", "--patch", json.dumps(target))
    until("the autoscaler knows its pods", lambda: wanted() > 0, timeout_s=90)
    before = wanted()
    with calling(door, CALLS, seconds=60) as calls:
        took = until("upstream is scaled up", lambda: wanted() > before, timeout_s=120)
        scaled = wanted()
        cluster.ready("deployment", "upstream")
        told, well = calls.told(), calls.failed == 0
    return Seen(f"upstream {before} → {scaled} pods after {took:.0f} s of load; {told}", well=well)


def scale_media(cluster: Cluster, door: Door) -> Seen:
    """Media 1 → 3 while calls go on; new calls are spread."""
    with calling(door, CALLS, seconds=75) as old:
        connected(cluster, old)
        cluster.kubectl("scale", f"statefulset/{RELEASE}-media", "--replicas", "3")
        cluster.ready("statefulset", "media")
        before = cluster.calls()
        with calling(door, CALLS, seconds=15) as new:
            connected(cluster, Calls(2 * CALLS, new.process, new.report))
            spread = {pod: active - before.get(pod, 0) for pod, active in cluster.calls().items()}
            failed = new.failed
        failed_before = old.failed
    well = not failed + failed_before and sum(share > 0 for share in spread.values()) > 1
    shares = ", ".join(f"{pod.removeprefix(RELEASE + '-')} +{share}" for pod, share in sorted(spread.items()))
    figure = f"new calls: {shares}; failed: {failed_before} of {CALLS} old calls, {failed} of {CALLS} new ones"
    return Seen(figure, well=well)


def upgrade(cluster: Cluster, door: Door) -> Seen:
    """`helm upgrade` renews signaling; calls go on."""
    with calling(door, CALLS, seconds=45) as calls:
        connected(cluster, calls)
        began = clock.monotonic()
        cluster.deploy("upgrade", *SMALL, "signaling.settings.SIGNALING_LOG_LEVEL=debug", "media.replicas=3")
        took = clock.monotonic() - began
        return Seen(f"done in {took:.0f} s; {calls.told()}", well=calls.failed == 0)


def rollback(cluster: Cluster, door: Door) -> Seen:
    """`helm rollback`; calls go on."""
    with calling(door, CALLS, seconds=45) as calls:
        connected(cluster, calls)
        began = clock.monotonic()
        cluster.helm("rollback", "1", "--wait", "--timeout", "5m")
        took = clock.monotonic() - began
        level = cluster.kubectl("get", f"deployment/{RELEASE}-signaling", "--output", "yaml")
        back = re.search(r"SIGNALING_LOG_LEVEL\s+value: .?info", level) is not None
        return Seen(f"done in {took:.0f} s; {calls.told()}", well=back and calls.failed == 0)


def uninstall(cluster: Cluster, _: Door) -> Seen:
    """`helm uninstall` leaves nothing."""
    cluster.helm("uninstall", "--wait", "--timeout", "5m")

    def left() -> list[str]:
        selector = f"app.kubernetes.io/instance={RELEASE}"
        return cluster.kubectl("get", _LEFT, "--selector", selector, "--output", "name").split()

    took = until("all objects are gone", lambda: not left(), timeout_s=180)
    return Seen(f"no object left after {took:.0f} s", well=True)


def plain(cluster: Cluster, _: Door) -> Seen:
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
    return Seen(figure, well=True)
