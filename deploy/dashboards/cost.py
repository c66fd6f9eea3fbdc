"""The Cost dashboard: spend by tenant and model, savings, and checks of the ledger.

Its counters are the ledger's sums, so a restart neither resets nor doubles them.
"""

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.dashboards.panel_kit import Board
from deploy.dashboards.rows import gate, ledger, savings, spend


def build() -> Dashboard:
    """Return the dashboard."""
    board = Board(
        uid="hushgate-cost",
        title="Hushgate: Cost",
        text="What calls cost by the price books, what the gate saved, and whether the ledger is complete.",
        variables=("namespace", "provider", "tenant"),
    )
    spend.row(board)
    savings.row(board)
    gate.cost_row(board)
    ledger.row(board)
    return board.build()
