"""Alembic migrations of the ledger; metering runs them when it starts."""
