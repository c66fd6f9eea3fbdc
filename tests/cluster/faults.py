"""Faults on a cluster: pods that are drained, killed or restarted during calls."""

import json

from tests.cluster.kube import RELEASE, Cluster, until
from tests.cluster.load import PublicEndpoint, calling
from tests.cluster.steps import CALLS, StepResult, connected

ENDED = "hushgate_calls_ended_total"
_SIGNAL = "import os, sys; os.kill(1, int(sys.argv[1]))"


def _ended(cluster: Cluster, *reasons: str) -> int:
    return int(sum(cluster.metric(pod, ENDED, reason=reason) for pod in cluster.pods("media") for reason in reasons))


def drain_media(cluster: Cluster, endpoint: PublicEndpoint) -> StepResult:
    """A media pod is deleted: its calls finish, or end as `drained`; the others are untouched."""
    with calling(endpoint, CALLS, seconds=60) as calls:
        connected(cluster, calls)
        pod, its = max(cluster.calls().items(), key=lambda entry: entry[0])
        cluster.kubectl("delete", "pod", pod, "--wait=false")
        failed = calls.failed
    until("the pod is back", lambda: pod in cluster.pods("media"))
    cluster.ready("statefulset", "media")
    return StepResult(f"{its} calls on it, {failed} of {CALLS} ended early", as_promised=failed <= its)


def kill_upstream(cluster: Cluster, endpoint: PublicEndpoint) -> StepResult:
    """An upstream pod is killed: its calls end with a reason, none hangs."""
    with calling(endpoint, CALLS, seconds=40) as calls:
        connected(cluster, calls)
        pod = cluster.pods("upstream")[0]
        its = int(cluster.metric(pod, "hushgate_upstream_calls_owned"))
        before = _ended(cluster, "provider_error", "internal")
        cluster.kubectl("delete", "pod", pod, "--force", "--grace-period=0")
        failed = calls.failed
    hang = until("no call is left", lambda: sum(cluster.calls().values()) == 0, timeout_s=60)
    ended = _ended(cluster, "provider_error", "internal") - before
    cluster.ready("statefulset", "upstream")
    figure = f"{its} calls on it: {ended} ended with a reason; {failed} of {CALLS} failed; none left {hang:.0f} s later"
    return StepResult(figure, as_promised=failed <= its and ended == failed)


def kill_metering(cluster: Cluster, endpoint: PublicEndpoint) -> StepResult:
    """The metering pod is killed while calls go on: not a nano-USD is lost."""
    charged, booked = _charged(cluster), _booked(cluster)
    with calling(endpoint, CALLS, seconds=40) as calls:
        connected(cluster, calls)
        cluster.kubectl("delete", "pod", f"{RELEASE}-metering-0", "--force", "--grace-period=0")
        failed = calls.failed
    cluster.ready("statefulset", "metering")
    until("no call is left", lambda: sum(cluster.calls().values()) == 0, timeout_s=60)
    owed = _charged(cluster) - charged
    took = until("the ledger has it all", lambda: _booked(cluster) - booked >= owed, timeout_s=120)
    lost = owed - (_booked(cluster) - booked)
    return StepResult(
        f"{lost} of {owed} nano-USD lost, {took:.0f} s after the calls; {failed} failed", as_promised=not lost + failed
    )


def restart_nats(cluster: Cluster, endpoint: PublicEndpoint) -> StepResult:
    """NATS is restarted: calls go on, and usage arrives afterwards."""
    charged, booked = _charged(cluster), _booked(cluster)
    with calling(endpoint, CALLS, seconds=40) as calls:
        connected(cluster, calls)
        cluster.kubectl("exec", f"{RELEASE}-nats-0", "--", "python3", "-c", _SIGNAL, "15")
        cluster.ready("statefulset", "nats")
        failed, summary = calls.failed, calls.summary()
    until("no call is left", lambda: sum(cluster.calls().values()) == 0, timeout_s=60)
    owed = _charged(cluster) - charged
    until("the ledger has it all", lambda: _booked(cluster) - booked >= owed, timeout_s=120)
    lost = owed - (_booked(cluster) - booked)
    return StepResult(f"{summary}; {lost} of {owed} nano-USD lost", as_promised=not lost + failed)


def network_policies(cluster: Cluster, _: PublicEndpoint) -> StepResult:
    """A stranger in another namespace reaches the public API and nothing else."""
    other = f"{cluster.namespace}-stranger"
    inside = f"{cluster.namespace}.svc.cluster.local"
    endpoints = {name: (f"{RELEASE}-{name}.{inside}", port) for name, port in _PORTS.items()}
    try:
        cluster.run("kubectl", "create", "namespace", other)
        cluster.run(
            "kubectl", "--namespace", other, "apply", "--filename", "-", given=json.dumps(_stranger(cluster.image))
        )
        cluster.run("kubectl", "--namespace", other, "wait", "--for=condition=Ready", "pod/stranger", "--timeout=60s")
        answers = cluster.run(
            "kubectl", "--namespace", other, "exec", "stranger", "--", "python3", "-c", _KNOCK, json.dumps(endpoints)
        )
    finally:
        cluster.run("kubectl", "delete", "namespace", other, "--ignore-not-found")
    opened = [name for name, answered in json.loads(answers).items() if answered]
    return StepResult(
        f"reached: {', '.join(opened) or 'nothing'}; tried: {', '.join(endpoints)}", as_promised=opened == ["signaling"]
    )


_PORTS = {"signaling": 8080, "nats": 4222, "metering": 8080, "rehearsal": 8080}
_KNOCK = """
import json, socket, sys
def connect(host, port):
    try:
        socket.create_connection((host, port), timeout=4).close()
    except OSError:
        return False
    return True
print(json.dumps({name: connect(*endpoint) for name, endpoint in json.loads(sys.argv[1]).items()}))
"""


def _stranger(image: str) -> dict[str, object]:
    """Run an idle pod in which commands can be executed."""
    security = {"runAsNonRoot": True, "runAsUser": 10001, "allowPrivilegeEscalation": False}
    wait = {"name": "wait", "image": image, "command": ["python3", "-c", "import signal; signal.pause()"]}
    spec = {"containers": [{**wait, "securityContext": security}], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stranger"}, "spec": spec}


def _charged(cluster: Cluster) -> int:
    """Return what the rehearsal bills for all its responses, in nano-USD."""
    return sum(int(json.loads(cluster.fetch(pod, "/billing"))["cost_nano_usd"]) for pod in cluster.pods("rehearsal"))


def _booked(cluster: Cluster) -> int:
    """Return the cost in the ledger: the sum of the dashboards' metric, in nano-USD."""
    return round(cluster.metric(f"{RELEASE}-metering-0", "hushgate_cost_usd_total") * 1e9)
