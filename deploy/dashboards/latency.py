"""The Latency dashboard: what callers feel, and the machines below it."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.dashboards import network, operations, promises, setup, turns
from deploy.dashboards.kit import Board


def build() -> Dashboard:
    """The dashboard."""
    board = Board(
        uid="hushgate-latency",
        title="Hushgate: Latency",
        text="What callers feel: set-up, turns, barge-in, the network; and bus, loops and capacity below it.",
        variables=("namespace", "provider"),
    )
    promises.row(board)
    turns.row(board)
    setup.row(board)
    network.row(board)
    operations.row(board)
    return board.build()
