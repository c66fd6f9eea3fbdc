"""The Latency dashboard: delays that callers notice, and the state of processes and machines."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.dashboards.panel_kit import Board
from deploy.dashboards.rows import gate, network, objective_status, operations, setup, turns


def build() -> Dashboard:
    """Return the dashboard."""
    board = Board(
        uid="hushgate-latency",
        title="Hushgate: Latency",
        text="What callers feel: set-up, turns, barge-in, the network; and bus, loops and capacity below it.",
        variables=("namespace", "provider"),
    )
    objective_status.row(board)
    turns.row(board)
    gate.latency_row(board)
    setup.row(board)
    network.row(board)
    operations.row(board)
    return board.build()
