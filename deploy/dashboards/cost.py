"""The Cost dashboard: what is spent and where, what is saved, and whether the bill is right.

Its counters are the ledger's own sums, so a restart neither resets nor doubles them.
"""

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.dashboards import ledger, savings, spend
from deploy.dashboards.kit import Board


def build() -> Dashboard:
    """The dashboard."""
    board = Board(
        uid="hushgate-cost",
        title="Hushgate: Cost",
        text="What calls cost by the price books, what the gate saved, and whether the ledger is complete.",
        variables=("namespace", "provider", "tenant"),
    )
    spend.row(board)
    savings.row(board)
    ledger.row(board)
    return board.build()
