"""`make cluster-test KUBECONFIG=…`: checks the chart on a real cluster, step by step.

Prints a table and writes it into docs/kubernetes.md. Needs helm and kubectl on PATH and the image on the nodes.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from services.runtime import clock
from tests.cluster import faults, steps
from tests.cluster.kube import RELEASE, Cluster, ClusterError, missing_tools
from tests.cluster.load import PublicEndpoint
from tests.cluster.steps import ClusterStep, StepResult

DOCS = Path("docs/kubernetes.md")
_BEGIN, _END = "<!-- cluster-test -->", "<!-- /cluster-test -->"
STEPS: dict[str, ClusterStep] = {
    "install": steps.install,
    "test": steps.helm_test,
    "autoscale": steps.autoscale,
    "calls": steps.calls_from_outside,
    "scale": steps.scale_media,
    "drain": faults.drain_media,
    "upstream": faults.kill_upstream,
    "metering": faults.kill_metering,
    "nats": faults.restart_nats,
    "upgrade": steps.upgrade,
    "rollback": steps.rollback,
    "policies": faults.network_policies,
    "uninstall": steps.uninstall,
    "plain": steps.plain,
}


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step's row in the table."""

    what: str
    figure: str
    result: str


def run_step(step: ClusterStep, cluster: Cluster, endpoint: PublicEndpoint) -> StepResult:
    """Run one step; an error becomes its result."""
    try:
        return step(cluster, endpoint)
    except (ClusterError, json.JSONDecodeError, KeyError, IndexError) as exc:
        return StepResult(f"{type(exc).__name__}: {exc}", as_promised=False)


def run_steps(names: Sequence[str], cluster: Cluster, url: str, console: Console) -> list[StepRow]:
    """Run the steps in order; stop if the installation fails."""
    rows: list[StepRow] = []
    endpoint = PublicEndpoint(url, "")
    for name in names:
        step = STEPS[name]
        console.print(f"[bold]{what(step)}[/bold] …")
        if not endpoint.key and name not in ("install", "plain"):
            endpoint = PublicEndpoint(url, cluster.secret(f"{RELEASE}-demo-tenant", "tenant-key"))
        began = clock.monotonic()
        result = run_step(step, cluster, endpoint)
        rows.append(StepRow(what(step), result.figure, "yes" if result.as_promised else "NO"))
        console.print(
            f"  {'[green]' if result.as_promised else '[red]'}{result.figure}[/] ({clock.monotonic() - began:.0f} s)"
        )
        if name == "install" and not result.as_promised:
            break
    return rows


def write(rows: Sequence[StepRow], version: str) -> None:
    """Write the rows between the marks in docs/kubernetes.md; rows of steps that did not run stay."""
    text = DOCS.read_text()
    before, _, rest = text.partition(_BEGIN)
    old, _, after = rest.partition(_END)
    known = {line.split(" | ", 1)[0]: line for line in old.splitlines() if line.startswith("| ")}
    known |= {f"| {row.what}": f"| {row.what} | {row.figure} | {row.result} |" for row in rows}
    lines = [
        _BEGIN,
        f"Kubernetes {version}, {clock.utc_now():%Y-%m-%d}, one node with 2 cores that also carries the callers.",
        "",
        "| step | figure | as promised |",
        "|---|---|---|",
        *(known[name] for step in STEPS.values() if (name := f"| {what(step)}") in known),
        _END,
    ]
    DOCS.write_text(before + "\n".join(lines) + after)


def what(step: ClusterStep) -> str:
    """Return a step's description in the table, its docstring."""
    return (step.__doc__ or "").strip().rstrip(".")


def main(arguments: Sequence[str]) -> int:
    """Run the steps; return 0 if every one was as promised."""
    parser = argparse.ArgumentParser(prog="cluster-test", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--namespace", default="hushgate-test", help="made for the test (default: %(default)s)")
    parser.add_argument("--image", default="hushgate:dev", help="that the nodes have (default: %(default)s)")
    parser.add_argument("--values", action="append", help="values file (default: deploy/helm/values-kind.yaml)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as helm's; may be repeated")
    parser.add_argument("--url", default="http://127.0.0.1:30080", help="the public URL (default: %(default)s)")
    parser.add_argument("--steps", nargs="+", choices=list(STEPS), default=list(STEPS), metavar="STEP")
    parser.add_argument("--write", action="store_true", help=f"write the table into {DOCS}")
    asked = parser.parse_args(arguments)
    if missing := missing_tools():
        sys.stderr.write(f"cluster-test: {' and '.join(missing)} not found on PATH: install and try again\n")
        return 2
    console = Console()
    values = asked.values or ["deploy/helm/values-kind.yaml"]
    cluster = Cluster(asked.kubeconfig, asked.namespace, asked.image, values, asked.set)
    version = json.loads(cluster.run("kubectl", "version", "--output", "json"))["serverVersion"]["gitVersion"]
    rows = run_steps(asked.steps, cluster, asked.url, console)
    table = Table(title=f"Kubernetes {version}", title_justify="left")
    for name in ("step", "figure", "as promised"):
        table.add_column(name)
    for row in rows:
        table.add_row(row.what, row.figure, row.result)
    console.print(table)
    if asked.write:
        write(rows, version)
    return 0 if len(rows) == len(asked.steps) and all(row.result == "yes" for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
